package daemon

import (
	"context"
	"runtime/debug"
	"time"
)

// lookedAround is how long after the start everything has looked around once.
const lookedAround = 1500 * time.Millisecond

// settle gives back what only the start needed, and then what the other parts touched
// when they first looked around.
func (d *Daemon) settle(ctx context.Context) {
	d.Rest()
	select {
	case <-ctx.Done():
	case <-time.After(lookedAround):
		d.Rest()
	}
}

// Rest gives back memory that is not used any more, and the pages of the program that
// can be read again: for a moment after which nothing is expected soon.
func (d *Daemon) Rest() {
	debug.FreeOSMemory()
	d.log.Debug("memory was given back", "bytes of the program released", releaseProgram())
}
