package daemon

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

// lendConfig gives family a folder to write.
const lendConfig = `{
	"version": 1,
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"family": {"mode": "host", "hostModeAllowed": true, "mounts": [{"path": %q, "name": "project", "write": true}]},
	},
}`

// lentProject makes an installation with a folder of the owner that is a git
// repository and belongs to an ordinary user.
func lentProject(t *testing.T) (i *install, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "project")
	must(t, os.MkdirAll(filepath.Join(dir, ".github"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n"), 0o644))
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", "."}, {"add", "."},
		{"-c", "user.name=o", "-c", "user.email=o@example.org", "commit", "-q", "-m", "first"},
	} {
		cmd := osexec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	if os.Geteuid() == 0 {
		must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error { return os.Lchown(p, 64123, 64123) }))
	}
	return newInstall(t, fmt.Sprintf(lendConfig, dir)), dir
}

// held reads what waits for the owner in their own chat.
func ownerHears(t *testing.T, d *Daemon, want string) string {
	t.Helper()
	term, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	defer term.Close()
	for {
		m, _, err := term.Next(t.Context())
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if m != nil && strings.Contains(m.Text, want) {
			return m.Text
		}
	}
}

// What an agent leaves that would run as the owner later is gone when its answer
// is there, lies in the quarantine, and is told: in the owner's chat, in the
// group's, in the audit log. What the folder held before is as it was.
func TestDelayedEscapesAreMovedAway(t *testing.T) {
	i, dir := lentProject(t)
	d, _ := i.run()
	config, err := os.ReadFile(filepath.Join(dir, ".git/config"))
	must(t, err)
	a := ask(t, d, "family", `cd /workspace/extra/project
		rm -rf .git/hooks 2>/dev/null; echo evil >> .git/config; git config core.fsmonitor x
		mkdir -p sub/.git/hooks .github/workflows; echo evil > sub/.git/hooks/post-checkout; echo evil > .github/workflows/x.yml
		ln -s / .vscode; mkfifo .envrc; echo work > main.go; echo follow > CLAUDE.md
		(setsid sh -c 'while :; do echo evil > .mcp.json; done' >/dev/null 2>&1 &)
		while ! test -e .mcp.json; do :; done; echo done`)
	if a.State != control.Succeeded || !strings.Contains(a.text(), "done\n") {
		t.Fatalf("%+v: %s", a.Answer, a.text())
	}
	if !strings.Contains(a.text(), "would run code on the owner's machine later") || strings.Contains(a.text(), dir) {
		t.Errorf("the group hears: %s", a.text())
	}
	for _, p := range []string{"sub/.git/hooks", ".github/workflows", ".vscode", ".envrc", ".mcp.json"} {
		if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
			t.Errorf("%s is still there", p)
		}
		if got, _ := filepath.Glob(filepath.Join(d.quarantineDir(), "*", "*", filepath.Base(p))); len(got) != 1 {
			t.Errorf("in the quarantine, %s: %v", p, got)
		}
	}
	now, err := os.ReadFile(filepath.Join(dir, ".git/config"))
	must(t, err)
	if string(now) != string(config) {
		t.Errorf("the configuration of git is %q", now)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "main.go")); string(text) != "work\n" {
		t.Errorf("the agent's work: %q", text)
	}
	told := ownerHears(t, d, "worked in "+dir)
	for _, want := range []string{"sub/.git/hooks (git hooks)", ".vscode (editor settings)", "CLAUDE.md (instructions for agents): new", string(a.Run), "\nPut it back with: nanoclaw quarantine restore s", "kept for 90d"} {
		if !strings.Contains(told, want) {
			t.Errorf("the owner is not told of %s:\n%s", want, told)
		}
	}
	order := kinds(t, d, a.Run)
	found, moved, ended := slices.Index(order, "delayed.found"), slices.Index(order, "delayed.moved"), slices.Index(order, "run.ended")
	if found < 0 || moved < found || ended < moved {
		t.Errorf("the audit has %v", order)
	}
	if left, _ := os.ReadDir(d.recordsDir()); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
	// A run that leaves nothing is told nothing.
	if a := ask(t, d, "family", "cd /workspace/extra/project && git status --short"); strings.Contains(a.text(), "later") || slices.Contains(kinds(t, d, a.Run), "delayed.found") {
		t.Errorf("a second run: %s", a.text())
	}
}

