package runner

import (
	"context"
	"reflect"
	"slices"
	"sync"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
)

// followed is what a live run needs to take in messages that come while it goes
// on, and what it took in.
type followed struct {
	nudge chan struct{} // holds one value while there may be messages

	more    sync.Mutex // guards all below
	job     queue.Job
	trigger grant.Trigger
	granted grant.Grant // as it was decided, without what is held in it
	taken   []queue.Message
	rows    map[string][]int64 // of the messages that followed, by uuid
	back    []int64            // rows that the agent never saw
}

// accept notes what the run was given, which is what a follow-up is held against.
func (f *followed) accept(job queue.Job, t grant.Trigger, g grant.Grant) {
	f.more.Lock()
	defer f.more.Unlock()
	f.job, f.trigger, f.granted, f.rows = job, t, g, map[string][]int64{}
}

// whole is the job with what joined it.
func (f *followed) whole(job queue.Job) queue.Job {
	f.more.Lock()
	defer f.more.Unlock()
	job.Messages = slices.Clone(job.Messages)
	for _, m := range f.taken {
		if !slices.Contains(f.back, m.Row) {
			job.Messages = append(job.Messages, m)
		}
	}
	return job
}

// unread notes that the agent did not see messages that followed. Those that the
// run began with are over with it.
func (f *followed) unread(uuids []string) {
	f.more.Lock()
	defer f.more.Unlock()
	for _, uuid := range uuids {
		f.back = append(f.back, f.rows[uuid]...)
	}
}

// leave notes that messages were never given to the agent.
func (f *followed) leave(parts [][]queue.Message) {
	f.more.Lock()
	defer f.more.Unlock()
	for _, part := range parts {
		for _, m := range part {
			f.back = append(f.back, m.Row)
		}
	}
}

func (f *followed) notSeen() []int64 {
	f.more.Lock()
	defer f.more.Unlock()
	return slices.Clone(f.back)
}

// fits says that a message may be worked on in a run: it comes with the same
// rights, and alone it would be granted the same, mode included, but for MCP servers
// that failed since (grant.Grant.Serves). So nothing that one sender asks for is done with what another was granted, and
// a task never enters a session that its mode does not allow.
func fits(run, message grant.Trigger, granted, wanted grant.Grant) bool {
	return reflect.DeepEqual(run, message) && granted.Serves(wanted)
}

// Came says that a message of a group came. It never blocks.
func (r *Runner) Came(g chat.Group) {
	for _, l := range r.find(func(_ chat.RunID, l *live) bool { return l.group == g }) {
		select {
		case l.nudge <- struct{}{}:
		default:
		}
	}
}

// follow takes in messages for as long as a turn goes on. When stop returns
// nothing is on its way into the turn any more.
func (r *Runner) follow(ctx context.Context, s *session, l *live, progress func(chat.ProgressKind, string)) (stop func()) {
	conv, ok := s.conv.(agent.Follower)
	if !ok || s.talk.Isolated {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.nudge:
			}
			if err := r.takeIn(ctx, s, l, conv, progress); lost(err) {
				l.cancel(err)
			} else if err != nil && ctx.Err() == nil {
				r.log(s).Error("a message could not be taken into the run that goes on; it waits for its own", "err", err)
			}
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

// FollowCrowded is how many messages may join a run while other groups wait for a
// place.
const FollowCrowded = 10

// takeIn gives the agent what waits, if it may join the run. What may not waits
// for a run of its own, and so does all that came after it.
func (r *Runner) takeIn(ctx context.Context, s *session, l *live, conv agent.Follower, progress func(chat.ProgressKind, string)) error {
	if r.Rests(l.group) != "" {
		return nil
	}
	next, err := r.Store.Next(ctx, l.group)
	if err != nil || len(next) == 0 {
		return err
	}
	last := next[len(next)-1]
	if last.Alone() || r.hasVoice(next) || last.Cut != "" || l.job.Last().Suspect() || !queue.SameRights(last, l.job.Last()) {
		return nil
	}
	if r.Crowded != nil && r.Crowded() && len(l.all())-len(l.job.Messages) >= FollowCrowded {
		return nil // others wait for this place
	}
	t := triggerOf(queue.Job{Messages: next})
	g, err := r.Decide(ctx, l.group, t)
	if err != nil || !fits(l.trigger, t, l.granted, g) {
		return nil // its own run tells why not, if it may not run at all
	}
	ctx = context.WithoutCancel(ctx)
	reservation, may, err := r.joinReserve(ctx, l, t, g, next)
	if err != nil || !may {
		return err
	}
	steps.Before(steps.Join)
	ok, err := r.Store.Join(ctx, l.job.Run, next, reservation, r.joinedEntry(l.job, s, t, next))
	steps.After(steps.Join)
	if _, later := waits(err); later {
		return nil // its own run tells until when
	}
	if err != nil || !ok {
		return err
	}
	r.give(l, conv, next)
	progress(chat.Waiting, "a further message is taken in")
	return nil
}

// give hands messages that joined to the agent.
func (r *Runner) give(l *live, conv agent.Follower, next []queue.Message) {
	l.more.Lock()
	defer l.more.Unlock()
	l.taken = append(l.taken, next...)
	for _, line := range lines(next) {
		p := r.message(l.group, line)
		rows := rowsOf(line)
		l.rows[p.UUID] = rows
		if conv.Follow(p) != nil {
			l.back = append(l.back, rows...) // the turn was over; a run of its own follows
		}
	}
}

func rowsOf(msgs []queue.Message) []int64 {
	rows := make([]int64, len(msgs))
	for i, m := range msgs {
		rows[i] = m.Row
	}
	return rows
}

// all are the messages that the run was given so far.
func (f *followed) all() []queue.Message {
	f.more.Lock()
	defer f.more.Unlock()
	return slices.Concat(f.job.Messages, f.taken)
}
