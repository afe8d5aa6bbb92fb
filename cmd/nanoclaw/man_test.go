package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The page has every verb and every flag that a person can see, and no order that is
// none of ours.
func TestManualPage(t *testing.T) {
	b := newBench(t, nil)
	page := b.run("", "man")
	if page.code != 0 {
		t.Fatalf("%+v", page)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Hidden || sub.Name() == "help" {
				continue
			}
			if sub.Runnable() && !strings.Contains(page.out, "\n.SS "+quoted(sub.UseLine())+"\n") {
				t.Errorf("%s is not in the page", sub.CommandPath())
			}
			walk(sub)
		}
	}
	walk(newApp().root())
	orders := map[string]bool{"TH": true, "nh": true, "ad": true, "SH": true, "SS": true, "PP": true, "TP": true, "B": true, "I": true, "RI": true, "IR": true, "RS": true, "RE": true, "nf": true, "fi": true}
	for line := range strings.Lines(page.out) {
		if order, ok := strings.CutPrefix(line, "."); ok && !orders[strings.Fields(order + " ")[0]] || strings.HasPrefix(line, "'") {
			t.Errorf("roff would not understand %q", line)
		}
	}
	for _, flag := range []string{`.B \-\-dry\-run`, `.B \-g, \-\-group string`, `.B \-\-json`} {
		if !strings.Contains(page.out, "\n"+flag+"\n") {
			t.Errorf("%s is not in the page", flag)
		}
	}
}

func TestRoff(t *testing.T) {
	if got, want := roff(".x a-b\n'y \\n"), "\\&.x a\\-b\n\\&'y \\en"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
