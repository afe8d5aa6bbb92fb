package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/wire"
)

// The first start writes a configuration in which main runs natively, since the
// boundary holds here, and says so; the answer comes from inside.
func TestFirstStart(t *testing.T) {
	i := newInstall(t, "")
	var said []string
	o := i.options()
	o.Say = func(s string) { said = append(said, s) }
	d, err := Open(t.Context(), o)
	must(t, err)
	must(t, d.Close())
	all := strings.Join(said, "\n")
	for _, want := range []string{"main, your own chat, runs natively in host mode", "every other group runs in container mode"} {
		if !strings.Contains(all, want) {
			t.Errorf("the first start said\n%s\nwithout %q", all, want)
		}
	}
	fi, err := os.Stat(i.paths.Config)
	must(t, err)
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("the configuration has mode %v", fi.Mode())
	}
	d, _ = i.run()
	a := ask(t, d, chat.Main, "id -u; pwd; ls -A ~")
	if a.State != control.Succeeded || !strings.HasPrefix(a.text(), "1000\n/workspace/group") {
		t.Errorf("got %+v\n%s", a.Answer, a.text())
	}
}

// One message leaves the whole story in the audit log, in order, and the log
// verifies.
func TestStoryOfARun(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	a := ask(t, d, chat.Main, "echo hello")
	if a.State != control.Succeeded || strings.TrimSpace(a.text()) != "hello" {
		t.Fatalf("got %+v\n%s", a.Answer, a.text())
	}
	want := []string{"run.started", "session.started", "session.ended", "run.ended", "outbox", "delivered"}
	got := kinds(t, d, a.Run)
	got = slices.DeleteFunc(got, func(k string) bool { return k == "tool.called" })
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the story (-want +got):\n%s", d)
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: string(audit.RunStarted)})
	must(t, err)
	var started struct {
		Grant   struct{ Mounts []struct{ Target string } }
		Trigger struct {
			Owner bool
			From  string
		}
	}
	must(t, json.Unmarshal(entries[0].Data, &started))
	if !started.Trigger.Owner || started.Trigger.From != "console:main" || len(started.Grant.Mounts) < 4 {
		t.Errorf("run.started holds %+v: neither who asked nor the whole grant", started)
	}
	r, err := d.AuditVerify(t.Context(), control.VerifyQuery{})
	must(t, err)
	if !r.OK {
		t.Errorf("the log does not verify: %s", r.Bad)
	}
}

// What is refused starts nothing, says why, and says what to do.
func TestRefusals(t *testing.T) {
	i := newInstall(t, strings.Replace(hostConfig, `"kind": "shell"`, `"kind": "auto"`, 1))
	d, _ := i.run()
	tests := []struct {
		group      chat.Group
		text, hint string
	}{
		{"work", "container mode", "nanoclaw group set work --mode host"},
		{"family", "no model:", "Claude Code"},
	}
	for _, tt := range tests {
		a := ask(t, d, tt.group, "id")
		if a.State != control.Refused || !strings.Contains(a.text(), tt.text) || !strings.Contains(a.text(), tt.hint) {
			t.Errorf("%s: got %+v\n%s", tt.group, a.Answer, a.text())
		}
		for _, k := range kinds(t, d, a.Run) {
			if k == "session.started" || k == "run.started" {
				t.Errorf("%s: refused, and yet %s", tt.group, k)
			}
		}
	}
}

// A changed configuration stops new runs and tells the owner; the message is
// answered after a restart (I6).
func TestConfigurationChangedUnderneath(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, stop := i.run()
	if a := ask(t, d, chat.Main, "true"); a.State != control.Succeeded {
		t.Fatalf("before the change: %+v", a.Answer)
	}
	i.configure(strings.Replace(hostConfig, "family", "friends", 1))
	a := ask(t, d, chat.Main, "echo after the restart")
	if a.State != "held" || a.Run != "" || !strings.Contains(a.Reason, "The configuration changed") {
		t.Errorf("after the change: %+v", a.Answer)
	}
	told, err := d.store.Due(t.Context(), time.Now(), 10)
	must(t, err)
	for _, m := range told {
		a.said = append(a.said, m.Outbound)
	}
	if !strings.Contains(a.text(), "The configuration changed") {
		t.Errorf("the owner was told %q, and nothing of the change", a.text())
	}
	if _, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}}); code(err) != control.CodeRefused {
		t.Errorf("exec after the change: %v", err)
	}
	stop()
	d, _ = i.run()
	term, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	for {
		m, _, err := term.Next(t.Context())
		must(t, err)
		if m != nil && strings.TrimSpace(m.Text) == "after the restart" {
			break
		}
	}
}