// The owner's own command is looked after as well, before its end is told.
func TestDelayedEscapesOfACommand(t *testing.T) {
	i, dir := lentProject(t)
	d, _ := i.run()
	p, err := d.Exec(t.Context(), control.ExecRequest{Group: "family", Argv: []string{"/bin/sh", "-c", "echo evil > /workspace/extra/project/.envrc"}})
	must(t, err)
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, p.Close())
	if _, err := os.Lstat(filepath.Join(dir, ".envrc")); err == nil {
		t.Error(".envrc is still there")
	}
	if got := p.(control.Reporter).Report(); !strings.Contains(got, ".envrc (environment of a folder)") {
		t.Errorf("it says %q", got)
	}
}

// What a session left is found also if the daemon was killed before it looked.
func TestDelayedEscapesAfterAKill(t *testing.T) {
	i, dir := lentProject(t)
	d := i.open()
	r, err := d.request(t.Context(), "family", grant.Trigger{Kind: "message"})
	must(t, err)
	g, err := grant.Decide(r)
	must(t, err)
	_, gd, err := d.guard(t.Context(), g)
	must(t, err)
	must(t, gd.Begin(t.Context(), runner.Caller{Group: "family", Session: "s1", Run: func() chat.RunID { return "r1" }}, func(error) {}))
	must(t, d.Close()) // no look: this daemon is gone
	must(t, os.WriteFile(filepath.Join(dir, ".envrc"), []byte("evil"), 0o644))
	d, _ = i.run()
	if told := ownerHears(t, d, "worked in "+dir); !strings.Contains(told, ".envrc") || !strings.Contains(told, "run r1") {
		t.Errorf("the owner is told %q", told)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".envrc")); err == nil {
		t.Error(".envrc is still there")
	}
	if left, _ := os.ReadDir(d.recordsDir()); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
}

// If a held file is replaced by the owner meanwhile, the mount goes with its old
// name. The session ends at once, and that is said.
func TestHeldFileReplacedMeanwhile(t *testing.T) {
	i, dir := lentProject(t)
	d, _ := i.run()
	began := filepath.Join(dir, "began")
	go func() {
		for t.Context().Err() == nil {
			if _, err := os.Stat(began); err == nil {
				os.WriteFile(filepath.Join(dir, ".git/config.lock"), []byte("[user]\n\tname = owner\n"), 0o644)
				os.Rename(filepath.Join(dir, ".git/config.lock"), filepath.Join(dir, ".git/config"))
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	a := ask(t, d, "family", "cd /workspace/extra/project; touch began; sleep 300; echo slept")
	if a.State != string(runner.Failed) || !strings.Contains(a.text(), ".git/config in project was replaced on this machine") {
		t.Errorf("%+v: %s", a.Answer, a.text())
	}
	if told := ownerHears(t, d, "worked in "+dir); !strings.Contains(told, "it was replaced on this machine while it was held") {
		t.Errorf("the owner is told %q", told)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, ".git/config")); !strings.Contains(string(text), "name = owner") {
		t.Errorf("the owner's new configuration is %q", text)
	}
}

// A folder that cannot be searched to its end, or is a place itself, is not
// given away; the refusal says why and what to do.
func TestFoldersThatAreNotLent(t *testing.T) {
	i, dir := lentProject(t)
	d, _ := i.run()
	must(t, os.Symlink(".", filepath.Join(dir, ".vscode")))
	a := ask(t, d, "family", "echo ran")
	if a.State != control.Refused || !strings.Contains(a.text(), "link to a folder around itself") || !strings.Contains(a.text(), "read-only") {
		t.Errorf("%+v: %s", a.Answer, a.text())
	}
	must(t, os.Remove(filepath.Join(dir, ".vscode")))
	_, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}, Mounts: []string{filepath.Join(dir, ".git/hooks") + ":rw"}})
	if code(err) != control.CodeRefused || !strings.Contains(err.Error(), "git hooks") {
		t.Errorf("hooks themselves: %v", err)
	}
}

