// Package external is a channel whose network is spoken with by another program, an
// adapter, over JSON lines on that program's standard input and output. So anyone can
// write one, in any language and under any licence. docs/adapters.md describes every
// line.
//
// # What it promises
//
// A message is acknowledged to the adapter only after it is durable. An adapter that
// ends, hangs, floods or says what it may not is ended, and started anew after a
// pause that grows (package supervise). What of it takes time or room is bounded: the
// length of a line, lines in a second, messages that wait to be stored, calls at
// once, the size of a file and of a piece of it.
//
// # Trust
//
// Every byte of the adapter is a stranger's. It parses what strangers sent, and who
// takes it over speaks for its whole network: for every sender and chat of that one,
// and for nothing else. Which channel it is, the configuration says and no line does;
// nothing that it sends can say that the owner's own terminal speaks (chat.Sender's
// Owner), that a task is due or that folders are asked for. A line that is not
// understood in full ends the connection.
//
// # What it leaves to others
//
// Where the program runs: Options.Start, which the daemon has start it inside a
// boundary. What a message means: the router. When a delivery is tried again: the
// outbox.
package external

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// Program is an adapter that runs: what it says, and what it is told. Close kills it,
// and returns when it is gone; it ends a Read and a Write that wait. It may be called
// twice.
type Program interface {
	io.ReadWriteCloser
	// LastWords is the end of what it wrote to its standard error.
	LastWords() string
}

// Options make a Channel. The zero value of a field after Secrets is its default.
type Options struct {
	// ID is the channel's name, from the configuration.
	ID chat.ChannelID
	// Start starts the adapter. ctx bounds the start alone.
	Start func(ctx context.Context) (Program, error)
	// Secrets go into the adapter's hello, and nowhere else.
	Secrets map[string]string
	// Assistant gives the assistant's name.
	Assistant func() string
	// Supervise says how it is kept running, Ping how often it is asked for a sign of
	// life. Default 15 s.
	Supervise supervise.Options
	Ping      time.Duration
	// Ready is how long Deliver, Fetch and Since wait for the adapter to be connected.
	// Default 10 s.
	Ready time.Duration
	// Log takes what happens. Nil is silence.
	Log *slog.Logger
}

// Channel is the network of one adapter.
type Channel struct {
	opt    Options
	slots  chan struct{} // calls at once
	typing typing

	statusMu sync.Mutex
	status   func(channel.Status)

	mu      sync.Mutex
	live    *conn         // nil while the adapter says that it is not connected
	changed chan struct{} // closed and made anew when live or running changes
	running *conn         // nil while there is none that said hello
	self    chat.SenderID
	hello   hello // of the last adapter that said one
	cause   string
	lost    time.Time
	step    *channel.Step
	rooms   []channel.Room
}

var (
	_ channel.Channel    = (*Channel)(nil)
	_ channel.Progress   = (*Channel)(nil)
	_ channel.Formatter  = (*Channel)(nil)
	_ channel.Fetcher    = (*Channel)(nil)
	_ channel.Filer      = (*Channel)(nil)
	_ channel.Reactor    = (*Channel)(nil)
	_ channel.Historian  = (*Channel)(nil)
	_ channel.Supervised = (*Channel)(nil)
	_ channel.Pairing    = (*Channel)(nil)
	_ channel.Lister     = (*Channel)(nil)
)

// New makes a channel. It starts nothing.
func New(o Options) *Channel {
	if o.Assistant == nil {
		o.Assistant = func() string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ping == 0 {
		o.Ping = 15 * time.Second
	}
	if o.Ready == 0 {
		o.Ready = 10 * time.Second
	}
	return &Channel{opt: o, slots: make(chan struct{}, maxCalls), status: func(channel.Status) {}, changed: make(chan struct{})}
}

// ID is the channel's name, which the adapter has no say in.
func (c *Channel) ID() chat.ChannelID { return c.opt.ID }

// Self is who the adapter says that we are there.
func (c *Channel) Self() chat.SenderID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self
}

// Markup is what the adapter says that its network makes of marks.
func (c *Channel) Markup() chat.Markup { return c.said().markup() }

// MaxFile is the largest file that the adapter takes, 0 if it takes none.
func (c *Channel) MaxFile() int64 {
	h := c.said()
	if !h.can(abilityFiles) {
		return 0
	}
	return h.maxFile()
}

// OnStatus has f called at each change.
func (c *Channel) OnStatus(f func(channel.Status)) { c.status = f }

func (c *Channel) said() hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// tell gives a change of the connection to whoever listens, one at a time.
func (c *Channel) tell(s channel.Status) {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	c.status(s)
}

