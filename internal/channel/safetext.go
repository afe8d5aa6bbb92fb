package channel

import (
	"strings"
	"unicode/utf8"
)

// Mark begins what the host itself says, wherever people read it beside the words
// of agents and strangers. SafeText takes it out of those, so that nobody's words
// can look like the host's.
const Mark = '◆'

// unmarked stands in the place of a Mark in other people's words, and of what
// looks like one.
const unmarked = '◇'

// Unmark takes the Mark out of words that are not the host's, and the characters
// that a person could take for it. The outbox does so to everything that an agent
// says, whatever channel it goes to.
func Unmark(s string) string { return strings.Map(unmark, s) }

func unmark(r rune) rune {
	switch r {
	case Mark, '♦', '❖', '◈', '⬥', '⬧', '⬩', '⯁', '\U0001f79c', '\U0001f79d', '\U0001f79e', '\U0001f79f':
		return unmarked
	}
	return r
}

// SafeText gives s without anything that a terminal would obey: escape
// sequences, control characters but newline and tab, and marks that reorder
// text. What an agent or a stranger wrote goes through it before it reaches a
// terminal; otherwise it could repaint earlier lines, set the window's title,
// fill the clipboard, or show a command other than the one that is copied.
func SafeText(s string) string {
	var c Cleaner
	return c.Clean(s)
}

// Cleaner is SafeText for text that comes in pieces: an escape sequence may
// begin in one and end in another. The zero value is ready.
type Cleaner struct {
	state escape
	// length counts the runes of the sequence being dropped. A sequence that
	// never ends must not hide the rest of the text.
	length int
	// cr says that the last rune was a carriage return.
	cr bool
}

// escape is where in an escape sequence (ECMA-48) the text is.
type escape int

const (
	plain   escape = iota
	begun          // after ESC
	between        // after ESC and an intermediate byte: one more byte follows
	csi            // in a control sequence: parameters, then a final byte
	str            // in a control string (OSC, DCS, SOS, PM, APC), up to BEL or ST
	strEsc         // in a control string after ESC: ST if "\" follows
)

// longestSequence bounds what one escape sequence may hide. Real ones are
// short; a hyperlink's address is the longest that occurs.
const longestSequence = 2048

// Clean gives the safe part of the next piece.
func (c *Cleaner) Clean(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		c.rune(&b, r)
	}
	return b.String()
}

func (c *Cleaner) rune(b *strings.Builder, r rune) {
	if c.state != plain {
		if c.inside(r) {
			return
		}
		c.state, c.length = plain, 0
	}
	afterCR := c.cr
	c.cr = r == '\r'
	switch {
	case r == 0x1b:
		c.state = begun
	case r == 0x9b: // CSI as one character
		c.state = csi
	case r == 0x90, r == 0x98, r == 0x9d, r == 0x9e, r == 0x9f:
		c.state = str
	case r == '\r':
		// Alone it would let the next words overwrite the line, so it ends the line.
		b.WriteByte('\n')
	case r == '\n':
		if !afterCR {
			b.WriteByte('\n')
		}
	case unsafeRune(r):
	default:
		b.WriteRune(unmark(r)) // an invalid byte arrives as utf8.RuneError and is written as such
	}
}

// inside takes r as a part of an escape sequence. It is false if r does not
// belong to it and must be looked at as text.
func (c *Cleaner) inside(r rune) bool {
	c.length++
	if r == '\n' || r == '\r' || c.length > longestSequence || !utf8.ValidRune(r) {
		return false
	}
	switch c.state {
	case begun:
		return c.afterEscape(r)
	case between:
		c.finish()
		return r >= 0x30 && r <= 0x7e
	case csi:
		switch {
		case r >= 0x40 && r <= 0x7e:
			c.finish()
			return true
		default:
			return r >= 0x20 && r <= 0x3f
		}
	case str:
		switch r {
		case 0x07, 0x9c:
			c.finish()
		case 0x1b:
			c.state = strEsc
		}
		return true
	case strEsc:
		if r == '\\' {
			c.finish()
			return true
		}
		return c.afterEscape(r) // a terminal takes ESC as the end of the string
	}
	return false
}

func (c *Cleaner) afterEscape(r rune) bool {
	switch {
	case r == '[':
		c.state = csi
	case r == ']', r == 'P', r == 'X', r == '^', r == '_':
		c.state = str
	case r == 0x1b:
		c.state = begun
	case r >= 0x20 && r <= 0x2f:
		c.state = between
	case r >= 0x30 && r <= 0x7e:
		c.finish()
	default:
		return false
	}
	return true
}

func (c *Cleaner) finish() { c.state, c.length = plain, 0 }

// unsafeRune tells characters that must not reach a terminal by themselves.
func unsafeRune(r rune) bool {
	switch {
	case r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f: // C0, DEL, C1
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f: // directional marks
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // embeddings, overrides, isolates
		return true
	case r == 0x2028, r == 0x2029: // line and paragraph separator
		return true
	case r >= 0xe0000 && r <= 0xe007f: // tags: text that nobody sees
		return true
	case r >= 0xfff9 && r <= 0xfffb: // interlinear annotation
		return true
	}
	return false
}

// OneLine is SafeText on one line of at most n characters: for names, for what
// an agent is doing, for lists.
func OneLine(s string, n int) string {
	// Cut first: what is shown is short, what an agent sends may be long.
	if len(s) > 8*n+longestSequence {
		s = s[:8*n+longestSequence]
	}
	s = strings.Join(strings.Fields(SafeText(s)), " ")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return strings.TrimSpace(string(runes[:n-1])) + "…"
}
