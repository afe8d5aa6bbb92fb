package egress

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
	"nanoclaw/internal/wire"
)

// upstream is a model on loopback with credential m, and what it was sent.
func upstream(t *testing.T, m config.Model, h http.HandlerFunc) (*Upstream, *asked) {
	t.Helper()
	a := &asked{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.add(r); h(w, r) }))
	t.Cleanup(s.Close)
	m.BaseURL = s.URL + "/prefix"
	u, err := upstreamFrom(m, env(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u, a
}

// asked keeps the requests that reached the upstream.
type asked struct {
	mu   sync.Mutex
	list []*http.Request
}

func (a *asked) add(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, r)
}

func (a *asked) all() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list
}

// modelURL is the model endpoint of a gateway with upstream u.
func (w *world) modelURL(u *Upstream, change ...func(*Options)) (string, *Gateway) {
	o := w.options()
	o.Model = func() *Upstream { return u }
	for _, f := range change {
		f(&o)
	}
	g := w.gateway(o)
	return "http://" + listen(w.t, g, wire.Model), g
}

// client is an HTTP client of its own, as the agent has one.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// send makes one request and gives status, header and body.
func send(t *testing.T, c *http.Client, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// TestModelCredential is the model half of N-21 and I4: whatever the agent sends
// for itself is dropped, and the host's credential is there in the right form.
func TestModelCredential(t *testing.T) {
	foreign := []string{"X-Api-Key", "sk-attacker", "Authorization", "Bearer attacker", "Cookie", "session=attacker", "Proxy-Authorization", "Basic attacker",
		"Api-Key", "attacker", "X-Goog-Api-Key", "attacker", "X-Amz-Security-Token", "attacker", "X-Forwarded-For", "attacker", "Connection", "X-Api-Key", "Upgrade", "attacker",
		"Anthropic-Version", "2023-06-01", "Anthropic-Beta", "a-1,b-2", "X-Stainless-Retry-Count", "0", "X-Claude-Code-Session-Id", "s", "User-Agent", "claude-cli/2"}
	tests := []struct {
		name  string
		model config.Model
		want  map[string]string
	}{
		{"key", config.Model{APIKey: "sk-real"}, map[string]string{"X-Api-Key": "sk-real", "Anthropic-Beta": "a-1,b-2"}},
		{"token", config.Model{AuthToken: "real"}, map[string]string{"Authorization": "Bearer real", "Anthropic-Beta": "a-1,b-2"}},
		{"subscription", config.Model{OAuthToken: "real"}, map[string]string{"Authorization": "Bearer real", "Anthropic-Beta": "a-1,b-2,oauth-2025-04-20"}},
		{"none", config.Model{}, map[string]string{"Anthropic-Beta": "a-1,b-2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			u, asked := upstream(t, tt.model, func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })
			url, _ := w.modelURL(u)
			code, _, body := send(t, client(t), "POST", url+"/v1/messages?beta=true&api_key=attacker", `{"model":"claude-x"}`, foreign...)
			if code != 200 || body != `{"model":"claude-x"}` {
				t.Fatalf("answer %d %q", code, body)
			}
			r := asked.all()[0]
			if got := r.Host + r.RequestURI; got != u.base.Host+"/prefix/v1/messages?beta=true" {
				t.Errorf("the upstream was asked for %s", got)
			}
			got := map[string]string{}
			for name, values := range r.Header {
				if all := strings.Join(values, "|"); strings.Contains(all, "attacker") {
					t.Errorf("%s: %s came through", name, all)
				} else if name == "X-Api-Key" || name == "Authorization" || name == "Anthropic-Beta" {
					got[name] = all
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("credentials -want +got:\n%s", d)
			}
			if r.Header.Get("X-Claude-Code-Session-Id") != "s" || r.Header.Get("User-Agent") != "claude-cli/2" || r.Header.Get("Anthropic-Version") == "" {
				t.Errorf("the agent's own harmless fields are missing: %v", r.Header)
			}
			ev := w.closes(1)[0]
			want := Event{ID: 1, Gate: ModelGate, Phase: Close, Verdict: Allowed, Group: "family", Session: "s1", Method: "POST", Host: "127.0.0.1", Port: u.port(),
				Path: "/v1/messages", Reason: "the model of the configuration", Status: 200, Model: "claude-x"}
			if d := cmp.Diff(want, ev, untimed); d != "" {
				t.Errorf("event -want +got:\n%s", d)
			}
			if _, _, events := w.seen(); len(events) != 2 || events[0].Phase != Open || events[0].Model != "claude-x" {
				t.Errorf("events %+v, want an Open first", events)
			}
			if ev.Up != 20 || ev.Down != 20 {
				t.Errorf("up %d, down %d; want 20 and 20", ev.Up, ev.Down)
			}
		})
	}
}

// TestModelRoutes: the credential is added to a short list of requests.
func TestModelRoutes(t *testing.T) {
	w := newWorld(t)
	u, asked := upstream(t, config.Model{APIKey: "sk-real"}, func(http.ResponseWriter, *http.Request) {})
	url, _ := w.modelURL(u)
	host := strings.TrimPrefix(url, "http://")
	allowed := []string{"POST /v1/messages", "POST /v1/messages?beta=true", "POST /v1/messages/count_tokens?beta=true", "GET /v1/models", "GET /v1/models?limit=5",
		"GET /v1/models/claude-opus-5-5", "HEAD /", "HEAD /api/hello"}
	refused := []string{"GET /v1/messages", "POST /v1/files", "GET /v1/files", "POST /v1/messages/batches", "POST /v1/messages/", "POST //v1/messages", "POST /v1/./messages",
		"POST /v1/files/../messages", "POST /v1/messages/../files", "POST /v1/message%73", "POST /v1/messages%2f..%2ffiles", "GET /v1/models/", "GET /v1/models/..", "GET /v1/models/a/b",
		"GET /v1/models/%2e%2e", "GET /v1/organizations/me", "POST /v1/complete", "GET /", "GET /api/hello", "DELETE /v1/models/x", "PUT /v1/messages", "OPTIONS *", "POST /V1/messages",
		"CONNECT evil.test:443", "POST http://evil.test/v1/messages/x"}
	ask := func(line string) int {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		body := ""
		if strings.HasPrefix(line, "POST") {
			body = "{}"
		}
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", line, len(body), body)
		resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: strings.Fields(line)[0]})
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return resp.StatusCode
	}
	for _, line := range allowed {
		if code := ask(line); code != 200 {
			t.Errorf("%s: %d, want 200", line, code)
		}
	}
	if n := len(asked.all()); n != len(allowed) {
		t.Errorf("the upstream was asked %d times, want %d", n, len(allowed))
	}
	for _, line := range refused {
		if code := ask(line); code != 404 {
			t.Errorf("%s: %d, want 404", line, code)
		}
	}
	if n := len(asked.all()); n != len(allowed) {
		t.Errorf("the upstream was asked for something refused: %v", asked.all()[len(allowed):])
	}
	for _, ev := range w.closes(len(allowed) + len(refused)) {
		if want := ev.ID <= uint64(len(allowed)); (ev.Verdict == Allowed) != want {
			t.Errorf("event %+v, allowed want %v", ev, want)
		}
	}
}

