package hosttools

import (
	"context"
	"fmt"
	"sync"
	"time"

	"nanoclaw/internal/audit"
)

// Bounds on what one session may ask in a time: so many at once, then one for
// each time. A message is anything that arrives, a call is the use of a tool. A
// message costs the host little and a call leaves a record, so there may be more of
// the one than of the other.
const (
	burst  = 30
	refill = 2 * time.Second

	talkBurst  = 300
	talkRefill = 50 * time.Millisecond
)

// limiter is a token bucket.
type limiter struct {
	size   float64
	refill time.Duration

	mu         sync.Mutex
	tokens     float64
	last       time.Time
	unrecorded int // refusals that were not recorded
}

func newLimiter(size float64, refill time.Duration) limiter {
	return limiter{size: size, refill: refill, tokens: size}
}

// take spends a token. If there is none it says so, and whether this refusal is
// the first of its row; otherwise it gives how many were not recorded.
func (l *limiter) take(now time.Time) (ok, first bool, unrecorded int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() {
		l.tokens = min(l.size, l.tokens+now.Sub(l.last).Seconds()/l.refill.Seconds())
	}
	l.last = now
	if l.tokens < 1 {
		l.unrecorded++
		return false, l.unrecorded == 1, 0
	}
	l.tokens--
	unrecorded, l.unrecorded = l.unrecorded, 0
	return true, false, max(0, unrecorded-1)
}

// spend admits one message of any kind. Of a flood the first refusal is recorded
// and no other, not even by number: what is never parsed is no call.
func (s *Server) spend(ctx context.Context) bool {
	ok, first, _ := s.talk.take(time.Now())
	if first {
		s.note(ctx, fmt.Sprintf("too many messages: at most %d at once and one each %v after that", talkBurst, talkRefill))
	}
	return ok
}

// odd records what was said and is no message, or none that may come here. It
// counts as a call, so that a flood of it is one record too.
func (s *Server) odd(ctx context.Context, why string) {
	ok, first, _ := s.calls.take(time.Now())
	if ok || first {
		s.note(ctx, why)
	}
}

// note records that something was refused which names no tool. There is nothing
// more to refuse if that fails.
func (s *Server) note(ctx context.Context, why string) {
	s.record(ctx, audit.HostToolCalledData{Tool: "(none)", Verdict: refused, Reason: why})
}
