package daemon

import (
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// The owner sees modes in the status and by /mode, which never changes one. Nothing
// asks for containers where no group needs one.
func TestModesAreTold(t *testing.T) {
	i := newInstall(t, strings.Replace(hostConfig, `"work": {},`, "", 1))
	d, _ := i.run()
	s, err := d.Status(t.Context())
	must(t, err)
	if len(s.Modes) != 2 || s.Modes[0].Group != chat.Main || s.Modes[0].Mode != "host" || s.Modes[0].Engine == "" || len(s.Modes[0].Layers) == 0 || s.Modes[0].Other != "container" {
		t.Errorf("%+v", s.Modes)
	}
	for _, tt := range []struct {
		say         string
		want, never []string
	}{
		{"/mode", []string{"main: host mode (groups.main.mode), by ", "In container mode it would lose: the programs"}, []string{"family"}},
		{"/mode all", []string{"main: host mode", "family: host mode"}, []string{"would lose"}},
		{"/mode family container", []string{"family: host mode", "nanoclaw group set family --mode container, and restart"}, []string{"opt-in"}},
		{"/mode host", []string{"main: host mode"}, []string{"not changed in a chat"}},
	} {
		a := ask(t, d, chat.Main, tt.say)
		if a.State != control.Taken {
			t.Errorf("%s: %+v", tt.say, a)
		}
		for _, w := range tt.want {
			if !strings.Contains(a.text(), w) {
				t.Errorf("%s: no %q in\n%s", tt.say, w, a.text())
			}
		}
		for _, w := range tt.never {
			if strings.Contains(a.text(), w) {
				t.Errorf("%s: %q is in\n%s", tt.say, w, a.text())
			}
		}
	}
	if d.modeOf("family") != "host" {
		t.Error("a chat changed a mode")
	}
}
