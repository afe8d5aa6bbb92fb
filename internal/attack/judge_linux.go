package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/attack/inside"
	"nanoclaw/internal/boundary"
)

// result is what came of one attempt, and what was done about what it left.
type result struct {
	inside.Result
	after string
}

// gvisorAsRoot is what root starts in gVisor.
const gvisorAsRoot = boundary.GVisor + ", as root"

// kinds are the names by which Line.OpenBy speaks of an engine: its own, and those of
// a kernel that it puts between.
func (r *run) kinds(ctx context.Context, user string) []string {
	list := []string{r.Engine.Name()}
	if e, ok := r.Engine.(boundary.Engine); ok && boundary.KernelOf(ctx, e) == boundary.GVisor {
		list = append(list, boundary.GVisor)
		if user == "root" {
			list = append(list, gvisorAsRoot)
		}
	}
	return list
}

// openBy is why an engine of these kinds does not stop a line, if it does not.
func (l Line) openBy(kinds []string) (why string, ok bool) {
	for _, k := range kinds {
		if why, ok = l.OpenBy[k]; ok {
			return why, true
		}
	}
	return "", false
}

// judge makes the outcome of a line from what its attempts came to and from what
// the host found afterwards.
func judge(l Line, kinds []string, results []result, found []finding) Outcome {
	if !l.tried() && len(l.After) == 0 {
		return Outcome{Line: l.ID, State: Elsewhere, Detail: strings.Join(l.Shown, ", ")}
	}
	made := make(map[string]bool)
	var broke, held []string
	state := Held
	for _, r := range results {
		made[r.Name] = true
		if text := r.Name + ": " + r.Detail; r.Broke && r.after != "" {
			held, state = append(held, text+", "+r.after), Cleared
		} else if r.Broke {
			broke = append(broke, text)
		} else {
			held = append(held, text)
		}
	}
	for _, name := range inside.Attempts()[l.ID] {
		if !made[name] {
			return Outcome{Line: l.ID, State: Missing, Detail: name}
		}
	}
	for _, f := range found {
		if f.concerns(l) {
			broke = append(broke, f.String())
		}
	}
	byEngine, partly := l.openBy(kinds)
	switch {
	case partly && len(broke) > 0:
		return Outcome{Line: l.ID, State: Open, Detail: byEngine}
	case l.Open != "" && len(held) == 0:
		return Outcome{Line: l.ID, State: Open, Detail: l.Open}
	case l.Open != "" || partly:
		return Outcome{Line: l.ID, State: Shut, Detail: strings.Join(held, "; ")}
	case len(broke) > 0:
		return Outcome{Line: l.ID, State: Broke, Detail: strings.Join(broke, "; ")}
	}
	if len(held) == 0 {
		held = []string{"the host looked, and found nothing"}
	}
	return Outcome{Line: l.ID, State: state, Detail: strings.Join(held, "; ")}
}

// finding is what the host found changed.
type finding struct {
	what   check
	line   string // the one line that it is about, or ""
	detail string
}

func (f finding) String() string { return fmt.Sprintf("afterwards, %s: %s", f.what, f.detail) }

// concerns says whether a finding counts against a line.
func (f finding) concerns(l Line) bool {
	if f.line != "" {
		return f.line == l.ID
	}
	return slices.Contains(l.After, f.what)
}
