package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/chat"
)

// fakeHost has one token, and says of each message what it is told.
type fakeHost struct {
	token string

	mu      sync.Mutex
	all     map[chat.MessageID]Message
	changed chan struct{}
}

func newHost() *fakeHost {
	return &fakeHost{token: NewToken(), all: map[chat.MessageID]Message{}, changed: make(chan struct{})}
}

func (h *fakeHost) Token(secret string) (Token, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Token{"bot", "work"}, secret == h.token
}

func (h *fakeHost) Message(_ context.Context, t Token, id chat.MessageID) (Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.all[id]
	if !ok || t.Name != "bot" {
		return m, ErrNone
	}
	return m, nil
}

func (h *fakeHost) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

func (h *fakeHost) put(id chat.MessageID, m Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m.ID = id
	h.all[id] = m
	close(h.changed)
	h.changed = make(chan struct{})
}

func newChannel(h *fakeHost) *Channel {
	return New(Options{Host: h, Log: slog.New(slog.DiscardHandler)})
}

func ask(ctx context.Context, c *Channel, token, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	return w
}

func TestConformance(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Network {
		h := newHost()
		c := newChannel(h)
		var n atomic.Int64
		var last string
		post := func(ctx context.Context, body string) error {
			if w := ask(ctx, c, h.token, "POST", "/v1/groups/work/messages", body); w.Code != http.StatusAccepted {
				return fmt.Errorf("answered %d: %s", w.Code, w.Body)
			}
			return nil
		}
		fetched, out := make(chan string, 100), &fetching{Channel: c}
		out.came = func(m chat.Outbound) { fetched <- m.Text }
		return channeltest.Network{
			Channel: out, Chat: Address("bot"),
			Say: func(ctx context.Context, text string) error {
				last = fmt.Sprintf(`{"text": %q, "id": "m%d"}`, text, n.Add(1))
				return post(ctx, last)
			},
			Repeat: func(ctx context.Context) error { return post(ctx, last) },
			Connect: func() (func(context.Context) (string, error), func()) {
				return func(ctx context.Context) (string, error) {
					select {
					case text := <-fetched:
						return text, nil
					case <-ctx.Done():
						return "", ctx.Err()
					}
				}, func() {}
			},
			Fetched: true,
		}
	})
}

// fetching plays a program that comes for what was delivered.
type fetching struct {
	*Channel
	came func(chat.Outbound)
}

func (f *fetching) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	id, err := f.Channel.Deliver(ctx, m)
	if err == nil {
		f.came(m)
	}
	return id, err
}

func TestWait(t *testing.T) {
	h := newHost()
	c := newChannel(h)
	h.put("m1", Message{State: "working"})
	if w := ask(t.Context(), c, h.token, "GET", "/v1/messages/m1", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"working"`) {
		t.Errorf("without waiting: %d %s", w.Code, w.Body)
	}
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- ask(t.Context(), c, h.token, "GET", "/v1/messages/m1?wait=50", "") }()
	h.put("m2", Message{State: "working"}) // what happens to another is no end
	h.put("m1", Message{State: "succeeded", Final: true, Answers: []Answer{{Kind: chat.Reply, Text: "a\x1b[2Jb\u202ec"}}})
	if w := <-done; w.Code != 200 || !strings.Contains(w.Body.String(), `"abc"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, wait := range []string{"x", "-1", "1e9", "999999999"} {
		if w := ask(t.Context(), c, h.token, "GET", "/v1/messages/m2?wait="+wait, ""); w.Code != http.StatusBadRequest {
			t.Errorf("wait=%s: %d", wait, w.Code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxWaits {
		waiting.Go(func() { ask(ctx, c, h.token, "GET", "/v1/messages/m2?wait=50", "") })
	}
	for {
		c.mu.Lock()
		n := c.waits["bot"]
		c.mu.Unlock()
		if n == maxWaits {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if w := ask(t.Context(), c, h.token, "GET", "/v1/messages/m2?wait=50", ""); w.Code != http.StatusTooManyRequests {
		t.Errorf("one more that waits: %d", w.Code)
	}
	for range maxAllWaits - maxWaits {
		c.enter(fmt.Sprint("other", c.all))
	}
	if c.enter("one more") {
		t.Error("the waits of all tokens have no bound")
	}
	cancel()
	waiting.Wait()
	if c.waits["bot"] != 0 || c.all != maxAllWaits-maxWaits {
		t.Errorf("%v wait still", c.waits)
	}
}

// Guesses and floods are slowed, and guesses of one do not slow who has a token.
func TestRates(t *testing.T) {
	h := newHost()
	c := newChannel(h)
	codes := map[int]int{}
	for range 2 * failures {
		codes[ask(t.Context(), c, NewToken(), "GET", "/v1/messages/m1", "").Code]++
	}
	if codes[http.StatusUnauthorized] < failures || codes[http.StatusTooManyRequests] == 0 {
		t.Errorf("guesses are answered %v", codes)
	}
	codes = map[int]int{}
	for range 2 * burst {
		codes[ask(t.Context(), c, h.token, "GET", "/v1/messages/m1", "").Code]++
	}
	if codes[http.StatusNotFound] < burst || codes[http.StatusTooManyRequests] == 0 {
		t.Errorf("a flood is answered %v", codes)
	}
}

func TestTokens(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a == b || !WellFormed(a) || Hash([]byte("k"), a) == Hash([]byte("k"), b) || Hash([]byte("k"), a) == Hash([]byte("l"), a) {
		t.Errorf("%s and %s", a, b)
	}
	for _, bad := range []string{"", prefix, a[:len(a)-1], a + "A", strings.TrimPrefix(a, prefix), prefix + strings.Repeat("=", 43)} {
		if WellFormed(bad) {
			t.Errorf("%q can be a token", bad)
		}
	}
	h := newHost()
	c := newChannel(h)
	for name, header := range map[string]http.Header{
		"two":           {"Authorization": {"Bearer " + h.token, "Bearer " + h.token}},
		"another sort":  {"Authorization": {"Basic " + h.token}},
		"none":          {},
		"a hash":        {"Authorization": {"Bearer " + Hash(nil, h.token)}},
		"with a suffix": {"Authorization": {"Bearer " + h.token + " x"}},
	} {
		if _, ok := c.token(header); ok {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestDeliverForeign(t *testing.T) {
	if _, err := newChannel(newHost()).Deliver(t.Context(), chat.Outbound{To: chat.Address{Channel: "slack", Chat: "C1"}}); !channel.IsPermanent(err) {
		t.Errorf("%v", err)
	}
}

// A body is one object with a text, or nothing.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"text": "hi"}`, `{"text": "hi", "id": "m-1"}`, `{"text": "hi", "owner": true}`, `{}`, `[]`, `{"text":"a"}{}`, "\xff", `{"TEXT":"a","text":"b"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parse(body)
		if err == nil && (strings.TrimSpace(q.Text) == "" || q.ID != "" && !plainID(q.ID)) {
			t.Errorf("%q is %+v", body, q)
		}
	})
}
