package runner

import "nanoclaw/internal/chat"

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
