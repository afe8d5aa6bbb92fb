package daemon

import (
	"os"
	"strings"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// greedy takes more than 1 GB.
const greedy = "dd if=/dev/zero of=/dev/null bs=1200M count=1000"

// Why a session ended is told to the owner at once, also if no run was waiting
// for it, and to the group's next agent, once.
func TestEndOfASessionIsTold(t *testing.T) {
	i, m := claudeInstall(t)
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(text), `"version": 1,`, `"version": 1, "limits": {"memory": "1GB"},`, 1))
	d, _ := i.run()
	const why = "stopped: the session used more than 1 GB of memory"
	// The kernel kills the greedy one at once, and the look that ends the session comes a
	// moment later: the command goes on until then.
	a := ask(t, d, "family", "bash: "+greedy+"; tail -f /dev/null")
	if a.State == control.Succeeded || !strings.Contains(a.text(), why) || !strings.Contains(a.text(), "limits.memory") {
		t.Fatalf("the chat was told: %+v\n%s", a.Answer, a.text())
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: string(audit.SessionEnded)})
	must(t, err)
	if len(entries) != 1 || !strings.Contains(string(entries[0].Data), why) {
		t.Errorf("the record says: %+v", entries)
	}

	told := func(text string) bool {
		t.Helper()
		before := len(m.Requests())
		if a := ask(t, d, "family", text); a.State != control.Succeeded {
			t.Fatalf("%s: %+v\n%s", text, a.Answer, a.text())
		}
		for _, r := range m.Requests()[before:] {
			if strings.Contains(r.UserText, "<host>Your last session here was ended by the host: "+why) {
				return true
			}
		}
		return false
	}
	if !told("go on") {
		t.Error("the next agent was not told")
	}
	owner, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	if told("bash: (while [ ! -e go ]; do sleep 0.1; done; " + greedy + ") >/dev/null 2>&1 &") {
		t.Error("the agent was told twice")
	}
	p, err := d.Exec(t.Context(), control.ExecRequest{Group: "family", Argv: []string{"touch", "go"}})
	must(t, err)
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, p.Close())
	const between = "Between two runs, the session of group family was " + why + "\nlimits.memory"
	for got := ""; !strings.Contains(got, "family"); {
		m, _, err := owner.Next(t.Context())
		must(t, err)
		if m != nil {
			got = m.Text
		}
		if strings.Contains(got, "family") && !strings.Contains(got, between) {
			t.Errorf("the owner reads %q", got)
		}
	}
	if !told("still here?") {
		t.Error("the next agent was not told what happened between two runs")
	}
}
