package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

const (
	// maxFile is the largest file that is read.
	maxFile = 4 << 20
	// maxDepth is how deep values may lie in one another. The deepest known
	// value lies at 6. The limit is checked before anything recurses.
	maxDepth = 32
)

// utf8BOM is the mark that some Windows editors put before the first byte.
const utf8BOM = "\ufeff"

// source is one file: its text, and the tree that hujson makes of it.
type source struct {
	file string // as named to us, for messages
	text []byte // without byte order mark, ending in a newline
	bom  bool
	tree hujson.Value
}

// parse makes the tree. The problems it returns are about syntax, and there is
// at most one, since what follows a mistake of syntax cannot be trusted.
func parse(file string, data []byte) (*source, Problems) {
	s := &source{file: file}
	if len(data) > maxFile {
		return nil, Problems{{File: file, Expected: fmt.Sprintf("at most %s", Size(maxFile)), Found: "a larger file"}}
	}
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(data, []byte(mark)) {
			return nil, Problems{{File: file, Line: 1, Column: 1, Expected: "UTF-8", Found: "UTF-16", Hint: "save the file as UTF-8"}}
		}
	}
	s.text, s.bom = bytes.CutPrefix(data, []byte(utf8BOM))
	if !bytes.HasSuffix(s.text, []byte("\n")) {
		// hujson wants a newline after a line comment, even at the end.
		s.text = append(bytes.Clone(s.text), '\n')
	}
	if p := s.scan(); p != nil {
		return nil, Problems{*p}
	}
	tree, err := hujson.Parse(s.text)
	if err != nil {
		return nil, Problems{s.syntaxProblem(err)}
	}
	s.tree = tree
	return s, nil
}

