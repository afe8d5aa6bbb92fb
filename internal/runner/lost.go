package runner

import (
	"errors"
	"log/slog"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
)

// Live are the runs that go on here.
func (r *Runner) Live() []chat.RunID {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]chat.RunID, 0, len(r.live))
	for id := range r.live {
		ids = append(ids, id)
	}
	return ids
}

// Lost ends a run, and its session, that another process has taken over. What its
// agent said since is dropped: the other answers, and the store takes nothing more
// of this run.
func (r *Runner) Lost(run chat.RunID) {
	for _, l := range r.find(func(id chat.RunID, _ *live) bool { return id == run }) {
		l.cancel(queue.ErrLost)
	}
}

// lost says that a run cannot go on because it is not ours any more.
func lost(err error) bool { return errors.Is(err, queue.ErrLost) }

// takenOver is the end of such a run, for the record.
const takenOver = "another process took the run over"

// notKept logs that a change of a run was not stored.
func notKept(log *slog.Logger, what string, err error) {
	if lost(err) {
		log.Warn("a run was taken over by another process, which answers its messages", "err", err)
		return
	}
	log.Error(what, "err", err)
}