// TestModelNeverEchoes: an upstream that reflects the credential in header
// fields, interim answers and trailers. (In the body it could not be stopped; the
// endpoint is trusted with it.)
func TestModelNeverEchoes(t *testing.T) {
	for _, m := range []config.Model{{APIKey: "sk-real"}, {AuthToken: "sk-real"}, {OAuthToken: "sk-real"}} {
		t.Run(fmt.Sprintf("%+v", m), func(t *testing.T) { echo(t, m) })
	}
}

func echo(t *testing.T, m config.Model) {
	w := newWorld(t)
	u, _ := upstream(t, m, func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		for name, values := range r.Header {
			if name != "Content-Length" {
				h[name] = values
			}
			h["Anthropic-Echo-"+name] = values
		}
		h.Set("Link", "</sk-real>")
		h.Set("Trailer", "X-Trailed")
		rw.WriteHeader(103)
		h.Set("Set-Cookie", "a=b")
		h.Set("Www-Authenticate", "sk-real")
		h.Set("Location", "https://evil.test/?sk-real")
		h.Set("Anthropic-Organization-Id", "org-of-the-owner")
		h.Set("Anthropic-Ratelimit-Requests-Remaining", "7")
		h.Set("Retry-After", "3")
		h.Set("Request-Id", "req_1")
		rw.WriteHeader(307)
		io.WriteString(rw, "body")
		h.Set("X-Trailed", "sk-real")
		h.Set(http.TrailerPrefix+"X-Late", "sk-real")
	})
	url, _ := w.modelURL(u)
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTE: trailers\r\nContent-Length: 2\r\n\r\n{}")
	raw, err := io.ReadAll(c)
	got := string(raw)
	for _, never := range []string{"sk-real", "org-of", "Cookie", " 103 ", "Location"} {
		if err != nil || strings.Contains(got, never) {
			t.Errorf("the agent got %q, %v: with %q", got, err, never)
		}
	}
	for _, want := range []string{"HTTP/1.1 307 ", "Anthropic-Ratelimit-Requests-Remaining: 7\r\n", "Retry-After: 3\r\n", "Request-Id: req_1\r\n", "body"} {
		if !strings.Contains(got, want) {
			t.Errorf("the agent got %q, without %q", got, want)
		}
	}
	for _, ev := range w.closes(1) {
		if j, _ := json.Marshal(ev); strings.Contains(string(j), "sk-real") {
			t.Errorf("the credential is in the event %s", j)
		}
	}
}

