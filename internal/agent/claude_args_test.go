package agent

import (
	"slices"
	"testing"
)

// The search of the model's provider is offered where the grant has it, and not
// where somebody else took it away.
func TestServerToolsAreOffered(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want bool // taken away
	}{
		{"not granted", Options{}, true},
		{"another one granted", Options{ServerTools: []string{"web_fetch", "code_execution"}}, true},
		{"granted", Options{ServerTools: []string{"web_search"}}, false},
		{"granted and disallowed", Options{ServerTools: []string{"web_search"}, Disallow: []string{"WebSearch"}}, true},
	} {
		got := disallowed(tt.o)
		if slices.Contains(got, "WebSearch") != tt.want || !slices.Contains(got, "CronCreate") {
			t.Errorf("%s: %q is taken away", tt.name, got)
		}
	}
	if !slices.Contains(unwanted, "WebSearch") {
		t.Error("the list itself was changed")
	}
}
