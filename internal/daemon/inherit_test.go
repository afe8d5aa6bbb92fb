package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

const plainServer = `{"mcpServers": {"mine": {"command": "mine-mcp"}}}`

// Servers of the owner's own Claude Code are read from its two files, the first
// before the second, and reach whom globalMcpInheritance says. Those of projects
// are not read.
func TestInheritedServersAreRead(t *testing.T) {
	for inheritance, want := range map[string]string{"main-only": "main: mine old; family:", "all-groups": "main: mine old; family: mine old", "none": "main:; family:"} {
		t.Run(inheritance, func(t *testing.T) {
			i := inheriting(t, inheritance)
			i.own(t, `"mine": {"command": "mine-mcp"}`)
			i.settings(t, ".claude/settings.json", `{"mcpServers": {"mine": {"command": "other"}, "old": {"command": "old-mcp"}}}`)
			d, said := opened(t, i)
			defer d.Close()
			var got []string
			for _, g := range []chat.Group{chat.Main, "family"} {
				text := string(g) + ":"
				list, err := d.Servers(t.Context(), control.ServersQuery{Group: g})
				must(t, err)
				for _, s := range list {
					text += " " + s.Name
				}
				got = append(got, text)
			}
			if text := strings.Join(got, "; "); text != want {
				t.Errorf("got %s", text)
			}
			if inheritance != "none" && !strings.Contains(said, "~/.claude/settings.json: mcpServers.mine is left out, since ~/.claude.json: mcpServers.mine goes before it") {
				t.Errorf("said %s", said)
			}
		})
	}
}

// What others could have written, what is no file, or what is too much is not
// read, and said; everything else starts.
func TestInheritedFilesThatAreNotTrusted(t *testing.T) {
	tests := []struct {
		name string
		make func(home string) error
		want string
	}{
		{"a link", func(home string) error {
			return errors.Join(os.WriteFile(filepath.Join(home, "real"), []byte(plainServer), 0o600), os.Symlink("real", filepath.Join(home, ".claude.json")))
		}, "~/.claude.json: its MCP servers are left out: it cannot be opened as a file without following a link"},
		{"a folder that is a link", func(home string) error {
			dir := filepath.Join(home, "real")
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "settings.json"), []byte(plainServer), 0o600), os.Symlink("real", filepath.Join(home, ".claude")))
		}, "~/.claude cannot be opened without following a link"},
		{"a pipe", func(home string) error { return syscall.Mkfifo(filepath.Join(home, ".claude.json"), 0o600) }, "cannot be opened as a file"},
		{"a folder", func(home string) error { return os.Mkdir(filepath.Join(home, ".claude.json"), 0o700) }, "cannot be opened as a file"},
		{"a file that others may write", func(home string) error {
			p := filepath.Join(home, ".claude.json")
			return errors.Join(os.WriteFile(p, []byte(plainServer), 0o600), os.Chmod(p, 0o622))
		}, "can be changed by others"},
		{"a folder that others may write", func(home string) error {
			dir := filepath.Join(home, ".claude")
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "settings.json"), []byte(plainServer), 0o600), os.Chmod(dir, 0o777))
		}, "~/.claude can be changed by others"},
		{"a home that others may write", func(home string) error {
			return errors.Join(os.WriteFile(filepath.Join(home, ".claude.json"), []byte(plainServer), 0o600), os.Chmod(home, 0o777))
		}, "can be changed by others"},
		{"too long", func(home string) error {
			p := filepath.Join(home, ".claude.json")
			return errors.Join(os.WriteFile(p, []byte(plainServer), 0o600), os.Truncate(p, maxOwnFile+1))
		}, "larger than 16 MiB"},
		{"something else", func(home string) error {
			return os.WriteFile(filepath.Join(home, ".claude.json"), []byte(`{"mcpServers": "canary"`), 0o600)
		}, "not in the form of Claude Code's settings"},
	}
	if os.Geteuid() == 0 {
		tests = append(tests, struct {
			name string
			make func(home string) error
			want string
		}{"a file of somebody else", func(home string) error {
			p := filepath.Join(home, ".claude.json")
			return errors.Join(os.WriteFile(p, []byte(plainServer), 0o600), os.Chown(p, 54321, 54321))
		}, "belongs to uid 54321"})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := inheriting(t, "all-groups")
			must(t, test.make(i.home))
			d, said := opened(t, i)
			defer d.Close()
			if !strings.Contains(said, test.want) || strings.Contains(said, "canary") {
				t.Errorf("said %s", said)
			}
			if _, ok := d.config.MCPServers["mine"]; ok {
				t.Error("it was read")
			}
		})
	}
}

