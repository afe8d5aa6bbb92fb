package seatbelt

import (
	"fmt"
	"path"
	"strings"

	"nanoclaw/internal/grant"
)

// View is a folder that stands for a mount with another mount in it. Without
// mounts the inner one cannot appear in the outer one's folder; so the agent is
// told of a folder of the session, with links to what is in the outer one, and by
// the inner one's name to that. A link opens nothing: what it leads to is judged.
type View struct {
	// Target and Source are the outer mount's.
	Target, Source string
	// Links are the inner mounts' sources, by their names in the folder.
	Links map[string]string
}

// Views are those that a grant needs, in the order of its mounts.
func Views(g grant.Grant) ([]View, error) {
	var out []View
	for _, outer := range g.Mounts {
		if outer.Held || outer.Source == outer.Target {
			continue // a part of a mount, or at its own place: nobody looks for another mount in it
		}
		v := View{Target: outer.Target, Source: Real(outer.Source), Links: map[string]string{}}
		for _, inner := range g.Mounts {
			name, ok := strings.CutPrefix(inner.Target, outer.Target+"/")
			if !ok || inner.Held || Real(inner.Source) == path.Join(v.Source, name) {
				continue
			}
			if strings.Contains(name, "/") {
				return nil, fmt.Errorf("%s lies in %s more than one folder deep, which macOS cannot show", inner.Target, outer.Target)
			}
			if outer.Write {
				return nil, fmt.Errorf("%s lies in %s, which can be written: macOS cannot show one in the other", inner.Target, outer.Target)
			}
			v.Links[name] = Real(inner.Source)
		}
		if len(v.Links) > 0 {
			out = append(out, v)
		}
	}
	return out, nil
}
