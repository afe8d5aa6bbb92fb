// Package telegramtest is a Telegram for tests: a Bot API server over HTTP, written from
// the public documentation (core.telegram.org/bots/api), for one bot and as much of it
// as the adapter uses. Updates wait until a request names a higher number, only one
// request may wait for them, and marks that are not well formed are refused.
package telegramtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// The one bot.
const (
	Token   = "77:test-token"
	BotID   = 77
	BotName = "andy_bot"
)

// Message is one that the bot sent, as the server keeps it.
type Message struct {
	ID       int
	Chat     int64
	Topic    int
	Text     string // or the caption
	Mode     string
	Keyboard string
	Preview  string
	Method   string
	File     string // its name
	Body     string
}

// Server is the Bot API.
type Server struct {
	*httptest.Server
	// Patience is how long Say waits for an update to be confirmed.
	Patience time.Duration

	mu        sync.Mutex // guards all below
	changed   chan struct{}
	updates   []update
	number    int64
	ids       map[int64]int
	messages  []Message
	posted    chan Message
	drafts    []Message
	files     map[string]string
	fail      map[string]func(http.ResponseWriter) bool
	calls     map[string]int
	poll      context.CancelFunc // of the request that waits
	reactions []string
	polls     int
	most      int
}

// update is one that is not confirmed.
type update struct {
	number    int64
	body      map[string]any
	delivered int
	gone      chan struct{} // closed when it is confirmed
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	s := &Server{Patience: 2 * time.Second, changed: make(chan struct{}), number: 1000, ids: map[int64]int{}, posted: make(chan Message, 10_000),
		files: map[string]string{}, fail: map[string]func(http.ResponseWriter) bool{}, calls: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/bot"+Token+"/", s.serveAPI)
	mux.HandleFunc("/file/bot"+Token+"/", s.serveFile)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { Refusal(w, 401, "Unauthorized", nil) })
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// Refusal writes an error as the Bot API does.
func Refusal(w http.ResponseWriter, code int, description string, parameters map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	answer := map[string]any{"ok": false, "error_code": code, "description": description}
	if parameters != nil {
		answer["parameters"] = parameters
	}
	json.NewEncoder(w).Encode(answer)
}

// Fail has a method answered by f until it gives false. Nil ends that.
func (s *Server) Fail(method string, f func(http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[method] = f
}

// Refuse has a method answered with an error, n times.
func (s *Server) Refuse(method string, code int, description string, n int) {
	s.refuse(method, code, description, nil, n)
}

// Limit has a method answered with a rate limit, n times.
func (s *Server) Limit(method string, seconds, n int) {
	s.refuse(method, 429, fmt.Sprintf("Too Many Requests: retry after %d", seconds), map[string]any{"retry_after": seconds}, n)
}

// Migrate has one sendMessage answered with the new number of the chat.
func (s *Server) Migrate(to int64) {
	s.refuse("sendMessage", 400, "Bad Request: group chat was upgraded to a supergroup chat", map[string]any{"migrate_to_chat_id": to}, 1)
}

func (s *Server) refuse(method string, code int, description string, parameters map[string]any, n int) {
	s.Fail(method, func(w http.ResponseWriter) bool {
		if n--; n < 0 {
			return false
		}
		Refusal(w, code, description, parameters)
		return true
	})
}

// Calls says how often a method was called.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Most says how many requests for updates waited at once at most.
func (s *Server) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Messages are those of a chat that the bot sent and that are there still.
func (s *Server) Messages(chat int64) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if m.Chat == chat {
			out = append(out, m)
		}
	}
	return out
}

// Drafts are those that were shown to a person.
func (s *Server) Drafts() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.drafts...)
}

// Posted waits for the next message that the bot sends.
func (s *Server) Posted(ctx context.Context) (Message, error) {
	select {
	case m := <-s.posted:
		return m, nil
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}

// AddFile keeps a file and gives its id.
func (s *Server) AddFile(body string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("file%d", len(s.files)+1)
	s.files[id] = body
	return id
}

// Text makes a message of a person in a chat, which is private if its number is that of
// the person. fields are put over those of an ordinary one.
func (s *Server) Text(chat, from int64, text string, fields map[string]any) map[string]any {
	kind := "supergroup"
	if chat > 0 {
		kind = "private"
	}
	s.mu.Lock()
	s.ids[chat]++
	m := map[string]any{
		"message_id": s.ids[chat], "date": 1_700_000_000 + s.ids[chat]/4, "text": text,
		"from": map[string]any{"id": from, "is_bot": false, "first_name": fmt.Sprint("name-", from)},
		"chat": map[string]any{"id": chat, "type": kind, "title": "a chat"},
	}
	s.mu.Unlock()
	for k, v := range fields {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
	return m
}

// Push adds an update, such as {"message": …}, and gives its number.
func (s *Server) Push(body map[string]any) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	s.pushLocked(s.number, body)
	return s.number
}

func (s *Server) pushLocked(number int64, body map[string]any) {
	full := map[string]any{"update_id": number}
	for k, v := range body {
		full[k] = v
	}
	s.updates = append(s.updates, update{number: number, body: full, gone: make(chan struct{})})
	close(s.changed)
	s.changed = make(chan struct{})
}

// Renumber has the next update counted from a number, as after a quiet week.
func (s *Server) Renumber(from int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number = from
}

// ErrAgain says that an update was asked for again, so that it did not arrive.
var ErrAgain = errors.New("the update was asked for again")

// Say sends an update and waits until it is confirmed.
func (s *Server) Say(ctx context.Context, body map[string]any) error {
	return s.Confirmed(ctx, s.Push(body))
}

// Confirmed waits until an update is confirmed.
func (s *Server) Confirmed(ctx context.Context, number int64) error {
	timer := time.NewTimer(s.Patience)
	defer timer.Stop()
	for {
		s.mu.Lock()
		at := s.findLocked(number)
		if at < 0 {
			s.mu.Unlock()
			return nil
		}
		u, changed := s.updates[at], s.changed
		s.mu.Unlock()
		if u.delivered > 1 {
			return ErrAgain
		}
		select {
		case <-u.gone:
			return nil
		case <-changed:
		case <-timer.C:
			return errors.New("the update was not confirmed")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Server) findLocked(number int64) int {
	for i, u := range s.updates {
		if u.number == number {
			return i
		}
	}
	return -1
}

// Waiting waits until the bot's requests for updates are more than before.
func (s *Server) Waiting(ctx context.Context, before int) error {
	for s.Calls("getUpdates") <= before {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Drop cuts the request for updates off, without a word.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poll != nil {
		s.poll()
	}
}

// Hang cuts the connection of a request off.
func Hang(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body, ok := s.files[strings.TrimPrefix(r.URL.Path, "/file/bot"+Token+"/documents/")]
	s.mu.Unlock()
	if !ok {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	fmt.Fprint(w, body)
}
