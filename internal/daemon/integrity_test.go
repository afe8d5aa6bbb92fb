package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

// policyInstall is an installation with every kind of file that is policy, and
// those files.
func policyInstall(t *testing.T, extra string) (*install, []string) {
	t.Helper()
	i := newInstall(t, strings.Replace(hostConfig, `"main": {`, `"main": {"promptFile": "prompts/main.md", `+extra, 1))
	prompt, key := filepath.Join(i.paths.ConfigDir, "prompts", "main.md"), filepath.Join(i.paths.KeyDir, "key")
	for _, f := range []string{prompt, key} {
		must(t, os.MkdirAll(filepath.Dir(f), 0o700))
		must(t, os.WriteFile(f, []byte("Be kind.\n"), 0o600))
	}
	lending := filepath.Join(i.paths.ConfigDir, config.MountAllowlistFile)
	must(t, os.WriteFile(lending, []byte(`{"allowedRoots": [], "blockedPatterns": [], "nonMainReadOnly": true}`), 0o600))
	return i, []string{i.paths.Config, prompt, filepath.Join(i.paths.DataDir, audit.KeyFile), key, lending}
}

// Every file of the policy, in every way in which another could be put in its place:
// no new run starts, and one does once it is as it was.
func TestPolicyFilesAreWatched(t *testing.T) {
	aside := func(p string) string { return p + ".aside" }
	swapped := func(with func(p string) error) func(p string) (func() error, error) {
		return func(p string) (func() error, error) {
			back := func() error { return errors.Join(os.RemoveAll(p), os.Rename(aside(p), p)) }
			return back, errors.Join(os.Rename(p, aside(p)), with(p))
		}
	}
	copyOf := func(from, to string) error {
		data, err := os.ReadFile(from)
		return errors.Join(err, os.WriteFile(to, data, 0o600))
	}
	ways := map[string]func(p string) (func() error, error){
		"edited in place": func(p string) (func() error, error) {
			old, err := os.ReadFile(p)
			return func() error { return os.WriteFile(p, old, 0o600) }, errors.Join(err, os.WriteFile(p, append(old, '\n'), 0o600))
		},
		"cut to nothing": func(p string) (func() error, error) {
			old, err := os.ReadFile(p)
			return func() error { return os.WriteFile(p, old, 0o600) }, errors.Join(err, os.Truncate(p, 0))
		},
		"removed":        swapped(func(string) error { return nil }),
		"replaced":       swapped(func(p string) error { return os.WriteFile(p, []byte("{}"), 0o600) }),
		"a folder":       swapped(func(p string) error { return os.Mkdir(p, 0o700) }),
		"a pipe":         swapped(func(p string) error { return syscall.Mkfifo(p, 0o600) }),
		"a link to it":   swapped(func(p string) error { return os.Symlink(aside(p), p) }),
		"a link nowhere": swapped(func(p string) error { return os.Symlink(p+".none", p) }),
		"a hard link to another": swapped(func(p string) error {
			return errors.Join(os.WriteFile(p+".other", []byte("{}"), 0o600), os.Link(p+".other", p))
		}),
		"a second name": func(p string) (func() error, error) {
			return func() error { return os.Remove(p + ".second") }, os.Link(p, p+".second")
		},
		"open to everybody": func(p string) (func() error, error) {
			return func() error { return os.Chmod(p, 0o600) }, os.Chmod(p, 0o666)
		},
		"another mode": func(p string) (func() error, error) {
			return func() error { return os.Chmod(p, 0o600) }, os.Chmod(p, 0o700)
		},
		"its folder swapped": func(p string) (func() error, error) {
			dir := filepath.Dir(p)
			back := func() error { return errors.Join(os.RemoveAll(dir), os.Rename(aside(dir), dir)) }
			return back, errors.Join(os.Rename(dir, aside(dir)), os.Mkdir(dir, 0o700), os.WriteFile(p, []byte("{}"), 0o600))
		},
		"its folder a link": func(p string) (func() error, error) {
			dir := filepath.Dir(p)
			other := dir + ".other"
			back := func() error { return errors.Join(os.Remove(dir), os.Rename(aside(dir), dir), os.RemoveAll(other)) }
			return back, errors.Join(os.Mkdir(other, 0o700), copyOf(p, filepath.Join(other, "x")), os.Rename(dir, aside(dir)), os.Symlink(other, dir))
		},
	}
	if os.Getuid() == 0 {
		ways["another's"] = func(p string) (func() error, error) {
			return func() error { return os.Chown(p, 0, 0) }, os.Chown(p, 65534, -1)
		}
	}
	i, files := policyInstall(t, "")
	d := i.open()
	t.Cleanup(func() { must(t, d.Close()) })
	must(t, d.checkConfig(t.Context()))
	for _, file := range files {
		for name, way := range ways {
			if strings.HasPrefix(name, "its folder") && filepath.Dir(file) == i.paths.DataDir {
				continue // the store is in use there
			}
			back, err := way(file)
			must(t, err)
			err = d.checkConfig(t.Context())
			if !errors.Is(err, runner.ErrHeld) || d.queue.Held() == "" {
				t.Errorf("%s, %s: %v", file, name, err)
			} else if file != i.paths.Config && !strings.Contains(err.Error(), filepath.Base(file)) && !strings.Contains(err.Error(), filepath.Dir(file)) {
				t.Errorf("%s, %s: the owner reads %v", file, name, err)
			}
			if err := d.policyError(); err == nil {
				t.Errorf("%s, %s: nothing for who asks", file, name)
			}
			must(t, back())
			if err := d.checkConfig(t.Context()); err != nil || d.queue.Held() != "" {
				t.Errorf("%s, %s, put back: %v", file, name, err)
			}
		}
	}
}

