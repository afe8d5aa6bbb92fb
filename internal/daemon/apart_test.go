package daemon

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// ownersClaude is the owner's own Claude Code: the same program, outside, with
// the home of the owner and nothing of ours.
type ownersClaude struct {
	t   *testing.T
	env []string
	dir string
}

func newOwnersClaude(t *testing.T, i *install, m *agenttest.Model) ownersClaude {
	t.Helper()
	tmp, err := os.MkdirTemp("", "cc") // short: it holds Unix sockets
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(tmp) })
	dir := filepath.Join(i.home, "work")
	must(t, os.MkdirAll(dir, 0o755))
	return ownersClaude{t, []string{
		"HOME=" + i.home, "PATH=/usr/bin:/bin", "TMPDIR=" + tmp, "CLAUDE_CODE_TMPDIR=" + tmp, "IS_SANDBOX=1",
		"ANTHROPIC_BASE_URL=" + m.URL, "ANTHROPIC_API_KEY=the-owners-own", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
	}, dir}
}

func (o ownersClaude) command(args ...string) *osexec.Cmd {
	cmd := osexec.CommandContext(o.t.Context(), agenttest.Claude(o.t), append([]string{"-p", "--permission-mode", "bypassPermissions"}, args...)...)
	cmd.Env, cmd.Dir = o.env, o.dir
	return cmd
}

// says runs one prompt to its end and gives all that it wrote.
func (o ownersClaude) says(args ...string) string {
	o.t.Helper()
	out, _ := o.command(args...).CombinedOutput() // a failure is an answer too
	return string(out)
}

// stays begins a session that takes a message and lives on until the test ends.
// It gives the session's id.
func (o ownersClaude) stays(text string) (session string) {
	o.t.Helper()
	cmd := o.command("--output-format", "stream-json", "--input-format", "stream-json", "--verbose")
	in, err := cmd.StdinPipe()
	must(o.t, err)
	out, err := cmd.StdoutPipe()
	must(o.t, err)
	must(o.t, cmd.Start())
	o.t.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := json.Marshal(map[string]any{"type": "user", "message": map[string]string{"role": "user", "content": text}})
	must(o.t, err)
	_, err = in.Write(append(line, '\n'))
	must(o.t, err)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		must(o.t, err)
		var l struct {
			Type    string `json:"type"`
			Session string `json:"session_id"`
		}
		must(o.t, json.Unmarshal(line, &l))
		if l.Type == "result" {
			return l.Session
		}
	}
}

// tree is what lies below a folder, by path, with its contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(p)
		out[p] = string(text)
		return err
	}))
	return out
}

// Two groups and the owner's own Claude Code never see each other's sessions:
// not by the tools that find and write to other sessions of a machine, not by
// resuming one, not on disk; also where the daemon's environment, the workspace,
// the home and the agent itself say that the configuration lies elsewhere.
func TestSessionsAreApart(t *testing.T) {
	i, m := claudeInstall(t)
	own := newOwnersClaude(t, i, m)
	for _, v := range own.env[2:4] { // the daemon is started from where the owner works
		name, value, _ := strings.Cut(v, "=")
		i.env[name] = value
	}
	i.env["CLAUDE_CONFIG_DIR"] = filepath.Join(i.home, ".claude")
	ownID := own.stays("words-of-the-owner")
	d, _ := i.run()
	must(t, d.prepare(t.Context(), "family"))
	mislead(t, d, i.home)

	saidWell(t, d, chat.Main, "words-of-main")
	saidWell(t, d, "family", "words-of-family")
	ids := map[chat.Group]string{}
	for _, g := range []chat.Group{chat.Main, "family"} {
		state, err := d.store.Remembered(t.Context(), g, "")
		must(t, err)
		ids[g] = state.AgentSession
	}
	before := tree(t, i.home)

	// The tool is taken away from a group's agent. A Claude Code that the agent
	// starts itself has it, and whatever settings the agent likes. Written so that
	// the words of the command do not find themselves.
	inside := func(where, prompt, more string) string {
		return fmt.Sprintf("bash: cd /tmp; env HOME=%s CLAUDE_CONFIG_DIR=%s/.claude TMPDIR=%s CLAUDE_CODE_TMPDIR=%s IS_SANDBOX=1 timeout 60 /opt/claude/claude -p --permission-mode bypassPermissions %s '%s' </dev/null 2>&1",
			where, where, strings.TrimPrefix(own.env[2], "TMPDIR="), strings.TrimPrefix(own.env[2], "TMPDIR="), more, prompt)
	}
	a := saidWell(t, d, "family", strings.Join([]string{
		"tool: ListAgents {}",
		inside(i.home, "tool: ListAgents {}", ""),
		inside(i.home, "go on", "--resume "+ownID),
		inside("/home/agent", "go on", "--resume "+ids[chat.Main]),
		"bash: echo $HOME $CLAUDE_CONFIG_DIR; ls -d /tmp/cc* /tmp/claude* " + own.env[2][len("TMPDIR="):] + "; grep -rho -e words-of-[m]ain -e words-of-[f]amily -e words-of-[t]he-owner /home /tmp /workspace $CLAUDE_CONFIG_DIR 2>/dev/null | sort -u",
	}, "\n"))
	for _, leak := range []string{"Peer sessions", "words-of-main", "words-of-the-owner", "work-"} {
		if strings.Contains(a.text(), leak) {
			t.Errorf("family found %q", leak)
		}
	}
	for what, want := range map[string]string{
		"its own conversation": "words-of-family", "its own configuration": "/home/agent /opt/claude/config",
		"no such session": "No conversation found",
	} {
		if !strings.Contains(a.text(), want) {
			t.Errorf("%s: %q is not in the answer", what, want)
		}
	}

	// The owner's own sees its other session, and no group's.
	list := own.says("tool: ListAgents {}")
	if !strings.Contains(list, "Peer sessions (1)") {
		t.Errorf("the owner's own Claude Code sees: %s", list)
	}
	if out := own.says("--resume", ids["family"], "go on"); !strings.Contains(out, "No conversation found") {
		t.Errorf("the owner's own Claude Code resumes the session of family: %s", out)
	}
	for p, text := range tree(t, i.home) {
		if strings.Contains(text, "words-of-main") || strings.Contains(text, "words-of-family") {
			t.Errorf("a group's words are in %s", p)
		}
		delete(before, p)
	}
	if len(before) != 0 {
		t.Errorf("files of the owner are gone: %v", before)
	}
}

