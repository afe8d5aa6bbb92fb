package delayed

import (
	"strings"
	"testing"
	"unicode"
)

// Settings of git may be anything: reading them ends, and gives a bounded number
// of words without line breaks.
func FuzzNamesIn(f *testing.F) {
	f.Add("[core]\n\thooksPath = a/b\n[include] path = \"x y\"\n[alias]\nz = !sh ./c \\\n d/e")
	f.Add("[" + strings.Repeat("a", 100) + "\x00=\n=\n[]=/")
	f.Fuzz(func(t *testing.T, text string) {
		names := namesIn(strings.NewReader(text))
		if len(names) > len(text)+1 || len(names) > maxSettings {
			t.Errorf("%d names", len(names))
		}
		for _, n := range names {
			if strings.ContainsRune(n, '\n') || !strings.Contains(text, n) {
				t.Errorf("%q is not in the text", n)
			}
		}
	})
}

// Whatever a name is, it is one line of printable characters, and its place does
// not depend on capitals.
func FuzzName(f *testing.F) {
	f.Add("/a/.GIT/modules/b/.vscode")
	f.Add("/\x1b[2J\u202e\xff/.git/hooks")
	f.Fuzz(func(t *testing.T, p string) {
		line := Plain(p)
		if len(line) > 8*maxName || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is shown as %q", p, line)
		}
		what, _ := Name(p)
		if upper, _ := Name(strings.ToUpper(p)); isASCII(p) && upper != what {
			t.Errorf("%q is %q, and in capitals %q", p, what, upper)
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
