package approval

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
)

// alphabet is Crockford's base 32 in lower case: no letters that look alike.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const codeLen = 8

// alike takes out what people write between, and reads letters as the digits that
// they look like.
var alike = strings.NewReplacer("-", "", "o", "0", "i", "1", "l", "1")

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
	if len(s) > 2*codeLen || strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) { // some others have an ASCII lower case
		return "", false
	}
	s = alike.Replace(strings.ToLower(s))
	if len(s) != codeLen || strings.Trim(s, alphabet) != "" || !strings.ContainsAny(s, "0123456789") {
		return "", false
	}
	return s, true
}

// Written is a code in the one way in which questions have it, "" for none.
func Written(s string) string {
	code, ok := parseCode(s)
	if !ok {
		return ""
	}
	return spaced(code)
}

// Reply is an answer as somebody wrote it.
type Reply struct {
	Code string
	Yes  bool
	// Choice is the word after the code, "" for none.
	Choice string
}

// ParseReply says whether a chat message is an answer to a question of the host:
// "approve CODE" or "deny CODE", in any case, with a slash, the program's name or a
// mention before it if one likes, and a word of choice after it. Anything else is
// a message to the agent.
func ParseReply(text string) (r Reply, ok bool) {
	words := strings.Fields(strings.TrimRight(text, " \t\r\n.!"))
	if len(words) >= 3 && (strings.HasPrefix(words[0], "@") || strings.EqualFold(strings.TrimPrefix(words[0], "/"), "nanoclaw")) {
		words = words[1:]
	}
	if len(words) != 2 && len(words) != 3 {
		return Reply{}, false
	}
	switch strings.TrimPrefix(strings.ToLower(words[0]), "/") {
	case "approve":
		r.Yes = true
	case "deny":
	default:
		return Reply{}, false
	}
	if r.Code, ok = parseCode(words[1]); !ok {
		return Reply{}, false
	}
	if len(words) == 3 {
		r.Choice = strings.ToLower(words[2])
	}
	return r, true
}

// howTo says how a question is answered, and where if that matters.
func howTo(a Asked) string {
	var b strings.Builder
	if len(a.Choices) == 0 {
		fmt.Fprintf(&b, "To allow this%s, answer: approve %s\n", once(a.Grows), a.Code)
	}
	for i, c := range a.Choices {
		fmt.Fprintf(&b, "To allow it %s, answer: approve %s %s", c.Says, a.Code, c.Word)
		if i == 0 {
			b.WriteString(", or without the last word")
		}
		if c.Grows && !a.Grows {
			b.WriteString(" (" + growsIn + ")")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "To refuse it: deny %s\n", a.Code)
	switch {
	case a.Grows:
		b.WriteString("It lasts, so a yes counts only " + growsIn + ".\n")
	case a.OtherChat:
		b.WriteString("A yes counts only in another chat than the one in which it was asked for, or in the terminal.\n")
	}
	if a.FourEyes {
		b.WriteString("Whoever asked for it cannot say yes.\n")
	}
	fmt.Fprintf(&b, "No answer until %s is a no. (%s)", a.Until.Local().Format("2006-01-02 15:04:05"), a.Hash[:12])
	return b.String()
}

const growsIn = "in the terminal or in another chat of the owner"

func once(grows bool) string {
	if grows {
		return ""
	}
	return " once"
}