// TestModelStreams: each piece arrives before the next one is made, and a stream
// that breaks off does not look whole.
func TestModelStreams(t *testing.T) {
	w := newWorld(t)
	next := make(chan bool)
	u, _ := upstream(t, config.Model{APIKey: "k"}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			rw.(http.Flusher).Flush()
			if !<-next {
				panic(http.ErrAbortHandler)
			}
		}
	})
	url, _ := w.modelURL(u)
	resp, err := client(t).Post(url+"/v1/messages", "application/json", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 3 {
		piece := make([]byte, 9)
		if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != fmt.Sprintf("data: %d\n\n", i) {
			t.Fatalf("piece %d: %q, %v", i, piece, err)
		}
		next <- i < 2
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a broken stream ended as if it were whole")
	}
	if ev := w.closes(1)[0]; !strings.Contains(ev.Reason, "cut off") || ev.Down != 27 || ev.Status != 200 {
		t.Errorf("event %+v", ev)
	}
}

// TestModelFailures: each in the API's form, in words, with a status that makes
// clients repeat only what may get better.
func TestModelFailures(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	tlsSite := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsSite.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	tlsSite.StartTLS()
	t.Cleanup(tlsSite.Close)
	at := func(url string) *Upstream {
		u, err := upstreamFrom(config.Model{BaseURL: url, APIKey: "sk-real"}, env(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	busy, _ := upstream(t, config.Model{APIKey: "sk-real"}, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(529)
		io.WriteString(rw, `{"type":"error"}`)
	})
	hungry, _ := upstream(t, config.Model{APIKey: "sk-real"}, func(rw http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	small := func(o *Options) { o.Limits.ModelBody = 1000 }
	large := strings.Repeat("x", 5000)
	tests := []struct {
		name    string
		up      *Upstream
		body    io.Reader
		status  int
		says    string
		verdict Verdict
	}{
		{"no model", nil, strings.NewReader("{}"), 403, "no model is configured", Refused},
		{"nothing listens", at("http://" + gone.Addr().String()), strings.NewReader("{}"), 502, "connection refused", Allowed},
		{"unknown certificate", at(tlsSite.URL), strings.NewReader("{}"), 502, "certificate", Allowed},
		{"the model's own error", busy, strings.NewReader("{}"), 529, `{"type":"error"}`, Allowed},
		{"too large", hungry, strings.NewReader(large), 413, "larger than 1000 bytes", Refused},
		{"too large, length unknown", hungry, io.MultiReader(strings.NewReader(large)), 413, "larger than 1000 bytes", Refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			url, _ := w.modelURL(tt.up, small)
			resp, err := client(t).Post(url+"/v1/messages", "application/json", tt.body)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != tt.status || !bytes.Contains(b, []byte(tt.says)) || !json.Valid(b) || bytes.Contains(b, []byte("127.0.0.1")) {
				t.Errorf("answer %d %s, want %d with %q", resp.StatusCode, b, tt.status, tt.says)
			}
			if ev := w.closes(1)[0]; ev.Status != tt.status || ev.Reason == "" {
				t.Errorf("event %+v", ev)
			} else if tt.name != "too large, length unknown" && ev.Verdict != tt.verdict {
				t.Errorf("verdict %s, want %s", ev.Verdict, tt.verdict)
			}
		})
	}
	t.Run("not recorded", func(t *testing.T) {
		w := newWorld(t)
		w.refuse = io.ErrShortWrite
		u, asked := upstream(t, config.Model{APIKey: "k"}, func(http.ResponseWriter, *http.Request) {})
		url, _ := w.modelURL(u)
		if code, _, body := send(t, client(t), "POST", url+"/v1/messages", "{}"); code != 503 || !strings.Contains(body, "audit log") || len(asked.all()) != 0 {
			t.Errorf("answer %d %s, upstream asked %d times", code, body, len(asked.all()))
		}
	})
}

// TestModelIdle: a model that says nothing for too long is given up, on a clock
// of its own; one that says a little now and then is not.
func TestModelIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		u, err := upstreamFrom(config.Model{BaseURL: "http://127.0.0.1:9"}, env(), nil)
		if err != nil {
			t.Fatal(err)
		}
		pings := 3
		u.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				http.ReadRequest(bufio.NewReader(far))
				time.Sleep(14 * time.Minute)
				io.WriteString(far, "HTTP/1.1 200 OK\r\n\r\n")
				for range pings {
					time.Sleep(14 * time.Minute)
					io.WriteString(far, "ping ")
				}
			}()
			return near, nil
		}
		o := w.options()
		o.Model = func() *Upstream { return u }
		g := New(o)
		near, far := net.Pipe()
		go g.Serve(wire.Model, far)
		start := time.Now()
		io.WriteString(near, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		b, _ := io.ReadAll(near)
		if took := time.Since(start); took != (14*4+15)*time.Minute || strings.Count(string(b), "ping") != 3 {
			t.Errorf("ended after %v with %q", took, b)
		}
		synctest.Wait()
		if _, _, events := w.seen(); !strings.Contains(events[1].Reason, "nothing moved for 15m0s") {
			t.Errorf("event %+v", events[1])
		}
		g.Close()
		u.Close()
	})
}

// TestModelAnotherSession: gateways share an upstream and nothing else.
func TestModelAnotherSession(t *testing.T) {
	w := newWorld(t)
	u, _ := upstream(t, config.Model{APIKey: "k"}, func(http.ResponseWriter, *http.Request) {})
	one, g := w.modelURL(u)
	two, _ := w.modelURL(u, func(o *Options) { o.Group, o.Session = "work", "s2" })
	c := client(t)
	send(t, c, "POST", one+"/v1/messages", "{}")
	g.Close()
	send(t, c, "POST", two+"/v1/messages", "{}", "X-Group", "family")
	closes := w.closes(2)
	if closes[0].Session != "s1" || closes[1].Session != "s2" || closes[1].Group != "work" {
		t.Errorf("events %+v: each names its own session", closes)
	}
}
