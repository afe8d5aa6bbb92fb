package approval

import "strings"

// NewPairing makes a code that lets somebody in: in the form that people read,
// and that no question has.
func NewPairing() string { return spaced(newCode()) }

// ParsePairing says whether a chat message is a pairing code: "pair CODE", in the
// ways in which an answer may be written. The code is in the form of NewPairing.
func ParsePairing(text string) (code string, ok bool) {
	words := strings.Fields(strings.TrimRight(text, " \t\r\n.!"))
	if len(words) == 3 && (strings.HasPrefix(words[0], "@") || strings.EqualFold(strings.TrimPrefix(words[0], "/"), "nanoclaw")) {
		words = words[1:]
	}
	if len(words) != 2 || !strings.EqualFold(strings.TrimPrefix(words[0], "/"), "pair") {
		return "", false
	}
	if code, ok = parseCode(words[1]); !ok {
		return "", false
	}
	return spaced(code), true
}
