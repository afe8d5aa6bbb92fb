package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"nanoclaw/internal/wire"
)

// Claude is Claude Code, driven over its stream-json protocol.
//
// One process is one Conversation: it stays warm between turns and is resumed
// by a new process. Its stdio is a socketpair (wire.Socketpair), because a
// command that it runs could reopen a pipe and write lines in its name. What
// it says is still only what something inside says: its hooks and tool lists
// guide the model, and every right is checked by the host.
type Claude struct{}

var (
	_ Adapter  = Claude{}
	_ Follower = (*claude)(nil)
)

const (
	// hookGrace is how much longer than Options.ToolTime Claude Code waits for the
	// answer about a tool; then it refuses the tool by itself.
	hookGrace = 5 * time.Second
	// closeGrace is how long an idle Claude Code may take to end by itself.
	closeGrace = 2 * time.Second
	// maxOutgoing bounds what waits to be written to a process that does not
	// read, in bytes and in lines.
	maxOutgoing      = 64 << 20
	maxOutgoingLines = 1024
	// maxAsked bounds the requests of the process that we work on at once.
	maxAsked = 32
	// maxStderr is how much of the end of stderr is kept.
	maxStderr = 4 << 10
)

// Open starts Claude Code and waits until it can take a turn.
func (Claude) Open(ctx context.Context, box Box, o Options) (Conversation, error) {
	session := cmp.Or(o.Resume, o.Session, NewUUID())
	if !isUUID(session) {
		return nil, &Error{Class: ClassSession, Text: fmt.Sprintf("%.60q is not a session of Claude Code", session)}
	}
	if o.Permission == Bypass && box.Proven() == "" {
		return nil, errUnproven
	}
	proc, err := box.Exec(ctx, wire.Exec{Argv: claudeArgv(o, session), Env: o.Env, Dir: o.Dir, Stdio: wire.Socketpair})
	if err != nil {
		return nil, &Error{Class: ClassStart, Text: "Claude Code did not start inside the boundary", Detail: err.Error()}
	}
	c := newClaude(proc, o, session)
	answer, err := c.ask(claudeInitialize(o))
	if err != nil { // it ended before it was asked anything
		c.Close()
		return nil, starting(err)
	}
	select {
	case r := <-answer:
		if r.Subtype == "success" {
			return c, nil
		}
		c.fail(&Error{Class: ClassStart, Text: "Claude Code refused its settings", Detail: clip(r.Error, 500)})
	case <-c.over:
	case <-ctx.Done():
		c.fail(&Error{Class: ClassStart, Text: "Claude Code was not ready in time", Detail: context.Cause(ctx).Error()})
	}
	c.Close()
	return nil, starting(c.why())
}

// claude is one process and the conversation with it.
type claude struct {
	o       Options
	proc    Process
	session string // ours, never read from a line
	log     *slog.Logger

	out     chan []byte   // lines on their way to the process
	slots   chan struct{} // requests of the process in work
	ended   chan struct{} // closed when the process has ended
	over    chan struct{} // closed when the conversation is over
	ctx     context.Context
	cancel  context.CancelFunc
	errRead sync.WaitGroup // stderr has ended

	mu       sync.Mutex
	err      error // why it is over
	closing  bool  // the process was asked to end: that it ends is no failure
	exited   wire.Exited
	stderr   tail
	outgoing int                             // bytes in out
	serial   int                             // of our requests
	asked    map[string]chan controlResponse // our requests without an answer
	inwork   map[string]context.CancelFunc   // the process's requests in work
	pass     map[string]json.RawMessage      // calls that passed, by their id, with their input
	turn     *turn
	dropped  *resultLine // a result that named no prompt: it tells of the process
	usage    usage       // of turns that nobody asked for
	told     int         // how many of those were told
	read     int         // bytes since the turn began
	// known are the messages that this process was given. It ignores one that it
	// has, without a word.
	known map[string]bool
}

func newClaude(proc Process, o Options, session string) *claude {
	c := &claude{
		o: o, proc: proc, session: session, log: o.logger(),
		out: make(chan []byte, maxOutgoingLines), slots: make(chan struct{}, maxAsked),
		ended: make(chan struct{}), over: make(chan struct{}),
		asked: map[string]chan controlResponse{}, inwork: map[string]context.CancelFunc{}, known: map[string]bool{},
		stderr: tail{max: maxStderr},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.errRead.Add(1)
	go c.readStderr()
	go c.readLines()
	go c.writeLines()
	go c.wait()
	return c
}

// Turn gives Claude Code a prompt. Its text is taken as it is: no word in it is
// a command of Claude Code's own (client_composed), unless the prompt says that
// it is one.
func (c *claude) Turn(ctx context.Context, p Prompt, emit func(Event)) (Result, error) {
	t, fresh, err := c.begin(p)
	if err != nil {
		return Result{}, err
	}
	defer c.end(t)
	for i, m := range fresh {
		if err := c.send(userLine(m, i == len(fresh)-1)); err != nil {
			return Result{}, err
		}
	}
	for {
		select {
		case <-t.events.wake:
			t.deliver(emit)
			continue
		case <-t.done:
			t.deliver(emit)
			return t.result, nil
		case <-c.over:
		case <-ctx.Done():
			c.fail(fmt.Errorf("Claude Code was stopped: %w", context.Cause(ctx)))
		}
		t.deliver(emit)
		return c.brokenOff(t), c.why()
	}
}

// userLine is a message on its way. Only the last of several is a question: the
// ones before ride with it into the same turn.
func userLine(p Prompt, asks bool) map[string]any {
	line := map[string]any{
		"type": "user", "message": map[string]string{"role": "user", "content": p.Text},
		"parent_tool_use_id": nil, "uuid": p.UUID,
	}
	if !p.Command {
		line["client_composed"] = true
	}
	if !asks {
		line["shouldQuery"] = false
	}
	return line
}

// begin makes the turn. fresh are the messages of the prompt to be sent: a
// process ignores one that it was given before, so that would never be answered.
func (c *claude) begin(p Prompt) (t *turn, fresh []Prompt, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing && c.err == nil:
		return nil, nil, ErrClosed
	case c.err != nil:
		return nil, nil, c.err
	case c.turn != nil:
		return nil, nil, ErrBusy
	}
	t = newTurn(c.o.maxOutput())
	c.turn, c.read, c.dropped = t, 0, nil
	for _, m := range append(slices.Clone(p.Before), p) {
		if m.UUID = cmp.Or(m.UUID, NewUUID()); !c.known[m.UUID] {
			fresh = append(fresh, m)
			t.messages = append(t.messages, &message{uuid: m.UUID})
		} else {
			t.messages = append(t.messages, &message{uuid: m.UUID, fate: done})
		}
		c.known[m.UUID] = true
	}
	c.conclude(t)
	return t, fresh, nil
}