// Secrets of the owner, of the installation and of other groups cannot be seen
// from a group's boundary.
func TestSecretsStayOutside(t *testing.T) {
	i := newInstall(t, hostConfig)
	i.env["OWNER_SECRET"] = "canary-in-the-environment"
	secrets := []string{
		filepath.Join(i.home, ".ssh", "id_ed25519"),
		filepath.Join(i.home, ".aws", "credentials"),
		filepath.Join(i.home, "project", ".env"),
		filepath.Join(i.paths.ConfigDir, "secret"),
		filepath.Join(i.paths.DataDir, "secret"),
		filepath.Join(i.paths.KeyDir, "key"), filepath.Join(i.paths.ConfigDir, "credentials", "other.age"),
		filepath.Join(i.paths.DataDir, "groups", "work", "workspace", "secret"),
	}
	for _, p := range secrets {
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte("canary-in-a-file"), 0o644))
	}
	d, _ := i.run()
	secrets = append(secrets, i.paths.Config, filepath.Join(i.paths.DataDir, "audit.key"), filepath.Join(i.paths.DataDir, "nanoclaw.db"), "/etc/shadow")
	for _, p := range secrets {
		for _, spelling := range []string{p, "/proc/self/root" + p, "/proc/1/root" + p, "//" + p} {
			out, _, exit := runInside(t, d, "family", "cat", spelling)
			if exit.Code == 0 || out != "" {
				t.Errorf("cat %s gave %q, exit %d", spelling, out, exit.Code)
			}
		}
	}
	out, _, _ := runInside(t, d, "family", "grep", "-rsl", "canary-in", "/etc", "/home", "/workspace", "/tmp", "/run", "/proc/self/environ", "/opt")
	if out != "" {
		t.Errorf("canaries were found in %s", out)
	}
	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: "family"})
	must(t, err)
	var granted struct{ Env []struct{ Name string } }
	must(t, json.Unmarshal(p.Grant, &granted))
	want := map[string]bool{"_": true, "PWD": true, "SHLVL": true} // made by the shell that prints them
	for _, v := range granted.Env {
		want[v.Name] = true
	}
	out, _, _ = runInside(t, d, "family", "env")
	for line := range strings.Lines(out) {
		if name, _, _ := strings.Cut(line, "="); !want[name] {
			t.Errorf("%s is in the environment and not in the grant", name)
		}
	}
}

