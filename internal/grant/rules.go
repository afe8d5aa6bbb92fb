package grant

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a rule, so that matching stays cheap whatever is asked.
const (
	maxRule     = 512
	maxSegments = 256
)

// Rule is one line of what may be asked of a host: methods, and a pattern of
// paths. The query is not looked at.
type Rule struct {
	text     string
	methods  []string // nil is every method
	segments []string // between slashes
}

// String is the rule as it was written.
func (r Rule) String() string { return r.text }

// ParseRule reads a rule:
//
//	GET /repos/**              and everything below /repos, itself included
//	GET,HEAD /repos/*/issues   one folder of any name between
//	* /v1/chat                 any method
//	GET /img/*.png             a part of a name
//
// Methods are compared as they are written, and so are paths: no server has to
// think that /Repos is /repos.
func ParseRule(text string) (Rule, error) {
	r := Rule{text: text}
	methods, path, ok := strings.Cut(text, " ")
	if !ok || methods == "" || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#%\\") || len(text) > maxRule || !utf8.ValidString(text) {
		return r, fmt.Errorf("the rule %q is not METHOD[,METHOD] /PATH, the path without query and escapes", printable(text))
	}
	if methods != "*" {
		r.methods = strings.Split(methods, ",")
	}
	for _, m := range r.methods {
		if m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return r, fmt.Errorf("the rule %q has %q for a method: write it in capitals, such as GET", printable(text), printable(m))
		}
		if m == http.MethodConnect {
			return r, fmt.Errorf("the rule %q allows CONNECT, which asks a host for a tunnel to another one", printable(text))
		}
	}
	r.segments = strings.Split(path[1:], "/")
	for i, s := range r.segments {
		last := i == len(r.segments)-1
		if s == "." || s == ".." || s == "" && !last || strings.Contains(s, "**") && s != "**" {
			return r, fmt.Errorf("the rule %q has a path with //, a folder of dots, or ** beside other letters", printable(text))
		}
	}
	return r, nil
}

// ErrAmbiguous is in the error of PlainPath.
var ErrAmbiguous = errors.New("the path has more than one reading")

// PlainPath decodes the path of a request, escapes and all, for judging it by
// rules. What servers read differently is refused, since a rule would judge one
// reading and the server serve another: dot segments, empty segments,
// backslashes, and slashes, percent signs, control characters or bytes that are
// no UTF-8 behind an escape.
func PlainPath(escaped string) (string, error) {
	if !strings.HasPrefix(escaped, "/") {
		return "", fmt.Errorf("%w: it does not begin with /", ErrAmbiguous)
	}
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("%w: it has a broken escape", ErrAmbiguous)
	}
	switch {
	case strings.Count(path, "/") != strings.Count(escaped, "/"):
		return "", fmt.Errorf("%w: it has an escaped slash", ErrAmbiguous)
	case strings.Contains(path, "//"):
		return "", fmt.Errorf("%w: it has two slashes side by side", ErrAmbiguous)
	case strings.ContainsAny(path, "\\%") || !utf8.ValidString(path):
		return "", fmt.Errorf("%w: it has a backslash, an escaped percent sign or bytes that are no text", ErrAmbiguous)
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("%w: it has a control character", ErrAmbiguous)
	}
	segments := strings.Split(path[1:], "/")
	if len(segments) > maxSegments {
		return "", fmt.Errorf("%w: it is more than %d folders deep", ErrAmbiguous, maxSegments)
	}
	for _, s := range segments {
		// Some servers cut parameters off at ';' before they look at dots.
		if s, _, _ := strings.Cut(s, ";"); s == "." || s == ".." {
			return "", fmt.Errorf("%w: it has a segment of dots", ErrAmbiguous)
		}
	}
	return path, nil
}

// Permits says which of the host's rules lets a request pass, "" if the host has
// none. The path is as in the request, without the query. The error says why it
// does not pass.
func (h Host) Permits(method, escaped string) (rule string, err error) {
	if len(h.Rules) == 0 {
		return "", nil
	}
	path, err := PlainPath(escaped)
	if err != nil {
		return "", err
	}
	for _, text := range h.Rules {
		r, err := ParseRule(text)
		if err != nil {
			return "", err
		}
		if r.match(method, path) {
			return text, nil
		}
	}
	return "", errors.New("no rule of the host lets this request pass")
}

// match takes a path of PlainPath.
func (r Rule) match(method, path string) bool {
	if r.methods != nil && !slices.Contains(r.methods, method) {
		return false
	}
	return glob(r.segments, strings.Split(path[1:], "/"), func(s string) bool { return s == "**" }, func(pattern, s string) bool {
		return glob([]byte(pattern), []byte(s), func(c byte) bool { return c == '*' }, func(a, b byte) bool { return a == b })
	})
}

// glob matches a pattern whose stars stand for any number of elements. Going
// back to the last star is enough, so it takes at most len(pattern)·len(s) steps.
func glob[T any](pattern, s []T, star func(T) bool, equal func(pattern, s T) bool) bool {
	p, i, back, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && star(pattern[p]):
			back, from = p, i
			p++
		case p < len(pattern) && equal(pattern[p], s[i]):
			p++
			i++
		case back >= 0:
			from++
			p, i = back+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && star(pattern[p]) {
		p++
	}
	return p == len(pattern)
}
