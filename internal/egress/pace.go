package egress

import (
	"context"
	"sync"
	"time"
)

// pace spreads work over time: a burst passes at once, then one every interval.
// It makes a flood wait instead of filling the audit log, which has a line for
// each connection.
type pace struct {
	interval time.Duration
	burst    int

	mu sync.Mutex
	// free is when the next one after the burst would be due.
	free time.Time
}

// wait returns when it is the caller's turn, or with ctx's error.
func (p *pace) wait(ctx context.Context) error {
	delay := p.reserve(time.Now())
	if delay <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes the next place and says how long to wait for it.
func (p *pace) reserve(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free.Before(now) {
		p.free = now
	}
	delay := p.free.Sub(now) - time.Duration(p.burst-1)*p.interval
	p.free = p.free.Add(p.interval)
	return delay
}
