//go:build !chaos

package daemon

import "nanoclaw/internal/channel"

// testChannels are channels that only a build for tests has.
func (d *Daemon) testChannels() []channel.Channel { return nil }
