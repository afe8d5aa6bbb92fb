package config

import (
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	getenv := fakeEnv(map[string]string{"A": "1", "B_2": "${A}", "_": "u", "EMPTY": ""})
	tests := []struct {
		name, text string
		want, err  string
	}{
		{"nothing", "plain", "plain", ""},
		{"one", "${A}", "1", ""},
		{"several", "x${A}y${_}z", "x1yuz", ""},
		{"content is not expanded", "${B_2}", "${A}", ""},
		{"content and text do not join to a reference", "$${A}${A}", "${A}1", ""},
		{"a dollar from content escapes nothing", "${D:-$}${A}", "$1", ""},
		{"default", "${NOPE:-d:-e}", "d:-e", ""},
		{"default unused", "${A:-d}", "1", ""},
		{"default for empty", "${EMPTY:-d}", "d", ""},
		{"empty default", "${NOPE:-}", "", ""},
		{"escape", "$${A}", "${A}", ""},
		{"escape after a dollar", "$$${A}", "$${A}", ""},
		{"lone dollars", "$ $A $$ }{$", "$ $A $$ }{$", ""},
		{"unset", "x${NOPE}", "", "the variable NOPE to be set, found it unset or empty"},
		{"empty", "${EMPTY}", "", "the variable EMPTY to be set"},
		{"not closed", "a${A", "", `a closing } after ${, found "${A"`},
		{"no name", "${}", "", "the name of a variable"},
		{"bad name", "${1A}", "", `the name of a variable in ${…}, found "1A"`},
		{"spaces", "${ A }", "", "the name of a variable"},
		{"shell operators", "${A:?x}", "", "the name of a variable"},
		{"reference in default", "${NOPE:-${A}}", "", "a plain default"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := expand(test.text, getenv)
			text := ""
			if err != nil {
				text = err.expected + ", found " + err.found
			}
			if got != test.want || !strings.HasPrefix(text, test.err) || (err == nil) != (test.err == "") {
				t.Errorf("got %q, error %q", got, text)
			}
		})
	}
}

// FuzzExpand: never panics, resolves a text without references to itself, and
// escape is the inverse whatever the text holds.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "${A}", "$${A}", "$$${A}", "${A:-x}", "${", "$", "${A:-${B}}", "}${${}"} {
		f.Add(s, "v${A}")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		asked := 0
		getenv := func(string) string { asked++; return value }
		got, err := expand(text, getenv)
		if !strings.Contains(text, "${") && (err != nil || got != text) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
		if n := strings.Count(text, "${"); asked > n {
			t.Errorf("%d look-ups for %d references in %q", asked, n, text)
		}
		asked = 0
		if back, err := expand(escape(text), getenv); err != nil || back != text || asked > 0 {
			t.Errorf("escaped %q became %q, %v, %d look-ups", text, back, err, asked)
		}
	})
}
