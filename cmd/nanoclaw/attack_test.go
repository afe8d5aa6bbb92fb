package main

import (
	"testing"

	"nanoclaw/internal/control"
)

// All is well only if something was attacked and every line came out as it
// should.
func TestHeld(t *testing.T) {
	line := func(good ...bool) control.Attacked {
		var a control.Attacked
		for _, g := range good {
			a.Lines = append(a.Lines, control.AttackLine{Good: g})
		}
		return a
	}
	for _, c := range []struct {
		name string
		give []control.Attacked
		want bool
	}{
		{"nothing was attacked", nil, false},
		{"all held", []control.Attacked{line(true, true), line(true)}, true},
		{"one line of one engine did not", []control.Attacked{line(true, true), line(true, false)}, false},
	} {
		if got := held(control.Attacks{Engines: c.give}); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
