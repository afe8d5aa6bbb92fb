package daemon

import (
	"context"
	"fmt"
	"time"

	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/store"
)

// Bounds of telling chats that their messages wait.
const (
	// queuedAfter is how long one waits before that is said: most join the run that
	// goes on, or begin at once.
	queuedAfter = 15 * time.Second
	// maxQueued is how many are looked after at once. Of more nothing is said.
	maxQueued = 256
)

// queuedMessage is one that was taken in and may have to wait.
type queuedMessage struct {
	group chat.Group
	from  chat.Address
	id    chat.MessageID
	due   time.Time
}

// mayWait has a message looked after. It never blocks.
func (d *Daemon) mayWait(in chat.Inbound, g chat.Group) {
	select {
	case d.queued <- queuedMessage{g, in.From, chat.FromNetwork(in.ID), time.Now().Add(d.queuedAfter)}:
	default:
	}
}

// tellQueues says in their chats that messages wait, and behind how many, until ctx
// ends. They come in the order in which they are due.
func (d *Daemon) tellQueues(ctx context.Context) {
	for {
		var m queuedMessage
		select {
		case <-ctx.Done():
			return
		case m = <-d.queued:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(m.due)):
		}
		if err := d.tellQueued(ctx, m); err != nil && ctx.Err() == nil {
			d.log.Warn("that a message waits could not be told", "chat", m.from, "err", err)
		}
	}
}

// tellQueued says that a message waits, once in a chat for the run that it waits for.
// That a group is paused or held back was said when it was.
func (d *Daemon) tellQueued(ctx context.Context, m queuedMessage) error {
	n, waits, err := d.store.Ahead(ctx, m.group, m.from, m.id)
	if err != nil || !waits || d.queue.Rests(m.group) != "" {
		return err
	}
	live, err := d.store.ListRuns(ctx, store.RunFilter{Live: true})
	if err != nil {
		return err
	}
	var behind chat.RunID
	for _, r := range live {
		if r.Group == m.group {
			behind, n = r.ID, n+1
		}
	}
	text := fmt.Sprintf("Queued behind %d: your message waits for its turn.", n)
	switch {
	case n == 0 && len(live) < d.config.Limits.ConcurrentRuns:
		return nil // it is its turn
	case n == 0:
		behind, text = live[0].ID, fmt.Sprintf("Your message waits: %d runs of other groups go on, which is as many as may.", len(live))
	case behind == "" && len(live) > 0:
		behind = live[0].ID
	}
	if m.from.Channel == console.ID { // a terminal shows it, and has no use for it later
		d.progress(chat.Progress{Group: m.group, To: m.from, Kind: chat.Waiting, Text: text})
		return nil
	}
	_, err = d.outbox.Put(ctx, chat.Outbound{
		To: m.from, Kind: chat.Notice, Text: text, Group: m.group, Key: fmt.Sprintf("queued:%s:%s", m.from, behind),
	})
	d.outbox.Wake()
	return err
}