// ownerReads gives a notice in main's chat that holds the words, whenever it comes.
func ownerReads(t *testing.T, d *Daemon, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	term, err := d.Attach(ctx, chat.Main)
	must(t, err)
	defer term.Close()
	for {
		m, _, err := term.Next(ctx)
		if err != nil {
			t.Fatalf("the owner heard nothing of %q: %v", words, err)
		}
		if m == nil {
			continue
		}
		all := true
		for _, w := range words {
			all = all && strings.Contains(m.Text, w)
		}
		if all {
			return m.Text
		}
	}
}

// waitHeld waits until runs are held, or are not, without anything being asked.
func waitHeld(t *testing.T, d *Daemon, want bool) {
	t.Helper()
	for {
		changed := d.changed.wait()
		if (d.queue.Held() != "") == want {
			return
		}
		select {
		case <-changed:
		case <-time.After(60 * time.Second):
			t.Fatalf("held: %q", d.queue.Held())
		}
	}
}

// A run that goes on keeps what it was granted, whatever happens to the files. The
// next one waits, the owner reads what the change means without anybody asking, and
// once it is put back what waits is answered by itself.
func TestChangeWhileARunIsLive(t *testing.T) {
	shared := t.TempDir()
	must(t, os.WriteFile(filepath.Join(shared, "file"), []byte("lent\n"), 0o644))
	must(t, os.Chmod(shared, 0o755))
	with := strings.Replace(hostConfig, `"main": {`, `"main": {"mounts": [{"path": "`+shared+`", "name": "x"}], `, 1)
	i := newInstall(t, with)
	d, _ := i.run()
	ws := filepath.Join(d.machine.GroupDir(chat.Main), "workspace")
	id, err := d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: "mkfifo go && touch started && cat go && cat /workspace/extra/x/file && ! ls /workspace/extra/y"})
	must(t, err)
	for {
		if _, err := os.Stat(filepath.Join(ws, "started")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond) // another process makes it
	}
	i.configure(strings.Replace(hostConfig, `"main": {`, `"main": {"mounts": [{"path": "`+shared+`", "name": "y", "write": true}], "senders": ["wa:1"], `, 1))
	waitHeld(t, d, true)
	if err := d.policyError(); err == nil || len(liveRuns(t, d)) != 1 {
		t.Errorf("%v, live %v", err, liveRuns(t, d))
	}
	must(t, os.WriteFile(filepath.Join(ws, "go"), nil, 0o600)) // opens the pipe
	a, err := d.Wait(t.Context(), chat.Main, id)
	must(t, err)
	if a.State != control.Succeeded {
		t.Errorf("the run that went on: %+v", a)
	}
	text := ownerReads(t, d, "The configuration changed", "Rights of main that grow:", "mount rw /workspace/extra/y = "+shared, "sender wa:1",
		"Rights of main that shrink:", "mount rx /workspace/extra/x", "restart nanoclaw to accept it")
	next, err := d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: "ls /workspace/extra"})
	must(t, err)
	if a, err := d.Wait(t.Context(), chat.Main, next); err != nil || a.State != "held" || !strings.Contains(a.Reason, "nanoclaw config plan") {
		t.Errorf("the next run: %+v, %v", a, err)
	}
	i.configure(with)
	waitHeld(t, d, false)
	if a, err := d.Wait(t.Context(), chat.Main, next); err != nil || a.State != control.Succeeded {
		t.Errorf("after it was put back: %+v, %v", a, err)
	}
	ownerReads(t, d, "The configuration is as it was again")
	told, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.ConfigChanged)})
	if err != nil || len(told) != 1 || !strings.Contains(string(told[0].Data), `"groups.main.senders"`) {
		t.Errorf("the audit has %+v, %v; the owner read\n%s", told, err, text)
	}
}