// position gives line and column of a byte offset, both from 1. Columns count
// characters.
func (s *source) position(offset int) (line, column int) {
	before := s.text[:min(offset, len(s.text))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

func (s *source) problemAt(offset int, p Problem) Problem {
	p.File = s.file
	p.Line, p.Column = s.position(offset)
	return p
}

// scan walks over the text once, without recursion, and finds what the parser
// would tell badly or not survive: bytes that are not UTF-8, values nested too
// deep, and strings, comments and brackets that are never closed. Everything
// else is left to the parser.
func (s *source) scan() *Problem {
	problem := func(offset int, expected, found string) *Problem {
		p := s.problemAt(offset, Problem{Expected: expected, Found: found})
		return &p
	}
	if n := validPrefix(s.text); n < len(s.text) {
		return problem(n, "UTF-8 text", fmt.Sprintf("the byte 0x%02x", s.text[n]))
	}
	var open []int // offsets of brackets that are open
	for i := 0; i < len(s.text); {
		switch c := s.text[i]; c {
		case '"':
			n := stringLength(s.text[i:])
			if n < 0 {
				return problem(i, `a closing " on the same line`, "a string without end")
			}
			i += n
			continue
		case '/':
			n := commentLength(s.text[i:])
			if n < 0 {
				return problem(i, "a closing */", "a comment without end")
			}
			i += max(n, 1)
			continue
		case '{', '[':
			if open = append(open, i); len(open) > maxDepth {
				return problem(i, fmt.Sprintf("values at most %d deep", maxDepth), "deeper ones")
			}
		case '}', ']':
			open = open[:max(len(open)-1, 0)] // a stray one is the parser's to tell
		}
		i++
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		closing := map[byte]string{'{': "a closing }", '[': "a closing ]"}[s.text[last]]
		return problem(last, closing, fmt.Sprintf("a %q that is never closed", s.text[last]))
	}
	return nil
}

// validPrefix gives the length of the part that is UTF-8.
func validPrefix(b []byte) int {
	if utf8.Valid(b) {
		return len(b)
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

// stringLength gives the length of the string literal that begins b, or -1 if
// its line ends first.
func stringLength(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
			if i < len(b) && b[i] == '\n' {
				return -1
			}
		case '"':
			return i + 1
		case '\n':
			return -1
		}
	}
	return -1
}

// commentLength gives the length of the comment that begins b: 0 if there is
// none, -1 if it has no end.
func commentLength(b []byte) int {
	end := ""
	switch {
	case bytes.HasPrefix(b, []byte("//")):
		end = "\n"
	case bytes.HasPrefix(b, []byte("/*")):
		end = "*/"
	default:
		return 0
	}
	i := bytes.Index(b[2:], []byte(end))
	if i < 0 {
		return -1
	}
	return 2 + i + len(end)
}

// syntaxWords puts the parser's "invalid character 'x' WHERE" into our form.
var syntaxWords = []struct{ where, expected, hint string }{
	{"expecting ',' or '}'", `"," or "}"`, "is a comma missing before it?"},
	{"expecting ',' or ']'", `"," or "]"`, "is a comma missing before it?"},
	{"after object name", `":" after the name`, ""},
	{"at start of object name", "a name in double quotes", ""},
	{"at start of value", "a value", quotesHint},
	{"after top-level value", "the end of the file", ""},
}

const quotesHint = `names and texts stand in double quotes`

// syntaxProblem puts the parser's error into our form.
func (s *source) syntaxProblem(err error) Problem {
	p := Problem{File: s.file, Line: 1, Column: 1, Expected: "JSON with comments"}
	var line, column int
	if n, _ := fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &line, &column); n == 2 {
		p.Line, p.Column = line, s.runeColumn(line, column)
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	text := err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		p.Found = "the end of the file"
		if len(bytes.TrimSpace(s.text)) == 0 {
			p.Line, p.Column = 1, 1
			p.Expected, p.Found, p.Hint = "an object", "an empty file", "write {} for the defaults, or remove the file"
		}
		return p
	}
	if literal, ok := strings.CutPrefix(text, "invalid literal: "); ok {
		p.Expected, p.Found, p.Hint = "a value", "a word without quotes", quotesHint
		if len(literal) <= 12 { // no credential is so short
			p.Found = literal
		}
		if strings.HasPrefix(literal, `"`) {
			p.Found, p.Hint = "a string with an invalid escape or a control character", `write \\ for a backslash`
		}
		return p
	}
	p.Found = clip(text)
	for _, w := range syntaxWords {
		if character, ok := strings.CutPrefix(text, "invalid character "); ok && strings.Contains(text, w.where) {
			end := 1 + strings.LastIndex(character, "'")
			if w.where[0] == 'e' { // the words themselves hold quotes
				end = strings.Index(character, "' ") + 1
			}
			p.Expected, p.Found, p.Hint = w.expected, character[:end], w.hint
		}
	}
	return p
}

// runeColumn turns the parser's column, in bytes, into one in characters.
func (s *source) runeColumn(line, column int) int {
	rest := s.text
	for range line - 1 {
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return 1 + utf8.RuneCount(rest[:min(max(column-1, 0), len(rest))])
}

// locate fills in line and column of problems that carry only a field. The
// place of a field that is not in the file is that of its nearest parent.
func (s *source) locate(ps Problems) Problems {
	for i, p := range ps {
		if p.Line == 0 {
			ps[i] = s.problemAt(s.offsetOf(p.Field, p.atKey), p)
		}
	}
	return ps
}

// offsetOf finds a value, or its name, in the tree.
func (s *source) offsetOf(path Path, name bool) int {
	v := &s.tree
	offset := v.StartOffset
	for i, e := range path {
		var nameOffset int
		if v, nameOffset = child(v, e); v == nil {
			return offset
		}
		offset = v.StartOffset
		if name && i == len(path)-1 {
			offset = nameOffset
		}
	}
	return offset
}

// child gives the member or element of v, and where its name stands.
func child(v *hujson.Value, element any) (value *hujson.Value, nameOffset int) {
	switch t := v.Value.(type) {
	case *hujson.Object:
		for i := range t.Members {
			if key, ok := element.(string); ok && memberName(t.Members[i]) == key {
				return &t.Members[i].Value, t.Members[i].Name.StartOffset
			}
		}
	case *hujson.Array:
		if n, ok := element.(int); ok && n >= 0 && n < len(t.Elements) {
			return &t.Elements[n], t.Elements[n].StartOffset
		}
	}
	return nil, 0
}

func memberName(m hujson.ObjectMember) string {
	name, _ := m.Name.Value.(hujson.Literal)
	return name.String()
}
