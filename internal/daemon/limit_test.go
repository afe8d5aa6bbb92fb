package daemon

import (
	"errors"
	"io"
	"strings"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// An agent and an owner's command that use more memory than a session may are
// ended, and who asked is told so in words.
func TestMemoryLimitIsTold(t *testing.T) {
	const (
		// Five processes that hold 20 MB each.
		hungry = "for i in 1 2 3 4 5; do (head -c 20000000 /dev/zero; sleep 1000) | tail -c 40000000 & done; wait"
		want   = "stopped: the session used more than 64 MB of memory"
	)
	d, _ := newInstall(t, strings.Replace(hostConfig, "{", `{"limits": {"memory": "64MB"},`, 1)).run()

	a := ask(t, d, chat.Main, hungry)
	if a.State == control.Succeeded || !strings.Contains(a.text(), want) || !strings.Contains(a.text(), "limits.memory") {
		t.Errorf("the run gave %+v\n%s", a.Answer, a.text())
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: string(audit.SessionEnded)})
	must(t, err)
	if len(entries) != 1 || !strings.Contains(string(entries[0].Data), want) {
		t.Errorf("session.ended: %+v", entries)
	}

	p, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"sh", "-c", hungry}})
	must(t, err)
	defer p.Close()
	go io.Copy(io.Discard, p.Stdout())
	go io.Copy(io.Discard, p.Stderr())
	_, err = p.Wait(t.Context())
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Message != want || !strings.Contains(e.Hint, "limits.memory") {
		t.Errorf("the command ended with %v", err)
	}
	if got := ask(t, d, chat.Main, "echo still here"); strings.TrimSpace(got.text()) != "still here" {
		t.Errorf("afterwards: %s", got.text())
	}
}
