package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// TestAnchors: whoever can write the data folder puts back an older store, with
// its older and valid checkpoint. Only the anchors elsewhere show it, and the
// owner is told at the next start.
func TestAnchors(t *testing.T) {
	i := newInstall(t, "")
	file := filepath.Join(i.home, "anchors")
	i.configure(`{"version": 1, "audit": {"anchor": "~/anchors", "anchorChat": "24h"}}`)
	life := func() {
		_, stop := i.run()
		stop()
	}
	verify := func(anchor string) control.AuditReport {
		t.Helper()
		d := i.open()
		defer d.Close()
		r, err := d.AuditVerify(t.Context(), control.VerifyQuery{Anchor: anchor})
		must(t, err)
		return r
	}
	life()
	older := filepath.Join(t.TempDir(), "older")
	must(t, exec.Command("cp", "-a", i.paths.DataDir, older).Run())
	d, stop := i.run()
	told := notice(t, d, chat.Main, "The audit log has ")
	stop()
	r := verify("")
	if !r.OK || r.Anchors < 2 || r.Anchored != r.Entries {
		t.Fatalf("%+v", r)
	}
	words := regexp.MustCompile(`--anchor (\S+)`).FindStringSubmatch(told)
	if words == nil {
		t.Fatalf("the notice names no anchor: %s", told)
	}
	if r := verify(words[1]); !r.OK {
		t.Errorf("against the chat's anchor: %s", r.Bad)
	}
	if r := verify(file); !r.OK {
		t.Errorf("against the file by name: %s", r.Bad)
	}
	life()

	must(t, os.RemoveAll(i.paths.DataDir))
	must(t, exec.Command("cp", "-a", older, i.paths.DataDir).Run())
	if r := verify(""); r.OK || !strings.Contains(r.Bad, "an older store was put back") {
		t.Errorf("an older store: %+v", r)
	}
	d, stop = i.run()
	notice(t, d, chat.Main, "The record of what happened is not the one that was anchored")
	stop()

	must(t, os.Remove(file))
	if r := verify(""); r.OK || !strings.Contains(r.Bad, "missing") {
		t.Errorf("without its anchors: %+v", r)
	}
}

// TestAnchorIsOutOfReach: no grant may hold the file.
func TestAnchorIsOutOfReach(t *testing.T) {
	i := newInstall(t, "")
	must(t, os.MkdirAll(filepath.Join(i.home, "project"), 0o700))
	i.configure(`{"version": 1, "hostMode": {"enabled": true}, "audit": {"anchor": "~/project/anchors"},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true, "agent": "shell", "mounts": [{"path": "~/project", "write": true}]}}}`)
	d := i.open()
	defer d.Close()
	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: chat.Main})
	must(t, err)
	if !strings.Contains(p.Refusal, "nanoclaw keeps its configuration, data or sockets there") {
		t.Errorf("a folder with the anchors would be shown: %+v", p.Refusal)
	}
}

// notice waits until a group's terminal gets a message that begins so.
func notice(t *testing.T, d *Daemon, g chat.Group, begins string) string {
	t.Helper()
	term, err := d.Attach(t.Context(), g)
	must(t, err)
	defer term.Close()
	for {
		out, _, err := term.Next(t.Context())
		must(t, err)
		if out != nil && strings.HasPrefix(out.Text, begins) {
			return out.Text
		}
	}
}
