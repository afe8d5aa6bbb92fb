package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

// hourly is a task that is due at noon.
func hourly(t *testing.T, s *Store, id chat.TaskID, change func(*task.Task)) task.Task {
	t.Helper()
	c := task.Task{
		ID: id, Group: "main", To: chat.Address{Channel: "console", Chat: "main"}, Prompt: "do it", By: task.Creator{Channel: "console", Sender: chat.Sender{ID: "owner"}},
		Spec:   schedule.Spec{Kind: schedule.Cron, Value: "0 * * * *", Zone: "UTC"},
		Missed: schedule.MissedOnce, Overlap: schedule.OverlapSkip, Context: chat.GroupContext, State: task.Active, Next: noon,
	}
	if change != nil {
		change(&c)
	}
	check(t, s.AddTask(t.Context(), c, 10, audit.Entry{At: noon, Kind: audit.TaskChanged, Group: c.Group}))
	c, err := s.Task(t.Context(), id)
	check(t, err)
	return c
}

// fire does what the scheduler would do of a task at a moment.
func fire(t *testing.T, s *Store, c task.Task, at time.Time) task.Fired {
	t.Helper()
	times, err := schedule.Parse(c.Spec)
	check(t, err)
	f, err := s.Fire(t.Context(), task.Firing{Task: c, Plan: times.Plan(c.Next, at, c.Missed), Now: at, Queued: 100})
	check(t, err)
	return f
}

func reread(t *testing.T, s *Store, id chat.TaskID) task.Task {
	t.Helper()
	c, err := s.Task(t.Context(), id)
	check(t, err)
	return c
}

// finishTask takes the task's run to its end.
func finishTask(t *testing.T, s *Store, run chat.RunID, o runner.Outcome) *queue.Job {
	t.Helper()
	j := claim(t, s, "main", run)
	check(t, s.Start(t.Context(), run, runner.Start{Mode: "host", At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Run: run}))
	check(t, s.Running(t.Context(), run))
	o.At, o.Task = noon, j.Last().Task
	check(t, s.Finish(t.Context(), run, o, ended(run, o.State)))
	return j
}

func states(t *testing.T, s *Store, id chat.TaskID) string {
	t.Helper()
	runs, err := s.TaskRuns(t.Context(), id, 100)
	check(t, err)
	var out []string
	for _, r := range runs {
		out = append(out, r.State)
	}
	return strings.Join(out, " ")
}

