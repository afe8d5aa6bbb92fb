// Package supervise keeps one connection to a chat network up.
//
// It promises: one connection at a time, so the next attempt begins only after the
// last one has returned; pauses that grow and are spread, so that many hosts do not
// come back at the same moment; a watchdog, since a connection over which nothing
// comes any more looks like one over which nobody speaks; and that nothing is kept of
// a connection that ended, however many there were.
//
// What a connection is, and what a sign of life is, the adapter says. A sign must be
// something that only the living network can send, such as the answer to a ping: the
// silence of people is none of the watchdog's matter.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"nanoclaw/internal/channel"
)

// ErrSilent is the cause of the context of a connection that gave no sign of life in
// time.
var ErrSilent = errors.New("the connection gave no sign of life")

// Options are how a connection is kept. The zero value of a field is its default.
type Options struct {
	// Silence ends a connection that gave no sign of life for so long. Default 1 min.
	Silence time.Duration
	// First and Most are the shortest and the longest pause before the next attempt.
	// It doubles with each that fails. Defaults 1 s and 2 min.
	First, Most time.Duration
	// Steady is how long a connection must have lasted for the pauses to begin anew.
	// Default 30 s.
	Steady time.Duration
	// Status gets each change.
	Status func(channel.Status)
}

func (o Options) filled() Options {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Silence, time.Minute}, {&o.First, time.Second}, {&o.Most, 2 * time.Minute}, {&o.Steady, 30 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.Status == nil {
		o.Status = func(channel.Status) {}
	}
	return o
}

// Line is one attempt, as the adapter sees it.
type Line struct {
	up    chan struct{}
	alive chan struct{}
}

// Up says that the connection stands. It is a sign of life.
func (l *Line) Up() { poke(l.up) }

// Alive is a sign of life. It never blocks.
func (l *Line) Alive() { poke(l.alive) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// After is an error of a network that says when to come again.
type After struct {
	Wait time.Duration
	Err  error
}

func (a *After) Error() string { return a.Err.Error() }

// Unwrap gives what happened.
func (a *After) Unwrap() error { return a.Err }

// ErrAgain is for a connection that the network asked to be made anew, in order:
// there is no reason to wait.
var ErrAgain = errors.New("the network asked for a new connection")

// Run calls connect for one connection after the other until ctx ends, which is nil,
// or until connect gives a channel.Permanent error, which Run gives back. connect
// holds one connection until that is over or its own context ends, and leaves nothing
// behind.
func Run(ctx context.Context, o Options, connect func(context.Context, *Line) error) error {
	r := runner{o: o.filled()}
	for ctx.Err() == nil {
		r.o.Status(channel.Status{State: channel.Connecting, Since: time.Now(), Cause: r.cause})
		err := r.once(ctx, connect)
		if ctx.Err() != nil {
			return nil
		}
		if channel.IsPermanent(err) {
			r.o.Status(channel.Status{State: channel.Ended, Since: time.Now(), Cause: err.Error()})
			return err
		}
		r.cause = words(err)
		wait := r.pause(err)
		r.o.Status(channel.Status{State: channel.Waiting, Since: time.Now(), Cause: r.cause})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return nil
}

type runner struct {
	o       Options
	failed  int       // attempts in a row that did not last
	seen    time.Time // the last sign of life
	cause   string
	started time.Time // when the last connection stood, zero if it never did
}

func words(err error) string {
	if err == nil {
		return "the network closed the connection"
	}
	return err.Error()
}

// once is one attempt.
func (r *runner) once(ctx context.Context, connect func(context.Context, *Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	line := &Line{up: make(chan struct{}, 1), alive: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- guarded(ctx, line, connect) }()
	r.started = time.Time{}
	lost := r.seen // by the connection before, whatever comes first over this one
	watchdog := time.NewTimer(r.o.Silence)
	defer watchdog.Stop()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); errors.Is(cause, ErrSilent) {
				return cause
			}
			return err
		case <-line.up:
			r.started = time.Now()
			r.o.Status(channel.Status{State: channel.Connected, Since: r.started, Lost: lost, Cause: r.cause})
		case <-line.alive:
		case <-watchdog.C:
			cancel(fmt.Errorf("%w for %v", ErrSilent, r.o.Silence))
			return r.ended(<-done, context.Cause(ctx))
		}
		r.seen = time.Now()
		watchdog.Reset(r.o.Silence)
	}
}

// ended prefers what the network said for good to the watchdog's own words.
func (r *runner) ended(err, cause error) error {
	if channel.IsPermanent(err) {
		return err
	}
	return cause
}

// guarded keeps a panic of one connection, which strangers' bytes may cause, from
// ending the host.
func guarded(ctx context.Context, l *Line, connect func(context.Context, *Line) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the adapter failed: %v", p)
		}
	}()
	return connect(ctx, l)
}

// pause is how long to wait after an attempt: between half and all of a time that
// doubles, and at least what the network asked for.
func (r *runner) pause(err error) time.Duration {
	if !r.started.IsZero() && time.Since(r.started) >= r.o.Steady {
		r.failed = 0
	}
	if errors.Is(err, ErrAgain) && r.failed == 0 && !r.started.IsZero() {
		r.failed++ // one that asks again and again has to wait
		return 0
	}
	wait := r.o.Most
	if r.failed < 20 {
		wait = min(r.o.Most, r.o.First<<r.failed)
	}
	r.failed++
	wait = wait/2 + rand.N(wait/2+1)
	var after *After
	if errors.As(err, &after) {
		wait = max(wait, min(after.Wait, time.Hour))
	}
	return wait
}
