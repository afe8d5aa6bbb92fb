package runner

import "nanoclaw/internal/chat"

// Answering is the message that a run that goes on answers, the last one that called
// it. It is false if the run is over or no message called it.
func (r *Runner) Answering(run chat.RunID) (in chat.Address, id chat.MessageID, ok bool) {
	r.mu.Lock()
	l := r.live[run]
	r.mu.Unlock()
	if l == nil {
		return in, id, false
	}
	for _, m := range l.all() {
		if m.Trigger {
			in, id, ok = m.From, m.ID, m.Task == nil
		}
	}
	return in, id, ok
}

// Maker says for whom a run that goes on works, by the last message that called it, in
// which chat, and whether it works on the owner's account.
func (r *Runner) Maker(run chat.RunID) (from chat.Address, who chat.Sender, owner, ok bool) {
	r.mu.Lock()
	l := r.live[run]
	r.mu.Unlock()
	if l == nil {
		return chat.Address{}, chat.Sender{}, false, false
	}
	for _, m := range l.all() {
		if m.Trigger {
			from, who, owner, ok = m.From, m.Sender, ofOwner(m), true
		}
	}
	who.Owner = false // what an agent makes has no right of the owner's
	return from, who, owner, ok
}
