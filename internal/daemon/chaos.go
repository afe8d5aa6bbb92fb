//go:build chaos

package daemon

import (
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/chaosnet"
)

// testChannels are channels that only a build for tests has: the network of the
// test that kills this daemon.
func (d *Daemon) testChannels() []channel.Channel {
	if socket := d.opt.Getenv("NANOCLAW_CHAOS_NET"); socket != "" {
		return []channel.Channel{chaosnet.New(socket)}
	}
	return nil
}
