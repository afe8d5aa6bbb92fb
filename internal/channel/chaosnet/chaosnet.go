// Package chaosnet is the channel of a chat network that a test plays in another
// process, so that the network outlives the host that is killed.
//
// It speaks lines of JSON over a Unix socket, and behaves as a careful adapter
// does: a message is acknowledged only after it is stored, and what is sent
// carries the id that we chose, by which the network knows it again. The network
// is trusted as a test is: it says who wrote what.
//
// Only a build with the tag "chaos" links it (daemon/chaos.go).
package chaosnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// ID is the channel's name.
const ID chat.ChannelID = "chaos"

// Frame is one line on the socket, either way.
type Frame struct {
	// N is the number that an answer repeats.
	N int64 `json:"n"`
	// In is a message for the host, which answers with Stored or Error.
	In     *chat.Inbound `json:"in,omitempty"`
	Stored bool          `json:"stored,omitempty"`
	// Out is a message of the host, which the network answers with ID or Error.
	Out *chat.Outbound `json:"out,omitempty"`
	ID  chat.MessageID `json:"id,omitempty"`

	// Count asks the host for the number of its goroutines, and Goroutines answers.
	Count      bool `json:"count,omitempty"`
	Goroutines int  `json:"goroutines,omitempty"`

	Error string `json:"error,omitempty"`
	// Nobody says that nobody is there, Never that no later attempt can help.
	Nobody bool `json:"nobody,omitempty"`
	Never  bool `json:"never,omitempty"`
}

// Net is the channel.
type Net struct {
	socket string
	pause  time.Duration // between two connections

	mu    sync.Mutex // guards all below
	conn  net.Conn   // nil while there is none
	up    chan struct{}
	n     int64
	asked map[int64]chan Frame
}

var _ channel.Channel = (*Net)(nil)

// New makes a channel to the network behind a socket.
func New(socket string) *Net {
	return &Net{socket: socket, pause: 50 * time.Millisecond, up: make(chan struct{}), asked: map[int64]chan Frame{}}
}

// ID gives "chaos".
func (c *Net) ID() chat.ChannelID { return ID }

// Self gives "nanoclaw".
func (c *Net) Self() chat.SenderID { return "nanoclaw" }

// Run connects, again whenever the connection is lost, until ctx ends.
func (c *Net) Run(ctx context.Context, sink channel.Sink) error {
	var dial net.Dialer
	for ctx.Err() == nil {
		if conn, err := dial.DialContext(ctx, "unix", c.socket); err == nil {
			c.serve(ctx, conn, sink)
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.pause):
		}
	}
	return nil
}

// serve reads one connection to its end.
func (c *Net) serve(ctx context.Context, conn net.Conn, sink channel.Sink) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c.connected(conn)
	defer c.lost(conn)
	var work sync.WaitGroup
	defer work.Wait()
	in := json.NewDecoder(bufio.NewReader(conn))
	for {
		var f Frame
		if in.Decode(&f) != nil {
			cancel()
			return
		}
		switch {
		case f.Count:
			_ = c.write(conn, Frame{N: f.N, Goroutines: runtime.NumGoroutine()})
			continue
		case f.In == nil:
			c.answer(f)
			continue
		}
		work.Go(func() { // the network sends one of a chat at a time
			f.In.From.Channel = ID
			reply := Frame{N: f.N, Stored: true}
			if err := sink.Receive(ctx, *f.In); err != nil {
				reply = Frame{N: f.N, Error: err.Error()}
			}
			_ = c.write(conn, reply) // it is delivered again if this is lost
		})
	}
}

func (c *Net) connected(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	close(c.up)
}

// lost ends what waits for an answer of a connection that is gone.
func (c *Net) lost(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.Close()
	c.conn, c.up = nil, make(chan struct{})
	for n, wait := range c.asked {
		close(wait)
		delete(c.asked, n)
	}
}

// answer hands an answer to whoever waits. A second one finds nobody.
func (c *Net) answer(f Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.asked[f.N]; wait != nil {
		wait <- f
		delete(c.asked, f.N)
	}
}

func (c *Net) write(conn net.Conn, f Frame) error {
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = conn.Write(append(line, '\n'))
	return err
}

var errLost = errors.New("the connection to the network was lost")

// Deliver sends a message under its own id. A connection that is just being made
// is waited for.
func (c *Net) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	if m.To.Channel != ID {
		return "", channel.Permanent(fmt.Errorf("%s is not of this network", m.To))
	}
	conn, n, wait, err := c.ask(ctx)
	if err != nil {
		return "", err
	}
	if err := c.write(conn, Frame{N: n, Out: &m}); err != nil {
		return "", err
	}
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case f, ok := <-wait:
		switch {
		case !ok:
			return "", errLost
		case f.Nobody:
			return "", chat.ErrNobody
		case f.Never:
			return "", channel.Permanent(errors.New(f.Error))
		case f.Error != "":
			return "", errors.New(f.Error)
		}
		return f.ID, nil
	}
}

// ask waits for a connection and takes a number for a question.
func (c *Net) ask(ctx context.Context) (net.Conn, int64, <-chan Frame, error) {
	for {
		c.mu.Lock()
		if c.conn != nil {
			c.n++
			wait := make(chan Frame, 1)
			c.asked[c.n] = wait
			conn, n := c.conn, c.n
			c.mu.Unlock()
			return conn, n, wait, nil
		}
		up := c.up
		c.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return nil, 0, nil, ctx.Err()
		}
	}
}