// A change of what the files say of servers holds the runs of those who have them,
// and nothing of it is taken up; whatever else Claude Code writes there does not
// matter.
func TestInheritedServersThatChange(t *testing.T) {
	i := inheriting(t, "main-only")
	i.own(t, `"mine": {"command": "mine-mcp"}`)
	d, _ := opened(t, i)
	defer d.Close()
	decide := func(g chat.Group) error {
		_, err := d.decide(t.Context(), g, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
		return err
	}
	free := func(when string) {
		t.Helper()
		for _, g := range []chat.Group{chat.Main, "family"} {
			if err := decide(g); err != nil || d.queue.Rests(g) != "" {
				t.Errorf("%s: %s is held: %v, %s", when, g, err, d.queue.Rests(g))
			}
		}
	}
	free("at first")
	i.settings(t, ".claude.json", `{"numStartups": 4, "mcpServers": {"mine": { "command":"mine-mcp" }}}`)
	free("after a start of Claude Code")
	for _, change := range []string{
		`{"mcpServers": {"mine": {"command": "mine-mcp", "args": ["-x"]}}}`, `{"mcpServers": {}}`, `{`,
	} {
		i.settings(t, ".claude.json", change)
		if err := decide(chat.Main); !errors.Is(err, runner.ErrHeld) || !strings.Contains(d.queue.Rests(chat.Main), "~/.claude.json") {
			t.Errorf("%s: main goes on: %v", change, err)
		}
		if err := decide("family"); err != nil || d.queue.Rests("family") != "" {
			t.Errorf("%s: family, which has none of it, is held: %v", change, err)
		}
		if s := d.config.MCPServers["mine"]; s.Command != "mine-mcp" || len(s.Args) != 0 {
			t.Errorf("%s: it was taken up: %+v", change, s)
		}
	}
	must(t, os.Remove(filepath.Join(i.home, ".claude.json")))
	if err := decide(chat.Main); !errors.Is(err, runner.ErrHeld) {
		t.Errorf("main goes on without the file: %v", err)
	}
	all, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.ConfigChanged)})
	must(t, err)
	if len(all) != 1 || all[0].Group != chat.Main {
		t.Errorf("recorded %+v", all)
	}
	if p, err := d.ConfigPlan(t.Context()); err != nil || !p.Security || !strings.Contains(p.Text, "mine") {
		t.Errorf("the plan is %+v, %v", p, err)
	}
	i.settings(t, ".claude.json", plainServer)
	d.watchInherited(t.Context())
	free("put back")
	if p, err := d.ConfigPlan(t.Context()); err != nil || !p.None {
		t.Errorf("put back, the plan is %+v, %v", p, err)
	}
}

// A server that no group ever has is told about at the start.
func TestServersThatNobodyHas(t *testing.T) {
	i := inheriting(t, "none", `"boxed": {"command": "x", "modes": ["container"], "groups": ["main", "family"]}, "fine": {"command": "x", "modes": ["host"]}`)
	d, said := opened(t, i)
	defer d.Close()
	want := "MCP server boxed: no group ever has it, since it is there in mode container alone, and main is in host mode, family is in host mode (mcpServers.boxed)"
	if !strings.Contains(said, want) || strings.Contains(said, "server fine") {
		t.Errorf("said %s", said)
	}
	if missing := strings.Join(d.missingServers(), "\n"); !strings.Contains(missing, `boxed of family is left out: mcpServers.boxed.modes has no "host"`) || strings.Contains(missing, "fine") {
		t.Errorf("status: %s", missing)
	}
}

// inheriting is an installation whose home holds nothing yet.
func inheriting(t *testing.T, inheritance string, servers ...string) *install {
	t.Helper()
	i, _ := serverInstall(t, "")
	text := readTest(t, i.options().Paths.Config)
	text = strings.Replace(text, `"mcpServers": {}`, fmt.Sprintf(`"globalMcpInheritance": %q, "mcpServers": {%s}`, inheritance, strings.Join(servers, ", ")), 1)
	i.configure(text)
	return i
}

// opened opens a daemon and gives what it said.
func opened(t *testing.T, i *install) (*Daemon, string) {
	t.Helper()
	o := i.options()
	var said []string
	o.Say = func(text string) { said = append(said, text) }
	d, err := Open(t.Context(), o)
	must(t, err)
	return d, strings.Join(said, "\n")
}

func (i *install) settings(t *testing.T, name, text string) {
	t.Helper()
	p := filepath.Join(i.home, name)
	must(t, os.MkdirAll(filepath.Dir(p), 0o700))
	must(t, os.WriteFile(p, []byte(text), 0o600))
}
