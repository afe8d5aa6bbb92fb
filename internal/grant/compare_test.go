package grant

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/config"
)

func TestCompare(t *testing.T) {
	hosts := func(h config.EgressHost) func(*Request) {
		return func(r *Request) {
			edit(r, "main", func(g *config.Group) {
				g.Egress, g.EgressHosts = []string{"a.example"}, map[string]config.EgressHost{"a.example": h}
			})
		}
	}
	server := func(s config.MCPServer) func(*Request) {
		return func(r *Request) { r.Config.MCPServers = map[string]config.MCPServer{"git": s} }
	}
	tests := []struct {
		name       string
		was, is    func(*Request)
		grows, but []string // parts of lines that grow, and that shrink
	}{
		{"a mount", nil, mount("/srv/x"), []string{"mount rx /workspace/extra/x = /srv/x"}, nil},
		{"a mount becomes writable", mount("/srv/x"), func(r *Request) {
			edit(r, "main", func(g *config.Group) { g.Mounts = []config.Mount{{Path: "/srv/x", Write: true}} })
		}, []string{"mount rx /workspace/extra/x = /srv/x → mount rw"}, nil},
		{"another folder by the same name", mount("/srv/x"), mount("/opt/y/x"), []string{"/srv/x → mount rx /workspace/extra/x = /opt/y/x"}, nil},
		{"a host", nil, hosts(config.EgressHost{}), []string{"egress a.example:443"}, nil},
		{"a host to a private address", hosts(config.EgressHost{}), hosts(config.EgressHost{Private: true}), []string{"private addresses"}, nil},
		{"rules for a host", hosts(config.EgressHost{Inspect: true}), hosts(config.EgressHost{Inspect: true, Rules: []string{"GET /"}}), nil, []string{"only GET /"}},
		{"other rules", hosts(config.EgressHost{Inspect: true, Rules: []string{"GET /"}}), hosts(config.EgressHost{Inspect: true, Rules: []string{"POST /"}}), []string{"only POST /"}, nil},
		{"never a host", nil, func(r *Request) { r.Config.Egress.Deny = []string{"b.example"} }, nil, []string{"egress never b.example"}},
		{"a host is denied no more", func(r *Request) { r.Config.Egress.Deny = []string{"b.example"} }, nil, []string{"egress never b.example"}, nil},
		{"a budget", func(r *Request) { r.Config.Egress.Upload = 1 << 20 }, nil, []string{"1MB up → no bound"}, nil},
		{"a server", nil, server(config.MCPServer{Command: "git-mcp", Modes: []string{"host"}}), []string{"mcp git stdio git-mcp"}, nil},
		{"fewer tools of a server", server(config.MCPServer{Command: "g", Own: true, Modes: []string{"host"}}),
			server(config.MCPServer{Command: "g", Own: true, Modes: []string{"host"}, Tools: []string{"read"}}), nil, []string{"only read"}},
		{"another program of a server", server(config.MCPServer{Command: "g", Own: true, Modes: []string{"host"}}),
			server(config.MCPServer{Command: "h", Own: true, Modes: []string{"host"}, Tools: []string{"read"}}), []string{"mcp git own h"}, nil},
		{"a server that the mode has not", nil, server(config.MCPServer{Command: "git-mcp", Modes: []string{"container"}}), nil, nil},
		{"asked no more", func(r *Request) { r.Config.PermissionMode = "ask" }, func(r *Request) { r.Config.PermissionMode = "bypass" }, []string{"the owner is not asked"}, nil},
		{"a rule that denies", nil, func(r *Request) { r.Config.Permissions.Deny = []string{"Bash"} }, nil, []string{"rule deny Bash"}},
		{"a rule that allows", nil, func(r *Request) { r.Config.Permissions.Allow = []string{"Bash"} }, []string{"rule allow Bash"}, nil},
		{"more memory", nil, func(r *Request) { r.Config.Limits.Memory = 1 << 30 }, []string{"limit of memory: 0B → 1GB"}, nil},
		{"tool calls without a limit", func(r *Request) { r.Config.Limits.ToolCalls = 5 }, nil, []string{"limit of tool calls: 5 → none"}, nil},
		{"less time", func(r *Request) { r.Config.Limits.RunTime = config.Duration(time.Hour) }, nil, nil, []string{"limit of run time: 1h0m0s → 0s"}},
		{"another provider", nil, func(r *Request) {
			edit(r, "main", func(g *config.Group) { g.Provider = "work" })
			r.Machine.Providers = []string{"work"}
		},
			[]string{"model: that of the configuration → of provider work"}, nil},
		{"a tool of the provider", nil, func(r *Request) { edit(r, "main", func(g *config.Group) { g.ServerTools = []string{"web_search"} }) }, []string{"server tool web_search"}, nil},
		{"another agent", nil, func(r *Request) { r.Config.Agent.Kind = Shell }, []string{"agent claude → shell"}, []string{"model: that", "endpoint 127.0.0.1:8480"}},
		{"a model", nil, func(r *Request) { r.Config.Agent.Claude.Model = "opus" }, nil, nil},
		{"nothing", nil, nil, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, noA, errA := Potential(request(tt.was))
			b, noB, errB := Potential(request(tt.is))
			if errA != nil || errB != nil || noA != nil || noB != nil {
				t.Fatal(errA, errB, noA, noB)
			}
			d := Compare(a, b)
			has := func(lines, want []string) bool {
				for _, w := range want {
					if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, w) }) {
						return false
					}
				}
				return len(want) > 0 || len(lines) == 0
			}
			if !has(d.Grows, tt.grows) || tt.but != nil && !has(d.Shrinks, tt.but) || tt.but == nil && len(tt.grows) == 0 && len(d.Shrinks) > 0 {
				t.Errorf("grows %q, shrinks %q, changes %q", d.Grows, d.Shrinks, d.Changes)
			}
			back := Compare(b, a)
			if d.None() != back.None() {
				t.Errorf("one way there is a difference, the other way none: %+v, %+v", d, back)
			}
		})
	}
}

