// Package discordtest is a Discord for tests: a gateway over web sockets and a REST
// interface, written from the public documentation (docs.discord.com/developers), with
// one server, one bot, and as much of it as the adapter uses. Sessions can be resumed:
// what was sent after the number that a client names is sent again.
package discordtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The one bot, its server, and the channels.
const (
	Token   = "test.bot.token"
	BotID   = "7700000000000000077"
	Guild   = "5000000000000000001"
	General = "5000000000000000002"
	Thread  = "5000000000000000003" // in General
	Direct  = "5000000000000000004"
)

// Object is anything as JSON has it.
type Object = map[string]any

// Message is one that the bot posted.
type Message struct {
	ID, Channel, Text, Nonce string
	Components               string
	Mentions                 string // allowed_mentions
	Flags                    int
	File, Body               string
}

// Server is Discord.
type Server struct {
	*httptest.Server
	// Patience is how long Say waits for an event to be confirmed.
	Patience time.Duration
	// Beat is how often a heartbeat is wanted.
	Beat time.Duration

	mu       sync.Mutex // guards all below
	clock    uint64
	socket   *websocket.Conn
	lost     chan struct{} // closed when the socket ends
	sockets  int
	most     int
	opened   int
	deaf     bool
	intents  bool // the content of messages may be read
	session  string
	events   []Object // of the session; the first has the number 1
	seq      int64    // that was confirmed
	changed  chan struct{}
	identify int
	resumed  int

	messages  []Message
	history   map[string][]Object // by channel, oldest first
	reactions []string
	files     map[string]string
	posted    chan Message
	fail      map[string]func(http.ResponseWriter) bool
	calls     map[string]int
	pressed   []string
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	s := &Server{Patience: 2 * time.Second, Beat: 40 * time.Second, clock: uint64(time.Now().UnixMilli()-1420070400000) << 22, intents: true,
		changed: make(chan struct{}), history: map[string][]Object{}, files: map[string]string{}, posted: make(chan Message, 10_000),
		fail: map[string]func(http.ResponseWriter) bool{}, calls: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws/", s.serveSocket)
	mux.HandleFunc("/files/", s.serveFile)
	mux.HandleFunc("/api/", s.serveAPI)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() { s.Drop(); s.CloseClientConnections(); s.Close() })
	return s
}

// API is the address of the REST interface.
func (s *Server) API() string { return s.URL + "/api" }

func (s *Server) gateway() string { return "ws" + strings.TrimPrefix(s.URL, "http") }

// ID gives the next number.
func (s *Server) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idLocked()
}

func (s *Server) idLocked() string {
	s.clock++
	return strconv.FormatUint(s.clock, 10)
}

// IDAt gives a number of a moment.
func (s *Server) IDAt(t time.Time, n int) string {
	return strconv.FormatUint(uint64(t.UnixMilli()-1420070400000)<<22+uint64(n), 10)
}

// Text makes a message of a person. fields are put over those of an ordinary one.
func (s *Server) Text(channel, from, text string, fields Object) Object {
	m := Object{
		"id": s.ID(), "channel_id": channel, "type": 0, "content": text, "timestamp": time.Now().Format(time.RFC3339), "tts": false,
		"author":   Object{"id": from, "username": "name-" + from, "global_name": nil, "discriminator": "0"},
		"mentions": []any{}, "mention_roles": []any{}, "attachments": []any{}, "embeds": []any{}, "components": []any{}, "pinned": false,
	}
	if channel != Direct {
		m["guild_id"], m["member"] = Guild, Object{"nick": "nick"}
	}
	for k, v := range fields {
		m[k] = v
	}
	return m
}

// Keep adds a message to the history of its channel, telling nobody.
func (s *Server) Keep(m Object) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := m["channel_id"].(string)
	s.history[id] = append(s.history[id], m)
	return m
}

// AddFile keeps a file and gives it as a message has it.
func (s *Server) AddFile(name, kind, body string) Object {
	id := s.ID()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[id] = body
	return Object{"id": id, "filename": name, "content_type": kind, "size": len(body), "url": s.URL + "/files/" + id}
}

// ErrLost says that the socket ended before the event was confirmed.
var ErrLost = errors.New("the socket ended")

