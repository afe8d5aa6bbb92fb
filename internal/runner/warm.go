package runner

import (
	"context"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// fitting gives the session that waits for the group's next run, if it can serve
// this one: it is of the same conversation.
func (r *Runner) fitting(ctx context.Context, job queue.Job, g grant.Grant) *session {
	r.pool.settle(ctx, job.Group, g)
	s := r.warm(job.Group, g)
	if s == nil {
		return nil
	}
	if s.thread != job.Thread() {
		r.endWaiting(s, otherThread)
		return nil
	}
	if job.Resume != "" && job.Resume != s.talk.Session {
		r.closeSession(s)
		return nil
	}
	r.tries.used(job.Group)
	return s
}

// otherThread is why a session ends whose group has one for another conversation.
const otherThread = "a message in another thread of the group needed its place"

// forgetWarm ends what waits for the next run of a conversation that begins anew.
func (r *Runner) forgetWarm(ctx context.Context, job queue.Job, g grant.Grant) {
	r.pool.settle(ctx, job.Group, g)
	r.pool.drain(func(s *session) bool { return s.grant.Group == job.Group && s.thread == job.Thread() }, "") // nothing to tell the next agent
}
