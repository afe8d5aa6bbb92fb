package grant

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// request is a plain one: main in host mode, asked by the owner at the
// terminal, on a machine that has everything. change makes it the case at hand.
func request(change func(*Request)) Request {
	r := Request{
		Group:   chat.Main,
		Trigger: Trigger{Kind: "message", Owner: true, Terminal: true},
		Config: &config.Config{
			Agent: config.Agent{Kind: Auto}, ExecutionMode: "container",
			HostMode: config.HostMode{Enabled: true, RunsPerHour: 10},
			Groups: map[string]config.Group{
				"main":   {Mode: "host", HostModeAllowed: true},
				"family": {Mode: "host", HostModeAllowed: true},
				"work":   {},
			},
		},
		Machine: Machine{
			ClaudeState: []string{"projects"},
			OwnerHome:   "/home/ann", Private: []string{"/home/ann/.config/nanoclaw", "/home/ann/.local/share/nanoclaw"},
			GroupsDir: "/home/ann/.local/share/nanoclaw/groups", GlobalDir: "/home/ann/.local/share/nanoclaw/global",
			Claude: "/usr/local/bin/claude", HasModel: true,
		},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func edit(r *Request, group string, f func(*config.Group)) {
	g := r.Config.Groups[group]
	f(&g)
	r.Config.Groups[group] = g
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name string
		give func(*Request)
		want string // the rule
	}{
		{"unknown group", func(r *Request) { r.Group = "nobody" }, "group.unknown"},
		{"container is the default", func(r *Request) { r.Group, r.ContainersOff = "work", "podman is not installed" }, "containers.off"},
		{"mode asked for", func(r *Request) { r.Mode, r.ContainersOff = ContainerMode, "it has no image" }, "containers.off"},
		{"a mode that is none", func(r *Request) { r.Mode = "weak" }, "mode.unknown"},
		{"global switch", func(r *Request) { r.Config.HostMode.Enabled = false }, "hostmode.disabled"},
		{"no opt-in, though the mode says host", func(r *Request) { edit(r, "main", func(g *config.Group) { g.HostModeAllowed = false }) }, "hostmode.optin"},
		{"no opt-in, though the flag says host", func(r *Request) { r.Group, r.Mode = "work", HostMode }, "hostmode.optin"},
		{"the probe failed", func(r *Request) { r.HostModeOff = "the probe read a canary" }, "hostmode.off"},
		{"the eleventh run of the hour", func(r *Request) { r.Group, r.HostRuns.N = "family", 10 }, "hostmode.rate"},
		{"a group without a model never gets a shell", func(r *Request) { r.Group, r.Machine.HasModel = "family", false }, "agent.nomodel"},
		{"a provider without a credential, beside a model", func(r *Request) { edit(r, "family", func(g *config.Group) { g.Provider = "work" }); r.Group = "family" }, "agent.nomodel"},
		{"main from elsewhere than its terminal", func(r *Request) { r.Trigger.Terminal, r.Machine.HasModel = false, false }, "agent.nomodel"},
		{"main's terminal, not the owner", func(r *Request) { r.Trigger.Owner, r.Machine.HasModel = false, false }, "agent.nomodel"},
		{"a group that ran claude never falls back", func(r *Request) { r.RanClaude, r.Machine.HasModel = true, false }, "agent.nomodel"},
		{"claude by name, not installed", func(r *Request) { r.Config.Agent.Kind, r.Machine.Claude = Claude, "" }, "agent.nomodel"},
		{"--mount from elsewhere than the terminal", func(r *Request) { r.Trigger.Terminal, r.Trigger.Mounts = false, []string{"/srv/x"} }, "mount.asked"},
		{"the owner's home", mount("/home/ann"), "mount.path"},
		{"the owner's home by another spelling", mount("~/"), "mount.path"},
		{"a parent of it", mount("/home"), "mount.path"},
		{"the root", mount("/"), "mount.path"},
		{"the configuration", mount("/home/ann/.config/nanoclaw"), "mount.path"},
		{"a folder that holds the configuration", mount("/home/ann/.config"), "mount.path"},
		{"a folder within the data", mount("/home/ann/.local/share/nanoclaw/groups/work"), "mount.path"},
		{"ssh keys", mount("/home/ann/.ssh"), "mount.path"},
		{"ssh keys, other case", mount("/home/ann/.SSH"), "mount.path"},
		{"beneath a folder of credentials", mount("/home/ann/.aws/cli"), "mount.path"},
		{"part of the system", mount("/etc/apt"), "mount.path"},
		{"processes", mount("/proc/1/root"), "mount.path"},
		{"a relative path", mount("src"), "mount.path"},
		{"a newline", mount("/srv/a\nb"), "mount.path"},
		{"a colon", mount("/srv/a:b"), "mount.path"},
		{"two of one name", func(r *Request) {
			edit(r, "main", func(g *config.Group) { g.Mounts = []config.Mount{{Path: "/srv/a/x"}, {Path: "/srv/b/x"}} })
		}, "mount.name"},
		{"a tools folder with credentials", func(r *Request) { r.Config.Tools = []string{"~/.ssh"} }, "mount.path"},
		{"an egress entry that is none", func(r *Request) { edit(r, "main", func(g *config.Group) { g.Egress = []string{"*"} }) }, "egress.entry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := Decide(request(tt.give))
			var no *Refusal
			if !errors.As(err, &no) {
				t.Fatalf("got %+v and error %v, want a refusal", g, err)
			}
			if no.Rule != tt.want {
				t.Errorf("refused by %s (%v), want %s", no.Rule, no, tt.want)
			}
			if no.Text == "" {
				t.Error("a refusal without words")
			}
		})
	}
}