// Run keeps the adapter running until ctx ends.
func (c *Channel) Run(ctx context.Context, sink channel.Sink) error {
	o := c.opt.Supervise
	o.Status = func(s channel.Status) {
		if s.State != channel.Connected { // that says the adapter, see state
			c.tell(s)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cause = s.Cause
	}
	return supervise.Run(ctx, o, func(ctx context.Context, l *supervise.Line) error { return c.connect(ctx, l, sink) })
}

// connect starts the adapter, and serves it until it ends.
func (c *Channel) connect(ctx context.Context, l *supervise.Line, sink channel.Sink) error {
	p, err := c.opt.Start(ctx)
	if err != nil {
		return fmt.Errorf("the adapter does not start: %w", err)
	}
	n := newConn(c, p, l, sink)
	err = n.serve(ctx)
	c.ended(n)
	if words := channel.OneLine(p.LastWords(), maxWords); err != nil && words != "" {
		err = &lastWords{err, words}
	}
	return err
}

// lastWords is an error with what the adapter said to nobody.
type lastWords struct {
	err   error
	words string
}

func (e *lastWords) Error() string { return fmt.Sprintf("%v; its last words: %s", e.err, e.words) }
func (e *lastWords) Unwrap() error { return e.err }

// greeted notes an adapter that said hello.
func (c *Channel) greeted(n *conn, h hello) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.hello = n, h
	c.changeLocked()
}

// ended forgets one that ended.
func (c *Channel) ended(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == n {
		c.live, c.lost = nil, time.Now()
	}
	if c.running == n {
		c.running, c.step = nil, nil
	}
	c.changeLocked()
}

func (c *Channel) changeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// state takes what the adapter says of its connection to the network.
func (c *Channel) state(n *conn, s stateLine) error {
	cause := channel.OneLine(s.Cause, maxWords)
	now := time.Now()
	c.mu.Lock()
	was := c.live
	switch channel.State(s.State) {
	case channel.Connected:
		c.live, c.cause, c.step = n, "", nil
		if s.Self != "" {
			c.self = chat.SenderID(s.Self)
		}
	default:
		if c.live == n {
			c.lost = now
		}
		c.live, c.cause = nil, cause
	}
	lost := c.lost
	c.changeLocked()
	c.mu.Unlock()
	switch channel.State(s.State) {
	case channel.Ended:
		return channel.Permanent(fmt.Errorf("the adapter says: %s", cause))
	case channel.Connected:
		n.line.Up()
		if was == n {
			return nil
		}
		c.tell(channel.Status{State: channel.Connected, Since: now, Lost: lost, Cause: cause})
	default:
		c.tell(channel.Status{State: channel.State(s.State), Since: now, Cause: cause})
	}
	return nil
}

// Login asks the adapter to begin logging in, and gives the step that somebody has to
// take now, nil if there is none yet or any more. It is called again and again while
// somebody looks.
func (c *Channel) Login(ctx context.Context) (*channel.Step, error) {
	n, err := c.wait(ctx, func() *conn { return c.running })
	if err != nil {
		return nil, err
	}
	if !n.hello.can(abilityLogin) {
		return nil, errors.New("this adapter has no login: what it needs is in its configuration and its secrets")
	}
	c.mu.Lock()
	step, live := c.step, c.live == n
	c.mu.Unlock()
	if step == nil && !live {
		return nil, n.askLogin(ctx)
	}
	return step, nil
}

// stepped takes a step of a login.
func (c *Channel) stepped(s loginLine) {
	step := &channel.Step{Text: channel.OneLine(s.Text, maxWords), Copy: channel.OneLine(s.Copy, maxWords), QR: s.QR}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step = step
	if s.Text == "" && s.Copy == "" && s.QR == "" {
		c.step = nil
	}
}

// Rooms are the chats that the adapter told of.
func (c *Channel) Rooms() []channel.Room {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rooms
}

// told takes the names of chats.
func (c *Channel) told(rooms []channel.Room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rooms = rooms
}

// wait gives what get gives, once there is such a connection.
func (c *Channel) wait(ctx context.Context, get func() *conn) (*conn, error) {
	timer := time.NewTimer(c.opt.Ready)
	defer timer.Stop()
	for {
		c.mu.Lock()
		n, changed, cause := get(), c.changed, c.cause
		c.mu.Unlock()
		if n != nil {
			return n, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timer.C:
			if cause == "" {
				cause = "it has not said why"
			}
			return nil, fmt.Errorf("the adapter of %s is not connected: %s", c.opt.ID, cause)
		}
	}
}

// connected waits for an adapter that is connected to its network.
func (c *Channel) connected(ctx context.Context) (*conn, error) {
	return c.wait(ctx, func() *conn { return c.live })
}
