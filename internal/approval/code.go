package approval

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// alphabet is Crockford's base 32 in lower case: no letters that look alike.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const codeLen = 8

// newCode makes a code of eight characters, 40 random bits less what the rule
// takes that it has a digit: no word of a language is one.
func newCode() string {
	for {
		b := make([]byte, 5)
		rand.Read(b) // never fails: crypto/rand ends the program instead
		code := base32.NewEncoding(alphabet).EncodeToString(b)
		if strings.ContainsAny(code, "0123456789") {
			return code
		}
	}
}

// spaced gives a code as people read it: abcd-1234.
func spaced(code string) string { return code[:codeLen/2] + "-" + code[codeLen/2:] }

// parseCode reads a code as people type it.
func parseCode(s string) (string, bool) {
	s = strings.NewReplacer("-", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(s))
	if len(s) != codeLen || strings.Trim(s, alphabet) != "" || !strings.ContainsAny(s, "0123456789") {
		return "", false
	}
	return s, true
}

// ParseAnswer says whether a chat message is an answer to a question of the host:
// "approve CODE" or "deny CODE", in any case, with a slash, the program's name or a
// mention before it if one likes. Anything else is a message to the agent.
func ParseAnswer(text string) (code string, yes, ok bool) {
	words := strings.Fields(strings.TrimRight(text, " \t\r\n.!"))
	if len(words) == 3 && (strings.HasPrefix(words[0], "@") || strings.EqualFold(strings.TrimPrefix(words[0], "/"), "nanoclaw")) {
		words = words[1:]
	}
	if len(words) != 2 {
		return "", false, false
	}
	switch strings.TrimPrefix(strings.ToLower(words[0]), "/") {
	case "approve":
		yes = true
	case "deny":
	default:
		return "", false, false
	}
	code, ok = parseCode(words[1])
	return code, yes, ok
}