// liveRuns are the runs that go on.
func liveRuns(t *testing.T, d *Daemon) []control.RunInfo {
	t.Helper()
	s, err := d.Status(t.Context())
	must(t, err)
	return s.Live
}

// A file that cannot be read holds runs too, with the place of the mistake.
func TestBrokenConfigurationHolds(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, _ := i.run()
	i.configure(strings.Replace(hostConfig, `"enabled": true`, `"enabled": maybe`, 1))
	waitHeld(t, d, true)
	ownerReads(t, d, i.paths.Config+":3:", "Mend it or put it back")
	if _, err := d.ConfigPlan(t.Context()); code(err) != control.CodeFailed || !strings.Contains(err.Error(), ":3:") {
		t.Errorf("the plan: %v", err)
	}
	if _, err := d.ConfigReload(t.Context()); code(err) != control.CodeFailed {
		t.Errorf("the reload: %v", err)
	}
	i.configure(hostConfig)
	waitHeld(t, d, false)
}

// What touches no right can be reloaded, and nothing else can, not even beside it.
func TestReload(t *testing.T) {
	i, files := policyInstall(t, "")
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	change := func(pairs ...string) { i.configure(strings.NewReplacer(pairs...).Replace(string(text))) }
	d, stop := i.run()
	setting := func() string {
		r, err := d.request(t.Context(), chat.Main, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
		must(t, err)
		return r.Config.Groups["main"].Model + "|" + r.Config.Assistant.Name + "|" + r.Machine.Prompts[chat.Main]
	}
	if p, err := d.ConfigReload(t.Context()); err != nil || !p.None || setting() != "|Andy|Be kind.\n" {
		t.Errorf("nothing changed: %+v, %v, %s", p, err, setting())
	}
	refused := [][]string{
		{`"version": 1,`, `"version": 1, "assistant": {"name": "Eve"}, "permissionMode": "ask",`},
		{`"family": {`, `"family": {"model": "opus", "senders": ["wa:1"], `},
		{`"work": {}`, `"work": {"prompt": "x"}, "new": {}`},
		{`"version": 1,`, `"version": 1, "limits": {"idleTime": "1m", "askTime": "1m"},`},
		{`"version": 1,`, `"version": 1, "model": {"apiKey": "sk-other"},`},
	}
	for _, pair := range refused {
		change(pair...)
		if _, err := d.ConfigReload(t.Context()); code(err) != control.CodeRefused || !strings.Contains(err.Error(), "Changes that touch security:") {
			t.Errorf("%s: %v", pair[1], err)
		}
		if got := setting(); got != "|Andy|Be kind.\n" || d.checkConfig(t.Context()) == nil {
			t.Errorf("%s: in use is %s", pair[1], got)
		}
	}
	change(`"version": 1,`, `"version": 1, "assistant": {"name": "Eve"},`, `"main": {`, `"main": {"model": "opus", `)
	must(t, os.WriteFile(files[1], []byte("Be brief.\n"), 0o600))
	must(t, os.Rename(files[3], files[3]+".aside"))
	if _, err := d.ConfigReload(t.Context()); code(err) != control.CodeRefused || !strings.Contains(err.Error(), files[3]+" is gone") {
		t.Errorf("a key is gone: %v", err)
	}
	must(t, os.Rename(files[3]+".aside", files[3]))
	p, err := d.ConfigReload(t.Context())
	if err != nil || p.Security || !strings.Contains(p.Text, `assistant.name: "Andy" → "Eve"`) || !strings.Contains(p.Text, "another text") {
		t.Errorf("%+v, %v", p, err)
	}
	if got := setting(); got != "opus|Eve|Be brief.\n" || d.assistant() != "Eve" {
		t.Errorf("in use is %s", got)
	}
	if a := ask(t, d, chat.Main, "true"); a.State != control.Succeeded {
		t.Errorf("after the reload: %+v", a.Answer)
	}
	taken, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.ConfigAccepted)})
	if err != nil || len(taken) != 2 || !strings.Contains(string(taken[1].Data), `"by":"reload"`) {
		t.Errorf("%+v, %v", taken, err)
	}
	stop()
	d, _ = i.run() // it was accepted, so there is nothing to tell
	if all, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.ConfigAccepted)}); err != nil || len(all) != len(taken) {
		t.Errorf("%+v, %v", all, err)
	}
}

