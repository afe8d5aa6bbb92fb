package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/steps"
)

// Channel is what the outbox needs of a channel.
type Channel interface {
	// Deliver sends one message and gives the network's id for it.
	Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error)
}

// Outbox is the loop that delivers.
type Outbox struct {
	store    Store
	channels func(chat.ChannelID) Channel
	log      *slog.Logger
	kick     chan struct{}
	// attempts is how often a message is tried before it is given up.
	attempts int
	// pause is the wait after the first failure; it doubles.
	pause time.Duration
	// patience is how long a channel may take over one attempt.
	patience time.Duration

	change func()
	disown func(string) string

	mu   sync.Mutex
	busy map[chat.Address]bool // chats that are being delivered to
	work sync.WaitGroup
}

// New makes an outbox. channels gives the channel of a name, nil for none.
func New(store Store, channels func(chat.ChannelID) Channel, log *slog.Logger) *Outbox {
	return &Outbox{store: store, channels: channels, log: log, kick: make(chan struct{}, 1),
		attempts: 6, pause: 2 * time.Second, patience: 2 * time.Minute, busy: map[chat.Address]bool{}, change: func() {}, disown: func(s string) string { return s }}
}

// OnChange has f called after each attempt. It is set before Run, and f must not
// block.
func (o *Outbox) OnChange(f func()) { o.change = f }

// OnAgentWords has f take out of what an agent says what could pass for the host's
// beside the mark, such as codes. It is set before Run.
func (o *Outbox) OnAgentWords(f func(string) string) { o.disown = f }

// Wake tells the outbox to look. It never blocks.
func (o *Outbox) Wake() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// Put stores a message and wakes the loop.
func (o *Outbox) Put(ctx context.Context, m chat.Outbound) (chat.Outbound, error) {
	steps.Before(steps.Put)
	m, err := o.store.Put(ctx, m, steps.Now())
	steps.After(steps.Put)
	if err == nil {
		o.Wake()
	}
	return m, err
}

// Attached makes the held messages of a chat due: somebody is there again.
func (o *Outbox) Attached(ctx context.Context, to chat.Address) error {
	if err := o.store.Unhold(ctx, to); err != nil {
		return err
	}
	o.Wake()
	return nil
}

// batch is how many messages one look at the store takes.
const batch = 64

// Run delivers until ctx ends, and waits for the attempts that go on. Chats do
// not wait for each other: each has its own goroutine while it has messages.
func (o *Outbox) Run(ctx context.Context) {
	defer o.work.Wait()
	for {
		err := o.pass(ctx)
		if err != nil && ctx.Err() == nil {
			o.log.Error("the outbox cannot read its messages", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-o.kick:
		case <-o.timer(ctx, err):
		}
	}
}

// timer fires when the next retry is due, or soon if the store failed.
func (o *Outbox) timer(ctx context.Context, failed error) <-chan time.Time {
	if failed != nil {
		return time.After(o.pause)
	}
	next, err := o.store.NextDue(ctx)
	switch {
	case err != nil:
		return time.After(o.pause)
	case next.IsZero():
		return nil // nothing waits: a kick begins again
	}
	// What is due already is being delivered, or waits behind an earlier message
	// of its chat: no reason to spin.
	if wait := next.Sub(steps.Now()); wait > 0 {
		return time.After(min(wait, Longest))
	}
	return time.After(o.pause)
}

// pass begins to deliver what is due.
func (o *Outbox) pass(ctx context.Context) error {
	due, err := o.store.Due(ctx, steps.Now(), batch)
	if err != nil {
		return err
	}
	chats := map[chat.Address][]Pending{}
	for _, p := range due {
		chats[p.To] = append(chats[p.To], p)
	}
	for to, messages := range chats {
		if !o.enter(to) {
			continue // its goroutine wakes us when it is done
		}
		go func() {
			defer o.leave(to)
			o.deliverAll(ctx, messages)
		}()
	}
	return nil
}

// deliverAll delivers messages of one chat in order, until one of them has to
// wait.
func (o *Outbox) deliverAll(ctx context.Context, messages []Pending) {
	for _, p := range messages {
		if ctx.Err() != nil {
			return
		}
		over, err := o.deliver(ctx, p)
		if err != nil && ctx.Err() == nil {
			o.log.Error("the outbox cannot write what became of a message", "id", p.ID, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(o.pause):
			}
		}
		if !over || err != nil {
			return
		}
	}
}

func (o *Outbox) enter(to chat.Address) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy[to] {
		return false
	}
	o.busy[to] = true
	o.work.Add(1)
	return true
}