// Whatever field of a grant is another is told: one that is added to Grant cannot be
// missing in a plan.
func TestCompareMissesNoField(t *testing.T) {
	base := Grant{Group: "main", Mode: HostMode, Agent: Claude, Mounts: []Mount{{Target: "/a"}}, Env: []Var{{"A", "b", ""}}, Egress: []Host{{Pattern: "a.example"}},
		Denied: []Denied{{Pattern: "b.example"}}, Endpoints: []Endpoint{{Name: "proxy"}}, Model: &Model{}, Tools: []Tool{{Name: "t"}},
		Servers: []Server{{Name: "s", State: ServerActive}}, Settings: []Setting{{Name: ModelSetting}}, Rules: []ToolRule{{"deny", "Bash", ""}}}
	// Words, and what the boundary finds out of a path when it opens it.
	reasons := []string{"Reason", "ModeReason", "AskReason", "Fix", "Optional", "Dev", "Ino"}
	var visit func(path string, v reflect.Value)
	check := func(path string, v reflect.Value, with reflect.Value) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		before := clone(base)
		v.Set(with)
		if Compare(before, base).None() {
			t.Errorf("another %s is not told", path)
		}
		v.Set(old)
	}
	visit = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if name := v.Type().Field(i).Name; !slices.Contains(reasons, name) {
					visit(path+"."+name, v.Field(i))
				}
			}
		case reflect.Pointer:
			visit(path, v.Elem())
		case reflect.Slice:
			check(path, v, reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
			if v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct {
				visit(path+"[0]", v.Index(0))
			}
		case reflect.String:
			check(path, v, reflect.ValueOf("other").Convert(v.Type()))
		case reflect.Bool:
			check(path, v, reflect.ValueOf(!v.Bool()))
		default:
			check(path, v, reflect.ValueOf(int64(7)).Convert(v.Type()))
		}
	}
	visit("grant", reflect.ValueOf(&base).Elem())
}

// clone copies what the test changes in place.
func clone(g Grant) Grant {
	v := reflect.ValueOf(&g).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice {
			c := reflect.MakeSlice(f.Type(), f.Len(), f.Len())
			reflect.Copy(c, f)
			f.Set(c)
		}
	}
	m := *g.Model
	g.Model = &m
	return g
}

// What a group could have is told though it cannot run now.
func TestPotential(t *testing.T) {
	r := request(func(r *Request) {
		r.Group, r.ContainersOff = "work", "podman is not installed"
		edit(r, "work", func(g *config.Group) { g.Egress = []string{"a.example"} })
	})
	g, no, err := Potential(r)
	if err != nil || no == nil || no.Rule != "containers.off" || len(g.Egress) != 1 {
		t.Errorf("%+v, %v, %v", g.Egress, no, err)
	}
	r.Group = "nobody"
	if _, no, _ := Potential(r); no == nil || no.Rule != "group.unknown" {
		t.Errorf("%v", no)
	}
}
