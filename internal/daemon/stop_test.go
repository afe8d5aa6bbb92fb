package daemon

import (
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// say stores a message of the owner and gives its id.
func say(t *testing.T, d *Daemon, g chat.Group, text string) chat.MessageID {
	t.Helper()
	id, err := d.Say(t.Context(), control.SayRequest{Group: g, Text: text})
	must(t, err)
	return id
}

// begun waits until an agent has said that it is at work.
func begun(t *testing.T, d *Daemon, g chat.Group, text string) (chat.MessageID, control.Terminal) {
	t.Helper()
	term, err := d.Attach(t.Context(), g)
	must(t, err)
	id := say(t, d, g, text)
	for {
		_, p, err := term.Next(t.Context())
		must(t, err)
		if p != nil && strings.Contains(p.Text, "at work") {
			return id, term
		}
	}
}

// TestStopHoldsWhatWaits: who stops a run does not want the next one to begin in
// its place, and loses no message: also over a restart.
func TestStopHoldsWhatWaits(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, stop := i.run()
	first, term := begun(t, d, "family", "echo at work; sleep 600")
	second := say(t, d, "family", "echo second >> order; echo done")
	other := say(t, d, chat.Main, "echo other")
	stopped, err := d.Stop(t.Context(), control.StopRequest{Group: "family"})
	must(t, err)
	if len(stopped.Runs) != 1 || len(stopped.Paused) != 1 || stopped.Paused[0] != "family" {
		t.Fatalf("%+v", stopped)
	}
	must(t, term.Close())
	if a, err := d.Wait(t.Context(), "family", first); err != nil || a.State != "cancelled" {
		t.Errorf("the first: %+v, %v", a, err)
	}
	if a, err := d.Wait(t.Context(), "family", second); err != nil || a.State != "held" || !strings.Contains(a.Reason, "nanoclaw resume --group family") {
		t.Errorf("the second: %+v, %v", a, err)
	}
	if a, err := d.Wait(t.Context(), chat.Main, other); err != nil || a.State != "succeeded" {
		t.Errorf("another group: %+v, %v", a, err)
	}
	stop()

	d, _ = i.run()
	third := say(t, d, "family", "echo third >> order; cat order")
	s, err := d.Status(t.Context())
	must(t, err)
	if len(s.Paused) != 1 || s.Paused[0].Group != "family" || s.Waiting != 2 {
		t.Errorf("after a restart: %+v, %d waiting", s.Paused, s.Waiting)
	}
	notice(t, d, "family", "The owner paused this group")
	must(t, d.Resume(t.Context(), control.PauseRequest{Group: "family"}))
	for _, id := range []chat.MessageID{second, third} {
		if a, err := d.Wait(t.Context(), "family", id); err != nil || a.State != "succeeded" {
			t.Errorf("resumed: %+v, %v", a, err)
		}
	}
	notice(t, d, "family", "done\nsecond\nthird")
	if err := d.Resume(t.Context(), control.PauseRequest{Group: "family"}); code(err) != control.CodeNotFound {
		t.Errorf("resumed twice: %v", err)
	}
}

// TestStopWithNothingWaiting leaves the group as it was.
func TestStopWithNothingWaiting(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	_, term := begun(t, d, chat.Main, "echo at work; sleep 600")
	stopped, err := d.Stop(t.Context(), control.StopRequest{All: true})
	must(t, err)
	must(t, term.Close())
	if len(stopped.Runs) != 1 || len(stopped.Paused) != 0 {
		t.Fatalf("%+v", stopped)
	}
	if a := ask(t, d, chat.Main, "echo again"); a.State != "succeeded" {
		t.Errorf("%+v", a)
	}
}

// TestPauseAll: all rest, one of them for a reason of its own.
func TestPauseAll(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	ctx := t.Context()
	must(t, d.Pause(ctx, control.PauseRequest{All: true, Reason: "holidays"}))
	must(t, d.Pause(ctx, control.PauseRequest{Group: "family"}))
	id := say(t, d, chat.Main, "echo hello")
	if a, err := d.Wait(ctx, chat.Main, id); err != nil || a.State != "held" || !strings.Contains(a.Reason, "holidays") {
		t.Errorf("%+v, %v", a, err)
	}
	must(t, d.Resume(ctx, control.PauseRequest{All: true}))
	if a, err := d.Wait(ctx, chat.Main, id); err != nil || a.State != "succeeded" {
		t.Errorf("main: %+v, %v", a, err)
	}
	id = say(t, d, "family", "echo hello")
	if a, err := d.Wait(ctx, "family", id); err != nil || a.State != "held" {
		t.Errorf("family rests still: %+v, %v", a, err)
	}
	for _, r := range []control.PauseRequest{{}, {Group: "family", All: true}} {
		if err := d.Pause(ctx, r); code(err) != control.CodeUsage {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := d.Pause(ctx, control.PauseRequest{Group: "nobody"}); code(err) != control.CodeNotFound {
		t.Errorf("an unknown group: %v", err)
	}
}

// TestStopOfWhatIsOver pauses nothing: nothing was stopped.
func TestStopOfWhatIsOver(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	ctx := t.Context()
	over := ask(t, d, chat.Main, "echo done")
	must(t, d.Pause(ctx, control.PauseRequest{All: true}))
	say(t, d, chat.Main, "echo waits")
	if stopped, err := d.Stop(ctx, control.StopRequest{Run: over.Run}); code(err) != control.CodeNotFound || len(stopped.Paused) > 0 {
		t.Errorf("%+v, %v", stopped, err)
	}
	s, err := d.Status(ctx)
	must(t, err)
	if len(s.Paused) != 1 || s.Paused[0].Group != "" {
		t.Errorf("paused are %+v", s.Paused)
	}
}