// The daemon answers what a group may touch, and names only what it could give.
func TestPolicyExplains(t *testing.T) {
	d := newInstall(t, hostConfig).open()
	own := filepath.Join(d.machine.GroupDir("family"), "workspace", "x")
	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: "family", Render: "native", Explain: []string{
		own, "/var/lib/nanoclaw/audit.key", "call:ptrace", "call:mount", "tool:list_groups", "/absent/anywhere",
	}})
	must(t, err)
	want := []bool{true, false, true, false, false, false}
	for i, a := range p.Answers {
		if a.Allowed != want[i] {
			t.Errorf("%+v", a)
		}
	}
	if a := p.Answers[0]; a.As != grant.Workspace+"/x" {
		t.Errorf("%+v", a)
	}
	if a := p.Answers[5]; a.Allow != "" {
		t.Errorf("what is not there could be mounted: %+v", a)
	}
	if !strings.Contains(p.RenderedText, "mount rwx "+grant.Workspace+" = "+filepath.Dir(own)) || !json.Valid(p.Rendering) {
		t.Error(p.RenderedText)
	}
	p, err = d.Policy(t.Context(), control.PolicyQuery{Group: "family", Render: "seatbelt"})
	must(t, err)
	if !strings.HasPrefix(p.RenderedText, "(version 1)\n") || !strings.Contains(p.RenderedText, `(allow file-write* (subpath "`+seatbelt.Real(filepath.Dir(own))+`"))`) || !json.Valid(p.Rendering) {
		t.Errorf("the profile for a Mac is not shown:\n%s", p.RenderedText)
	}
	for _, q := range []control.PolicyQuery{{Group: "family", Explain: []string{"what"}}, {Group: "family", Render: "none"}} {
		var e *control.Error
		if _, err := d.Policy(t.Context(), q); !errors.As(err, &e) || e.Code != control.CodeUsage {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if a := d.allowFolder(grant.Grant{Group: "family"}, grant.Question{Kind: grant.AboutPath, Op: grant.OpWrite, Name: "/var/lib/not here/x"}); a != "nanoclaw group mount add family /var/lib:rw" {
		t.Errorf("the nearest folder: %q", a)
	}
}

// A probe that breaks out turns host mode off everywhere: no run, no command,
// and the owner is told (I1).
func TestProbeThatBreaksOut(t *testing.T) {
	d := newInstall(t, hostConfig).open()
	d.engines[0].prober.try = func(context.Context, grant.Grant) (held, error) {
		return held{Off: boundary.Verdict(wire.Probe{}, wire.ProbeReport{
			Attempts: []wire.Attempt{{Name: "read the canary", Broke: true, Detail: "got it"}}}).Error()}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() { done <- d.Run(ctx, func() { close(ready) }) }()
	<-ready
	a := ask(t, d, chat.Main, "id")
	if a.State != control.Refused || !strings.Contains(a.text(), "read the canary") {
		t.Errorf("got %+v\n%s", a.Answer, a.text())
	}
	if _, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}}); code(err) != control.CodeRefused {
		t.Errorf("exec: %v", err)
	}
	s, err := d.Status(t.Context())
	must(t, err)
	if s.HostMode != "off" || !strings.Contains(s.HostModeReason, "read the canary") {
		t.Errorf("status says %s, %s", s.HostMode, s.HostModeReason)
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.ProbeRan)})
	must(t, err)
	if len(entries) != 1 || !strings.Contains(string(entries[0].Data), `"held":false`) {
		t.Errorf("the audit says %+v", entries)
	}
	cancel()
	must(t, <-done)
	must(t, d.Close())
}

// A nanoclaw without its inside part starts no agent, and says how to mend it.
func TestWithoutInit(t *testing.T) {
	i := newInstall(t, hostConfig)
	o := i.options()
	o.Init = func() (io.ReadSeekCloser, error) { return nil, os.ErrNotExist }
	d, err := Open(t.Context(), o)
	must(t, err)
	defer d.Close()
	if _, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}}); code(err) != control.CodeRefused {
		t.Errorf("exec: %v", err)
	}
}

// Stop ends a run and everything inside within a second.
func TestStop(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	term, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	started := make(chan chat.RunID, 1)
	go func() {
		for {
			_, p, err := term.Next(t.Context())
			if err != nil {
				return
			}
			if p != nil && p.Kind == chat.Text {
				started <- p.Run
				return
			}
		}
	}()
	id, err := d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: "echo begun; sleep 300 & sleep 300"})
	must(t, err)
	run := <-started
	must(t, term.Close())
	began := time.Now()
	got, err := d.Stop(t.Context(), control.StopRequest{Run: run})
	must(t, err)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if d := cmp.Diff([]chat.RunID{run}, got.Runs); d != "" {
		t.Error(d)
	}
	a, err := d.Wait(t.Context(), chat.Main, id)
	must(t, err)
	if a.State != "cancelled" {
		t.Errorf("the run is %s", a.State)
	}
	if _, err := d.Stop(t.Context(), control.StopRequest{Run: run}); code(err) != control.CodeNotFound {
		t.Errorf("stopping it again: %v", err)
	}
}

// A run that the end of the daemon cuts off is answered by the next one.
func TestShutdownPutsBack(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, stop := i.run()
	flag := "test -e ~/second && echo answered && exit; touch ~/second; echo first; sleep 300"
	term, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	_, err = d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: flag})
	must(t, err)
	for {
		_, p, err := term.Next(t.Context())
		must(t, err)
		if p != nil && p.Kind == chat.Text {
			break
		}
	}
	must(t, term.Close())
	stop()
	d, _ = i.run()
	term, err = d.Attach(t.Context(), chat.Main)
	must(t, err)
	for {
		m, _, err := term.Next(t.Context())
		must(t, err)
		if m != nil && strings.TrimSpace(m.Text) == "answered" {
			break
		}
	}
}
