package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/control"
	"nanoclaw/internal/runner"
)

// What waits for more than its turn is listed with its reason, and one message tells
// why it does.
func TestWhatIsHeldIsListed(t *testing.T) {
	d, _ := newInstall(t, fmt.Sprintf(shellConfig, `"runsPerHour": 100`, `"confirm": "each"`)).run()
	id := bobSays(t, d, "b1", "echo from bob")
	becomes(t, d, id, "held")
	code := question(t, d, runner.HostRun).Code
	must(t, d.Pause(t.Context(), control.PauseRequest{Group: "work"}))
	_, err := d.Say(t.Context(), control.SayRequest{Group: "work", Text: "echo later"})
	must(t, err)

	s, err := d.Status(t.Context())
	must(t, err)
	if len(s.HeldMessages) != 2 {
		t.Fatalf("held %+v", s.HeldMessages)
	}
	if h := s.HeldMessages[0]; h.Group != "work" || h.Count != 1 || !strings.Contains(h.Why, "paused") || !h.Until.IsZero() {
		t.Errorf("the paused group: %+v", h)
	}
	if h := s.HeldMessages[1]; h.Group != "family" || h.Count != 1 || h.Code != code || !h.Until.After(time.Now()) {
		t.Errorf("what waits for a yes: %+v, want the code %s", h, code)
	}
	w, err := d.Why(t.Context(), control.WhyQuery{Name: string(id)})
	if err != nil || !strings.Contains(w.Text, "you are asked about a run in host mode") || !strings.Contains(w.Text, code) {
		t.Errorf("why: %q, %v", w.Text, err)
	}
	answers(t, d, code, true)
	becomes(t, d, id, string(runner.Succeeded))
	if s, err = d.Status(t.Context()); err != nil || len(s.HeldMessages) != 1 {
		t.Errorf("after the answer: %+v, %v", s.HeldMessages, err)
	}
}

// Every hold has words.
func TestHoldsInWords(t *testing.T) {
	r := holdReasons{
		questions: []approval.Asked{{Code: "k4m2-9x7a", Hash: "h1"}},
		troubles:  []runner.Trouble{{Key: "model/anthropic", Text: "the credential was refused"}},
	}
	for hold, want := range map[string]string{
		"confirm/h1":                "you are asked about a run in host mode k4m2-9x7a",
		"confirm/h2":                "you are to be asked about a run in host mode ",
		"behind/family":             "an earlier question about this group is open ",
		"messages/family":           "messages of this group came too fast (rates.group.messagesPerMinute) ",
		"messages/family/slack:bob": "messages of slack:bob came too fast (rates.sender.messagesPerMinute) ",
		"host/family":               "enough runs in host mode were made within an hour (hostMode.runsPerHour) ",
		"runs/group/family":         "the runs of the day of group family are used up ",
		"budget/day/":               "the budget of day is used up ",
		"model/anthropic":           "the credential was refused ",
		"model/other":               "model/other ",
	} {
		if words, code := r.why(hold); words+" "+code != want {
			t.Errorf("%s: %q, want %q", hold, words+" "+code, want)
		}
	}
}
