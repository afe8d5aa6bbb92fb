package external

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
)

// What an adapter may say in a second, in lines; a long line counts as several. The
// first number is for bursts.
const (
	lineBurst, linesPerSecond = 5000, 500
	lineCost                  = 64 << 10 // bytes that count as one more line
	// Messages that come faster are stored later, and acknowledged then: the window
	// makes the adapter wait.
	messageBurst, messagesPerSecond = 500, 50
)

// helloTime is how long an adapter has for its first line.
const helloTime = 20 * time.Second

// conn is one adapter that runs.
type conn struct {
	c       *Channel
	program Program
	line    *supervise.Line
	sink    channel.Sink
	hello   hello // set before anybody else has the connection

	out      chan []byte
	messages chan messageLine
	done     chan struct{}

	lines, paces bucket // of the reader, and of the one who stores

	mu       sync.Mutex
	seq      uint64
	waiting  int // messages that are not answered
	last     uint64
	calls    map[uint64]*call
	nonces   []string
	loginAsk bool
}

func newConn(c *Channel, p Program, l *supervise.Line, sink channel.Sink) *conn {
	return &conn{
		c: c, program: p, line: l, sink: sink, out: make(chan []byte), messages: make(chan messageLine, window), done: make(chan struct{}),
		lines: bucket{rate: linesPerSecond, burst: lineBurst}, paces: bucket{rate: messagesPerSecond, burst: messageBurst},
		calls: map[uint64]*call{},
	}
}

// serve speaks with the adapter until it ends or ctx does, and leaves nothing behind.
func (n *conn) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { n.program.Close() })
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){n.write, n.ping, n.store} {
		parts.Go(func() {
			defer cancel() // one that gave up ends all
			part(ctx)
		})
	}
	err := n.read(ctx)
	cancel()
	n.program.Close()
	stop()
	close(n.done)
	parts.Wait()
	return err
}

// read takes the adapter's lines, its hello first.
func (n *conn) read(ctx context.Context) error {
	late := time.AfterFunc(helloTime, func() { n.program.Close() })
	defer late.Stop()
	in := bufio.NewReaderSize(n.program, 64<<10)
	if err := n.greet(ctx, in); err != nil {
		return err
	}
	late.Stop()
	for {
		line, err := n.next(in)
		if err != nil {
			return err
		}
		if err := n.take(ctx, line); err != nil {
			return err
		}
	}
}

// next reads one line, within what an adapter may say.
func (n *conn) next(in *bufio.Reader) (any, error) {
	line, err := readLine(in)
	switch {
	case errors.Is(err, errProtocol):
		return nil, err
	case errors.Is(err, io.EOF):
		return nil, errors.New("the adapter ended")
	case err != nil:
		return nil, fmt.Errorf("the adapter ended: %w", err)
	}
	if n.lines.take(time.Now(), 1+len(line)/lineCost) > 0 {
		return nil, broken("it said more than %d lines in a second", linesPerSecond)
	}
	return decode(line)
}

// greet says hello, and takes the adapter's.
func (n *conn) greet(ctx context.Context, in *bufio.Reader) error {
	err := n.send(ctx, toAdapter{Type: "hello", Version: Version, Channel: string(n.c.opt.ID), Assistant: n.c.opt.Assistant(), Secrets: n.c.opt.Secrets, Window: window})
	if err != nil {
		return err
	}
	line, err := n.next(in)
	if err != nil {
		return err
	}
	h, ok := line.(hello)
	if !ok {
		return broken("its first line is no hello")
	}
	if err := h.check(); err != nil {
		return err
	}
	n.hello = h
	n.c.greeted(n, h)
	n.line.Alive()
	return nil
}

// take works on one line.
func (n *conn) take(ctx context.Context, line any) error {
	switch l := line.(type) {
	case stateLine:
		return n.c.state(n, l)
	case loginLine:
		n.c.stepped(l)
	case chatsLine:
		n.c.told(l.Chats)
	case pongLine:
		n.pong(l.Nonce)
	case messageLine:
		return n.queue(l)
	case pastLine:
		return n.answer(ctx, l.Call, l)
	case chunkLine:
		return n.answer(ctx, l.Call, l)
	case resultLine:
		return n.answer(ctx, l.Call, l)
	default:
		return broken("it said hello twice")
	}
	return nil
}

