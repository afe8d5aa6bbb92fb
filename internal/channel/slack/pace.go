package slack

import (
	"context"
	"errors"
	"sync"
	"time"

	"nanoclaw/internal/channel/supervise"
)

// gates hold requests back for as long as Slack asked. Its limits are for a method of
// the web API, so one of them does not close the others.
type gates struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (g *gates) wait(method string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.until[method])
}

func (g *gates) shut(method string, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until == nil {
		g.until = map[string]time.Time{}
	}
	if until := time.Now().Add(wait); until.After(g.until[method]) {
		g.until[method] = until
	}
}

// Bounds of one call.
const (
	maxWait  = 2 * time.Minute // for Slack's limit; longer ones are the caller's matter
	maxTries = 4
)

// call does one request to the web API. Where Slack asks to wait it waits, and asks
// again.
func (c *Channel) call(ctx context.Context, method string, do func(context.Context) error) error {
	for try := 1; ; try++ {
		if err := c.pass(ctx, method); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, callTime)
		err := judge(do(bounded))
		cancel()
		var after *supervise.After
		if !errors.As(err, &after) {
			return err
		}
		c.opt.Log.Warn("Slack asks to wait", "method", method, "for", after.Wait)
		c.gates.shut(method, after.Wait)
		if try == maxTries || after.Wait > maxWait {
			return err
		}
	}
}

// pass waits until a method may be used.
func (c *Channel) pass(ctx context.Context, method string) error {
	for {
		wait := c.gates.wait(method)
		if wait <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
