package mcpserver

import (
	"context"
	"sync"
	"time"
)

// Times of a Watch.
const (
	checkTime  = 30 * time.Second // for one look
	wellTime   = 15 * time.Minute // until the next look at a server that is well
	retryFirst = 10 * time.Second // until the next look at one that failed
	retryMost  = 5 * time.Minute
	atOnce     = 2 // looks
)

// Health is how a server is.
type Health struct {
	// Failed is why it cannot be had, "" if it can or is not known.
	Failed string
	// Fix is what to do about it, if that is known.
	Fix string
	// At is when it was looked at, zero if it was not yet.
	At time.Time
	// Tools is how many it has.
	Tools int
}

// Look looks at one server, by the key that Watch was given, and says how it is.
type Look func(ctx context.Context, key string) Health

// Watch looks at servers in the background.
type Watch struct {
	look Look
	keys []string
	// changed is told of each server that became well or stopped being so.
	changed func(key string, was, is Health)

	soon map[string]chan struct{} // a look is wanted now

	mu    sync.Mutex
	known map[string]Health
}

// NewWatch makes a watch over servers. changed may be nil.
func NewWatch(keys []string, look Look, changed func(key string, was, is Health)) *Watch {
	w := &Watch{look: look, keys: keys, changed: changed, known: map[string]Health{}, soon: map[string]chan struct{}{}}
	for _, key := range keys {
		w.soon[key] = make(chan struct{}, 1)
	}
	return w
}

// Nudge has Run look at a server soon. It never waits.
func (w *Watch) Nudge(key string) {
	select {
	case w.soon[key] <- struct{}{}: // of a key that nobody watches it is nil
	default:
	}
}

// Run looks at each server, and again and again until ctx ends: at those that
// failed sooner, later each time. It looks at a few at once, so that a dead one
// does not keep it from the others.
func (w *Watch) Run(ctx context.Context) {
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, key := range w.keys {
		all.Go(func() { w.follow(ctx, key, slots) })
	}
	all.Wait()
}

// follow looks at one server again and again.
func (w *Watch) follow(ctx context.Context, key string, slots chan struct{}) {
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-w.soon[key]:
		}
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		h := w.Check(ctx, key)
		<-slots
		switch {
		case h.Failed == "":
			wait = wellTime
		case wait == 0 || wait == wellTime:
			wait = retryFirst
		default:
			wait = min(2*wait, retryMost)
		}
	}
}

// Check looks at one server now.
func (w *Watch) Check(ctx context.Context, key string) Health {
	looking, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	h := w.look(looking, key)
	if ctx.Err() != nil {
		return h // it was broken off, which says nothing of the server
	}
	h.At = time.Now()
	w.mu.Lock()
	was := w.known[key]
	w.known[key] = h
	w.mu.Unlock()
	if w.changed != nil && (was.Failed == "") != (h.Failed == "") {
		w.changed(key, was, h)
	}
	return h
}

// Health gives what is known of a server. It never waits.
func (w *Watch) Health(key string) Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[key]
}
