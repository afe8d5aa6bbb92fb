package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// How long the end of a run is tried to be stored: for as long as a disk may stay
// full, and once the run's own time is over, as when we stop, not much longer.
const (
	persistFirst   = 100 * time.Millisecond
	persistPause   = 5 * time.Second
	persistWithin  = time.Hour
	persistStopped = 20 * time.Second
)

// persist stores something that must not be lost, again while the store says that
// it cannot now: the disk is full, or somebody holds the file. Without that the
// run would stay claimed, and its group silent, until the next start.
func persist(ctx context.Context, log *slog.Logger, do func() error) error {
	until, ended := time.Now().Add(persistWithin), false
	for pause := persistFirst; ; pause = min(2*pause, persistPause) {
		err := do()
		if ctx.Err() != nil && !ended {
			ended, until = true, time.Now().Add(persistStopped)
		}
		if !passing(err) || time.Now().After(until) {
			return err
		}
		log.Warn("the end of a run cannot be stored now and is tried again", "err", err)
		time.Sleep(pause)
	}
}

// passing says that an error may be over soon.
func passing(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}
