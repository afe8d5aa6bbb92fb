package imports

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/imports/importstest"
	"nanoclaw/internal/store"
	"nanoclaw/internal/task"
)

const family = "120363@g.us"

// fixture makes an installation, changed by files and more SQL.
func fixture(t *testing.T, schema, more string, change ...func(dir string)) string {
	t.Helper()
	dir := t.TempDir()
	if err := importstest.Write(dir, schema, importstest.Rows+more, importstest.Files); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(dir)
	}
	return dir
}

func open(t *testing.T, dir, policy string) *Installation {
	t.Helper()
	in, err := Open(context.Background(), Options{Dir: dir, Policy: policy, Keep: time.Now().AddDate(0, 0, -90)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

func wishes(in *Installation) Wishes {
	c := config.Default()
	return Wishes{
		From: in.Dir, Config: &c, Zone: "UTC", Now: time.Now().UTC(), HostMode: func(chat.Group) bool { return false },
		Real: func(p string) string { r, _ := filepath.EvalSymlinks(p); return r },
	}
}

// because gives the reason why something was left, "" if it was not.
func because(left []Left, what string) string {
	for _, l := range left {
		if strings.Contains(l.What, what) {
			return l.Because
		}
	}
	return ""
}

func TestPlanOfEachVersion(t *testing.T) {
	for name, schema := range map[string]string{"1.0": importstest.V1, "1.2": importstest.V12, "fork": importstest.Fork} {
		t.Run(name, func(t *testing.T) {
			more := ""
			if name == "1.2" {
				more = `UPDATE registered_groups SET is_main = 1, folder = 'whatsapp_main' WHERE folder = 'main';`
			}
			in := open(t, fixture(t, schema, more), "")
			p := Make(&in.Old, wishes(in))
			var got []string
			for _, g := range p.Groups {
				got = append(got, fmt.Sprintf("%s %s %s session %v, %d messages, %d tasks", g.Name, strings.Join(g.Chats, " "), g.Trigger, g.Session != "", g.Messages, len(g.Tasks)))
			}
			want := []string{
				"main whatsapp:491701111111@s.whatsapp.net  session false, 0 messages, 0 tasks",
				"family whatsapp:120363@g.us  session true, 4 messages, 2 tasks",
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if p.Credential != "api-key" || p.Global.Files != 1 {
				t.Errorf("credential %q, %d files of the global memory; want api-key and 1", p.Credential, p.Global.Files)
			}
			for what, want := range map[string]string{
				"messages of chat 120363@g.us":      "retention.messages",
				"1 tasks that were done":            "over",
				"groups/family/logs":                "run logs",
				"who may speak in 120363@g.us":      "everybody did",
				"who may speak in 491701111111@":    "main is yours alone",
				"the link to WhatsApp (store/auth)": "link the account anew",
			} {
				if got := because(p.Left, what); !strings.Contains(got, want) {
					t.Errorf("%s is left because %q; want %q in it", what, got, want)
				}
			}
		})
	}
}

// tree lists all of a folder, with what its files hold and when they were changed.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		text := []byte{}
		if fi.Mode().IsRegular() && fi.Size() < 1<<20 {
			if text, err = os.ReadFile(p); err != nil {
				return err
			}
		}
		out[strings.TrimPrefix(p, dir)] = fmt.Sprint(fi.Mode(), fi.ModTime().UnixNano(), string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// here is a new installation to import into.
type here struct {
	data  string
	store *store.Store
	in    *Installation
	w     Wishes
	speak map[string]bool
}

func newHere(t *testing.T, in *Installation) *here {
	t.Helper()
	h := &here{data: t.TempDir(), in: in, w: wishes(in), speak: map[string]bool{}}
	s, err := store.Open(context.Background(), h.data, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h.store = s
	return h
}

func (h *here) machine() grant.Machine {
	return grant.Machine{GroupsDir: filepath.Join(h.data, "groups"), GlobalDir: filepath.Join(h.data, "global")}
}

// run imports once, and gives the plan and the report.
func (h *here) run(t *testing.T) (Plan, Report) {
	t.Helper()
	ctx := context.Background()
	var err error
	if h.w.Notes, err = Notes(ctx, h.store.Reader, &h.in.Old, nil); err != nil {
		t.Fatal(err)
	}
	p := Make(&h.in.Old, h.w)
	if err := p.Begin(ctx, h.store, time.Now()); err != nil {
		t.Fatal(err)
	}
	r, err := h.in.Apply(ctx, p, Target{
		Store: h.store, Machine: h.machine(), Config: h.w.Config, Memory: "ours", Global: "ours", Now: time.Now,
		UID:    func(context.Context, chat.Group) (int, error) { return uid(), nil },
		Speaks: func(_ chat.Group, sender string) bool { return h.speak[sender] },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, r
}

// uid is whom the folders of groups belong to in the tests.
func uid() int {
	if os.Geteuid() == 0 {
		return 54321
	}
	return 0
}

// owned says whose each file of a folder is that is not ours to be.
func owned(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		if want := uint32(max(uid(), os.Geteuid())); st.Uid != want || uint32(st.Mode)&0o077 != 0 && (uid() == 0 || filepath.Base(dir) != "global") {
			t.Errorf("%s belongs to uid %d and has mode %o; want uid %d and nothing for others", p, st.Uid, st.Mode, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (h *here) file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.data, name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestApply(t *testing.T) {
	dir := fixture(t, importstest.V12, "")
	before := listing(t, dir)
	in := open(t, dir, "")
	h := newHere(t, in)
	h.speak["whatsapp:491702222222@s.whatsapp.net"] = true
	_, r := h.run(t)
	want := []Done{{Group: "main", Files: 2}, {Group: "family", Files: 3, Messages: 4, Tasks: 2, Session: true}}
	if d := cmp.Diff(want, r.Groups); d != "" {
		t.Error(d)
	}
	for name, want := range map[string]string{
		"groups/main/workspace/CLAUDE.md":                  "# Main\nI am Andy.\n",
		"groups/family/workspace/CLAUDE.md":                "# Family\nBob likes cake.\n",
		"groups/family/workspace/conversations/2026-02.md": "**User**: hello\n",
		"global/CLAUDE.md":                                 "# For all\nBe kind.\n",
		"groups/family/claude/projects/-workspace-group/" + importstest.Session + ".jsonl": `{"type":"user","message":{"content":"hello"}}` + "\n",
		"groups/family/workspace/logs/container-1.log":                                     "open " + filepath.Join(h.data, "groups/family/workspace/logs/container-1.log") + ": no such file or directory",
	} {
		if got := h.file(t, name); got != want {
			t.Errorf("%s holds %q; want %q", name, got, want)
		}
	}
	h.holds(t)
	for _, name := range []string{"groups/main/workspace", "groups/family/workspace", "groups/family/claude/projects", "global"} {
		owned(t, filepath.Join(h.data, name))
	}
	for name, text := range listing(t, h.data) {
		if strings.Contains(text, importstest.Secret) {
			t.Errorf("%s holds the secret that somebody wrote into the chat", name)
		}
	}
	if d := cmp.Diff(before, listing(t, dir)); d != "" {
		t.Errorf("the old installation was changed:\n%s", d)
	}
}

// holds looks at what the store has after an import.
func (h *here) holds(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	at := chat.Address{Channel: "whatsapp", Chat: family}
	for id, want := range map[chat.MessageID]string{"A1": "ignored", "A2": "ignored", "A3": "context", "A4": "ignored"} {
		if f, err := h.store.Fate(ctx, at, id); err != nil || f.State != want {
			t.Errorf("message %s is %q, %v; want %q", id, f.State, err, want)
		}
	}
	state, err := h.store.Remembered(ctx, "family", "")
	if err != nil || state.AgentSession != importstest.Session {
		t.Errorf("the group's conversation is %q, %v; want the old one", state.AgentSession, err)
	}
	tasks, err := h.store.Tasks(ctx, "family")
	if err != nil || len(tasks) != 2 {
		t.Fatalf("%d tasks, %v; want 2", len(tasks), err)
	}
	for i, want := range []struct {
		state       task.State
		value, zone string
		context     chat.TaskContext
	}{{task.Active, "0 9 * * 1-5", "Europe/Berlin", chat.GroupContext}, {task.Paused, "1h30m0s", "Europe/Berlin", chat.IsolatedContext}} {
		got := tasks[i]
		if got.State != want.state || got.Spec.Value != want.value || got.Spec.Zone != want.zone || got.Context != want.context || got.HostMode || got.By.Sender.Owner {
			t.Errorf("task %d is %+v; want %+v, without host mode and without the owner's rights", i, got, want)
		}
	}
}

func TestASecondImportChangesNothing(t *testing.T) {
	in := open(t, fixture(t, importstest.V1, ""), "")
	h := newHere(t, in)
	h.run(t)
	// What the owner and the agent did meanwhile stays.
	memory := filepath.Join(h.data, "groups/family/workspace/CLAUDE.md")
	if err := os.WriteFile(memory, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := listing(t, filepath.Join(h.data, "groups"))
	p, r := h.run(t)
	if len(p.Groups) != 0 || len(r.Groups) != 0 || !strings.Contains(because(p.Left, "group family"), "it was taken over on") {
		t.Errorf("the second plan has %+v and leaves %+v; want nothing but a word about it", p.Groups, p.Left)
	}
	if d := cmp.Diff(before, listing(t, filepath.Join(h.data, "groups"))); d != "" {
		t.Error(d)
	}
}

// A group that was begun is finished, whatever of it is there.
func TestAnImportThatWasCutOff(t *testing.T) {
	in := open(t, fixture(t, importstest.V1, ""), "")
	h := newHere(t, in)
	h.speak["whatsapp:491702222222@s.whatsapp.net"] = true
	h.run(t)
	for _, g := range []chat.Group{chat.Main, "family"} { // as if the last step was never reached
		if err := setNote(context.Background(), h.store, g, Note{From: in.Dir, Folder: string(g), Begun: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	work := filepath.Join(h.data, "groups/family/workspace")
	for _, err := range []error{os.Remove(filepath.Join(work, "look.sh")), os.WriteFile(filepath.Join(work, tempName), []byte("half"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := config.Default()
	c.Groups = map[string]config.Group{"main": {}, "family": {Chats: []string{"whatsapp:" + family}, Senders: []string{"whatsapp:1@lid"}}}
	h.w.Config = &c
	p, r := h.run(t)
	want := []Done{{Group: "main", Same: 2}, {Group: "family", Files: 1, Same: 2, Tasks: 2, Session: true}}
	if d := cmp.Diff(want, r.Groups); d != "" {
		t.Error(d)
	}
	if g := p.Groups[1]; g.Configure || g.Chats != nil {
		t.Errorf("the group would be configured again: %+v", g)
	}
	if _, err := os.Lstat(filepath.Join(work, tempName)); err == nil {
		t.Error("the half file is still there")
	}
	h.holds(t)
}

// What agents may have planted in their folders is refused in words.
func TestHostileFiles(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(secret, []byte("root:secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := fixture(t, importstest.V1, `
INSERT INTO registered_groups VALUES ('1203631@g.us', 'x', '../x', '@Andy', '', NULL, 1), ('1203632@g.us', 'x', 'linked', '@Andy', '', NULL, 1);
INSERT INTO sessions VALUES ('main', '../../../../etc/passwd');`, func(dir string) {
		g := filepath.Join(dir, "groups/family")
		for _, err := range []error{
			os.Symlink(secret, filepath.Join(g, "link")),
			os.Symlink(filepath.Dir(secret), filepath.Join(g, "folder")),
			os.Symlink(filepath.Dir(secret), filepath.Join(dir, "groups/linked")),
			unix.Mkfifo(filepath.Join(g, "fifo.md"), 0o644),
			os.WriteFile(filepath.Join(g, "first"), []byte("x"), 0o644),
			os.Link(filepath.Join(g, "first"), filepath.Join(g, "second")),
			os.Truncate(filepath.Join(g, "look.sh"), maxCopied+1),
			os.WriteFile(filepath.Join(g, "leak"), []byte(strings.Repeat("x", 64<<10-5)+importstest.Secret), 0o644),
			os.WriteFile(filepath.Join(g, "bad\nname"), []byte("x"), 0o644),
			os.WriteFile(filepath.Join(g, tempName), []byte("x"), 0o644),
			os.MkdirAll(filepath.Join(g, strings.Repeat("d/", maxDepth+2)), 0o755),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	in := open(t, dir, "")
	h := newHere(t, in)
	p, r := h.run(t)
	for what, want := range map[string]string{
		"groups/family/link": "it is a link", "groups/family/folder": "it is a link", "the files of group linked": "link",
		"groups/family/fifo.md": "neither a file", "groups/family/second": "second name", "groups/family/first": "second name",
		"groups/family/look.sh": "larger than 256 MB", "groups/family/leak": "holds a secret", "bad\nname": "control characters",
		"groups/family/" + tempName: "import itself", "group ../x": "is no name of a folder", "d/d/d": "deeper than",
		"the conversation of group main": "its id is none",
	} {
		if got := because(p.Left, what); !strings.Contains(got, want) {
			t.Errorf("%q is left because %q; want %q in it", what, got, want)
		}
	}
	if len(r.Left) > 0 {
		t.Errorf("what the plan did not name was left: %+v", r.Left)
	}
	for name, text := range listing(t, h.data) {
		if !strings.HasPrefix(name, "/nanoclaw.db") && (strings.Contains(text, "root:secret") || strings.Contains(text, importstest.Secret)) {
			t.Errorf("%s has what no agent may have", name)
		}
	}
}

// A workspace here may have been an agent's: no name in it leads elsewhere.
func TestNothingIsWrittenThroughALink(t *testing.T) {
	in := open(t, fixture(t, importstest.V1, ""), "")
	h := newHere(t, in)
	outside := t.TempDir()
	work := filepath.Join(h.data, "groups/family/workspace")
	for _, err := range []error{
		os.MkdirAll(work, 0o700),
		os.Symlink(outside, filepath.Join(work, "conversations")),
		os.Symlink(filepath.Join(outside, "made"), filepath.Join(work, "CLAUDE.md")),
		os.Symlink(filepath.Join(outside, "made"), filepath.Join(work, tempName)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, r := h.run(t)
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("%v was written outside, %v", left, err)
	}
	for _, what := range []string{"groups/family/CLAUDE.md", "groups/family/conversations"} {
		if because(r.Left, what) == "" {
			t.Errorf("nothing is said of %s: %+v", what, r.Left)
		}
	}
	if got := h.file(t, "groups/family/workspace/look.sh"); got != "#!/bin/sh\n" {
		t.Errorf("what is in nobody's way holds %q", got)
	}
}

// A memory that we began is no memory yet; any other one stays.
func TestMemoryInPlaceOfOurs(t *testing.T) {
	in := open(t, fixture(t, importstest.V1, ""), "")
	h := newHere(t, in)
	for g, text := range map[string]string{"main": "ours", "family": "ours, and more"} {
		work := filepath.Join(h.data, "groups", g, "workspace")
		if err := os.MkdirAll(work, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, "CLAUDE.md"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, r := h.run(t)
	if got := h.file(t, "groups/main/workspace/CLAUDE.md"); got != "# Main\nI am Andy.\n" {
		t.Errorf("main remembers %q", got)
	}
	if got := h.file(t, "groups/family/workspace/CLAUDE.md"); got != "ours, and more" {
		t.Errorf("family remembers %q", got)
	}
	if got := because(r.Left, "groups/family/CLAUDE.md"); !strings.Contains(got, "another one here") {
		t.Errorf("it is left because %q", got)
	}
}

// Whatever the old installation asks for, nobody gets more than the owner says.
func TestNoRightByAnImport(t *testing.T) {
	dir := fixture(t, importstest.Fork, `
UPDATE registered_groups SET execution_mode = 'host';
INSERT INTO registered_groups (jid, name, folder, trigger_pattern, added_at) VALUES ('1203633@g.us', 'Work', 'Work', '@Andy', ''), ('1203634@g.us', 'x', 'all', '@Andy', '');`, func(dir string) {
		text := `{ "executionMode": "host", // natively
  "hostSecurity": {"sandbox": false, "tools": ["Bash"]}, "odd": 1,
  "mcpServers": {"files": {"command": "npx", "args": ["-y", "files"]}, "git": {"command": "git-mcp", "env": {"TOKEN": "${TOKEN}"}}}, }`
		if err := os.WriteFile(filepath.Join(dir, ForkFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	in := open(t, dir, "")
	w := wishes(in)
	w.HostMode = func(g chat.Group) bool { return g == "family" }
	w.Config.Groups = map[string]config.Group{"main": {}, "work": {Mode: "host", HostModeAllowed: true}}
	p := Make(&in.Old, w)
	data := []byte(`{"version": 1, "groups": {"work": {"mode": "host", "hostModeAllowed": true}}}`)
	p.Fit("config.jsonc", data, config.Options{})
	out, err := config.EditBytes("config.jsonc", data, config.Options{}, p.Edit)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Decode("config.jsonc", out, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.HostMode.Enabled || c.ExecutionMode != "container" || c.Groups["family"].Mode != "" || c.Groups["family"].HostModeAllowed || len(c.People) > 0 || len(c.Groups["work"].Chats) > 0 {
		t.Errorf("rights grew: %s", out)
	}
	for what, want := range map[string]string{
		"host mode of group family": "--mode host", "executionMode host": "nobody", "sandbox false": "without a boundary", "hostSecurity.tools": "boundary",
		`"odd"`: "did not have it", `MCP server "git"`: "variables", "group Work": "nobody shall get its rights", "group all": "reserved",
	} {
		if got := because(p.Left, what); !strings.Contains(got, want) {
			t.Errorf("%q is left because %q; want %q in it", what, got, want)
		}
	}
	if d := cmp.Diff([]string{"files: the program npx -y files, for main alone (groups)"}, p.Added); d != "" {
		t.Error(d)
	}
	for _, g := range p.Groups {
		for _, one := range g.Tasks {
			if one.HostMode || one.State != task.Paused {
				t.Errorf("task %s may run in host mode, or is %s", one.ID, one.State)
			}
		}
	}
	w.Rename = map[string]string{"Work": "office", "all": "everybody", "work": "other"}
	p = Make(&in.Old, w)
	if got := because(p.Left, "--rename work"); got == "" {
		t.Error("a name for no group is passed over")
	}
	var names []string
	for _, g := range p.Groups {
		names = append(names, string(g.Name))
	}
	if d := cmp.Diff([]string{"main", "family", "office", "everybody"}, names); d != "" {
		t.Error(d)
	}
}