// Follow gives Claude Code a message while it works. It takes it in before it
// asks its model the next time, or answers it in a turn behind this one.
func (c *claude) Follow(p Prompt) error {
	c.mu.Lock()
	t := c.turn
	if t == nil || t.finished || t.interrupted || c.err != nil || c.known[p.UUID] || len(t.messages) >= maxFollowing {
		c.mu.Unlock()
		return ErrIdle
	}
	t.messages = append(t.messages, &message{uuid: p.UUID})
	c.known[p.UUID] = true
	c.mu.Unlock()
	return c.send(userLine(p, true))
}

func (c *claude) end(t *turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.finish(Result{}) // so that nobody waits for it
	c.turn = nil
}

// brokenOff is what is known of a turn that the end of the process cut short.
func (c *claude) brokenOff(t *turn) Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Result{Text: t.soFar(), SessionID: c.session, Interrupted: t.interrupted, Failed: true, ToolCalls: t.toolCalls, Truncated: t.said.cut}
	var e *Error
	r.Class, r.Error = ClassEnded, c.err.Error()
	if errors.As(c.err, &e) {
		r.Class = e.Class
	}
	return r
}

// Interrupt asks by the protocol, then by SIGINT, then by SIGKILL.
func (c *claude) Interrupt(ctx context.Context) error {
	c.mu.Lock()
	t := c.turn
	if t == nil {
		c.mu.Unlock()
		return nil
	}
	t.interrupted = true
	c.mu.Unlock()
	go c.insist(t)
	answer, err := c.ask(map[string]any{"subtype": "interrupt", "cancel_queued": true})
	if err != nil {
		return err
	}
	select {
	case <-answer:
	case <-t.done:
	case <-c.over:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// insist ends a turn that does not heed its interrupt.
func (c *claude) insist(t *turn) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		select {
		case <-t.done:
			return
		case <-time.After(interruptGrace):
			c.proc.Signal(sig)
		}
	}
}

// Close ends Claude Code: an idle one may end by itself, one in a turn is
// killed.
func (c *claude) Close() error {
	c.mu.Lock()
	idle := c.turn == nil && c.err == nil
	c.closing = true
	c.mu.Unlock()
	if idle {
		c.proc.Stdin().Close()
		select {
		case <-c.ended:
		case <-time.After(closeGrace):
		}
	}
	c.fail(ErrClosed)
	<-c.ended
	return nil
}

// fail ends the conversation for the first reason given.
func (c *claude) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if c.closing {
		err = ErrClosed
	}
	c.err = err
	c.mu.Unlock()
	c.cancel()
	close(c.over)
	select {
	case <-c.ended:
	default:
		c.proc.Signal(syscall.SIGKILL)
	}
}

// why is the reason for the end, once over is closed.
func (c *claude) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// wait notices the end of the process.
func (c *claude) wait() {
	x, err := c.proc.Wait(context.Background())
	c.mu.Lock()
	c.exited = x
	c.mu.Unlock()
	close(c.ended)
	if err != nil {
		c.fail(&Error{Class: ClassEnded, Text: "Claude Code's boundary ended", Detail: err.Error()})
		return
	}
	// What it said last may still be on its way; a process that it left behind
	// could hold the stream open for ever.
	select {
	case <-c.over:
	case <-time.After(closeGrace):
		c.fail(c.lastWords())
	}
	release(c.proc)
}

// lastWords makes an error of how the process ended.
func (c *claude) lastWords() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &Error{Class: ClassEnded, Text: fmt.Sprintf("Claude Code ended with exit code %d", c.exited.Code), Detail: Mask(c.stderr.String())}
	if c.exited.Signal != 0 {
		e.Text = fmt.Sprintf("Claude Code was ended by signal %d", c.exited.Signal)
	}
	if c.dropped != nil && c.dropped.IsError {
		e.Class, e.Text = failure(*c.dropped)
		e.Detail = ""
	}
	return e
}
