package control

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"nanoclaw/internal/chat"
)

// chatProtocol names the two-way stream of a conversation: JSON lines, requests
// towards the host and events from it. Its first request is attach.
const chatProtocol = "nanoclaw-chat/1"

// Limits of one conversation.
const (
	// maxOpen is how many messages may be unanswered in one conversation.
	maxOpen = 1000
	// attachTime is how long the first request may take.
	attachTime = 10 * time.Second
	// showTime is how long one event may wait for a terminal that does not read.
	showTime = time.Minute
)

// chatRequest is one frame towards the host: exactly one field is set.
type chatRequest struct {
	Attach    *groupRequest `json:"attach,omitempty"`
	Say       *sayFrame     `json:"say,omitempty"`
	Interrupt *nothing      `json:"interrupt,omitempty"`
}

type sayFrame struct {
	// Seq is the caller's own number for this message.
	Seq  int      `json:"seq"`
	Text string   `json:"text"`
	Ask  chat.Ask `json:"ask,omitzero"`
}

// Event is one frame from the host: exactly one field is set.
type Event struct {
	Attached *nothing       `json:"attached,omitempty"`
	Said     *Said          `json:"said,omitempty"`
	Outbound *chat.Outbound `json:"outbound,omitempty"`
	Progress *chat.Progress `json:"progress,omitempty"`
	Answered *Answered      `json:"answered,omitempty"`
	// Problem is an interrupt that did not work.
	Problem *Error `json:"problem,omitempty"`
	// Closed is the last event: the host ends the conversation.
	Closed *Error `json:"closed,omitempty"`
}

// Said says that a message is stored, or why not.
type Said struct {
	Seq     int            `json:"seq"`
	Message chat.MessageID `json:"message,omitempty"`
	Error   *Error         `json:"failed,omitempty"`
}

// Answered says that a message is done with. Every message of its run that
// could be shown came before.
type Answered struct {
	Seq    int    `json:"seq"`
	Answer Answer `json:"answer"`
	Error  *Error `json:"failed,omitempty"`
}

// chat serves one conversation.
func (s *Server) chat(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &chatSession{host: s.host, conn: conn, in: newFrames(conn), open: make(chan struct{}, maxOpen)}
	term, err := c.attach(ctx)
	if err != nil {
		c.send(Event{Closed: asError(err)})
		return
	}
	defer term.Close()
	c.tasks.Go(func() {
		defer cancel() // nobody is there any more
		c.read(ctx)
	})
	err = c.show(ctx, term)
	if ctx.Err() == nil || errors.Is(err, io.EOF) {
		c.send(Event{Closed: &Error{Code: CodeStopping, Message: "the host ended this conversation", Hint: "it is stopping, or this terminal did not read for too long"}})
	}
	cancel()
	conn.Close() // ends read
	c.tasks.Wait()
}

// chatSession is the host's side of one conversation.
type chatSession struct {
	host  Host
	conn  net.Conn
	in    *frames
	group chat.Group
	open  chan struct{} // holds one token for each unanswered message
	tasks sync.WaitGroup

	mu sync.Mutex // one frame at a time onto conn
}

// send writes one event. A terminal that does not read in time loses its
// connection, and by that nothing but what it did not read.
func (c *chatSession) send(e Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(showTime))
	err := writeFrame(c.conn, e)
	if err != nil {
		c.conn.Close()
	}
	return err
}

func (c *chatSession) attach(ctx context.Context) (Terminal, error) {
	c.conn.SetReadDeadline(time.Now().Add(attachTime))
	var first chatRequest
	if err := c.in.next(&first); err != nil {
		return nil, &Error{Code: CodeUsage, Message: err.Error()}
	}
	c.conn.SetReadDeadline(time.Time{})
	if first.Attach == nil {
		return nil, &Error{Code: CodeUsage, Message: "a conversation begins with attach"}
	}
	c.group = first.Attach.Group
	term, err := c.host.Attach(ctx, c.group)
	if err != nil {
		return nil, err
	}
	if err := c.send(Event{Attached: &nothing{}}); err != nil {
		term.Close()
		return nil, err
	}
	return term, nil
}

