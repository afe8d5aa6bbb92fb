package grant

import (
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

func TestStand(t *testing.T) {
	with := func(change func(*Request)) Request {
		return request(func(r *Request) {
			r.Group = "family"
			r.Config.MCPServers = map[string]config.MCPServer{
				"native":  {Command: "x", Modes: []string{"host"}, Groups: []string{"*"}},
				"boxed":   {Command: "x", Modes: []string{"container"}, Groups: []string{"*"}},
				"anytime": {Command: "x", Modes: []string{"host", "container"}, Groups: []string{"*"}},
			}
			if change != nil {
				change(r)
			}
		})
	}
	for _, tt := range []struct {
		name                string
		r                   Request
		mode, other         Mode
		refused, cannot     string
		loses, gains, never []string
	}{
		{"in host mode", with(nil), HostMode, ContainerMode, "", "",
			[]string{"the programs and libraries of this machine", "MCP server native: "}, []string{"of the image", "MCP server boxed", "runs beyond 10 in an hour"}, []string{"anytime", "/usr", "mode "}},
		{"in container mode", with(func(r *Request) {
			edit(r, "family", func(g *config.Group) { g.Mode = "container"; g.HostRunsPerHour = 3 })
		}), ContainerMode, HostMode, "", "",
			[]string{"of the image", "MCP server boxed: ", "runs beyond 3 in an hour"}, []string{"of this machine", "MCP server native"}, []string{"anytime", "/usr"}},
		{"without an opt-in", with(func(r *Request) {
			edit(r, "family", func(g *config.Group) { g.Mode, g.HostModeAllowed = "container", false })
			r.ContainersOff = "no podman"
		}), ContainerMode, HostMode, "no podman", "has not opted in", []string{"boxed"}, []string{"native"}, nil},
		{"a folder that cannot be lent", with(func(r *Request) {
			edit(r, "family", func(g *config.Group) { g.Mounts = []config.Mount{{Path: "/etc"}} })
		}), HostMode, ContainerMode, "part of the system", "part of the system", nil, nil, []string{"native"}},
	} {
		s := Stand(tt.r)
		loses, gains := strings.Join(s.Other.Loses, "\n"), strings.Join(s.Other.Gains, "\n")
		if s.Mode != tt.mode || s.Other.Mode != tt.other || !holdsOrEmpty(s.Refusal, tt.refused) || !holdsOrEmpty(s.Other.Refusal, tt.cannot) {
			t.Errorf("%s: %+v", tt.name, s)
		}
		for _, l := range []struct {
			text string
			want []string
		}{{loses, tt.loses}, {gains, tt.gains}} {
			for _, w := range l.want {
				if !strings.Contains(l.text, w) {
					t.Errorf("%s: no %q in\n%s", tt.name, w, l.text)
				}
			}
			if i := slices.IndexFunc(tt.never, func(w string) bool { return strings.Contains(l.text, w) }); i >= 0 {
				t.Errorf("%s: %q is in\n%s", tt.name, tt.never[i], l.text)
			}
		}
	}
}

// holdsOrEmpty says that a text holds words, or is empty where none are wanted.
func holdsOrEmpty(text, want string) bool {
	return want == "" && text == "" || want != "" && strings.Contains(text, want)
}