func mount(path string) func(*Request) {
	return func(r *Request) {
		edit(r, "main", func(g *config.Group) { g.Mounts = []config.Mount{{Path: path}} })
	}
}

func TestGranted(t *testing.T) {
	tests := []struct {
		name  string
		give  func(*Request)
		agent string
	}{
		{"main with all there", nil, Claude},
		{"main's terminal without a model", func(r *Request) { r.Machine.HasModel = false }, Shell},
		{"main's terminal without Claude Code", func(r *Request) { r.Machine.Claude = "" }, Shell},
		{"shell by name in a group", func(r *Request) {
			r.Group, r.Trigger = "family", Trigger{Kind: "message"}
			edit(r, "family", func(g *config.Group) { g.Agent = Shell })
		}, Shell},
		{"the tenth run", func(r *Request) { r.Group, r.HostRuns.N = "family", 9 }, Claude},
		{"main knows no rate", func(r *Request) { r.HostRuns.N = 1000 }, Claude},
		{"a command of the owner is no run", func(r *Request) { r.Group, r.HostRuns.N, r.Trigger.Kind = "family", 10, "exec" }, Claude},
		{"a name that only looks like a place for keys", mount("/srv/my.sshfs-notes"), Claude},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.give)
			g, err := Decide(r)
			if err != nil {
				t.Fatal(err)
			}
			if g.Agent != tt.agent || g.Mode != HostMode {
				t.Errorf("got %s in %s mode, want %s in host mode", g.Agent, g.Mode, tt.agent)
			}
		})
	}
}

// A decision depends on its request alone, so the same request gives the same
// grant, and a warm session can be compared with it.
func TestDecideIsPure(t *testing.T) {
	r := request(func(r *Request) {
		edit(r, "main", func(g *config.Group) { g.Egress, g.Mounts = []string{"@git"}, []config.Mount{{Path: "/srv/x"}} })
	})
	a, err := Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Decide(r)
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("two decisions on one request differ:\n%s", d)
	}
}

// Only main may write the shared memory, and only its own folders are
// writable for a group.
func TestWritable(t *testing.T) {
	tests := []struct {
		group chat.Group
		want  []string
	}{
		{chat.Main, []string{Workspace, Home, Global, ClaudeConfig + "/projects"}},
		{"family", []string{Workspace, Home, ClaudeConfig + "/projects"}},
	}
	for _, tt := range tests {
		g, err := Decide(request(func(r *Request) { r.Group = tt.group }))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range g.Mounts {
			if m.Write {
				got = append(got, m.Target)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s may write (-want +got):\n%s", tt.group, d)
		}
	}
}

func TestAskedMounts(t *testing.T) {
	g, err := Decide(request(func(r *Request) { r.Trigger.Mounts = []string{"/srv/app:rw", "/srv/docs"} }))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, m := range g.Mounts {
		if strings.HasPrefix(m.Target, Extra) {
			got[m.Target] = m.Write
		}
	}
	if d := cmp.Diff(map[string]bool{Extra + "/app": true, Extra + "/docs": false}, got); d != "" {
		t.Error(d)
	}
}

// Every line that may be touched says why, and a change shows as lines.
func TestPrintAndDiff(t *testing.T) {
	before, err := Decide(request(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range before.Lines()[3:] {
		if !strings.Contains(l, "  # ") && !strings.HasPrefix(l, "limit ") {
			t.Errorf("no reason on %q", l)
		}
	}
	after, err := Decide(request(mount("/srv/x")))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"+ mount rx /workspace/extra/x = /srv/x  # groups.main.mounts"}
	if d := cmp.Diff(want, Diff(before, after)); d != "" {
		t.Error(d)
	}
}

// The environment is a list made here: nothing of the host's is in it, and no
// name comes twice.
func TestEnvironment(t *testing.T) {
	t.Setenv("NANOCLAW_TEST_SECRET", "leak")
	g, err := Decide(request(func(r *Request) {
		r.Machine.ClaudeEnv = []Var{{"ANTHROPIC_API_KEY", "placeholder", "x"}, {"HOME", "/root", "x"}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, v := range g.Env {
		if _, dup := seen[v.Name]; dup {
			t.Errorf("%s comes twice", v.Name)
		}
		seen[v.Name] = v.Value
	}
	if seen["HOME"] != Home || seen["ANTHROPIC_API_KEY"] != "placeholder" {
		t.Errorf("HOME=%s ANTHROPIC_API_KEY=%s", seen["HOME"], seen["ANTHROPIC_API_KEY"])
	}
	if _, leaked := seen["NANOCLAW_TEST_SECRET"]; leaked {
		t.Error("a variable of the host is in the grant")
	}
}

func BenchmarkDecide(b *testing.B) {
	r := request(func(r *Request) {
		edit(r, "main", func(g *config.Group) { g.Egress, g.Mounts = []string{"@git", "@npm"}, []config.Mount{{Path: "/srv/x"}} })
	})
	for b.Loop() {
		if _, err := Decide(r); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRateSaysWhenItOpens(t *testing.T) {
	opens := time.Date(2026, 11, 22, 10, 25, 0, 0, time.UTC)
	_, err := Decide(request(func(r *Request) { r.Group, r.HostRuns = "family", Count{10, opens} }))
	if w, ok := errors.AsType[*Wait](err); !ok || !w.Until.Equal(opens) || w.Window.Sub(opens) != time.Hour {
		t.Errorf("got %v, want the time when it opens", err)
	}
}
