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
	d.rest()
	select {
	case <-ctx.Done():
	case <-time.After(lookedAround):
		d.rest()
	}
}

func (d *Daemon) rest() {
	debug.FreeOSMemory()
	d.log.Debug("the start is over", "bytes of the program released", releaseProgram())
}
