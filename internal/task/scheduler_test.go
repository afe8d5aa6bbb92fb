package task

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/schedule"
)

// shelf is a store of one task, in memory.
type shelf struct {
	mu     sync.Mutex
	t      Task
	ran    []time.Time
	broken string
	looks  int
	fail   error
}

func (s *shelf) DueTasks(_ context.Context, now time.Time) ([]Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if s.t.State == Active && !s.t.Next.IsZero() && !s.t.Next.After(now) {
		return []Task{s.t}, s.fail
	}
	return nil, s.fail
}

func (s *shelf) NextTask(_ context.Context, after time.Time) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t.State == Active && s.t.Next.After(after) {
		return s.t.Next, nil
	}
	return time.Time{}, nil
}

func (s *shelf) Fire(_ context.Context, f Firing) (Fired, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran = append(s.ran, f.Run...)
	s.t.Next = f.Next
	return Fired{Started: f.Run}, nil
}

func (s *shelf) Break(_ context.Context, _ Task, reason string, _ *chat.Address) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = reason
	s.t.Rest(Broken, reason)
	return nil
}

// stage is a scheduler in a bubble of its own time, with a clock that can be set.
type stage struct {
	*shelf
	*Scheduler
	mu     sync.Mutex
	ahead  time.Duration // of the clock
	rests  string
	unfit  string
	began  time.Time
	woken  int
	notice int
}

func newStage(t *testing.T, value string, missed schedule.Missed) *stage {
	g := &stage{shelf: &shelf{}, began: time.Now()}
	g.t = Task{ID: "t1", Group: "family", Spec: schedule.Spec{Kind: schedule.Cron, Value: value, Zone: "UTC"}, Missed: missed}
	if err := g.t.Begin(g.began); err != nil {
		t.Fatal(err)
	}
	g.Scheduler = New(Options{
		Store: g.shelf, Log: slog.New(slog.DiscardHandler),
		Now:   func() time.Time { g.mu.Lock(); defer g.mu.Unlock(); return time.Now().Add(g.ahead) },
		Rests: func(chat.Group) string { g.mu.Lock(); defer g.mu.Unlock(); return g.rests },
		Unfit: func(Task) (string, bool) { g.mu.Lock(); defer g.mu.Unlock(); return g.unfit, false },
		Wake:  func(chat.Group) { g.mu.Lock(); defer g.mu.Unlock(); g.woken++ },
		Told:  func() { g.mu.Lock(); defer g.mu.Unlock(); g.notice++ },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return g
}

// set changes something that the scheduler asks for.
func (g *stage) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// due are the times that were run, in minutes since the beginning.
func (g *stage) due() []int {
	synctest.Wait()
	g.shelf.mu.Lock()
	defer g.shelf.mu.Unlock()
	out := []int{}
	for _, at := range g.ran {
		out = append(out, int(at.Sub(g.began).Minutes()))
	}
	return out
}

func (g *stage) want(t *testing.T, what string, want ...int) {
	t.Helper()
	if want == nil {
		want = []int{}
	}
	if d := cmp.Diff(want, g.due()); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

func TestRunsWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newStage(t, "*/10 * * * *", schedule.MissedOnce)
		g.want(t, "at the start")
		time.Sleep(10 * time.Minute)
		g.want(t, "when it is due", 10)
		time.Sleep(25 * time.Minute)
		g.want(t, "and again", 10, 20, 30)
		g.set(func() {
			if g.woken != 3 {
				t.Errorf("the queue was woken %d times", g.woken)
			}
		})
	})
}

// TestAnIdleSchedulerSleeps: where there is nothing to come it looks once, and with
// something to come once a minute.
func TestAnIdleSchedulerSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newStage(t, "0 0 1 * *", schedule.MissedOnce)
		time.Sleep(time.Hour)
		g.due()
		g.shelf.mu.Lock()
		if g.looks > 62 {
			t.Errorf("it looked %d times within an hour", g.looks)
		}
		g.t.Rest(Paused, "")
		g.shelf.mu.Unlock()
		g.Nudge()
		g.due()
		g.shelf.mu.Lock()
		before := g.looks
		g.shelf.mu.Unlock()
		time.Sleep(24 * time.Hour)
		g.due()
		g.shelf.mu.Lock()
		defer g.shelf.mu.Unlock()
		if g.looks != before {
			t.Errorf("with nothing to come it looked %d times", g.looks-before)
		}
	})
}

// TestClockIsSet: a clock that goes back makes nothing come twice; one that goes
// forward is noticed within a minute, and what was missed obeys its policy.
func TestClockIsSet(t *testing.T) {
	for missed, want := range map[schedule.Missed][]int{
		schedule.MissedSkip: {10, 60}, schedule.MissedOnce: {10, 50, 60}, schedule.MissedAll: {10, 20, 30, 40, 50, 60},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newStage(t, "*/10 * * * *", missed)
			time.Sleep(11 * time.Minute)
			g.set(func() { g.ahead = -5 * time.Minute }) // it is minute 6 again
			time.Sleep(5 * time.Minute)
			g.want(t, string(missed)+", after the clock went back", 10)
			g.set(func() { g.ahead = 39 * time.Minute }) // minute 55
			time.Sleep(2 * time.Minute)
			time.Sleep(4 * time.Minute) // minute 61
			g.want(t, string(missed)+", after it went forward", want...)
		})
	}
}

// TestAGroupThatRests holds its tasks, and what they miss meanwhile their policy says.
func TestAGroupThatRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newStage(t, "*/10 * * * *", schedule.MissedOnce)
		g.set(func() { g.rests = "paused" })
		time.Sleep(35 * time.Minute)
		g.want(t, "while it rests")
		g.set(func() { g.rests = "" })
		g.Nudge()
		g.want(t, "when it goes on", 30)
	})
}

func TestATaskThatCannotGoOn(t *testing.T) {
	for name, spoil := range map[string]func(*stage){
		"there is no group":      func(g *stage) { g.set(func() { g.unfit = "there is no group" }) },
		"cannot be read: there ": func(g *stage) { g.shelf.mu.Lock(); g.t.Spec.Zone = "Europe/Atlantis"; g.shelf.mu.Unlock() },
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newStage(t, "*/10 * * * *", schedule.MissedOnce)
			spoil(g)
			time.Sleep(30 * time.Minute)
			g.want(t, name)
			if g.broken == "" || g.notice != 1 {
				t.Errorf("%s: it rests because %q, and %d notices were told", name, g.broken, g.notice)
			}
		})
	}
}

// TestAStoreThatFails is asked again a little later.
func TestAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newStage(t, "*/10 * * * *", schedule.MissedOnce)
		synctest.Wait()
		g.shelf.mu.Lock()
		g.fail = errors.New("the disk is full")
		g.shelf.mu.Unlock()
		time.Sleep(11 * time.Minute)
		g.want(t, "while it fails")
		g.shelf.mu.Lock()
		g.fail = nil
		g.shelf.mu.Unlock()
		time.Sleep(2 * time.Second)
		g.want(t, "afterwards", 10)
	})
}