// Say sends an event and waits until its number is confirmed, for which a heartbeat is
// asked for.
func (s *Server) Say(ctx context.Context, kind string, d Object) error {
	s.mu.Lock()
	if s.socket == nil || s.session == "" {
		s.mu.Unlock()
		return ErrLost
	}
	n := s.pushLocked(kind, d)
	lost := s.lost
	s.writeLocked(Object{"op": 1, "d": nil})
	s.mu.Unlock()
	timer := time.NewTimer(s.Patience)
	defer timer.Stop()
	for {
		s.mu.Lock()
		done, changed := s.seq >= n, s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-lost:
			return ErrLost
		case <-timer.C:
			return errors.New("the event was not confirmed")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Push sends an event and waits for nothing. Without a socket it waits in the session.
func (s *Server) Push(kind string, d Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushLocked(kind, d)
}

func (s *Server) pushLocked(kind string, d Object) int64 {
	n := int64(len(s.events) + 1)
	e := Object{"op": 0, "t": kind, "s": n, "d": d}
	s.events = append(s.events, e)
	s.writeLocked(e)
	return n
}

func (s *Server) writeLocked(f Object) {
	if s.socket != nil && s.session != "" {
		s.socket.SetWriteDeadline(time.Now().Add(5 * time.Second))
		s.socket.WriteJSON(f)
	}
}

// Send writes a frame as it is.
func (s *Server) Send(f Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLocked(f)
}

// Close ends the socket with a code.
func (s *Server) CloseWith(code int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.socket.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(5*time.Second))
	}
}

// Drop cuts the socket off, without a word.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.socket.NetConn().Close()
	}
}

// Forget ends the session: it cannot be resumed.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = ""
}

// Deaf has heartbeats go without an answer.
func (s *Server) Deaf(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = on
}

// Disallow takes the intent away by which the content of messages is read.
func (s *Server) Disallow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intents = false
}

// Sockets gives how many sockets were open at once at most, how many ever, how often a
// session was begun, and how often resumed.
func (s *Server) Sockets() (most, ever, begun, resumed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most, s.opened, s.identify, s.resumed
}

// Up waits until a session is begun or resumed, beside those of before.
func (s *Server) Up(ctx context.Context, before int) error {
	for {
		s.mu.Lock()
		n, changed := s.identify+s.resumed, s.changed
		s.mu.Unlock()
		if n > before {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("no session was begun: %w", ctx.Err())
		}
	}
}

func (s *Server) fireLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	s.settle()
	lost := make(chan struct{})
	s.mu.Lock()
	s.opened++
	s.sockets++
	s.most = max(s.most, s.sockets)
	conn.WriteJSON(Object{"op": 10, "d": Object{"heartbeat_interval": s.Beat.Milliseconds()}})
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sockets--
		if s.socket == conn {
			s.socket = nil
		}
		close(lost)
	}()
	for {
		var f struct {
			Op   int             `json:"op"`
			Data json.RawMessage `json:"d"`
		}
		if conn.ReadJSON(&f) != nil || !s.frame(conn, lost, f.Op, f.Data) {
			return
		}
	}
}

// settle gives a socket that the other side has closed the time to be seen as such.
func (s *Server) settle() {
	for range 2000 {
		s.mu.Lock()
		open := s.sockets
		s.mu.Unlock()
		if open == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// frame answers one frame. It is false if the socket is to end.
func (s *Server) frame(conn *websocket.Conn, lost chan struct{}, op int, data json.RawMessage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d struct {
		Token   string `json:"token"`
		Intents int    `json:"intents"`
		Session string `json:"session_id"`
		Seq     int64  `json:"seq"`
	}
	refuse := func(code int, text string) bool {
		conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(5*time.Second))
		return false
	}
	switch op {
	case 1:
		json.Unmarshal(data, &s.seq)
		s.fireLocked()
		if !s.deaf {
			conn.WriteJSON(Object{"op": 11})
		}
		return true
	case 2:
		json.Unmarshal(data, &d)
		if d.Token != Token {
			return refuse(4004, "Authentication failed.")
		}
		if !s.intents && d.Intents&(1<<15) != 0 {
			return refuse(4014, "Disallowed intent(s).")
		}
		s.identify++
		s.session, s.events, s.seq = fmt.Sprint("session", s.identify), nil, 0
		s.socket, s.lost = conn, lost
		s.pushLocked("READY", Object{"v": 10, "session_id": s.session, "resume_gateway_url": s.gateway() + "/ws", "user": Object{"id": BotID, "username": "andy"}, "guilds": []any{Object{"id": Guild, "unavailable": true}}})
		s.pushLocked("GUILD_CREATE", Object{"id": Guild, "channels": []any{Object{"id": General, "type": 0}}, "members": []any{}})
	case 6:
		json.Unmarshal(data, &d)
		if d.Session != s.session || d.Token != Token || s.session == "" {
			conn.WriteJSON(Object{"op": 9, "d": false})
			return true
		}
		s.resumed++
		s.socket, s.lost = conn, lost
		for _, e := range s.events[min(d.Seq, int64(len(s.events))):] {
			s.writeLocked(e)
		}
		s.pushLocked("RESUMED", Object{})
	}
	s.fireLocked()
	return true
}
