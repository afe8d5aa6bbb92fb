package daemon

import (
	"context"
	"fmt"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/outbox"
	"nanoclaw/internal/router"
)

// channelOf gives a channel to the outbox, nil if there is none of that name.
func (d *Daemon) channelOf(id chat.ChannelID) outbox.Channel {
	if c, ok := d.channels[id]; ok {
		return c
	}
	return nil
}

// runChannel runs one channel for as long as the daemon lives.
func (d *Daemon) runChannel(ctx context.Context, c channel.Channel) {
	if err := c.Run(ctx, sink{d}); err != nil && ctx.Err() == nil {
		d.log.Error("a channel ended", "channel", c.ID(), "err", err)
		d.tellOwner(ctx, fmt.Sprintf("channel:%s:%d", c.ID(), d.started.UnixNano()), fmt.Sprintf("The channel %s ended: %v", c.ID(), err))
	}
}

// sink hands messages of channels to the router.
type sink struct{ d *Daemon }

// Receive returns once the message is durable.
func (s sink) Receive(ctx context.Context, in chat.Inbound) error {
	v, err := s.d.router.Deliver(ctx, in)
	if err != nil {
		return err
	}
	if v.Action == router.Run && s.d.queue.Rests(v.Group) != "" {
		s.d.tellPaused(ctx, in, v.Group)
	}
	if v.Action == router.Run {
		s.d.mayWait(in, v.Group)
	}
	if v.Full {
		s.d.tellFull(ctx, in, v, time.Now())
	}
	if s.d.limits.told.Swap(false) {
		s.d.outbox.Wake()
		s.d.changed.fire()
	}
	s.d.log.Debug("a message came in", "from", in.From, "verdict", v.Action, "reason", v.Reason)
	return nil
}
