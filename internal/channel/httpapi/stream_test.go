package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/chat"
)

// served is a channel behind a server whose times are shorter than any stream.
func served(t *testing.T) (*fakeHost, *Channel, *httptest.Server) {
	h := newHost()
	c := newChannel(h)
	s := httptest.NewUnstartedServer(c.Handler())
	s.Config.ReadHeaderTimeout, s.Config.ReadTimeout, s.Config.WriteTimeout = 50*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	return h, c, s
}

// reading is a stream that is read.
type reading struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Scanner
}

func stream(t *testing.T, h *fakeHost, base, id string) *reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", base+"/v1/messages/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	r.Header.Set("Accept", "text/event-stream")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Body.Close() })
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("answered %d, %s", a.StatusCode, a.Header.Get("Content-Type"))
	}
	return &reading{t, a.Body, bufio.NewScanner(a.Body)}
}

// next gives an event as "name data", and "" at the end.
func (r *reading) next() string {
	name := ""
	for r.in.Scan() {
		line := r.in.Text()
		if n, ok := strings.CutPrefix(line, "event: "); ok {
			name = n
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return name + " " + data
		}
	}
	return ""
}

func (r *reading) want(events ...string) {
	r.t.Helper()
	for _, want := range events {
		if got := r.next(); got != want {
			r.t.Fatalf("came %q, want %q", got, want)
		}
	}
}

func show(c *Channel, run, kind, text string) {
	c.Progress(context.Background(), chat.Progress{Run: chat.RunID(run), To: Address("bot"), Kind: chat.ProgressKind(kind), Text: text})
}

// A stream tells what goes on, what was before it began included, and ends with the
// message: later than the server's times for a request.
func TestStream(t *testing.T) {
	h, c, s := served(t)
	h.put("m1", Message{State: "waiting"})
	r := stream(t, h, s.URL, "m1")
	r.want(`state {"run":"","state":"waiting"}`)
	show(c, "", "waiting", "queued behind 2")
	r.want(`waiting {"text":"queued behind 2"}`)
	time.Sleep(150 * time.Millisecond) // the times of the server are over
	show(c, "r1", "started", "")
	show(c, "r1", "text", "one\n\x1b[2")
	show(c, "r1", "tool", "Bash: cat /secret")
	show(c, "r1", "text", "Jtwo\u202e ◆")
	h.put("m1", Message{State: "claimed", Run: "r1"})
	r.want(`state {"run":"r1","state":"claimed"}`, `started {"run":"r1"}`, `tool {"tool":"Bash"}`, `text {"text":"one\ntwo ◇"}`)
	show(c, "r1", "text", " three")
	r.want(`text {"text":" three"}`)
	show(c, "r1", "started", "") // cut off, and begun again
	r.want(`started {"run":"r1"}`)
	show(c, "r1", "text", "once more")
	r.want(`text {"text":"once more"}`)
	show(c, "r1", "finished", "")
	h.put("m1", Message{State: "succeeded", Run: "r1", Final: true, Answers: []Answer{{Kind: chat.Reply, Text: "once\x1b[2J more"}}})
	r.want(`message {"id":"m1","state":"succeeded","final":true,"run":"r1","answers":[{"kind":"reply","text":"once more"}]}`, "")
	if len(c.flows.by) != 0 {
		t.Errorf("%d flows are left", len(c.flows.by))
	}
	// One that is over already is told at once.
	stream(t, h, s.URL, "m1").want(`message {"id":"m1","state":"succeeded","final":true,"run":"r1","answers":[{"kind":"reply","text":"once more"}]}`, "")
}

// That a run has begun on a message is known by what the run shows, if nothing else
// tells of it.
func TestStreamFindsItsRun(t *testing.T) {
	h, c, s := served(t)
	h.put("m1", Message{State: "waiting"})
	r := stream(t, h, s.URL, "m1")
	r.want(`state {"run":"","state":"waiting"}`)
	h.mu.Lock()
	h.all["m1"] = Message{ID: "m1", State: "claimed", Run: "r1"}
	h.mu.Unlock()
	show(c, "r1", "text", "mine")
	r.want(`state {"run":"r1","state":"claimed"}`, `started {"run":"r1"}`, `text {"text":"mine"}`)
}

// What a run of another message shows, and of another token, is in nobody else's stream.
func TestStreamIsOfOne(t *testing.T) {
	h, c, s := served(t)
	h.put("m1", Message{State: "claimed", Run: "r1"})
	r := stream(t, h, s.URL, "m1")
	r.want(`state {"run":"r1","state":"claimed"}`)
	show(c, "r2", "text", "of another run")
	c.Progress(t.Context(), chat.Progress{Run: "r1", To: Address("other"), Kind: chat.Text, Text: "of another token"})
	c.Progress(t.Context(), chat.Progress{Run: "r1", To: chat.Address{Channel: "slack", Chat: "bot"}, Kind: chat.Text, Text: "of another channel"})
	show(c, "r1", "text", "mine")
	r.want(`started {"run":"r1"}`, `text {"text":"mine"}`)
}

// Nothing that a run says grows without a bound, and nobody who does not read holds it up.
func TestStreamIsBounded(t *testing.T) {
	h, c, s := served(t)
	h.put("m1", Message{State: "claimed", Run: "r1"})
	stream(t, h, s.URL, "m1") // which is not read
	for range 10_000 {
		show(c, "r1", "text", strings.Repeat("é", 500))
	}
	c.flows.mu.Lock()
	n := c.flows.by["bot"].text.Len()
	c.flows.mu.Unlock()
	if n > maxText || n < maxText-4 {
		t.Errorf("%d bytes are kept", n)
	}
	for i := range 2 * maxFlows {
		c.Progress(t.Context(), chat.Progress{Run: "r", To: Address(fmt.Sprint("t", i)), Kind: chat.Text, Text: "x"})
	}
	if len(c.flows.by) != maxFlows {
		t.Errorf("%d flows are kept", len(c.flows.by))
	}
	for range maxWaits - 1 {
		c.enter("bot")
	}
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/v1/messages/m1", nil)
	r.Header.Set("Authorization", "Bearer "+h.token)
	r.Header.Set("Accept", "application/json;q=0.5, Text/Event-Stream")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one stream more was answered %d", a.StatusCode)
	}
}

// A token that is taken away has its streams ended at the next sign of life or change.
func TestStreamEndsWithItsToken(t *testing.T) {
	h, c, s := served(t)
	h.put("m1", Message{State: "claimed", Run: "r1"})
	r := stream(t, h, s.URL, "m1")
	r.want(`state {"run":"r1","state":"claimed"}`)
	h.mu.Lock()
	h.token = NewToken()
	h.mu.Unlock()
	h.put("m2", Message{State: "waiting"})
	r.want("")
	show(c, "r1", "text", "said to nobody")
}
