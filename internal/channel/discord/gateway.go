package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/disgoorg/disgo/discord"
	"github.com/disgoorg/disgo/rest"
	"github.com/gorilla/websocket"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
)

// What a frame is for. Source: docs.discord.com, "Gateway Opcodes".
const (
	opDispatch  = 0
	opHeartbeat = 1
	opIdentify  = 2
	opResume    = 6
	opReconnect = 7
	opInvalid   = 9
	opHello     = 10
	opAck       = 11
)

// What we want to be told: channels, and what is said in them and to us. The content of
// what is said is a privileged intent, which is turned on for the bot.
const intents = 1<<0 | 1<<9 | 1<<12 | 1<<15

// Bounds of the socket.
const (
	maxFrame  = 32 << 20 // the description of a large server
	dialTime  = 20 * time.Second
	writeTime = 10 * time.Second
	helloTime = 20 * time.Second
	// maxFailed is after how many attempts a session that cannot be reached is given up.
	maxFailed = 3
)

// frame is what comes and goes over the socket.
type frame struct {
	Op   int             `json:"op"`
	Data json.RawMessage `json:"d"`
	Seq  int64           `json:"s,omitempty"`
	Type string          `json:"t,omitempty"`
}

// connect is one connection, from asking for its address to its end.
func (c *Channel) connect(ctx context.Context, l *supervise.Line, sink channel.Sink) error {
	if err := c.identify(ctx); err != nil {
		return err
	}
	address, err := c.where(ctx)
	if err != nil {
		return err
	}
	dialer := websocket.Dialer{HandshakeTimeout: dialTime}
	conn, response, err := dialer.DialContext(ctx, address+"/?v=10&encoding=json", nil)
	if response != nil {
		response.Body.Close()
	}
	if err != nil {
		if c.session.failed++; c.session.failed >= maxFailed {
			c.forget()
		}
		return fmt.Errorf("the gateway cannot be reached: %w", err)
	}
	c.session.failed = 0
	s := &socket{c: c, conn: conn, line: l, sink: sink}
	return s.serve(ctx)
}

// where is the address to connect to: that of the session, or that of a new one. Only
// so many may be begun a day; Discord says when the next may be.
func (c *Channel) where(ctx context.Context) (string, error) {
	if c.session.id != "" {
		return c.session.url, nil
	}
	var g discord.GatewayBot
	if err := c.do(ctx, rest.GetGatewayBot.Compile(nil), nil, &g); err != nil {
		return "", fmt.Errorf("discord does not say where its gateway is: %w", err)
	}
	if limit := g.SessionStartLimit; limit.Total > 0 && limit.Remaining == 0 {
		return "", &supervise.After{Wait: time.Duration(limit.ResetAfter) * time.Millisecond, Err: errors.New("the bot was connected anew too often today: Discord asks to wait")}
	}
	return c.trusted(g.URL)
}

// trusted says whether the token may be sent to an address. Discord names them, over a
// connection that is encrypted; so must be the next.
func (c *Channel) trusted(address string) (string, error) {
	u, err := url.Parse(address)
	plain := strings.HasPrefix(c.opt.API, "http://127.0.0.1:") && u != nil && u.Scheme == "ws" && u.Hostname() == "127.0.0.1"
	if err != nil || u.Host == "" || u.Scheme != "wss" && !plain {
		return "", fmt.Errorf("discord names an address that is none of a gateway")
	}
	return u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/"), nil
}

// forget ends the session: the next connection begins one.
func (c *Channel) forget() {
	c.session.id, c.session.url, c.session.failed = "", "", 0
	c.session.seq.Store(0)
}

// socket is one open connection.
type socket struct {
	c     *Channel
	conn  *websocket.Conn
	line  *supervise.Line
	sink  channel.Sink
	write sync.Mutex
	// unanswered says that a heartbeat went out and no sign of it came back.
	unanswered atomic.Bool
}

// serve reads until the connection ends. Events are worked on one after the other, in
// the order in which they came.
func (s *socket) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var beats sync.WaitGroup
	// Without a word: a closing frame of an ordinary end would end the session.
	beats.Go(func() { <-ctx.Done(); s.conn.Close() })
	defer func() { cancel(); beats.Wait() }()
	s.conn.SetReadLimit(maxFrame)
	s.conn.SetReadDeadline(time.Now().Add(helloTime))
	hello, err := s.hello()
	if err != nil {
		return err
	}
	s.conn.SetReadDeadline(time.Time{})
	beats.Go(func() {
		s.beat(ctx, hello)
		s.conn.Close() // wakes the reader
	})
	if err := s.begin(); err != nil {
		return err
	}
	for {
		var f frame
		if err := s.conn.ReadJSON(&f); err != nil {
			return s.ended(err)
		}
		s.line.Alive()
		if err := s.take(ctx, f); err != nil {
			return err
		}
	}
}

