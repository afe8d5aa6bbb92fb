// Package slacktest is a Slack for tests: a web API and a Socket Mode over HTTP and
// web sockets, written from Slack's public documentation, of one workspace and as much
// of it as the adapter uses.
package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The one workspace.
const (
	Team    = "T1"
	BotUser = "UBOT"
	BotID   = "BBOT"
	AppKey  = "xapp-test"
	BotKey  = "xoxb-test"
)

// Message is a message as the workspace keeps it.
type Message struct {
	TS       string          `json:"ts"`
	Type     string          `json:"type"`
	User     string          `json:"user"`
	BotID    string          `json:"bot_id,omitempty"`
	Team     string          `json:"team"`
	Text     string          `json:"text"`
	Thread   string          `json:"thread_ts,omitempty"`
	Replies  int             `json:"reply_count,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	Files    []File          `json:"files,omitempty"`
	Blocks   string          `json:"-"`
	Channel  string          `json:"-"`
	Unfurl   string          `json:"-"`
}

// File is a file of a message.
type File struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	MimeType string `json:"mimetype"`
	Size     int    `json:"size"`
	URL      string `json:"url_private_download"`
	Body     string `json:"-"`
}

// Server is the workspace.
type Server struct {
	*httptest.Server
	// Patience is how long Say waits for an acknowledgement.
	Patience time.Duration

	mu        sync.Mutex // guards all below
	clock     int64
	messages  []Message
	posted    chan Message
	socket    *websocket.Conn
	sockets   int // open now
	Opened    int // ever
	most      int
	waiting   map[string]chan struct{} // for acknowledgements
	lost      chan struct{}            // closed when the socket ends
	fail      map[string]func(http.ResponseWriter) bool
	files     map[string]File
	deaf      bool
	reactions []string
	calls     map[string]int
}

// New starts a workspace, which ends with the test.
func New(t testing.TB) *Server {
	s := &Server{Patience: 2 * time.Second, clock: 1_700_000_000, posted: make(chan Message, 10_000), waiting: map[string]chan struct{}{},
		fail: map[string]func(http.ResponseWriter) bool{}, files: map[string]File{}, lost: make(chan struct{}), calls: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/socket", s.serveSocket)
	mux.HandleFunc("/files/", s.serveFile)
	mux.HandleFunc("/upload/", s.serveUpload)
	mux.HandleFunc("/api/", s.serveAPI)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() { s.Drop(); s.CloseClientConnections(); s.Close() })
	return s
}

// API is the address of the web API.
func (s *Server) API() string { return s.URL + "/api" }

// Fail has a method answered by f until it gives false. Nil ends that.
func (s *Server) Fail(method string, f func(http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[method] = f
}

// Refuse has a method answered with an error of Slack's, n times.
func (s *Server) Refuse(method, code string, n int) {
	s.Fail(method, func(w http.ResponseWriter) bool {
		if n--; n < 0 {
			return false
		}
		fmt.Fprintf(w, `{"ok":false,"error":%q}`, code)
		return true
	})
}

// Limit has a method answered with a rate limit, n times.
func (s *Server) Limit(method string, seconds, n int) {
	s.Fail(method, func(w http.ResponseWriter) bool {
		if n--; n < 0 {
			return false
		}
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
}

// Deaf has the socket take nothing in, so that a connection falls silent.
func (s *Server) Deaf(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = on
}

// Calls says how often a method was called.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Sockets gives how many sockets were open at once at most, and how many ever.
func (s *Server) Sockets() (most, ever int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most, s.Opened
}

// Messages are those of a channel, oldest first.
func (s *Server) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if m.Channel == channel {
			out = append(out, m)
		}
	}
	return out
}

// Posted waits for the next message that the bot posts.
func (s *Server) Posted(ctx context.Context) (Message, error) {
	select {
	case m := <-s.posted:
		return m, nil
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}

// TS gives the next time stamp. Many lie in one second, as when people write fast.
func (s *Server) TS() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tsLocked()
}

func (s *Server) tsLocked() string {
	s.clock++
	return fmt.Sprintf("%d.%06d", 1_700_000_000+s.clock%1_700_000_000/50, s.clock%1_000_000)
}

// Keep adds a message that nobody is told of, as while nobody listened.
func (s *Server) Keep(m Message) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.TS == "" {
		m.TS = s.tsLocked()
	}
	if m.Team == "" {
		m.Team = Team
	}
	m.Type = "message"
	s.messages = append(s.messages, m)
	return m
}

// AddFile keeps a file and gives it as a message has it.
func (s *Server) AddFile(name, mime, body string) File {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := File{ID: fmt.Sprintf("F%d", len(s.files)+1), Name: name, MimeType: mime, Size: len(body), Body: body}
	f.URL = s.URL + "/files/" + f.ID
	s.files[f.ID] = f
	return f
}

// ErrLost says that the socket ended before an acknowledgement came.
var ErrLost = errors.New("the socket ended")

// Event sends a message event and waits until it is acknowledged. fields are put
// over those of an ordinary message.
func (s *Server) Event(ctx context.Context, m Message, fields map[string]any) error {
	event := map[string]any{
		"type": "message", "channel": m.Channel, "channel_type": "channel", "user": m.User, "team": Team, "text": m.Text, "ts": m.TS, "event_ts": m.TS,
		"client_msg_id": "c" + m.TS,
		"blocks":        []any{map[string]any{"type": "rich_text", "block_id": "x", "elements": []any{}}},
	}
	if m.Thread != "" {
		event["thread_ts"] = m.Thread
	}
	if m.Files != nil {
		event["subtype"], event["files"] = "file_share", m.Files
	}
	for k, v := range fields {
		event[k] = v
	}
	return s.Send(ctx, "events_api", map[string]any{"token": "x", "team_id": Team, "api_app_id": "A1", "event": event, "type": "event_callback", "event_id": "Ev" + m.TS, "event_time": 1})
}

// Press sends what Slack sends when somebody presses a button of a message.
func (s *Server) Press(ctx context.Context, user, channel, thread, action, value string) error {
	return s.Send(ctx, "interactive", map[string]any{
		"type": "block_actions", "user": map[string]any{"id": user, "name": "name-" + user, "team_id": Team}, "team": map[string]any{"id": Team},
		"container": map[string]any{"type": "message", "message_ts": "1.1", "channel_id": channel, "thread_ts": thread}, "channel": map[string]any{"id": channel},
		"actions": []any{map[string]any{"type": "button", "action_id": action, "block_id": "nanoclaw", "value": value, "action_ts": s.TS()}},
	})
}

// Send sends an envelope and waits until it is acknowledged.
func (s *Server) Send(ctx context.Context, kind string, payload any) error {
	acked, lost, err := s.Write(kind, payload)
	if err != nil {
		return err
	}
	timer := time.NewTimer(s.Patience)
	defer timer.Stop()
	select {
	case <-acked:
		return nil
	case <-lost:
		return ErrLost
	case <-timer.C:
		return errors.New("not acknowledged")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write sends an envelope and waits for nothing.
func (s *Server) Write(kind string, payload any) (acked, lost <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket == nil {
		return nil, nil, ErrLost
	}
	id := fmt.Sprintf("env-%s", s.tsLocked())
	done := make(chan struct{})
	s.waiting[id] = done
	s.socket.SetWriteDeadline(time.Now().Add(5 * time.Second))
	err = s.socket.WriteJSON(map[string]any{"envelope_id": id, "type": kind, "payload": payload, "accepts_response_payload": false, "retry_attempt": 0})
	return done, s.lost, err
}

// Raw sends bytes as they are.
func (s *Server) Raw(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket == nil {
		return ErrLost
	}
	return s.socket.WriteMessage(websocket.TextMessage, []byte(text))
}

// Disconnect asks the other side to connect anew, as Slack does every few hours.
func (s *Server) Disconnect(reason string) error {
	return s.Raw(fmt.Sprintf(`{"type":"disconnect","reason":%q,"debug_info":{"host":"x"}}`, reason))
}

// Drop cuts the socket off, without a word.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.socket.NetConn().Close()
	}
}

// Up waits until a socket is open, beside those of before.
func (s *Server) Up(ctx context.Context, before int) error {
	for {
		s.mu.Lock()
		ok := s.socket != nil && s.Opened > before
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	lost := make(chan struct{})
	s.settle()
	s.mu.Lock()
	s.socket, s.lost = conn, lost
	s.Opened++
	s.sockets++
	s.most = max(s.most, s.sockets)
	conn.WriteJSON(map[string]any{"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": "A1"}})
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
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		s.mu.Lock()
		deaf := s.deaf
		s.mu.Unlock()
		if deaf {
			return nil
		}
		return answer(data)
	})
	for {
		var ack struct {
			ID string `json:"envelope_id"`
		}
		if err := conn.ReadJSON(&ack); err != nil {
			return
		}
		s.mu.Lock()
		if c := s.waiting[ack.ID]; c != nil {
			delete(s.waiting, ack.ID)
			close(c)
		}
		s.mu.Unlock()
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

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, ok := s.files[strings.TrimPrefix(r.URL.Path, "/files/")]
	s.mu.Unlock()
	if !ok || r.Header.Get("Authorization") != "Bearer "+BotKey {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	io.WriteString(w, f.Body)
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/upload/")
	r.ParseMultipartForm(1 << 20)
	var body []byte
	if f, _, err := r.FormFile("file"); err == nil {
		body, _ = io.ReadAll(f)
	} else {
		body, _ = io.ReadAll(r.Body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	f.Body = string(body)
	s.files[id] = f
	io.WriteString(w, "OK")
}
