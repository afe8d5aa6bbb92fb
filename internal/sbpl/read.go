package sbpl

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds on a profile. Ours are some ten KiB.
const (
	maxText  = 1 << 20 // bytes
	maxDepth = 32      // lists in lists
)

// node is one datum of the text: a list, a string, a word, or a quoted word.
type node struct {
	line   int
	list   []node
	isList bool
	text   string
	kind   byte // '"' string, '\'' quoted word, 0 word; of no meaning in a list
}

// head is the word that a list begins with, "" if it begins otherwise.
func (n node) head() string {
	if !n.isList || len(n.list) == 0 || n.list[0].isList || n.list[0].kind != 0 {
		return ""
	}
	return n.list[0].text
}

// reader takes a text apart.
type reader struct {
	text string
	at   int
	line int
}

// read gives all data of a text.
func read(text string) ([]node, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("a profile of more than %d bytes", maxText)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("a profile that is not UTF-8")
	}
	r := &reader{text: text, line: 1}
	var out []node
	for {
		r.space()
		if r.at == len(r.text) {
			return out, nil
		}
		n, err := r.datum(0)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", r.line, err)
		}
		out = append(out, n)
	}
}

// space skips blanks and comments.
func (r *reader) space() {
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '\n':
			r.line++
		case ' ', '\t', '\r':
		case ';':
			end := strings.IndexByte(r.text[r.at:], '\n')
			if end < 0 {
				r.at = len(r.text)
				return
			}
			r.at += end - 1
		default:
			return
		}
	}
}

func (r *reader) datum(depth int) (node, error) {
	n := node{line: r.line}
	var err error
	switch c := r.text[r.at]; {
	case c == '(':
		r.at++
		n.isList = true
		n.list, err = r.items(depth + 1)
	case c == ')':
		err = fmt.Errorf("a parenthesis closes nothing")
	case c == '"':
		n.kind = '"'
		n.text, err = r.quoted()
	case strings.HasPrefix(r.text[r.at:], `#"`):
		n.kind = '"'
		n.text, err = r.raw()
	case c == '\'':
		r.at++
		n.kind = '\''
		n.text, err = r.word()
	default:
		n.text, err = r.word()
	}
	return n, err
}

func (r *reader) items(depth int) ([]node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("lists more than %d deep", maxDepth)
	}
	var out []node
	for {
		r.space()
		if r.at == len(r.text) {
			return nil, fmt.Errorf("the text ends within a list")
		}
		if r.text[r.at] == ')' {
			r.at++
			return out, nil
		}
		n, err := r.datum(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
}

// quoted reads a string. The only escapes are those that Quote writes: what the
// kernel's reader makes of others is not documented.
func (r *reader) quoted() (string, error) {
	var b strings.Builder
	for r.at++; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return b.String(), nil
		case c < 0x20 || c == 0x7f:
			return "", fmt.Errorf("a control character in a string")
		case c != '\\':
			b.WriteByte(c)
		default:
			r.at++
			if r.at == len(r.text) || r.text[r.at] != '"' && r.text[r.at] != '\\' {
				return "", fmt.Errorf("a backslash in a string escapes neither a quote nor a backslash")
			}
			b.WriteByte(r.text[r.at])
		}
	}
	return "", fmt.Errorf("the text ends within a string")
}

// raw reads #"...", in which a backslash means itself.
func (r *reader) raw() (string, error) {
	start := r.at + 2
	end := strings.IndexByte(r.text[start:], '"')
	if end < 0 {
		return "", fmt.Errorf("the text ends within a string")
	}
	text := r.text[start : start+end]
	if strings.HasSuffix(text, `\`) || strings.ContainsFunc(text, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
		return "", fmt.Errorf("a backslash before the end, or a control character, in a raw string")
	}
	r.at = start + end + 1
	return text, nil
}

func (r *reader) word() (string, error) {
	rest := r.text[r.at:]
	end := strings.IndexAny(rest, " \t\r\n()\"';")
	if end < 0 {
		end = len(rest)
	}
	word := rest[:end]
	if word == "" || strings.ContainsFunc(word, func(c rune) bool { return c <= 0x20 || c >= 0x7f || c == '#' || c == '\\' || c == '`' || c == ',' }) {
		return "", fmt.Errorf("a word with a character that words do not have")
	}
	r.at += end
	return word, nil
}

// Quote writes a string as SBPL reads it. A control character is refused: no
// path of ours needs one, and how the kernel's reader takes it is not
// documented.
func Quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not UTF-8", s)
	}
	if i := strings.IndexFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f }); i >= 0 {
		return "", fmt.Errorf("%q holds a control character, which a profile cannot carry safely", s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, nil
}

// QuoteRegex gives the regular expression that s alone matches, not yet quoted.
func QuoteRegex(s string) string {
	var b strings.Builder
	for _, c := range s {
		if strings.ContainsRune(`.^$*+?()[]{}|\`, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}