// hello is the first frame, which says how often a heartbeat is wanted.
func (s *socket) hello() (time.Duration, error) {
	var f frame
	if err := s.conn.ReadJSON(&f); err != nil {
		return 0, s.ended(err)
	}
	var d struct {
		Interval int64 `json:"heartbeat_interval"`
	}
	if f.Op == opReconnect {
		return 0, supervise.ErrAgain
	}
	if f.Op != opHello || json.Unmarshal(f.Data, &d) != nil || d.Interval <= 0 {
		return 0, errors.New("the gateway does not begin as Discord's does")
	}
	s.line.Alive()
	return time.Duration(d.Interval) * time.Millisecond, nil
}

// begin takes the session up, or begins one.
func (s *socket) begin() error {
	if id := s.c.session.id; id != "" {
		return s.send(opResume, map[string]any{"token": s.c.opt.Bot, "session_id": id, "seq": s.c.session.seq.Load()})
	}
	return s.send(opIdentify, map[string]any{
		"token": s.c.opt.Bot, "intents": intents, "properties": map[string]string{"os": "linux", "browser": "nanoclaw", "device": "nanoclaw"},
	})
}

// beat sends heartbeats until ctx ends, one fails, or one gets no answer: such a
// connection is dead, whatever else it looks like. The first comes at a moment of its
// own, so that many hosts do not beat together.
func (s *socket) beat(ctx context.Context, every time.Duration) {
	timer := time.NewTimer(rand.N(every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if s.unanswered.Swap(true) || s.heartbeat() != nil {
			return
		}
		timer.Reset(every)
	}
}

func (s *socket) heartbeat() error {
	if seq := s.c.session.seq.Load(); seq != 0 {
		return s.send(opHeartbeat, seq)
	}
	return s.send(opHeartbeat, nil)
}

func (s *socket) send(op int, d any) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if err := s.conn.WriteJSON(map[string]any{"op": op, "d": d}); err != nil {
		return fmt.Errorf("the socket ended: %w", err)
	}
	return nil
}

// take works on one frame. An error ends the connection.
func (s *socket) take(ctx context.Context, f frame) error {
	switch f.Op {
	case opDispatch:
		if err := s.event(ctx, f); err != nil {
			return err
		}
		s.c.session.seq.Store(f.Seq)
	case opHeartbeat:
		return s.heartbeat()
	case opAck:
		s.unanswered.Store(false)
	case opReconnect:
		return supervise.ErrAgain
	case opInvalid:
		var goesOn bool
		if json.Unmarshal(f.Data, &goesOn) != nil || !goesOn {
			s.c.forget()
		}
		return &supervise.After{Wait: s.c.opt.Anew/5 + rand.N(4*s.c.opt.Anew/5), Err: errors.New("discord does not take the session up")}
	}
	return nil
}

// event works on one event. What it says is durable when it returns nil.
func (s *socket) event(ctx context.Context, f frame) error {
	switch f.Type {
	case "READY":
		var d struct {
			Session string `json:"session_id"`
			URL     string `json:"resume_gateway_url"`
		}
		if err := json.Unmarshal(f.Data, &d); err != nil {
			return fmt.Errorf("the gateway does not begin as Discord's does: %w", err)
		}
		address, err := s.c.trusted(d.URL)
		if err != nil {
			return err
		}
		s.c.session.id, s.c.session.url = d.Session, address
		s.line.Up()
	case "RESUMED":
		s.line.Up()
	case "MESSAGE_CREATE", "INTERACTION_CREATE":
		in, press, ok, err := s.c.read(ctx, f)
		if err != nil || !ok {
			return err
		}
		if err := s.sink.Receive(ctx, in); err != nil {
			return fmt.Errorf("a message could not be stored: %w", err)
		}
		if press != nil {
			s.c.answered(ctx, *press)
		}
	}
	return nil
}

// ended says what the end of a connection means.
func (s *socket) ended(err error) error {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		return fmt.Errorf("the socket ended: %w", err)
	}
	// Source: docs.discord.com, "Gateway Close Event Codes".
	switch closed.Code {
	case 4004:
		return channel.Permanent(errToken)
	case 4014:
		return channel.Permanent(errors.New("the bot may not read what is said: turn on \"Message Content Intent\" at discord.com/developers/applications, under Bot, then restart nanoclaw"))
	case 4010, 4011, 4012, 4013:
		return channel.Permanent(fmt.Errorf("discord ended the connection for good: %d %s", closed.Code, channel.OneLine(closed.Text, 100)))
	case websocket.CloseNormalClosure, websocket.CloseGoingAway, 4003, 4007, 4009:
		s.c.forget()
	}
	return fmt.Errorf("discord ended the connection: %d %s", closed.Code, channel.OneLine(closed.Text, 100))
}
