package channel

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSafeText(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"words", "héllo, wörld 你好 👩‍👩‍👧", "héllo, wörld 你好 👩‍👩‍👧"},
		{"newline and tab stay", "a\n\tb\n", "a\n\tb\n"},
		{"colour", "\x1b[31mred\x1b[0m", "red"},
		{"cursor home and clear", "a\x1b[2J\x1b[Hb", "ab"},
		{"window title", "a\x1b]0;owned\x07b", "ab"},
		{"clipboard, ended by ST", "a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"},
		{"hyperlink keeps its words", "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"},
		{"device control", "\x1bPq#0\x1b\\x", "x"},
		{"full reset", "\x1bcx", "x"},
		{"charset", "\x1b(0x", "x"},
		{"C1 CSI", "\u009b31mx", "x"},
		{"C1 OSC", "\u009d0;t\u009cx", "x"},
		{"unfinished OSC ends with the line", "\x1b]0;hidden\nseen", "\nseen"},
		{"endless OSC cannot hide the rest", "\x1b]" + strings.Repeat("a", longestSequence-1) + "seen", "seen"},
		{"escape at the end", "x\x1b", "x"},
		{"escape inside a string starts anew", "\x1b]0;a\x1b[31mx", "x"},
		{"backspace and bell", "pass\b\b\b\bword\a", "password"},
		{"carriage return cannot overwrite", "rm -rf /\recho hi", "rm -rf /\necho hi"},
		{"CRLF is one line end", "a\r\nb", "a\nb"},
		{"bidi override", "a\u202eb\u2066c\u200f", "abc"},
		{"tags", "a\U000e0041\U000e007fb", "ab"},
		{"DEL and NUL", "a\x7f\x00b", "ab"},
		{"invalid bytes", "a\xffb", "a\ufffdb"},
		{"raw C1 byte is not UTF-8", "a\x9b31mb", "a\ufffd31mb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := SafeText(tt.in); got != tt.want {
				t.Errorf("SafeText(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestCleanerAcrossPieces(t *testing.T) {
	const in = "a\x1b[31mred\x1b]0;title\x1b\\ b\r\nc\x1b(0d\u009b1me"
	want := SafeText(in)
	for cut := range len(in) {
		if !utf8.ValidString(in[:cut]) {
			continue
		}
		var c Cleaner
		if got := c.Clean(in[:cut]) + c.Clean(in[cut:]); got != want {
			t.Errorf("cut at %d: %q, want %q", cut, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"Bash: go test ./...", 40, "Bash: go test ./..."},
		{"a\n  b\x1b[2J\tc", 40, "a b c"},
		{"1234567890", 5, "1234…"},
		{"日本語日本語", 4, "日本語…"},
		{strings.Repeat("x", 1<<20), 3, "xx…"},
	} {
		if got := OneLine(tt.in, tt.n); got != tt.want {
			t.Errorf("OneLine(%.20q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func FuzzSafeText(f *testing.F) {
	for _, s := range []string{"", "a\x1b[31mb", "\x1b]0;x\x07", "\u202e", "a\r\nb", "\x1b\x1b[", "\xff\x9b", "\x1b]\x1b\x1b\\x"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		got := SafeText(s)
		if !utf8.ValidString(got) {
			t.Fatalf("SafeText(%q) = %q is not UTF-8", s, got)
		}
		for _, r := range got {
			if r != '\n' && unsafeRune(r) {
				t.Fatalf("SafeText(%q) = %q lets %U through", s, got, r)
			}
		}
		if again := SafeText(got); again != got {
			t.Fatalf("SafeText is not stable: %q, then %q", got, again)
		}
		if cut < 0 || cut > len(s) || !utf8.ValidString(s) || !utf8.ValidString(s[:cut]) {
			return
		}
		var c Cleaner
		if pieces := c.Clean(s[:cut]) + c.Clean(s[cut:]); pieces != got {
			t.Fatalf("in pieces %q, whole %q", pieces, got)
		}
	})
}

// Nobody's words can begin like the host's, in pieces or at once.
func TestMarkIsTheHosts(t *testing.T) {
	if got := SafeText("◆ nanoclaw: approve"); got != "◇ nanoclaw: approve" {
		t.Errorf("got %q", got)
	}
	if got := OneLine("\x1b[1m◆ nanoclaw", 40); got != "◇ nanoclaw" {
		t.Errorf("got %q", got)
	}
}
