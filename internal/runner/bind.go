package runner

import (
	"slices"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/chat"
)

// bind adds to an effect what it is about beside its arguments: the files and
// hosts that they name, and on whose behalf it is.
func (r *Runner) bind(s *session, run chat.RunID, c agent.ToolCall, e *approval.Effect) {
	if r.Named != nil {
		e.Parts = append(e.Parts, r.Named(s.grant, s.seen(), c)...)
	}
	e.By, e.From = r.Asking(run)
}

// Asking says on whose behalf a run that goes on is, as approval.Identity names
// them, and in which chat its last message was.
func (r *Runner) Asking(run chat.RunID) (by []string, from chat.Address) {
	r.mu.Lock()
	l := r.live[run]
	r.mu.Unlock()
	if l == nil {
		return nil, chat.Address{}
	}
	for _, m := range l.all() {
		who := approval.Identity(m.From.Channel, m.Sender.ID)
		if ofOwner(m) {
			who = approval.OwnerSelf
		}
		if m.Trigger && !slices.Contains(by, who) {
			by = append(by, who)
		}
	}
	return by, l.to
}
