package sbpl

import (
	"errors"
	"strings"
)

// common refuses a regular expression with a part that might not mean the same
// to Seatbelt and to package regexp: counts, classes by name, lazy repetitions,
// flags, a backslash before what needs none.
func common(expr string) error {
	class, repeated := false, false
	for i := 0; i < len(expr); i++ {
		c := expr[i]
		was := repeated
		repeated = false
		switch {
		case class:
			if c == '\\' || c == '[' {
				return errors.New("a set of characters with a backslash or a bracket in it")
			}
			class = c != ']'
		case c == '[':
			class = true
			if strings.HasPrefix(expr[i+1:], "^") {
				i++
			}
			if strings.HasPrefix(expr[i+1:], "]") {
				return errors.New("a set of characters that begins with its end")
			}
		case c == '\\':
			i++
			if i == len(expr) || !strings.ContainsRune(`.^$*+?()[]{}|\/`, rune(expr[i])) {
				return errors.New("a backslash that escapes nothing")
			}
		case c == '*' || c == '+' || c == '?':
			if was || i == 0 || expr[i-1] == '(' && (i < 2 || expr[i-2] != '\\') {
				return errors.New("a repetition of nothing, or of a repetition")
			}
			repeated = true
		case c == '{' || c == '}':
			return errors.New("a count")
		}
	}
	return nil
}
