package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/demo"
)

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  []string
	}{
		{"one two three", 0, []string{"one two three"}},
		{"one two three", 7, []string{"one two", "three"}},
		{"/a/long/path ok", 6, []string{"/a/lon", "g/path", "ok"}},
		{"äöü äöü", 3, []string{"äöü", "äöü"}},
		{"", 5, []string{""}},
	} {
		if got := fold(tt.text, tt.width); !cmp.Equal(got, tt.want) {
			t.Errorf("fold(%q, %d) = %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

// No line is wider than the screen, down to a phone's; an agent's words cannot steer
// the terminal; colours are there only where they are wanted.
func TestStageFitsTheScreen(t *testing.T) {
	r := demo.Result{
		Name: "keys", Said: "cat /place/owner/.ssh/id_ed25519 " + strings.Repeat("x", 90), Answer: "no\x1b[2Jsuch\u202efile",
		Layer: "root of its own", Why: "nothing of that name is there", Entries: []demo.Entry{{ID: 7, Text: "run succeeded"}}, Bare: "reads it",
	}
	for _, width := range []int{20, 40, 80, 200} {
		var out strings.Builder
		s := &stage{w: &out, width: func() int { return width }, dir: "/place"}
		s.attempt(3, 13, demo.Attempts()[2])
		s.result(r)
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%d signs on a screen of %d: %q", n, width, line)
			}
		}
		if text := out.String(); strings.ContainsAny(text, "\x1b\u202e") || strings.Contains(text, "/place") || !strings.Contains(text, "…/owner") {
			t.Errorf("width %d:\n%q", width, text)
		}
	}
	var out strings.Builder
	s := &stage{w: &out, colour: true}
	s.result(demo.Result{Through: true, Evidence: "it is there"})
	if !strings.Contains(out.String(), bad+"IT GOT THROUGH: it is there"+plain) {
		t.Errorf("%q", out.String())
	}
}