// TestATaskIsDueOnce: of two who find the same due time, one makes its message, and
// who was first has set the next time with it.
func TestATaskIsDueOnce(t *testing.T) {
	s := newStore(t)
	c := hourly(t, s, "t1", nil)
	if due, err := s.DueTasks(t.Context(), noon.Add(-time.Second)); err != nil || len(due) != 0 {
		t.Errorf("due before its time: %+v, %v", due, err)
	}
	if next, err := s.NextTask(t.Context(), noon.Add(-time.Hour)); err != nil || !next.Equal(noon) {
		t.Errorf("the next is due at %v, %v", next, err)
	}
	due, err := s.DueTasks(t.Context(), noon)
	if err != nil || len(due) != 1 || cmp.Diff(c, due[0]) != "" {
		t.Fatalf("%v\n%s", err, cmp.Diff(c, due[0]))
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	started, stale := 0, 0
	for range 8 {
		all.Go(func() {
			f := fire(t, s, c, noon)
			mu.Lock()
			defer mu.Unlock()
			started += len(f.Started)
			if f.Stale {
				stale++
			}
		})
	}
	all.Wait()
	if started != 1 || stale != 7 {
		t.Errorf("it was started %d times, and %d were late", started, stale)
	}
	c = reread(t, s, "t1")
	if !c.Next.Equal(noon.Add(time.Hour)) || c.Runs != 1 || !c.Last.Equal(noon) {
		t.Errorf("afterwards it is %+v", c)
	}
	// Whatever becomes of the task's row, the due time's message is there once.
	_, err = s.ChangeTask(t.Context(), "t1", func(c *task.Task) (audit.Entry, error) {
		c.Next = noon
		return audit.Entry{At: noon, Kind: audit.TaskChanged}, nil
	})
	check(t, err)
	finishTask(t, s, "r1", runner.Outcome{State: runner.Succeeded})
	if f := fire(t, s, reread(t, s, "t1"), noon); len(f.Started) != 0 || len(f.Skipped) != 1 {
		t.Errorf("a due time that was run is %+v", f)
	}
	if got := states(t, s, "t1"); got != "succeeded" {
		t.Errorf("its past is %q", got)
	}
}

// TestATaskHasARunOfItsOwn: what was said before a task in a conversation of its own
// stays for the group's.
func TestATaskHasARunOfItsOwn(t *testing.T) {
	for _, tt := range []struct {
		context chat.TaskContext
		want    []string
	}{
		{chat.GroupContext, []string{"context do it", "after"}},
		{chat.IsolatedContext, []string{"do it", "context after"}},
	} {
		s := newStore(t)
		c := hourly(t, s, "t1", func(c *task.Task) { c.Context = tt.context })
		accept(t, s, "main", "context", router.Context)
		fire(t, s, c, noon)
		accept(t, s, "main", "after", router.Run)
		var got []string
		for _, run := range []chat.RunID{"r1", "r2"} {
			j := finishTask(t, s, run, runner.Outcome{State: runner.Succeeded})
			var words []string
			for _, m := range j.Messages {
				words = append(words, strings.TrimPrefix(m.Text, "text of "))
			}
			got = append(got, strings.Join(words, " "))
			if ref := j.Last().Task; (ref != nil) != (run == "r1") {
				t.Errorf("%s: the task of %s is %+v", tt.context, run, ref)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.context, d)
		}
	}
}

func TestOverlap(t *testing.T) {
	s := newStore(t)
	hourly(t, s, "ts", nil)
	hourly(t, s, "tq", func(c *task.Task) { c.Overlap = schedule.OverlapQueue })
	for n := range schedule.MaxAll + 2 {
		at := noon.Add(time.Duration(n) * time.Hour)
		fire(t, s, reread(t, s, "ts"), at)
		fire(t, s, reread(t, s, "tq"), at)
	}
	if c := reread(t, s, "ts"); c.Runs != 1 || c.Skipped != schedule.MaxAll+1 {
		t.Errorf("skip: %d runs, %d left out", c.Runs, c.Skipped)
	}
	if c := reread(t, s, "tq"); c.Runs != schedule.MaxAll || c.Skipped != 2 {
		t.Errorf("queue: %d runs, %d left out", c.Runs, c.Skipped)
	}
	finishTask(t, s, "r1", runner.Outcome{State: runner.Succeeded})
	if f := fire(t, s, reread(t, s, "ts"), noon.Add(30*time.Hour)); len(f.Started) != 1 {
		t.Errorf("once the first is over: %+v", f)
	}
}

// TestAQueueThatIsFull leaves a due time out, and says so.
func TestAQueueThatIsFull(t *testing.T) {
	s := newStore(t)
	c := hourly(t, s, "t1", nil)
	accept(t, s, "main", "waits", router.Run)
	times, err := schedule.Parse(c.Spec)
	check(t, err)
	f, err := s.Fire(t.Context(), task.Firing{Task: c, Plan: times.Plan(c.Next, noon, c.Missed), Now: noon, Queued: 1})
	if err != nil || len(f.Started) != 0 || len(f.Skipped) != 1 || !strings.Contains(f.Skipped[0], "queue of main is full") {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestATaskThatFailsRests: after so many failures in a row, with one notice. One
// success in between begins the count anew.
func TestATaskThatFailsRests(t *testing.T) {
	s := newStore(t)
	hourly(t, s, "t1", nil)
	ends := strings.Fields("failed failed failed failed succeeded failed refused cancelled failed failed failed")
	for n, end := range ends {
		if c := reread(t, s, "t1"); c.State != task.Active {
			t.Fatalf("it rests before the run %d: %s", n, c.Reason)
		}
		fire(t, s, reread(t, s, "t1"), noon.Add(time.Duration(n)*time.Hour))
		run := chat.RunID(fmt.Sprint("r", n))
		if end == "refused" { // before it began
			j := claim(t, s, "main", run)
			check(t, s.Finish(t.Context(), run, runner.Outcome{State: runner.Refused, At: noon, Task: j.Last().Task}, ended(run, runner.Refused)))
			continue
		}
		finishTask(t, s, run, runner.Outcome{State: runner.State(end), Error: "the reason"})
	}
	c := reread(t, s, "t1")
	if c.State != task.Broken || !c.Next.IsZero() || !strings.Contains(c.Reason, "5 times in a row") || !strings.Contains(c.Reason, "the reason") {
		t.Errorf("it is %s: %s", c.State, c.Reason)
	}
	if n := one[int](t, s, `SELECT count(*) FROM outbox WHERE key LIKE 'task:t1:broken:%'`); n != 1 {
		t.Errorf("%d notices", n)
	}
	check(t, s.Break(t.Context(), c, "again", nil))
	if n := one[int](t, s, `SELECT count(*) FROM outbox`); n != 1 {
		t.Errorf("a task that rests is told of again: %d", n)
	}
	if got := states(t, s, "t1"); got != "failed failed failed cancelled refused failed succeeded failed failed failed failed" {
		t.Errorf("its past is %q", got)
	}
}

// TestALostRun: a due time whose message was given up after crashes counts as one
// that failed, and no longer as one that runs.
func TestALostRun(t *testing.T) {
	s := newStore(t)
	fire(t, s, hourly(t, s, "t1", nil), noon)
	for n := range 3 {
		claim(t, s, "main", chat.RunID(fmt.Sprint("r", n)))
		_, err := again(s).Recover(t.Context(), 3, noon)
		check(t, err)
	}
	if got := states(t, s, "t1"); got != "lost" {
		t.Errorf("it is %q", got)
	}
	if f := fire(t, s, reread(t, s, "t1"), noon.Add(time.Hour)); len(f.Started) != 1 {
		t.Errorf("the next one: %+v", f)
	}
	if c := reread(t, s, "t1"); c.Failures != 1 || states(t, s, "t1") != "waiting lost" {
		t.Errorf("%d failures, %q", c.Failures, states(t, s, "t1"))
	}
}

// TestDropTask forgets a task with what waits of it, and says what runs.
func TestDropTask(t *testing.T) {
	s := newStore(t)
	entry := audit.Entry{At: noon, Kind: audit.TaskChanged, Group: "main"}
	fire(t, s, hourly(t, s, "t1", nil), noon)
	fire(t, s, hourly(t, s, "t2", nil), noon)
	claim(t, s, "main", "r1")
	if run, err := s.DropTask(t.Context(), "t2", entry); run != "" || err != nil {
		t.Errorf("one that waits: %q, %v", run, err)
	}
	if run, err := s.DropTask(t.Context(), "t1", entry); run != "r1" || err != nil {
		t.Errorf("one that runs: %q, %v", run, err)
	}
	// The run ends as if nothing were the matter.
	check(t, s.Finish(t.Context(), "r1", runner.Outcome{State: runner.Cancelled, At: noon, Task: &chat.TaskRef{ID: "t1", Due: noon}}, ended("r1", runner.Cancelled)))
	if all, err := s.Unanswered(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v still waits, %v", all, err)
	}
	if _, err := s.DropTask(t.Context(), "t1", entry); !errors.Is(err, ErrNotFound) {
		t.Errorf("dropped twice: %v", err)
	}
	if n := one[int](t, s, `SELECT count(*) FROM task_runs`); n != 0 {
		t.Errorf("%d of their due times are left", n)
	}
}

// TestTheLastTime: a task that is due never again is done, and its past is bounded.
func TestTheLastTime(t *testing.T) {
	s := newStore(t)
	c := hourly(t, s, "t1", func(c *task.Task) {
		c.Spec = schedule.Spec{Kind: schedule.Once, Value: noon.Format(time.RFC3339), Zone: "UTC"}
	})
	fire(t, s, c, noon)
	if c = reread(t, s, "t1"); c.State != task.Done || !c.Next.IsZero() {
		t.Errorf("%s, next %v", c.State, c.Next)
	}
	hourly(t, s, "t2", nil)
	for n := range task.KeepRuns + 10 {
		fire(t, s, reread(t, s, "t2"), noon.Add(time.Duration(n)*time.Hour))
	}
	if n := len(strings.Fields(states(t, s, "t2"))); n > task.KeepRuns+1 { // the one that goes on stays
		t.Errorf("%d due times are remembered", n)
	}
	for n := range 9 {
		err := s.AddTask(t.Context(), task.Task{ID: chat.TaskID(fmt.Sprint("more", n)), Group: "main", State: task.Paused}, 10, audit.Entry{At: noon, Kind: audit.TaskChanged})
		if full := errors.Is(err, ErrFull); full {
			t.Errorf("task %d: %v", n, err)
		}
	}
	err := s.AddTask(t.Context(), task.Task{ID: "one more", Group: "main", State: task.Active}, 10, audit.Entry{At: noon, Kind: audit.TaskChanged})
	if !errors.Is(err, ErrFull) {
		t.Errorf("more than may be: %v", err)
	}
}
