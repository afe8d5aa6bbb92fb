package daemon

import (
	"os"
	"strings"
	"testing"

	"nanoclaw/internal/control"
)

// An agent whose conversation is resumed with another grant is told what it may
// touch now, once; one whose grant stayed as it was is told nothing. Its system
// prompt would not say: Claude Code keeps the first.
func TestChangedGrantIsTold(t *testing.T) {
	i, m := claudeInstall(t)
	told := func(d *Daemon) (notes []string) {
		t.Helper()
		before := len(m.Requests())
		if a := ask(t, d, "family", "hello"); a.State != control.Succeeded {
			t.Fatalf("%+v\n%s", a.Answer, a.text())
		}
		for _, r := range m.Requests()[before:] {
			if _, rest, ok := strings.Cut(r.UserText, "<host>"); ok {
				note, _, _ := strings.Cut(rest, "</host>")
				notes = append(notes, note)
			}
		}
		return notes
	}
	d, stop := i.run()
	if notes := told(d); len(notes) > 0 {
		t.Errorf("a new conversation: %q", notes)
	}
	stop()
	d, stop = i.run()
	if notes := told(d); len(notes) > 0 {
		t.Errorf("the same grant: %q", notes)
	}
	stop()
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(text), `"family": {`, `"family": {"egress": ["example.org"], `, 1))
	d, _ = i.run()
	notes := told(d)
	if len(notes) == 0 || !strings.Contains(notes[0], "has changed since this conversation was last told") || !strings.Contains(notes[0], "through the proxy in your environment: example.org:443") {
		t.Errorf("another grant: %q", notes)
	}
	if notes := told(d); len(notes) > 0 {
		t.Errorf("told twice: %q", notes)
	}
}
