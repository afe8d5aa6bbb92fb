package queue

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
)

// rows is a store in memory: messages of groups, in order.
type rows struct {
	mu      sync.Mutex
	waiting []Message // Text is the group
	opens   time.Time // before it nothing is waiting
	fail    error
}

func (s *rows) add(g chat.Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, Message{Row: int64(len(s.waiting) + 1), Inbound: chat.Inbound{Text: string(g)}, Trigger: true})
}

func (s *rows) Waiting(context.Context) ([]chat.Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []chat.Group
	if time.Now().Before(s.opens) {
		return nil, s.fail
	}
	s.opens = time.Time{}
	seen := map[string]bool{}
	for _, m := range s.waiting {
		if !seen[m.Text] {
			seen[m.Text] = true
			out = append(out, chat.Group(m.Text))
		}
	}
	return out, s.fail
}

func (s *rows) Claim(_ context.Context, g chat.Group, run chat.RunID, at time.Time) (*Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	job := &Job{Run: run, Group: g, Claimed: at}
	var rest []Message
	for _, m := range s.waiting {
		if m.Text == string(g) {
			job.Messages = append(job.Messages, m)
		} else {
			rest = append(rest, m)
		}
	}
	if s.waiting = rest; job.Messages == nil {
		return nil, nil
	}
	return job, nil
}

func (s *rows) Opens(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens, nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// worker counts what runs at once, for each group and in all.
type worker struct {
	mu       sync.Mutex
	now      map[chat.Group]int
	order    []chat.Group
	together int
	messages int
	wrong    []string
}

func (w *worker) do(ctx context.Context, j Job) {
	w.mu.Lock()
	w.now[j.Group]++
	w.order = append(w.order, j.Group)
	w.messages += len(j.Messages)
	all := 0
	for g, n := range w.now {
		all += n
		if n > 1 {
			w.wrong = append(w.wrong, "two runs of "+string(g))
		}
	}
	w.together = max(w.together, all)
	w.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
	}
	w.mu.Lock()
	w.now[j.Group]--
	w.mu.Unlock()
}

func TestOneRunPerGroupAndACeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := &rows{}, &worker{now: map[chat.Group]int{}}
		q := New(store, 2, w.do, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		for _, g := range []chat.Group{"a", "a", "b", "c", "d"} {
			store.add(g)
		}
		q.Wake()
		synctest.Wait()
		store.add("a") // while its run goes on: waits for the next
		q.Wake()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		cancel()
		<-done
		if w.wrong != nil || w.together != 2 || w.messages != 6 {
			t.Errorf("together %d, messages %d, wrong %v; want 2, 6, none", w.together, w.messages, w.wrong)
		}
		// Those that start together may note it in either order.
		slices.Sort(w.order[:2])
		slices.Sort(w.order[2:4])
		if d := cmp.Diff([]chat.Group{"a", "b", "c", "d"}, w.order[:4]); d != "" {
			t.Errorf("who waited longest goes first (-want +got):\n%s", d)
		}
		if last := w.order[4]; last != "a" {
			t.Errorf("the follow-up went to %s", last)
		}
	})
}

// What is held until a time is taken up by itself then, also by a queue that was
// made long after, and by nobody before.
func TestHeldMessagesGoOnByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := &rows{}, &worker{now: map[chat.Group]int{}}
		store.opens = time.Now().Add(75 * time.Minute)
		store.add("a")
		q := New(store, 2, w.do, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		runs := func() int {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.order)
		}
		time.Sleep(75*time.Minute - time.Second)
		if runs() != 0 {
			t.Error("it was taken up too early")
		}
		time.Sleep(time.Second)
		if n := runs(); n != 1 {
			t.Errorf("%d runs when it opens", n)
		}
		cancel()
		<-done
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := &rows{}, &worker{now: map[chat.Group]int{}}
		q := New(store, 2, w.do, quiet())
		if !q.Hold("the configuration changed") || q.Hold("again") {
			t.Error("a hold must say that it is the first exactly once")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		store.add("a")
		q.Wake()
		time.Sleep(time.Hour)
		synctest.Wait()
		cancel()
		<-done
		if len(w.order) != 0 {
			t.Errorf("a held queue ran %v", w.order)
		}
		if len(store.waiting) != 1 {
			t.Error("the message did not stay")
		}
	})
}

// TestPause: a paused group waits, others do not, and both ways to pause count.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := &rows{}, &worker{now: map[chat.Group]int{}}
		q := New(store, 2, w.do, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		ran := func(want ...chat.Group) {
			t.Helper()
			q.Wake()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if len(w.order) > 1 {
				slices.Sort(w.order[1:]) // these start together
			}
			if d := cmp.Diff(want, w.order); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		}
		q.Pause("a", "because")
		store.add("a")
		store.add("b")
		ran("b")
		if r := q.Rests("a"); r != "because" || q.Rests("b") != "" {
			t.Errorf("a rests %q, b %q", r, q.Rests("b"))
		}
		q.Pause(AllGroups, "all")
		q.Resume("a")
		store.add("b")
		ran("b")
		q.Resume(AllGroups)
		ran("b", "a", "b")
		cancel()
		<-done
	})
}

// A store that fails is asked again, and Run waits for what goes on.
func TestStoreFailsAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := &rows{fail: errors.New("locked")}, &worker{now: map[chat.Group]int{}}
		q := New(store, 1, w.do, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		store.add("a")
		q.Wake()
		synctest.Wait()
		store.mu.Lock()
		store.fail = nil
		store.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(w.order) != 1 {
			t.Fatalf("after the store came back: %v", w.order)
		}
		cancel()
		<-done
		if w.now["a"] != 0 {
			t.Error("Run returned before its runs")
		}
	})
}
