package daemon

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// A message of the owner finds a boundary that stands ready, the audit says so,
// and nothing stands ready any more once the configuration has changed.
func TestMessagesFindABoundaryReady(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, _ := i.run()
	for d.spares.count() == 0 { // they are made some time after the start
		select {
		case <-t.Context().Done():
			t.Fatal("no boundary stands ready")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if s, err := d.Status(t.Context()); err != nil || s.Spares == 0 {
		t.Errorf("the status says that %d stand ready, %v", s.Spares, err)
	}
	if got := ask(t, d, chat.Main, "echo from $(id -u)"); !strings.Contains(got.text(), "from 1000") {
		t.Errorf("the answer is %q", got.text())
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.SessionStarted)})
	must(t, err)
	var data audit.SessionStartedData
	if len(entries) != 1 || json.Unmarshal(entries[0].Data, &data) != nil || !data.Prepared {
		t.Errorf("the audit says %+v of %d sessions", data, len(entries))
	}
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(string(text) + "\n// changed\n")
	if err := d.checkConfig(t.Context()); err == nil {
		t.Error("a changed configuration is accepted")
	}
	if n := d.spares.count(); n != 0 {
		t.Errorf("%d stand ready after the configuration has changed", n)
	}
}

// Where no run may happen natively, and where the owner says 0, nothing stands
// ready.
func TestNothingStandsReadyInVain(t *testing.T) {
	for name, config := range map[string]string{
		"host mode is off": `{"version": 1, "groups": {"main": {}}}`,
		"none are wanted":  strings.Replace(hostConfig, "{", `{"boundary": {"spares": 0},`, 1),
	} {
		d := newInstall(t, config).open()
		d.keepSpares(t.Context())
		if d.spares.of != nil {
			t.Errorf("%s: spares are kept", name)
		}
		d.endSpares()
		must(t, d.Close())
	}
}