// policy show and explain tell what is held, and what would be moved away.
func TestPolicyTellsWhatIsHeld(t *testing.T) {
	i, dir := lentProject(t)
	d := i.open()
	const at = grant.Extra + "/project"
	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: "family", Render: "native", Explain: []string{
		"write:" + at + "/.git/config", "create:" + at + "/.git/hooks/x", "rename:" + at + "/.git", "create:" + at + "/.envrc",
		"create:" + at + "/new.go", "write:" + at + "/main.go", "write:" + at + "/CLAUDE.md", "create:" + filepath.Join(dir, "sub/.VSCode"),
	}})
	must(t, err)
	type line struct {
		Allowed bool
		Why     string
	}
	var got []line
	for _, a := range p.Answers {
		if a.Allow != "" || a.Line == "" {
			t.Errorf("%s: line %q, allow %q", a.Question, a.Line, a.Allow)
		}
		got = append(got, line{a.Allowed, a.Why})
	}
	const held = "the agent could leave there what runs as you later; new files of that kind are moved away when the run ends"
	const later = ": runs code on this machine later, so it is moved away when the run ends, if it is new"
	want := []line{
		{false, held}, {false, held}, {false, "it is there from the start of the session and can be neither replaced nor moved"},
		{true, "environment of a folder" + later}, {true, ""}, {true, ""}, {true, "instructions for agents: you are told when it is new or changed"},
		{true, "editor settings" + later},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, want := range []string{
		"mount r-x " + at + "/.git/config = " + dir + "/.git/config (file) (held)", "mount rwx " + at + "/.git = " + dir + "/.git (held)",
	} {
		if !strings.Contains(p.RenderedText, want) {
			t.Errorf("the rendering lacks %q:\n%s", want, p.RenderedText)
		}
	}
	if !strings.Contains(p.Text, "# git hooks: runs code on this machine later, so it is read-only") || !json.Valid(p.Grant) {
		t.Error(p.Text)
	}
}

// Files that reach elsewhere are told about once, before the agent may write.
func TestOddFilesAreTold(t *testing.T) {
	i, dir := lentProject(t)
	must(t, os.WriteFile(filepath.Join(dir, "linked"), nil, 0o644))
	must(t, os.Link(filepath.Join(dir, "linked"), dir+".other-name"))
	d, _ := i.run()
	a := ask(t, d, "family", "echo hi")
	if !slices.Contains(kinds(t, d, a.Run), "delayed.odd") {
		t.Errorf("the audit has %v", kinds(t, d, a.Run))
	}
	if told := ownerHears(t, d, "reach elsewhere"); !strings.Contains(told, "linked (it has another name elsewhere") {
		t.Errorf("the owner is told %q", told)
	}
}

// In the group's own workspace nothing is moved, and changes are told.
func TestWorkspaceChangesAreTold(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	a := ask(t, d, chat.Main, "mkdir -p .vscode src && echo x > .vscode/tasks.json && echo y > src/code.go && echo done")
	if !strings.Contains(a.text(), "changed files in its workspace that run code where they are used: .vscode/tasks.json (editor settings)") || strings.Contains(a.text(), "code.go") {
		t.Errorf("the owner is told %q", a.text())
	}
	if a := ask(t, d, chat.Main, "cat .vscode/tasks.json"); strings.TrimSpace(a.text()) != "x" {
		t.Errorf("after it: %q", a.text())
	}
	a = ask(t, d, "family", "echo x > .bashrc && printf 'x\\033[2J' > ./.mise.'\n'.toml")
	if strings.Contains(a.text(), "workspace") {
		t.Errorf("the group is told %q", a.text())
	}
	if told := ownerHears(t, d, "The agent of family"); !strings.Contains(told, ".bashrc (shell start-up)") || strings.Count(told, "\n") > 0 {
		t.Errorf("the owner is told %q", told)
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: "run.ended"})
	must(t, err)
	if len(entries) != 1 || !strings.Contains(string(entries[0].Data), ".bashrc (shell start-up)") {
		t.Errorf("the audit has %s", entries[0].Data)
	}
}

// However much is held in a folder, the whole grant is in the record of a run.
func TestGrantWithManyHeldPartsIsRecorded(t *testing.T) {
	i, dir := lentProject(t)
	const folders = 200
	for n := range folders {
		p := filepath.Join(dir, fmt.Sprintf("%03d-%s", n, strings.Repeat("n", 120)))
		must(t, os.Mkdir(p, 0o755))
		must(t, os.WriteFile(filepath.Join(p, ".envrc"), nil, 0o644))
	}
	d, _ := i.run()
	a := ask(t, d, "family", "echo hi")
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: "run.started"})
	must(t, err)
	one, err := d.AuditList(t.Context(), control.AuditQuery{ID: entries[0].ID})
	must(t, err)
	var whole, brief struct {
		Mode  string
		Grant struct {
			Mounts []grant.Mount
			Held   map[string]int
		}
	}
	must(t, json.Unmarshal(one[0].Whole, &whole))
	must(t, json.Unmarshal(one[0].Data, &brief))
	held := 0
	for _, m := range whole.Grant.Mounts {
		if m.Held && strings.HasSuffix(m.Target, "/.envrc") {
			held++
		}
	}
	if held != folders || brief.Mode != "host" || brief.Grant.Held[grant.Extra+"/project"] < folders || len(brief.Grant.Mounts) == 0 {
		t.Errorf("the record holds %d of %d, and in brief %s", held, folders, one[0].Data)
	}
}