// show sends what the terminal is to show. Asking for the next confirms the
// one before, so a message counts as shown once it is with the terminal.
func (c *chatSession) show(ctx context.Context, term Terminal) error {
	for {
		m, p, err := term.Next(ctx)
		if err != nil {
			return err
		}
		if err := c.send(Event{Outbound: m, Progress: p}); err != nil {
			return err
		}
	}
}

// read takes requests until the terminal leaves.
func (c *chatSession) read(ctx context.Context) {
	for {
		var r chatRequest
		if err := c.in.next(&r); err != nil {
			if !errors.Is(err, io.EOF) {
				c.send(Event{Closed: &Error{Code: CodeUsage, Message: err.Error()}})
			}
			return
		}
		switch {
		case r.Say != nil:
			c.say(ctx, *r.Say)
		case r.Interrupt != nil:
			c.tasks.Go(func() {
				if err := c.host.Interrupt(ctx, c.group); err != nil {
					c.send(Event{Problem: asError(err)})
				}
			})
		}
	}
}

// say stores a message, in the order in which they came, and lets a task wait
// for its answer.
func (c *chatSession) say(ctx context.Context, f sayFrame) {
	select {
	case c.open <- struct{}{}:
	default:
		c.send(Event{Said: &Said{Seq: f.Seq, Error: &Error{Code: CodeFailed, Message: "too many messages are unanswered in this terminal", Hint: "wait for an answer"}}})
		return
	}
	id, err := c.host.Say(ctx, SayRequest{Group: c.group, Text: f.Text, Ask: f.Ask})
	if err != nil {
		<-c.open
		c.send(Event{Said: &Said{Seq: f.Seq, Error: asError(err)}})
		return
	}
	c.send(Event{Said: &Said{Seq: f.Seq, Message: id}})
	c.tasks.Go(func() {
		defer func() { <-c.open }()
		answer, err := c.host.Wait(ctx, c.group, id)
		done := Answered{Seq: f.Seq, Answer: answer}
		if err != nil {
			done.Error = asError(err)
		}
		c.send(Event{Answered: &done})
	})
}

// Conversation is a terminal's side of a chat with one group. Next is called
// by one goroutine; the others may be called by any.
type Conversation struct {
	conn net.Conn
	in   *frames
	stop func() bool

	mu sync.Mutex // one frame at a time onto conn
}

// Chat attaches to the terminal chat of a group. The conversation ends with
// ctx.
func (c *Client) Chat(ctx context.Context, g chat.Group) (*Conversation, error) {
	conn, err := c.upgrade(ctx, "chat", chatProtocol)
	if err != nil {
		return nil, err
	}
	talk := &Conversation{conn: conn, in: newFrames(conn)}
	talk.stop = context.AfterFunc(ctx, func() { conn.Close() })
	err = talk.write(chatRequest{Attach: &groupRequest{g}})
	if err == nil {
		var e Event
		e, err = talk.Next()
		if err == nil && e.Attached == nil {
			err = errors.New("the daemon's answer cannot be understood")
		}
	}
	if err != nil {
		talk.Close()
		return nil, err
	}
	return talk, nil
}

// Say sends a message. seq comes back in the events Said and Answered.
func (t *Conversation) Say(seq int, text string, ask chat.Ask) error {
	return t.write(chatRequest{Say: &sayFrame{Seq: seq, Text: text, Ask: ask}})
}

// Interrupt ends what the agent is doing now.
func (t *Conversation) Interrupt() error {
	return t.write(chatRequest{Interrupt: &nothing{}})
}

// Next gives the next event. When the host ended the conversation, the error
// says why.
func (t *Conversation) Next() (Event, error) {
	var e Event
	if err := t.in.next(&e); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
			err = &Error{Code: CodeStopping, Message: "the host went away", Hint: "its log says why; start it again"}
		}
		return Event{}, err
	}
	if e.Closed != nil {
		return Event{}, e.Closed
	}
	return e, nil
}

// Close leaves the chat.
func (t *Conversation) Close() error {
	t.stop()
	return t.conn.Close()
}

func (t *Conversation) write(r chatRequest) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return writeFrame(t.conn, r)
}