// mislead plants what points to another home and configuration in all places
// that family's agent can write, and Claude Code or its shell might read.
func mislead(t *testing.T, d *Daemon, home string) {
	t.Helper()
	dir := d.machine.GroupDir("family")
	settings := fmt.Sprintf(`{"env":{"HOME":%q,"CLAUDE_CONFIG_DIR":%q}}`, home, home+"/.claude")
	shell := fmt.Sprintf("export HOME=%s CLAUDE_CONFIG_DIR=%s/.claude\n", home, home)
	for name, text := range map[string]string{
		"workspace/.claude/settings.json": settings, "workspace/.claude/settings.local.json": settings, "home/.claude/settings.json": settings,
		"workspace/.env": shell, "workspace/.envrc": shell, "home/.claude.json": settings,
	} {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte(text), 0o644))
	}
}

// A folder of a group that is the owner's own Claude Code's, by whatever link, is
// refused at the start, and later before a session.
func TestOwnersClaudeIsRefused(t *testing.T) {
	elsewhere := func(i *install) string { return filepath.Join(i.home, ".claude") }
	link := func(to func(*install) string, from string) func(*testing.T, *install) {
		return func(t *testing.T, i *install) {
			from := filepath.Join(i.paths.DataDir, from)
			must(t, os.MkdirAll(filepath.Dir(from), 0o700))
			must(t, os.Symlink(to(i), from))
		}
	}
	tests := []struct {
		name string
		do   func(*testing.T, *install)
	}{
		{"the configuration", link(elsewhere, "groups/family/claude/config")},
		{"what a group remembers", link(elsewhere, "groups/family/claude")},
		{"a part of it", link(func(i *install) string { return elsewhere(i) + "/projects" }, "groups/family/claude/projects")},
		{"a home that holds it", link(func(i *install) string { return i.home }, "groups/main/home")},
		{"the folder of all groups", link(elsewhere, "groups")},
		{"the owner's is a link to ours", func(t *testing.T, i *install) {
			must(t, os.RemoveAll(elsewhere(i)))
			dir := filepath.Join(i.paths.DataDir, "groups/family/claude")
			must(t, os.MkdirAll(dir, 0o700))
			must(t, os.Symlink(dir, elsewhere(i)))
		}},
		{"two links", func(t *testing.T, i *install) {
			must(t, os.Symlink(elsewhere(i), filepath.Join(i.home, "other")))
			link(func(i *install) string { return filepath.Join(i.home, "other", "new") }, "groups/family")(t, i)
		}},
		{"the owner's is where CLAUDE_CONFIG_DIR says", func(t *testing.T, i *install) {
			i.env["CLAUDE_CONFIG_DIR"] = filepath.Join(i.paths.DataDir, "groups/family/home/cc")
			must(t, os.MkdirAll(i.env["CLAUDE_CONFIG_DIR"], 0o700))
		}},
		{"the whole data folder", func(t *testing.T, i *install) {
			i.env["CLAUDE_CONFIG_DIR"] = filepath.Dir(i.paths.DataDir)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newInstall(t, hostConfig)
			must(t, os.MkdirAll(filepath.Join(elsewhere(i), "projects"), 0o700))
			d := i.open()
			tt.do(t, i)
			if d.apart("family", chat.Main) == nil && i.env["CLAUDE_CONFIG_DIR"] == "" {
				t.Error("a session is not refused after the start")
			}
			must(t, d.Close())
			d, err := Open(t.Context(), i.options())
			if err == nil {
				must(t, d.Close())
			}
			if err == nil || !strings.Contains(err.Error(), "the folder of your own Claude Code") {
				t.Errorf("the start says %v", err)
			}
		})
	}
	// And none of its folders can be given to a group.
	i := newInstall(t, strings.Replace(hostConfig, `"family": {`, `"family": {"mounts": [{"path": "~/cc"}], `, 1))
	i.env["CLAUDE_CONFIG_DIR"] = filepath.Join(i.home, "cc/deep")
	d := i.open()
	defer d.Close()
	if p, err := d.Policy(t.Context(), control.PolicyQuery{Group: "family"}); err != nil || !strings.Contains(p.Refusal, "your own Claude Code") {
		t.Errorf("the grant is refused with %q, %v", p.Refusal, err)
	}
}
