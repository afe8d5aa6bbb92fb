package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/steps"
)

// Store is what the scheduler needs of the store.
type Store interface {
	// DueTasks lists the active tasks whose next time came, the oldest first.
	DueTasks(ctx context.Context, now time.Time) ([]Task, error)
	// NextTask is the first next time of an active task after a moment, zero for none.
	NextTask(ctx context.Context, after time.Time) (time.Time, error)
	// Fire makes messages of due times and sets the next one, in one transaction,
	// unless the task was changed since it was read.
	Fire(ctx context.Context, f Firing) (Fired, error)
	// Break lets a task rest that cannot go on, and tells its chat, once and in the
	// same transaction. to is the chat if not the task's.
	Break(ctx context.Context, t Task, reason string, to *chat.Address) error
}

// Options are what a scheduler works with.
type Options struct {
	Store Store
	// Unfit says why a task cannot go on, "" if it can, and whether its chat is gone
	// too.
	Unfit func(Task) (why string, gone bool)
	// Rests says why no run of a group begins now, "" if one does. A task of a group
	// that rests is not taken up before that is over.
	Rests func(chat.Group) string
	// Fallback is the chat that hears of a task whose own chat is gone with its group.
	Fallback chat.Address
	// Wake is told that a message waits.
	Wake func(chat.Group)
	// Told is told that a notice waits in the outbox.
	Told   func()
	Queued int
	Now    func() time.Time
	Log    *slog.Logger
}

// Scheduler runs tasks when they are due.
type Scheduler struct {
	Options
	kick chan struct{}
}

// New makes a scheduler.
func New(o Options) *Scheduler {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Scheduler{Options: o, kick: make(chan struct{}, 1)}
}

// Nudge tells the scheduler that a task or a group changed. It never blocks.
func (s *Scheduler) Nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// maxSleep bounds how long the timer sleeps: timers stand still while the machine
// sleeps, and know nothing of a clock that was set.
const maxSleep = time.Minute

// Run serves until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	for {
		wait, err := s.pass(ctx)
		if err != nil && ctx.Err() == nil {
			s.Log.Error("the scheduler cannot read its tasks", "err", err)
			wait = time.Second
		}
		timer := time.NewTimer(wait)
		if wait == never {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// never is how long nothing is due: a change will say so.
const never = time.Duration(1<<63 - 1)

// pass takes up what is due and says how long to sleep.
func (s *Scheduler) pass(ctx context.Context) (time.Duration, error) {
	now := s.Now()
	due, err := s.Store.DueTasks(ctx, now)
	if err != nil {
		return 0, err
	}
	var failed error
	for _, t := range due {
		if err := s.take(ctx, t, now); err != nil {
			failed = errors.Join(failed, fmt.Errorf("task %s: %w", t.ID, err))
		}
	}
	next, err := s.Store.NextTask(ctx, now)
	switch {
	case errors.Join(err, failed) != nil:
		return 0, errors.Join(err, failed)
	case next.IsZero() && len(due) == 0:
		return never, nil
	case next.IsZero(): // something is due that its group holds back
		return maxSleep, nil
	}
	return min(max(next.Sub(s.Now()), 0), maxSleep), nil
}

// take does what is to be done of one task that is due.
func (s *Scheduler) take(ctx context.Context, t Task, now time.Time) error {
	if why, gone := s.Unfit(t); gone {
		return s.rest(ctx, t, why, &s.Fallback)
	} else if why != "" {
		return s.rest(ctx, t, why, nil)
	}
	if s.Rests(t.Group) != "" {
		return nil // what it misses meanwhile, its own policy says
	}
	times, err := schedule.Parse(t.Spec)
	if err != nil {
		return s.rest(ctx, t, "its schedule cannot be read: "+err.Error(), nil)
	}
	steps.Before(steps.Fire)
	fired, err := s.Store.Fire(ctx, Firing{Task: t, Plan: times.Plan(t.Next, now, t.Missed), Now: now, Queued: s.Queued})
	steps.After(steps.Fire)
	if err != nil || fired.Stale { // what changed nudges
		return err
	}
	for _, why := range fired.Skipped {
		s.Log.Info("a due time of a task is left out", "task", t.ID, "group", t.Group, "why", why)
	}
	if len(fired.Started) > 0 {
		s.Wake(t.Group)
	}
	return nil
}

func (s *Scheduler) rest(ctx context.Context, t Task, reason string, to *chat.Address) error {
	s.Log.Warn("a task cannot go on and rests", "task", t.ID, "group", t.Group, "why", reason)
	if err := s.Store.Break(ctx, t, reason, to); err != nil {
		return err
	}
	s.Told()
	return nil
}