// A restart tells what it accepted. The store holds no secret of the configuration.
func TestRestartTellsThePlan(t *testing.T) {
	const secret = "sk-ant-api03-do-not-keep-me"
	first := strings.Replace(hostConfig, `"version": 1,`, `"version": 1, "model": {"apiKey": "`+secret+`"},`, 1)
	i := newInstall(t, first)
	_, stop := i.run()
	stop()
	i.configure(strings.NewReplacer(`"work": {}`, `"work": {"senders": ["wa:5"]}`, secret, secret+"2").Replace(first))
	plan, err := func() (control.ConfigPlan, error) { // what a command says while no daemon runs
		d := i.open()
		defer d.Close()
		return d.ConfigPlan(t.Context())
	}()
	if err != nil || plan.None || !plan.Security || !strings.Contains(plan.Text, `groups.work.senders: added "wa:5"`) || !strings.Contains(plan.Text, "model.apiKey: another value") {
		t.Errorf("%+v, %v", plan, err)
	}
	d, stop := i.run()
	text := ownerReads(t, d, "With this start the changed configuration holds", "sender wa:5", "model.apiKey: another value")
	kept, err := d.store.Meta(t.Context(), acceptedKey)
	must(t, err)
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.ConfigAccepted)})
	must(t, err)
	said, _ := json.Marshal(entries)
	if len(entries) != 1 || !strings.Contains(string(said), `"by":"restart"`) {
		t.Errorf("%s", said)
	}
	if strings.Contains(text+kept+string(said)+plan.Text+string(plan.Plan), secret) {
		t.Error("a secret was kept or told")
	}
	if p, err := d.ConfigPlan(t.Context()); err != nil || !p.None {
		t.Errorf("after the restart: %+v, %v", p, err)
	}
	stop()
}

// A process that ended without being asked is followed by a start that accepts
// nothing: what was changed meanwhile waits for a restart that somebody asked for.
func TestAStartAfterACrashAcceptsNothing(t *testing.T) {
	i := newInstall(t, hostConfig)
	_, first := i.run()
	first()
	crash := func() {
		d := i.open()
		must(t, d.store.SetMeta(t.Context(), runningKey, runs))
		must(t, d.Close())
	}
	crash()
	d, stop := i.run() // the same configuration: nothing to accept
	if a := ask(t, d, chat.Main, "true"); a.State != control.Succeeded {
		t.Fatalf("%+v", a.Answer)
	}
	stop()
	i.configure(strings.Replace(hostConfig, `"work": {}`, `"work": {"mode": "host", "hostModeAllowed": true}`, 1))
	crash()
	d, stop = i.run()
	ownerReads(t, d, "ended without being asked to", "Rights of work that grow:", "Restart nanoclaw to accept it")
	if a := ask(t, d, "work", "true"); a.State != "held" {
		t.Errorf("%+v", a.Answer)
	}
	if _, err := d.ConfigReload(t.Context()); code(err) != control.CodeRefused {
		t.Errorf("the reload: %v", err)
	}
	stop()
	d, _ = i.run()
	ownerReads(t, d, "With this start the changed configuration holds")
	if a := ask(t, d, "work", "true"); a.State != control.Succeeded {
		t.Errorf("%+v", a.Answer)
	}
}
