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
	// unfinished is what may yet become one, or a code, with the bytes of a last
	// character that is not whole.
	unfinished = regexp.MustCompile(`(?is)(?:(?:approve|deny)[^0-9a-z]{0,11})?[0-9a-z-]*$`)
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
	d.mu.Lock()
	codes := d.codes
	d.mu.Unlock()
	if len(codes) == 0 {
		return text
	}
	var b strings.Builder
	done := 0
	for i := 0; i+codeLen <= len(text); i++ {
		for _, n := range []int{codeLen, codeLen + 1} {
			if i+n > len(text) || n > codeLen && text[i+codeLen/2] != '-' || strings.ContainsFunc(text[i:i+n], apart) {
				continue
			}
			if code, ok := parseCode(text[i : i+n]); ok && slices.Contains(codes, code) {
				b.WriteString(text[done:i] + hiddenCode)
				done = i + n
				i = done - 1
				break
			}
		}
	}
	return b.String() + text[done:]
}

// Stream is Disown for text that comes in pieces: what may be the beginning of
// something that is taken out waits for the next piece.
type Stream struct {
	desk *Desk
	rest string
}

// Stream begins one.
func (d *Desk) Stream() *Stream { return &Stream{desk: d} }

// Next gives what can be shown after one more piece.
func (s *Stream) Next(piece string) string {
	text := s.rest + piece
	at := unfinished.FindStringIndex(text)[0] // it matches the empty end too
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
