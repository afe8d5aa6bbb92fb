// Package console is the channel of the owner's own terminals.
//
// Each group has one chat here, console:GROUP, and any number of terminals may
// be attached to it. A message delivered to the chat goes to all of them and
// counts as delivered once the first has shown it; with no terminal attached
// the channel says chat.ErrNobody, and the outbox keeps the message until
// somebody comes.
//
// Trust: a message that Say makes is the owner's, and says so. Whoever calls
// Say or Attach has proven the caller before; here that is the control socket,
// which asks the kernel. What comes out is raw: the terminal cleans it with
// channel.SafeText.
//
// What is bounded: a terminal that reads slowly loses progress first. It never
// loses a message: if it holds up one for longer than the patience of the hub,
// or too many wait for it, it is detached, and what it had not shown goes to the
// next terminal.
package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// ID is the channel's name.
const ID chat.ChannelID = "console"

// Owner is the sender of every message from a terminal.
const Owner chat.SenderID = "owner"

// Address is the chat of a group's terminals.
func Address(g chat.Group) chat.Address {
	return chat.Address{Channel: ID, Chat: chat.ChatID(g)}
}

// Limits of one terminal.
const (
	maxProgress = 512 // pieces of progress that wait; more are dropped
	maxMessages = 256 // messages that wait; one more detaches the terminal
)

// Options configures a hub. The zero value is fine.
type Options struct {
	// OnAttach is called when a terminal was attached to a chat, so that messages
	// held for it can go out. It must not block.
	OnAttach func(chat.Address)
	// Patience is how long a message may wait for a terminal to show it. 0 is 30 s.
	Patience time.Duration
	// Now is the clock for Inbound.Sent. nil is time.Now.
	Now func() time.Time
}

// Hub is the channel.
type Hub struct {
	opt Options

	mu    sync.Mutex // guards all below, and the fields of every Terminal and delivery
	sink  channel.Sink
	ready chan struct{} // closed once there is a sink
	ended bool          // Run is over: nothing will be delivered any more
	terms map[chat.Group]map[*Terminal]struct{}
}

var (
	_ channel.Channel   = (*Hub)(nil)
	_ channel.Progress  = (*Hub)(nil)
	_ channel.Formatter = (*Hub)(nil)
	_ channel.Marker    = (*Hub)(nil)
)

// New makes a hub with nobody attached.
func New(opt Options) *Hub {
	if opt.OnAttach == nil {
		opt.OnAttach = func(chat.Address) {}
	}
	if opt.Patience == 0 {
		opt.Patience = 30 * time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Hub{opt: opt, ready: make(chan struct{}), terms: make(map[chat.Group]map[*Terminal]struct{})}
}

// Markup gives that of a terminal.
func (h *Hub) Markup() chat.Markup { return chat.TerminalMarkup }

// MarksHost says that the terminal shows which words are the host's.
func (h *Hub) MarksHost() {}

// ID gives "console".
func (h *Hub) ID() chat.ChannelID { return ID }

// Self gives the host's name. No terminal gives back what it was shown.
func (h *Hub) Self() chat.SenderID { return "nanoclaw" }

// Run takes messages from terminals until ctx ends, then detaches them all.
func (h *Hub) Run(ctx context.Context, sink channel.Sink) error {
	h.mu.Lock()
	h.sink = sink
	close(h.ready)
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sink, h.ended = nil, true
	for _, group := range h.terms {
		for t := range group {
			h.detachLocked(t)
		}
	}
	return nil
}

// errNotRunning is what Say gives before Run and after it.
var errNotRunning = errors.New("the host takes no messages: it is starting or stopping")

// Say takes in a message that the owner typed in a terminal of a group, and
// returns once it is stored. On a host that is just starting it waits for Run.
// Writing in a group's own terminal addresses its
// agent, so the message counts as a mention.
func (h *Hub) Say(ctx context.Context, g chat.Group, text string, ask chat.Ask) (chat.MessageID, error) {
	select {
	case <-h.ready: // a host that is just starting will take it
	case <-ctx.Done():
		return "", errNotRunning
	}
	h.mu.Lock()
	sink := h.sink
	h.mu.Unlock()
	if sink == nil {
		return "", errNotRunning
	}
	in := chat.Inbound{
		From:      Address(g),
		ID:        chat.MessageID("t" + rand.Text()),
		Sender:    chat.Sender{ID: Owner, Name: "owner", Owner: true},
		Text:      text,
		Sent:      h.opt.Now(),
		Mentioned: true,
		Ask:       ask,
	}
	if err := sink.Receive(ctx, in); err != nil {
		return "", err
	}
	return in.ID, nil
}

// Deliver hands m to every terminal of its chat and returns once one of them
// has shown it. It is chat.ErrNobody if there is none, or if all of them went
// away or stood still before.
func (h *Hub) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	if m.To.Channel != ID {
		return "", channel.Permanent(fmt.Errorf("the console cannot deliver to %s", m.To))
	}
	d := &delivery{m: m, shown: make(chan struct{}), gone: make(chan struct{})}
	if !h.enqueue(d) {
		return "", chat.ErrNobody
	}
	patience := time.NewTimer(h.opt.Patience)
	defer patience.Stop()
	var cause error
	select {
	case <-d.shown:
	case <-d.gone:
	case <-patience.C:
	case <-ctx.Done():
		cause = ctx.Err()
	}
	return h.settle(d, cause)
}

// Chats are the groups to whose chats a terminal is attached, in order.
func (h *Hub) Chats() []chat.Group {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []chat.Group
	for g, terms := range h.terms {
		if len(terms) > 0 {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out
}

// Progress shows what an agent does to the terminals of its chat.
func (h *Hub) Progress(_ context.Context, p chat.Progress) {
	if p.To.Channel != ID {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range h.terms[chat.Group(p.To.Chat)] {
		if t.progress < maxProgress {
			t.progress++
			t.pushLocked(item{progress: &p})
		}
	}
}

// enqueue gives d to all terminals of its chat; false if there are none.
func (h *Hub) enqueue(d *delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range h.terms[chat.Group(d.m.To.Chat)] {
		if len(t.queue)-t.progress >= maxMessages {
			h.detachLocked(t)
			continue
		}
		d.holders++
		t.pushLocked(item{delivery: d})
	}
	return d.holders > 0
}

// settle decides what became of d. Unless it was shown, it is taken back from
// every terminal, and one that took it and stands still is detached: so it
// cannot be shown by somebody after Deliver said that nobody did.
func (h *Hub) settle(d *delivery, cause error) (chat.MessageID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-d.shown:
		return chat.MessageID(fmt.Sprintf("m%d", d.m.ID)), nil
	default:
	}
	for t := range h.terms[chat.Group(d.m.To.Chat)] {
		if t.taken == d {
			h.detachLocked(t)
			continue
		}
		t.withdrawLocked(d)
	}
	if cause != nil {
		return "", cause
	}
	return "", chat.ErrNobody
}

// delivery is one message on its way to the terminals of a chat.
type delivery struct {
	m       chat.Outbound
	holders int           // terminals that have it in their queue or are showing it
	shown   chan struct{} // closed when the first has shown it
	gone    chan struct{} // closed when no terminal holds it and none has shown it
}

func (d *delivery) shownLocked() {
	select {
	case <-d.shown:
	default:
		close(d.shown)
	}
}

// dropLocked says that one terminal holds it no more and did not show it.
func (d *delivery) dropLocked() {
	d.holders--
	if d.holders > 0 {
		return
	}
	select {
	case <-d.shown:
	case <-d.gone:
	default:
		close(d.gone)
	}
}
