package daemon

import (
	"context"
	"runtime/debug"
	"syscall"
	"time"
)

// lookedAround is how long after the start everything has looked around once.
const lookedAround = 1500 * time.Millisecond

// A daemon is quiet if it was on a processor for less than quietCPU in the time between
// two looks, and had something to do if it was for more than busyCPU since it rested.
const (
	restLook = 30 * time.Second
	quietCPU = restLook / 200
	busyCPU  = 500 * time.Millisecond
)

// settle rests, to give back what only the start needed, then what the other parts touched
// when they first looked around, and from then on what was needed by something that is
// over: a session, a search of the log, a page.
func settle(ctx context.Context, rest func()) {
	rest()
	wait := func(t time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(t):
			return true
		}
	}
	if !wait(lookedAround) {
		return
	}
	rest()
	r := resting{since: busyCPU, at: spent()} // the first quiet time ends the start
	for wait(restLook) {
		if r.due(spent()) {
			rest()
			r = resting{at: spent()}
		}
	}
}

// resting says when to rest: in a quiet time after a busy one.
type resting struct {
	since, at time.Duration // on a processor: since the rest, and in all at the last look
}

// due takes one more look.
func (r *resting) due(now time.Duration) bool {
	used := now - r.at
	r.at, r.since = now, r.since+used
	return used < quietCPU && r.since >= busyCPU
}

// spent is how long this process was on a processor.
func spent() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rest gives memory that is not used any more back to the system, and the pages of the
// program, which can be read again.
func (d *Daemon) rest() {
	d.store.Rest()
	debug.FreeOSMemory()
	d.log.Debug("memory was given back", "bytes of the program released", releaseProgram())
}
