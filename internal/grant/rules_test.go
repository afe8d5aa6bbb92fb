package grant

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	for _, text := range []string{"", "GET", "GET ", "GET x", "/x", " /x", "get /x", "GET, /x", "GET /a b", "GET /a?b", "GET /a#b", "GET /%41", `GET /a\b`,
		"GET //a", "GET /a//b", "GET /a/../b", "GET /.", "GET /a**", "GET /**b/c", "CONNECT /x", "GET,CONNECT /", "GET /\xff", "GET /" + strings.Repeat("x", maxRule)} {
		if r, err := ParseRule(text); err == nil {
			t.Errorf("%q is the rule %+v", text, r)
		}
	}
}

func TestRules(t *testing.T) {
	tests := []struct {
		rule, method, path string
		want               bool
	}{
		{"GET /repos/**", "GET", "/repos/a/b", true},
		{"GET /repos/**", "GET", "/repos/", true},
		{"GET /repos/**", "GET", "/repos", true},
		{"GET /repos/**", "GET", "/reposx", false},
		{"GET /repos/**", "GET", "/x/repos/a", false},
		{"GET /repos/**", "HEAD", "/repos/a", false},
		{"GET,HEAD /repos/**", "HEAD", "/repos/a", true},
		{"* /repos/**", "DELETE", "/repos/a", true},
		{"* /**", "PUT", "/", true},
		{"GET /", "GET", "/", true},
		{"GET /", "GET", "/x", false},
		{"GET /a/", "GET", "/a", false},
		{"GET /a", "GET", "/a/", false},
		{"GET /a/*/c", "GET", "/a/b/c", true},
		{"GET /a/*/c", "GET", "/a/b/b/c", false},
		{"GET /a/*/c", "GET", "/a//c", false},
		{"GET /a/**/c", "GET", "/a/c", true},
		{"GET /a/**/c", "GET", "/a/c/x/c", true},
		{"GET /a/**/c", "GET", "/a/c/x", false},
		{"GET /img/*.png", "GET", "/img/a.png", true},
		{"GET /img/*.png", "GET", "/img/a.png.exe", false},
		{"GET /img/*.png", "GET", "/img/a/b.png", false},
		{"GET /img/a*b*c", "GET", "/img/aXbYbZc", true},
		{"GET /Repos", "GET", "/repos", false},
		{"GET /ä ", "GET", "/%C3%A4", false},
		{"GET /ä", "GET", "/%C3%A4", true},
		{"GET /a", "GET", "/%61", true},
		{"GET /a/b", "GET", "/a%2Fb", false},
		{"GET /a/**", "GET", "/a/%2e%2e/b", false},
		{"GET /a/**", "GET", "/a/..;/b", false},
		{"GET /a/**", "GET", "/a/...", true},
		{"GET /a;x=1", "GET", "/a;x=1", true},
	}
	for _, tt := range tests {
		_, err := Host{Terms: Terms{Rules: []string{"POST /other", tt.rule}}}.Permits(tt.method, tt.path)
		if (err == nil) != tt.want {
			t.Errorf("%s for %s %s: %v, want %v", tt.rule, tt.method, tt.path, err, tt.want)
		}
	}
	if rule, err := (Host{}).Permits("DELETE", "/a/../b"); rule != "" || err != nil {
		t.Errorf("a host without rules: %q, %v", rule, err)
	}
}

// FuzzRules compares with a regular expression made of the same rule, and checks
// that a path which passes is one that no server takes for another: decoding and
// cleaning it in the usual ways changes nothing.
func FuzzRules(f *testing.F) {
	for _, s := range [][2]string{{"/repos/**", "/repos/a%20b"}, {"/a/*/c", "/a/../c"}, {"/*.png", "/%2e%2e/x.png"}, {"/**/x", "//x"}, {"/a*b*c", "/abcabc"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, escaped string) {
		if _, err := ParseRule("GET " + pattern); err != nil {
			return
		}
		h := Host{Terms: Terms{Rules: []string{"GET " + pattern}}}
		_, err := h.Permits("GET", escaped)
		plain, ambiguous := PlainPath(escaped)
		if ambiguous != nil {
			if err == nil || !errors.Is(ambiguous, ErrAmbiguous) {
				t.Fatalf("%q is ambiguous (%v), and yet %v", escaped, ambiguous, err)
			}
			return
		}
		if want := expression(pattern).MatchString(plain); (err == nil) != want {
			t.Fatalf("%s and %q: %v, the expression says %v", pattern, plain, err, want)
		}
		again, err := url.PathUnescape(plain)
		if clean := path.Clean(plain); err != nil || again != plain || clean != plain && clean+"/" != plain {
			t.Fatalf("%q reads as %q, then as %q and %q (%v)", escaped, plain, again, clean, err)
		}
		u, err := url.ParseRequestURI(escaped)
		if err == nil && !strings.ContainsAny(escaped, "?#") && u.Path != plain {
			t.Fatalf("%q: package url reads %q, we %q", escaped, u.Path, plain)
		}
	})
}

// expression says what a pattern means, in other words.
func expression(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("(?s)^")
	for i, s := range strings.Split(pattern[1:], "/") {
		switch {
		case s == "**" && i == 0:
			b.WriteString("(/[^/]*)*")
		case s == "**":
			b.WriteString("(/[^/]*)*")
		default:
			b.WriteString("/")
			b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, "[^/]*"))
		}
	}
	b.WriteString("$")
	return regexp.MustCompile(b.String())
}
