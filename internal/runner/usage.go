package runner

import (
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/egress"
)

// Used notes what an answer of the model cost a run, as the provider counted it: the
// only numbers about it that do not come from inside.
func (r *Runner) Used(run chat.RunID, u egress.Usage) {
	r.mended(run, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	if l == nil {
		return // between runs: the audit entry of the request has it
	}
	if l.used == nil {
		l.used = &audit.ModelUse{}
	}
	l.used.Answers++
	l.used.Input += u.Input
	l.used.CacheRead += u.CacheRead
	l.used.CacheWrite += u.CacheWrite
	l.used.Output += u.Output
	l.used.Searches += u.Searches
	l.used.Fetches += u.Fetches
	if u.Partial {
		l.used.Partial++
	}
}

// used is what a run used so far, nil for nothing.
func (r *Runner) used(run chat.RunID) *audit.ModelUse {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	if l == nil || l.used == nil {
		return nil
	}
	sum := *l.used
	return &sum
}

// counted puts the provider's numbers in the place of the agent's claim.
func (o *Outcome) counted(m *audit.ModelUse) {
	o.InputTokens, o.OutputTokens = 0, 0
	if m != nil {
		o.InputTokens, o.OutputTokens = m.Input+m.CacheRead+m.CacheWrite, m.Output
	}
}
