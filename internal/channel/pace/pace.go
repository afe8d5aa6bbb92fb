// Package pace keeps requests to a chat network within what the network asked for.
//
// Networks say when to come again, and mean one method of theirs by it, so one that is
// held back does not close the others. A request waits for its turn, is made once more
// when the network asked to wait, and gives up in time for the outbox, which tries
// again later, to know. What a request is, and which error asks to wait
// (supervise.After), the adapter says.
package pace

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"nanoclaw/internal/channel/supervise"
)

// Gates hold requests back for as long as the network asked. The zero value is ready.
type Gates struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (g *Gates) wait(method string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.until[method])
}

func (g *Gates) shut(method string, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until == nil {
		g.until = map[string]time.Time{}
	}
	if until := time.Now().Add(wait); until.After(g.until[method]) {
		g.until[method] = until
	}
}

// Bounds of one request.
const (
	callTime = 30 * time.Second
	maxWait  = 2 * time.Minute // for the network's limit; longer ones are the caller's matter
	maxTries = 4
)

// Call makes one request, of at most 30 s. Where the network asks to wait it waits,
// and asks again.
func (g *Gates) Call(ctx context.Context, log *slog.Logger, method string, do func(context.Context) error) error {
	return g.CallFor(ctx, log, method, callTime, do)
}

// CallFor is Call with another bound of the time that the request may take, such as
// that of a large file.
func (g *Gates) CallFor(ctx context.Context, log *slog.Logger, method string, bound time.Duration, do func(context.Context) error) error {
	for try := 1; ; try++ {
		if err := g.pass(ctx, method); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, bound)
		err := do(bounded)
		cancel()
		var after *supervise.After
		if !errors.As(err, &after) {
			return err
		}
		log.Warn("the network asks to wait", "method", method, "for", after.Wait)
		g.shut(method, after.Wait)
		if try == maxTries || after.Wait > maxWait {
			return err
		}
	}
}

// pass waits until a method may be used.
func (g *Gates) pass(ctx context.Context, method string) error {
	for {
		wait := g.wait(method)
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
