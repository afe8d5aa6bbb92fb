package grant

import (
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
)

// Other is what a group would lose and gain in the mode that it is not in.
type Other struct {
	Mode Mode `json:"mode"`
	// Refusal says why it could not run there now, "" if it could.
	Refusal string   `json:"refusal,omitempty"`
	Loses   []string `json:"loses,omitempty"`
	Gains   []string `json:"gains,omitempty"`
}

// Standing is the mode of a group, and what the other one would be.
type Standing struct {
	Group   chat.Group `json:"group"`
	Mode    Mode       `json:"mode"`
	Reason  string     `json:"reason"` // the line of the configuration
	Refusal string     `json:"refusal,omitempty"`
	Other   Other      `json:"other"`
}

// Stand compares both modes of a group, whether or not it can run in them now.
func Stand(r Request) Standing {
	group := r.Config.Groups[string(r.Group)]
	s := Standing{Group: r.Group}
	s.Mode, s.Reason = resolveMode(r, group)
	here, no, err := Potential(r)
	s.Refusal = words(no, err)
	s.Other.Mode = ContainerMode
	if s.Mode == ContainerMode {
		s.Other.Mode = HostMode
	}
	r.Mode = s.Other.Mode
	there, no, otherErr := Potential(r)
	s.Other.Refusal = words(no, otherErr)
	if err != nil || otherErr != nil {
		return s
	}
	s.Other.Loses, s.Other.Gains = missing(here, there), missing(there, here)
	programs := []string{"the programs and libraries of this machine, in place of the image's", "the programs and libraries of the image, in place of this machine's"}
	limit := fmt.Sprintf("runs beyond %d in an hour", r.hostLimit(group))
	if s.Mode == ContainerMode {
		slices.Reverse(programs)
	}
	s.Other.Loses = append([]string{programs[0]}, s.Other.Loses...)
	s.Other.Gains = append([]string{programs[1]}, s.Other.Gains...)
	switch {
	case r.Group == chat.Main:
	case s.Mode == HostMode:
		s.Other.Gains = append(s.Other.Gains, limit)
	default:
		s.Other.Loses = append(s.Other.Loses, limit)
	}
	return s
}

// words are why a group cannot run, on one line.
func words(no *Refusal, err error) string {
	switch {
	case err != nil:
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	case no != nil:
		return strings.ReplaceAll(no.Error(), "\n", "; ")
	}
	return ""
}

// missing is what grant a has and b has not, without the system itself: MCP servers
// with the reason, and else the lines of what would be given up.
func missing(a, b Grant) (out []string) {
	there := map[string]Server{}
	for _, s := range b.Servers {
		there[s.Name] = s
	}
	for _, s := range active(a.Servers) {
		o, ok := there[s.Name]
		switch {
		case ok && o.Active():
		case ok && o.Reason != "":
			out = append(out, fmt.Sprintf("MCP server %s: %s", s.Name, o.Reason))
		default:
			out = append(out, "MCP server "+s.Name)
		}
	}
	lines := func(g Grant) Grant {
		g.Mode, g.Servers, g.Env, g.Endpoints = "", nil, nil, nil
		g.Mounts = slices.DeleteFunc(slices.Clone(g.Mounts), func(m Mount) bool { return m.Optional || m.Image })
		return g
	}
	return append(out, Compare(lines(b), lines(a)).Grows...)
}
