package daemon

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// The daemon rests when it has started, when all have looked around, in the first quiet
// time, and then only after it was busy.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rests atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			settle(ctx, func() { rests.Add(1) })
		}()
		at := func(wait time.Duration, want int32) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if got := rests.Load(); got != want {
				t.Errorf("it rested %d times, want %d", got, want)
			}
		}
		at(0, 1)
		at(lookedAround, 2)
		at(restLook, 3)
		at(restLook, 3)
		for until := spent() + busyCPU; spent() < until; {
		}
		at(restLook, 3) // that was no quiet time
		at(restLook, 4)
		cancel()
		<-over
	})
}