// queue takes a message in. It never blocks, since no more than the window can wait.
func (n *conn) queue(l messageLine) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case l.Seq <= n.seq:
		return broken("the number of a message is not higher than the one before")
	case n.waiting == window:
		return broken("more than %d messages wait for an answer", window)
	}
	n.seq = l.Seq
	n.waiting++
	n.messages <- l
	return nil
}

// store hands messages on one after the other, and answers each once it is durable.
func (n *conn) store(ctx context.Context) {
	for {
		var l messageLine
		select {
		case l = <-n.messages:
		case <-ctx.Done():
			return
		}
		if !sleep(ctx, n.paces.take(time.Now(), 1)) {
			return
		}
		answer := toAdapter{Type: "ack", Seq: l.Seq}
		if err := n.sink.Receive(ctx, l.Message.inbound(n.c.opt.ID)); err != nil {
			n.c.opt.Log.Error("a message could not be stored", "channel", n.c.opt.ID, "err", err)
			answer = toAdapter{Type: "nack", Seq: l.Seq, Error: "it could not be stored: send it again"}
		}
		n.mu.Lock()
		n.waiting--
		n.mu.Unlock()
		if n.send(ctx, answer) != nil {
			return
		}
	}
}

// send has one line written. It waits as long as the adapter does not read.
func (n *conn) send(ctx context.Context, l toAdapter) error {
	select {
	case n.out <- encode(l):
		return nil
	case <-n.done:
		return errors.New("the adapter ended")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// trySend has a line written if the adapter can take one now.
func (n *conn) trySend(l toAdapter) bool {
	select {
	case n.out <- encode(l):
		return true
	default:
		return false
	}
}

// write writes lines until ctx ends. A write that waits for an adapter which does not
// read ends with the program, when the watchdog has had enough.
func (n *conn) write(ctx context.Context) {
	for {
		select {
		case line := <-n.out:
			if _, err := n.program.Write(line); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// maxNonces are the pings whose answers count.
const maxNonces = 4

// ping asks for signs of life.
func (n *conn) ping(ctx context.Context) {
	for sleep(ctx, n.c.opt.Ping) {
		nonce := rand.Text()
		n.mu.Lock()
		n.nonces = append(n.nonces, nonce)
		n.nonces = n.nonces[max(0, len(n.nonces)-maxNonces):]
		n.mu.Unlock()
		if n.send(ctx, toAdapter{Type: "ping", Nonce: nonce}) != nil {
			return
		}
	}
}

// pong is a sign of life if it answers a ping, once.
func (n *conn) pong(nonce string) {
	n.mu.Lock()
	i := slices.Index(n.nonces, nonce)
	if i >= 0 {
		n.nonces = slices.Delete(n.nonces, i, i+1)
	}
	n.mu.Unlock()
	if i >= 0 {
		n.line.Alive()
	}
}

// askLogin asks the adapter to log in, once for each of its lives: until its next step
// it has been told.
func (n *conn) askLogin(ctx context.Context) error {
	n.mu.Lock()
	asked := n.loginAsk
	n.loginAsk = true
	n.mu.Unlock()
	if asked {
		return nil
	}
	time.AfterFunc(loginAgain, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.loginAsk = false
	})
	return n.send(ctx, toAdapter{Type: "login"})
}

// loginAgain is after how long an adapter that shows no step is asked again.
const loginAgain = 5 * time.Second

// sleep waits, and says whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bucket bounds a rate. Its zero time is full.
type bucket struct {
	rate, burst float64
	filled      float64
	at          time.Time
}

// take takes n, and says for how long to wait until there is as much.
func (b *bucket) take(now time.Time, n int) time.Duration {
	if b.at.IsZero() {
		b.filled = b.burst
	} else {
		b.filled = min(b.burst, b.filled+now.Sub(b.at).Seconds()*b.rate)
	}
	b.at = now
	b.filled -= float64(n)
	if b.filled >= 0 {
		return 0
	}
	return time.Duration(-b.filled / b.rate * float64(time.Second))
}
