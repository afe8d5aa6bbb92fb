package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} and ${NAME:-default} in one string value of the file.
//
//   - ${NAME} is the variable's content. A variable that is not set, or is
//     empty, is an error: an empty credential is as wrong as a missing one.
//   - ${NAME:-default} is the default in that case. The default goes to the
//     next "}" and is taken as it stands.
//   - $${ is a literal ${. Every other $ is itself.
//
// What a variable holds is never looked at again, so its content cannot pull
// in another variable. Nil getenv has no variables.
func expand(s string, getenv func(string) string) (string, *expandError) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		body, tail, closed := strings.Cut(s[i+2:], "}")
		if !closed {
			return "", &expandError{expected: "a closing } after ${", found: quote(s[i:]), hint: "write $${ for a literal ${"}
		}
		value, err := lookUp(body, getenv)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		s = tail
	}
}

// expandError is what is wrong with a reference, as the parts of a Problem.
type expandError struct {
	expected, found, hint string
	unresolved            bool
}

// lookUp resolves the inside of one ${…}.
func lookUp(body string, getenv func(string) string) (string, *expandError) {
	name, fallback, hasFallback := strings.Cut(body, ":-")
	if !variableName(name) {
		return "", &expandError{
			expected: "the name of a variable in ${…}",
			found:    quote(body),
			hint:     "write ${NAME} or ${NAME:-default}, and $${ for a literal ${",
		}
	}
	if strings.Contains(fallback, "${") {
		return "", &expandError{expected: "a plain default in ${" + name + ":-…}", found: "another ${ inside it"}
	}
	if getenv != nil {
		if value := getenv(name); value != "" {
			return value, nil
		}
	}
	if hasFallback {
		return fallback, nil
	}
	return "", &expandError{
		expected:   "the variable " + clip(name) + " to be set",
		found:      "it unset or empty",
		hint:       fmt.Sprintf("set %s where nanoclaw starts, or write ${%s:-default}", clip(name), clip(name)),
		unresolved: true,
	}
}

// variableName says whether s is a name as POSIX shells have it.
func variableName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// escape is the inverse of expand: expanding its result gives s back.
func escape(s string) string { return strings.ReplaceAll(s, "${", "$${") }

// refers says whether a text that expand accepts holds a reference.
func refers(s string) bool {
	return strings.Count(s, "${") > strings.Count(s, "$${")
}
