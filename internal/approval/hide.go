package approval

import (
	"regexp"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
)

// maxCodes is how many codes are remembered, so that they can be hidden.
const maxCodes = 256

// What stands in the place of what is hidden.
const (
	hiddenCode  = "[a code of the host]"
	hiddenCard  = "[a message of the host]"
	noCode      = "[no code of the host]"
	longestTail = 80 // bytes that a Stream holds back
)

// remember notes a code that is or was in use. d.mu is held.
func (d *Desk) remember(code string) {
	d.codes = append(d.codes, code)
	if len(d.codes) > maxCodes {
		d.codes = slices.Clone(d.codes[len(d.codes)-maxCodes:])
	}
}

var (
	// answerLike is an answer to a question, wherever it stands and however it is
	// adorned.
	answerLike = regexp.MustCompile(`(?is)(approve|deny)([^0-9a-z]{1,8})([0-9a-z]{4}-?[0-9a-z]{4})`)
	// begun is what may yet become one, with the bytes of a last character that is
	// not whole.
	begun = regexp.MustCompile(`(?is)(?:approve|deny)[^0-9a-z]{0,11}[0-9a-z-]*$`)
)

// Hide takes out of a text that people wrote what is between them and the host:
// codes of questions, answers, and questions of the host that they quote. A
// prompt is made of what is left.
func (d *Desk) Hide(text string) string {
	if i := strings.Index(text, chat.HostMark); i >= 0 {
		text = text[:i] + hiddenCard
	}
	return answers(d.codesHidden(text), hiddenCode)
}

// Disown takes out of an agent's text what could pass for the host's: a code, its
// own or one that it made up, where an answer to the host would have it. Its mark
// is taken out where the text is delivered.
func (d *Desk) Disown(text string) string { return answers(d.codesHidden(text), noCode) }

// answers puts words in the place of the code in everything that reads like an
// answer to the host.
func answers(text, words string) string {
	return answerLike.ReplaceAllStringFunc(text, func(s string) string {
		m := answerLike.FindStringSubmatch(s)
		if _, ok := parseCode(m[3]); !ok {
			return s
		}
		return m[1] + m[2] + words
	})
}

// apart says that a character is in no code.
func apart(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// codesHidden hides the codes that the desk gave out, in every way to write them.
func (d *Desk) codesHidden(text string) string {
	codes := d.given()
	if len(codes) == 0 {
		return text
	}
	var b strings.Builder
	done := 0
	for i := 0; i+codeLen <= len(text); i++ {
		if n := codeAt(codes, text[i:]); n > 0 {
			b.WriteString(text[done:i] + hiddenCode)
			done = i + n
			i = done - 1
		}
	}
	return b.String() + text[done:]
}

// given are the codes that the desk gave out.
func (d *Desk) given() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.codes
}

// codeAt is the length of the code that a text begins with, 0 for none.
func codeAt(codes []string, text string) int {
	for _, n := range []int{codeLen, codeLen + 1} {
		if n > len(text) || n > codeLen && text[codeLen/2] != '-' || strings.ContainsFunc(text[:n], apart) {
			continue
		}
		if code, ok := parseCode(text[:n]); ok && slices.Contains(codes, code) {
			return n
		}
	}
	return 0
}

// Stream is Disown for text that comes in pieces: what may be the beginning of
// something that is taken out waits for the next piece, and nothing else does, so that
// the first word of an answer is shown when it comes.
type Stream struct {
	desk *Desk
	rest string
}

// Stream begins one.
func (d *Desk) Stream() *Stream { return &Stream{desk: d} }

// Next gives what can be shown after one more piece.
func (s *Stream) Next(piece string) string {
	text := s.rest + piece
	at := s.desk.unfinished(text)
	if len(text)-at > longestTail {
		at = len(text)
	}
	s.rest = text[at:]
	return s.desk.Disown(text[:at])
}

// End gives what was held back.
func (s *Stream) End() string {
	text := s.desk.Disown(s.rest)
	s.rest = ""
	return text
}

// unfinished is where in a text begins what may yet become an answer or a code that the
// desk gave out, and never within one that is whole; its length where nothing does.
func (d *Desk) unfinished(text string) int {
	codes := d.given()
	at := begins(codes, text)
	for moved := true; moved; {
		moved = false
		for i := max(0, at-codeLen); i < at; i++ {
			if i+codeAt(codes, text[i:]) > at {
				at, moved = i, true
			}
		}
		for _, m := range answerLike.FindAllStringIndex(text, -1) {
			if m[0] < at && at < m[1] {
				at, moved = m[0], true
			}
		}
	}
	return at
}

// begins is where the end of a text may be the beginning of an answer or a code.
func begins(codes []string, text string) int {
	if at := begun.FindStringIndex(text); at != nil {
		return at[0]
	}
	for i := max(0, len(text)-codeLen); i < len(text); i++ {
		end := strings.ToLower(text[i:])
		if strings.HasPrefix("approve", end) || strings.HasPrefix("deny", end) {
			return i
		}
		if strings.ContainsFunc(end, apart) {
			continue
		}
		end = alike.Replace(end)
		if slices.ContainsFunc(codes, func(code string) bool { return strings.HasPrefix(code, end) }) {
			return i
		}
	}
	return len(text)
}
