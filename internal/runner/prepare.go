package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
)

const (
	// lookEvery is how often the machine's memory is looked at while sessions wait.
	lookEvery = 10 * time.Second
	// prepareTime is how long a session may take to get ready.
	prepareTime = 2 * time.Minute
	// firstPause is the pause before a prepared session that came to nothing is
	// made again. It doubles up to longestPause while that goes on.
	firstPause, longestPause = time.Minute, time.Hour

	shortOfMemory = "the machine was short of memory"
)

// Tend looks after the sessions that no run is using, until ctx ends: it ends
// what may not stay, and prepares what is asked for. It looks when something
// changed, and now and then while sessions wait.
func (r *Runner) Tend(ctx context.Context) {
	var making sync.WaitGroup
	defer making.Wait()
	one := make(chan struct{}, 1) // is prepared at a time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kick:
		case <-timer.C:
		}
		if next := r.trim(); next != "" {
			select {
			case one <- struct{}{}:
				making.Go(func() {
					r.prepareNext(ctx, next)
					<-one
					r.nudge()
				})
			default:
			}
		}
		if len(r.Prepare) > 0 || r.pool.count(every) > 0 {
			timer.Reset(lookEvery)
		} else {
			timer.Stop()
		}
	}
}

// nudge has Tend look. It never blocks.
func (r *Runner) nudge() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Nudge tells Tend that what Held says may have changed.
func (r *Runner) Nudge() { r.nudge() }

func every(*session) bool { return true }

// trim ends sessions that may not stay, and names the group for which one is to
// be prepared now, "" for none.
func (r *Runner) trim() chat.Group {
	if r.Held() != "" {
		r.pool.expel(every, "the configuration changed")
		return ""
	}
	r.pool.expel(func(s *session) bool { return r.Rests(s.grant.Group) != "" }, "the owner paused the group")
	r.pool.expel(func(s *session) bool { return s.way.Stale() }, "its way out could not serve another run")
	if r.Short() != "" {
		r.pool.evict("", shortOfMemory)
		return ""
	}
	for _, g := range r.Prepare {
		if r.Rests(g) == "" && !r.working(g) && r.pool.room(g) && r.tries.due(g, steps.Now()) {
			return g
		}
	}
	return ""
}

// working says that a run of the group goes on.
func (r *Runner) working(g chat.Group) bool {
	return len(r.find(func(_ chat.RunID, l *live) bool { return l.group == g })) > 0
}

// prepareNext prepares a session for a group and notes how that went. One that
// was called off, since a run came first, is nobody's failure.
func (r *Runner) prepareNext(ctx context.Context, g chat.Group) {
	err := r.prepare(ctx, g)
	var no *grant.Refusal
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, errCalledOff), errors.Is(err, ErrHeld):
	case errors.Is(err, errNeverPrepared):
		r.tries.never(g)
		r.Unready(g, err.Error())
	case errors.As(err, &no): // whoever writes is told the same, in words
		r.tries.pause(g, steps.Now())
		r.Log.Info("no session is prepared", "group", g, "rule", no.Rule)
	default:
		r.tries.pause(g, steps.Now())
		r.Log.Warn("a session could not be prepared", "group", g, "err", err)
		r.Unready(g, err.Error())
	}
}

var (
	errCalledOff     = errors.New("a run of the group came first")
	errNeverPrepared = errors.New("its sessions end with their run: it runs a shell, or may write folders of yours, which are searched before and after each run")
	errSlow          = fmt.Errorf("it was not ready within %v", prepareTime)
)

// prepare makes a session for a group before anybody wrote: the boundary stands,
// the agent is started and has its conversation. It is what a run of the group
// would be granted now, written down before the act like a run, and it is none:
// the run that uses it is recorded and counted when it comes, and compares the
// grant.
func (r *Runner) prepare(ctx context.Context, group chat.Group) error {
	g, err := r.Decide(ctx, group, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
	if err != nil {
		return err
	}
	if once(g) {
		return errNeverPrepared
	}
	ctx, cancel := context.WithTimeoutCause(ctx, prepareTime, errSlow)
	defer cancel()
	m := r.pool.begin(g, cancel)
	if m == nil {
		return errCalledOff
	}
	defer r.pool.finish(m)
	if r.working(group) { // a run that began before us does not see m; one that begins now does
		return errCalledOff
	}
	s, err := r.newSession(ctx, g)
	if err != nil {
		return err
	}
	s.prepared, s.began = true, steps.Now()
	if err = r.pick(ctx, queue.Job{Group: group}, s); err == nil {
		err = r.standUp(ctx, s)
	}
	if err != nil {
		s.ended = "it could not be prepared: " + err.Error()
		r.closeSession(s)
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return errCalledOff
		}
		return err
	}
	r.park(s, 0)
	return nil
}

// standUp records and starts a prepared session.
func (r *Runner) standUp(ctx context.Context, s *session) error {
	g := s.grant
	err := r.Store.Record(ctx, audit.Entry{
		At: s.began, Kind: audit.SessionPrepared, Group: g.Group, Session: s.id,
		Data: audit.SessionPreparedData{Mode: string(g.Mode), Agent: g.Agent, Grant: g},
	})
	if err == nil {
		err = r.open(ctx, "", s, false)
	}
	if err == nil {
		err = r.Store.Record(ctx, s.started())
	}
	if err == nil {
		s.conv, err = r.openAgent(ctx, s)
	}
	return err
}

// readiness remembers for each group how preparing went, so that what fails is
// not tried in a tight loop.
type readiness struct {
	mu     sync.Mutex
	groups map[chat.Group]*attempts
}

type attempts struct {
	vain  int // since one was used, or lived long
	next  time.Time
	never bool
}

func newReadiness() *readiness { return &readiness{groups: map[chat.Group]*attempts{}} }

func (r *readiness) ofLocked(g chat.Group) *attempts {
	if r.groups[g] == nil {
		r.groups[g] = &attempts{}
	}
	return r.groups[g]
}

// due says that a session may be prepared for a group now.
func (r *readiness) due(g chat.Group, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.ofLocked(g)
	return !a.never && !now.Before(a.next)
}

// pause notes a session that came to nothing.
func (r *readiness) pause(g chat.Group, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.ofLocked(g)
	a.next = now.Add(min(firstPause<<min(a.vain, 10), longestPause))
	a.vain++
}

// lost notes a session that ended without a run, lived after it was begun: soon
// after its start, it is one that came to nothing.
func (r *readiness) lost(g chat.Group, lived time.Duration, now time.Time) {
	if lived >= longestPause {
		r.used(g)
	}
	r.pause(g, now)
}

// used notes that preparing for a group was worth it.
func (r *readiness) used(g chat.Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.ofLocked(g) = attempts{}
}

// never notes that no session can be prepared for a group as it is configured.
func (r *readiness) never(g chat.Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ofLocked(g).never = true
}
