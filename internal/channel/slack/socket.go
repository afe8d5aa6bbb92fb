package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
)

// Bounds of the socket.
const (
	maxFrame  = 4 << 20 // of one envelope; Slack's largest have some 100 KB
	dialTime  = 20 * time.Second
	writeTime = 10 * time.Second
)

// envelope is what comes over the socket. Source: docs.slack.dev/apis/events-api/using-socket-mode.
type envelope struct {
	Type    string          `json:"type"`
	ID      string          `json:"envelope_id"`
	Reason  string          `json:"reason"`
	Payload json.RawMessage `json:"payload"`
}

// connect is one connection, from asking for its address to its end.
func (c *Channel) connect(ctx context.Context, l *supervise.Line, sink channel.Sink) error {
	if _, err := c.identify(ctx); err != nil {
		return err
	}
	var url string
	err := c.call(ctx, "apps.connections.open", func(ctx context.Context) (err error) {
		_, url, err = c.client.StartSocketModeContext(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("slack does not open a socket: %w", err)
	}
	dialer := websocket.Dialer{HandshakeTimeout: dialTime}
	conn, response, err := dialer.DialContext(ctx, url, nil)
	if response != nil {
		response.Body.Close()
	}
	if err != nil {
		return errors.New("the socket cannot be opened") // the error may hold the address, which is a secret
	}
	s := &socket{c: c, conn: conn, line: l, sink: sink}
	return s.serve(ctx)
}

// socket is one open connection.
type socket struct {
	c    *Channel
	conn *websocket.Conn
	line *supervise.Line
	sink channel.Sink
}

// serve reads until the connection ends. Envelopes are worked on one after the other,
// in the order in which they came, and acknowledged after the message is durable.
func (s *socket) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	pinged := make(chan struct{})
	go func() {
		defer close(pinged)
		s.ping(ctx)
		s.conn.Close() // wakes the reader
	}()
	defer func() { cancel(); <-pinged }()
	s.conn.SetReadLimit(maxFrame)
	s.conn.SetPongHandler(func(string) error { s.line.Alive(); return nil })
	answer := s.conn.PingHandler()
	s.conn.SetPingHandler(func(data string) error { s.line.Alive(); return answer(data) })
	for {
		var e envelope
		if err := s.conn.ReadJSON(&e); err != nil {
			return fmt.Errorf("the socket ended: %w", err)
		}
		s.line.Alive()
		if err := s.take(ctx, e); err != nil {
			return err
		}
	}
}

// ping asks for signs of life until ctx ends, or until that fails.
func (s *socket) ping(ctx context.Context) {
	ticker := time.NewTicker(s.c.opt.Ping)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTime)) != nil {
			return
		}
	}
}

// take works on one envelope. An error ends the connection: what was not acknowledged
// Slack sends again.
func (s *socket) take(ctx context.Context, e envelope) error {
	switch e.Type {
	case "hello":
		s.line.Up()
		return nil
	case "disconnect":
		if e.Reason == "link_disabled" {
			return channel.Permanent(errors.New("the app has no Socket Mode any more: turn it on at api.slack.com/apps, then restart nanoclaw"))
		}
		return supervise.ErrAgain
	}
	in, ok := s.c.read(e)
	if ok {
		if err := s.sink.Receive(ctx, in); err != nil {
			return fmt.Errorf("a message could not be stored: %w", err)
		}
	}
	return s.acknowledge(e.ID)
}

// acknowledge tells Slack that an envelope arrived. What has no id wants no answer.
func (s *socket) acknowledge(id string) error {
	if id == "" {
		return nil
	}
	s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if err := s.conn.WriteJSON(map[string]string{"envelope_id": id}); err != nil {
		return fmt.Errorf("the socket ended: %w", err)
	}
	return nil
}
