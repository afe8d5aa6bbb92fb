package main

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"nanoclaw/internal/control"
	"nanoclaw/internal/service"
)

// patienceAlive is how long the daemon may take to answer its own question.
const patienceAlive = 10 * time.Second

// notifier tells the service manager that started this process how it stands. Its
// words are for a person who asks the manager.
type notifier struct {
	getenv func(string) string
	log    *slog.Logger
}

func (n notifier) tell(states ...string) {
	if err := service.Notify(n.getenv, states...); err != nil {
		n.log.Warn("the service manager could not be told", "states", states, "err", err)
	}
}

// keepAlive tells the manager that the daemon lives, as long as it does: each sign is
// given only after the daemon answered at its own socket, with what it has in its
// store. It returns when ctx ends and the daemon begins to stop; the manager bounds
// that by itself.
func (n notifier) keepAlive(ctx context.Context, path string) {
	every := service.WatchdogEvery(n.getenv, os.Getpid())
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := answers(ctx, path); err == nil {
			n.tell(service.Alive)
		} else if ctx.Err() == nil {
			n.log.Error("this daemon does not answer its own question; its service manager is not told that it lives", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answers asks the daemon behind a socket how it stands.
func answers(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patienceAlive)
	defer cancel()
	c, err := control.Dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Status(ctx)
	return err
}

// during tells the manager of a daemon's life. ready is to be called when it is
// ready, done when it has ended.
func (n notifier) during(ctx context.Context, path string) (ready, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	stopping := func() { n.tell(service.Stopping, "STATUS=ending its sessions") }
	unasked := context.AfterFunc(ctx, stopping)
	ready = func() {
		n.tell(service.Ready, "STATUS=ready at "+path)
		parts.Go(func() { n.keepAlive(ctx, path) })
	}
	done = func() {
		if unasked() { // it ended by itself, or was asked at its socket
			stopping()
		}
		cancel()
		parts.Wait()
	}
	return ready, done
}
