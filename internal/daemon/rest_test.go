package daemon

import (
	"testing"
	"time"
)

// It rests once after a busy time, not while it lasts, and not again because of what resting
// and little things cost.
func TestRestsInAQuietTimeAfterABusyOne(t *testing.T) {
	r := resting{since: busyCPU, at: time.Second}
	now := time.Second
	for i, look := range []struct {
		used time.Duration
		due  bool
	}{
		{quietCPU, false}, // still busy
		{quietCPU - 1, true},
	} {
		now += look.used
		if got := r.due(now); got != look.due {
			t.Errorf("at the start, look %d: %v", i, got)
		}
	}
	r = resting{at: now}
	looks := 0
	for now += time.Millisecond; !r.due(now); now += time.Millisecond {
		looks++
	}
	if want := int(busyCPU/time.Millisecond) - 1; looks != want {
		t.Errorf("with a millisecond in each look it rested after %d, want %d", looks, want)
	}
	r = resting{at: now}
	if now += time.Minute; r.due(now) {
		t.Error("it rested while it was busy")
	}
	if !r.due(now) {
		t.Error("it did not rest when that was over")
	}
	if spent() <= 0 {
		t.Error("this process was never on a processor")
	}
}
