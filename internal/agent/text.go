package agent

import (
	"strings"
	"unicode/utf8"
)

// bounded keeps the first max bytes of what is added, cut at a character.
type bounded struct {
	max int
	b   strings.Builder
	cut bool
}

// add keeps what fits and returns it.
func (t *bounded) add(s string) string {
	if t.cut {
		return ""
	}
	if room := t.max - t.b.Len(); len(s) > room {
		s, t.cut = clip(s, room), true
	}
	t.b.WriteString(s)
	return s
}

// clip shortens s to at most n bytes without cutting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// tail keeps the last max bytes of what is written: the end of a stderr says
// why a program died, its beginning seldom does.
type tail struct {
	max int
	b   []byte
}

func (t *tail) add(p []byte) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
}

func (t *tail) String() string { return strings.TrimSpace(strings.ToValidUTF8(string(t.b), "\uFFFD")) }

// runes turns a stream of bytes into valid text: an incomplete character at
// the end of one piece is kept for the next.
type runes struct{ rest []byte }

func (r *runes) text(p []byte) string {
	b := append(r.rest, p...)
	n := len(b)
	for i := 1; i <= 3 && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				n = len(b) - i
			}
			break
		}
	}
	s := strings.ToValidUTF8(string(b[:n]), "\uFFFD")
	r.rest = append([]byte(nil), b[n:]...)
	return s
}

// flush gives what is left at the end of the stream.
func (r *runes) flush() string {
	s := strings.ToValidUTF8(string(r.rest), "\uFFFD")
	r.rest = nil
	return s
}

// internalOpen and internalClose enclose what an agent writes for itself.
const (
	internalOpen  = "<internal>"
	internalClose = "</internal>"
)

// StripInternal removes the <internal>…</internal> parts of an answer, with
// which an agent keeps thoughts to itself. An unclosed part reaches to the end:
// to keep too much is better than to send what was not meant to be sent.
func StripInternal(s string) string {
	if !strings.Contains(s, internalOpen) {
		return s
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, internalOpen)
		out.WriteString(before)
		if !found {
			break
		}
		_, s, found = strings.Cut(after, internalClose)
		if !found {
			break
		}
	}
	return strings.TrimSpace(out.String())
}

// quiet removes the internal parts from a text that arrives in pieces.
type quiet struct {
	inside bool
	held   string // may be the beginning of a mark
}

// add takes the next piece and gives what of the text is known to be meant for
// others.
func (q *quiet) add(s string) string {
	var out strings.Builder
	q.held += s
	for {
		mark := internalOpen
		if q.inside {
			mark = internalClose
		}
		before, after, found := strings.Cut(q.held, mark)
		if !found {
			keep := overlap(q.held, mark)
			if !q.inside {
				out.WriteString(q.held[:len(q.held)-keep])
			}
			q.held = q.held[len(q.held)-keep:]
			return out.String()
		}
		if !q.inside {
			out.WriteString(before)
		}
		q.held, q.inside = after, !q.inside
	}
}

// flush gives what was held back, at the end of the text.
func (q *quiet) flush() string {
	s := q.held
	if q.inside {
		s = ""
	}
	*q = quiet{}
	return s
}

// overlap is the length of the longest end of s that begins mark.
func overlap(s, mark string) int {
	for n := min(len(s), len(mark)-1); n > 0; n-- {
		if strings.HasSuffix(s, mark[:n]) {
			return n
		}
	}
	return 0
}
