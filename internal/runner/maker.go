package runner

import (
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
)

// asked is the message that a run that goes on answers, the last one that called it.
func (r *Runner) asked(run chat.RunID) (last queue.Message, ok bool) {
	r.mu.Lock()
	l := r.live[run]
	r.mu.Unlock()
	if l == nil {
		return last, false
	}
	for _, m := range l.all() {
		if m.Trigger {
			last, ok = m, true
		}
	}
	return last, ok
}

// Answering is the message of a chat that a run that goes on answers. It is false if the
// run is over or a task began it.
func (r *Runner) Answering(run chat.RunID) (in chat.Address, id chat.MessageID, ok bool) {
	m, ok := r.asked(run)
	return m.From, m.ID, ok && m.Task == nil
}

// Maker says for whom a run that goes on works, by the last message that called it, in
// which chat, and whether it works on the owner's account.
func (r *Runner) Maker(run chat.RunID) (from chat.Address, who chat.Sender, owner, ok bool) {
	m, ok := r.asked(run)
	if !ok {
		return chat.Address{}, chat.Sender{}, false, false
	}
	who = m.Sender
	who.Owner = false // what an agent makes has no right of the owner's
	return m.From, who, ofOwner(m), true
}