func (o *Outbox) leave(to chat.Address) {
	o.mu.Lock()
	delete(o.busy, to)
	o.mu.Unlock()
	o.work.Done()
	o.change()
	o.Wake()
}

// shown is a message as a channel gets it: only the host's words carry its mark.
func (o *Outbox) shown(ch Channel, m chat.Outbound) chat.Outbound {
	_, marks := ch.(channel.Marker)
	switch {
	case !m.FromHost():
		m.Text = channel.Unmark(o.disown(m.Text))
	case !marks:
		m.Text = chat.HostMark + m.Text
	}
	return m
}

// deliver makes one attempt and says whether the message is over: sent or given
// up. Its error is the store's; the channel's own decides what becomes of the
// message.
func (o *Outbox) deliver(ctx context.Context, p Pending) (over bool, err error) {
	ch := o.channels(p.To.Channel)
	if ch == nil {
		return true, o.store.GiveUp(ctx, p.ID, "there is no channel "+string(p.To.Channel), steps.Now())
	}
	steps.Before(steps.Sending)
	err = o.store.Sending(ctx, p.ID, steps.Now())
	steps.After(steps.Sending)
	if err != nil {
		return false, err
	}
	p.Outbound.Again = p.Attempts > 0
	steps.Before(steps.Delivery)
	id, err := o.attempt(ctx, ch, p)
	steps.After(steps.Delivery)
	return o.settle(ctx, p, id, err)
}

// attempt gives a message to its channel. One that does not answer in time may
// have delivered it; the next attempt has the same id.
func (o *Outbox) attempt(ctx context.Context, ch Channel, p Pending) (chat.MessageID, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.patience, errSilent)
	defer cancel()
	id, err := o.give(ctx, ch, p.Outbound)
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		err = fmt.Errorf("%w: %w", errSilent, err)
	}
	return id, err
}

// give is the attempt itself.
func (o *Outbox) give(ctx context.Context, ch Channel, m chat.Outbound) (chat.MessageID, error) {
	if m.React == "" {
		return ch.Deliver(ctx, o.shown(ch, m))
	}
	r, ok := ch.(channel.Reactor)
	if !ok {
		return "", channel.Permanent(errors.New("the network has no reactions"))
	}
	return m.React, r.React(ctx, m.To, m.React, m.Text)
}

// errSilent says that a channel did not answer.
var errSilent = errors.New("the channel did not answer in time")

// persist writes down what became of an attempt, again while the store says that
// it cannot now: else the message, and all of its chat, would count as being sent
// until the next start.
func (o *Outbox) persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		var t interface{ Temporary() bool }
		if err == nil || ctx.Err() != nil || !errors.As(err, &t) || !t.Temporary() {
			return err
		}
		o.log.Warn("what became of a message cannot be stored now and is tried again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(o.pause):
		}
	}
}

// settle writes down what an attempt came to.
func (o *Outbox) settle(ctx context.Context, p Pending, id chat.MessageID, err error) (over bool, failed error) {
	now := steps.Now()
	write := func(s steps.Step, do func() error) error {
		steps.Before(s)
		defer steps.After(s)
		return o.persist(ctx, do)
	}
	switch {
	case err == nil:
		return true, write(steps.Sent, func() error { return o.store.Sent(ctx, p.ID, id, now) })
	case errors.Is(err, chat.ErrNobody):
		return false, write(steps.Held, func() error { return o.store.Held(ctx, p.ID) })
	case ctx.Err() != nil:
		return false, write(steps.Retry, func() error { return o.store.Retry(context.WithoutCancel(ctx), p.ID, "we stopped", now) })
	case p.Attempts+1 >= o.attempts, channel.IsPermanent(err):
		o.log.Error("a message is given up", "id", p.ID, "to", p.To, "run", p.Run, "err", err)
		return true, write(steps.GiveUp, func() error { return o.store.GiveUp(ctx, p.ID, err.Error(), now) })
	}
	o.log.Warn("a message could not be delivered and is tried again", "id", p.ID, "to", p.To, "run", p.Run, "err", err)
	return false, write(steps.Retry, func() error { return o.store.Retry(ctx, p.ID, err.Error(), now.Add(o.pause<<p.Attempts)) })
}
