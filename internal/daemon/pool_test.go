package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// replaced changes the configuration of an installation.
func (i *install) replaced(old, text string) {
	i.t.Helper()
	config, err := os.ReadFile(i.paths.Config)
	must(i.t, err)
	if !strings.Contains(string(config), old) {
		i.t.Fatalf("the configuration has no %q", old)
	}
	i.configure(strings.Replace(string(config), old, text, 1))
}

// eventually returns once is says so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// entries are the audit's of one kind and group, the oldest first.
func entries(t *testing.T, d *Daemon, kind audit.Kind, g chat.Group) []control.AuditEntry {
	t.Helper()
	all, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(kind), Group: g})
	must(t, err)
	return all
}

// saidWell asks and wants an answer.
func saidWell(t *testing.T, d *Daemon, g chat.Group, text string) answer {
	t.Helper()
	a := ask(t, d, g, text)
	if a.State != control.Succeeded {
		t.Fatalf("%s: %+v\n%s", text, a.Answer, a.text())
	}
	return a
}

// remembers says that the model was told of teal in what it was asked last.
func remembers(t *testing.T, m *agenttest.Model) {
	t.Helper()
	all := m.Requests()
	if !bytes.Contains(all[len(all)-1].Body, []byte("teal")) {
		t.Error("the conversation was not resumed")
	}
}

// sessionsEnded waits until n sessions of a group have ended and gives the last
// one's reason.
func sessionsEnded(t *testing.T, d *Daemon, g chat.Group, n int) string {
	t.Helper()
	var all []control.AuditEntry
	eventually(t, fmt.Sprintf("%d sessions of %s end", n, g), func() bool {
		all = entries(t, d, audit.SessionEnded, g)
		return len(all) >= n
	})
	return string(all[n-1].Data)
}

// A session stands ready before the first message, as the group's own and as no
// run; the message finds it. It is gone when the agent dies, when memory is
// short, when the configuration changed; each time the next message resumes the
// conversation, and nobody is bothered.
func TestPreparedSession(t *testing.T) {
	i, m := claudeInstall(t)
	i.replaced(`"family": {`, `"family": {"prepared": true, `)
	d := i.open()
	var short atomic.Bool
	d.short = func() string { return map[bool]string{true: "too little is left"}[short.Load()] }
	i.serve(d)
	ready := func() bool { return d.runner.Prepared() == 1 }
	eventually(t, "a session is prepared", ready)

	made := entries(t, d, audit.SessionPrepared, "family")
	if len(made) != 1 || made[0].Run != "" || !strings.Contains(string(made[0].Data), `"agent":"claude"`) || !strings.Contains(string(made[0].Data), `"mounts":[`) {
		t.Fatalf("the audit says: %+v", made)
	}
	stands := entries(t, d, audit.SessionStarted, "family")
	if len(stands) != 1 || stands[0].Session != made[0].Session || stands[0].Run != "" || stands[0].ID < made[0].ID {
		t.Errorf("the audit says: %+v", stands)
	}
	if runs, err := d.Runs(t.Context(), control.RunsQuery{}); err != nil || len(runs) != 0 {
		t.Errorf("runs: %+v, %v", runs, err)
	}
	if n, _, err := d.store.HostRuns(t.Context(), "family", time.Now().Add(-time.Hour)); err != nil || n != 0 {
		t.Errorf("%d runs are counted, %v", n, err)
	}
	if s, err := d.Status(t.Context()); err != nil || s.Sessions != 1 || s.Prepared != 1 {
		t.Errorf("the status says %d sessions, %d prepared, %v", s.Sessions, s.Prepared, err)
	}
	if all := m.Requests(); len(all) != 0 {
		t.Errorf("the model was asked before anybody wrote: %+v", all)
	}

	a := saidWell(t, d, "family", "my favourite colour is teal")
	if story := strings.Join(kinds(t, d, a.Run), " "); !strings.Contains(story, "run.started") || strings.Contains(story, "session.") {
		t.Errorf("the run's story: %s", story)
	}
	if r, err := d.RunByID(t.Context(), a.Run); err != nil || r.Session != made[0].Session {
		t.Errorf("the run was in session %s, %v", r.Session, err)
	}

	// The agent dies between two runs.
	saidWell(t, d, "family", "bash: P=$PPID; (while [ ! -e go ]; do sleep 0.1; done; kill -9 $P) >/dev/null 2>&1 &")
	bothered := len(entries(t, d, audit.Outbox, chat.Main))
	if _, _, exit := runInside(t, d, "family", "touch", "go"); exit.Code != 0 {
		t.Fatalf("touch: %+v", exit)
	}
	if why := sessionsEnded(t, d, "family", 1); !strings.Contains(why, "the agent ended by itself") {
		t.Errorf("the audit says %s", why)
	}
	eventually(t, "another one is prepared", ready)
	saidWell(t, d, "family", "what is it?")
	remembers(t, m)
	if n := len(entries(t, d, audit.Outbox, chat.Main)); n != bothered {
		t.Errorf("the owner was written to %d times", n-bothered)
	}

	// Memory is short: nothing waits, and nothing is prepared.
	short.Store(true)
	d.runner.Nudge()
	if why := sessionsEnded(t, d, "family", 2); !strings.Contains(why, "short of memory") {
		t.Errorf("the audit says %s", why)
	}
	d.runner.Nudge()
	if n := len(entries(t, d, audit.SessionPrepared, "family")); n != 2 {
		t.Errorf("%d were prepared, want 2", n)
	}
	short.Store(false)
	d.runner.Nudge()
	eventually(t, "another one is prepared", ready)

	// A changed configuration ends it, and no other is made.
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(string(text) + "\n// changed\n")
	if d.checkConfig(t.Context()) == nil {
		t.Error("a changed configuration is accepted")
	}
	if why := sessionsEnded(t, d, "family", 3); !strings.Contains(why, "the configuration changed") {
		t.Errorf("the audit says %s", why)
	}
	i.configure(string(text))
	if n := d.runner.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// There is one place: who waited longest gives it up, is told so, and resumes.
func TestPlacesOfWarmSessions(t *testing.T) {
	i, m := claudeInstall(t)
	i.replaced(`"version": 1,`, `"version": 1, "limits": {"warmSessions": 1},`)
	d := i.open()
	var short atomic.Bool
	d.short = func() string { return map[bool]string{true: "too little is left"}[short.Load()] }
	i.serve(d)
	saidWell(t, d, chat.Main, "my favourite colour is teal")
	saidWell(t, d, "family", "hello")
	if why := sessionsEnded(t, d, chat.Main, 1); !strings.Contains(why, "limits.warmSessions") {
		t.Errorf("the audit says %s", why)
	}
	if n := d.runner.Sessions(); n != 1 {
		t.Errorf("%d sessions wait, want 1", n)
	}
	// A cold start where memory is short: the other group's goes first.
	short.Store(true)
	saidWell(t, d, chat.Main, "what is it?")
	remembers(t, m)
	if why := sessionsEnded(t, d, "family", 1); !strings.Contains(why, "short of memory") {
		t.Errorf("the audit says %s", why)
	}
	told := false
	for _, r := range m.Requests() {
		told = told || strings.Contains(r.UserText, "ended by the host: its place was needed (limits.warmSessions)")
	}
	if !told {
		t.Error("main's agent was not told why its session ended")
	}
}

// What cannot be prepared is said once, and not tried again and again.
func TestNothingIsPreparedInVain(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"a shell", strings.Replace(hostConfig, `"family": {`, `"family": {"prepared": true, `, 1), "it runs a shell"},
		{"a folder to write", strings.Replace(fmt.Sprintf(lendConfig, t.TempDir()), `"family": {`, `"family": {"prepared": true, `, 1), "may write folders of yours"},
		{"an agent that does not start", `{"version": 1, "hostMode": {"enabled": true}, "agent": {"claude": {"path": "/bin/false"}},
			"groups": {"family": {"prepared": true, "mode": "host", "hostModeAllowed": true}}}`, "Claude Code ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newInstall(t, tt.config)
			i.env["ANTHROPIC_API_KEY"] = modelKey
			d, _ := i.run()
			if got := ownerHears(t, d, "No session stands ready for group family"); !strings.Contains(got, tt.want) {
				t.Errorf("the owner reads %q", got)
			}
			for range 5 {
				d.runner.Nudge()
			}
			saidOnce := 0
			for _, e := range entries(t, d, audit.Outbox, chat.Main) {
				if strings.Contains(string(e.Data), "notice") {
					saidOnce++
				}
			}
			if n := len(entries(t, d, audit.SessionPrepared, "family")); saidOnce != 1 || n > 1 {
				t.Errorf("said %d times, tried %d times", saidOnce, n)
			}
			if tt.name == "a shell" && saidWell(t, d, "family", "echo still here").text() == "" {
				t.Error("the group has no answer")
			}
		})
	}
}
