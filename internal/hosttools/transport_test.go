package hosttools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestMessageProtocol(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"initialize", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, `"protocolVersion":"2025-11-25"`},
		{"initialize twice", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, `"protocolVersion":"2025-11-25"`},
		{"initialized", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, ""},
		{"cancelled", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`, ""},
		{"a response", `{"jsonrpc":"2.0","id":4,"result":{}}`, ""},
		{"ping", `{"jsonrpc":"2.0","id":"p","method":"ping"}`, `"id":"p","result":{}`},
		{"an old probe", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, `-32601`},
		{"unknown method", `{"jsonrpc":"2.0","id":1,"method":"no/such"}`, `"error"`},
		{"nothing to read", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}`, `"error"`},
		{"no JSON", `{`, `-32700`},
		{"a batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, `-32700`},
		{"empty", ``, `-32700`},
		{"nested without end", strings.Repeat("[", 400_000), `-32700`},
		{"a deep argument", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + `}`, `-32700`},
		{"a huge number", `{"jsonrpc":"2.0","id":1e999999,"method":"ping"}`, `-32700`},
	}
	s := newServer(t, "main", everyTool, &fakeHost{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Message(t.Context(), json.RawMessage(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if (got == nil) != (tt.want == "") || !strings.Contains(string(got), tt.want) {
				t.Errorf("answer = %s, want %s", got, tt.want)
			}
		})
	}
	if _, err := s.Message(t.Context(), make(json.RawMessage, maxMessage+1)); err == nil {
		t.Error("an oversized message was taken")
	}
}

// FuzzMessage: whatever comes, there is an answer or none, no panic, and a
// group that is not main reaches nobody but itself.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"send_message","arguments":{"text":"hi","group":"main"}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"send_message","arguments":null}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":[]}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":null,"method":"initialize","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1e99,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		h := &fakeHost{}
		s := New(Identity{Group: "family"}, everyTool, h)
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		out, err := s.Message(ctx, in)
		if err == nil && out != nil && !json.Valid(out) {
			t.Errorf("answer = %q", out)
		}
		for _, did := range h.all() {
			if strings.HasPrefix(did, "send ") && !strings.HasPrefix(did, "send family->family ") {
				t.Errorf("%s did: %s", in, did)
			}
		}
	})
}

// TestHTTPWithTheLibrarysClient drives the HTTP way with the protocol
// library's own client, over pipes as the wire gives them.
func TestHTTPWithTheLibrarysClient(t *testing.T) {
	h := &fakeHost{}
	s := newServer(t, "family", everyTool[:2], h)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: "http://127.0.0.1:8481/mcp", HTTPClient: wireClient(s), DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	checkClient(t, session, h)
}

// TestMessageWithTheLibrarysClient does the same by Message.
func TestMessageWithTheLibrarysClient(t *testing.T) {
	h := &fakeHost{}
	s := newServer(t, "family", everyTool[:2], h)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &relay{s: s}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	checkClient(t, session, h)
}

func checkClient(t *testing.T, session *mcp.ClientSession, h *fakeHost) {
	t.Helper()
	list, err := session.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) != 1 || list.Tools[0].Name != "send_message" {
		t.Fatalf("tools = %+v, %v", list, err)
	}
	for _, tt := range []struct {
		args    map[string]any
		isError bool
	}{{map[string]any{"text": "hi"}, false}, {map[string]any{"text": "hi", "group": "main"}, true}} {
		r, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "send_message", Arguments: tt.args})
		if err != nil || r.IsError != tt.isError {
			t.Errorf("call %v = %+v, %v", tt.args, r, err)
		}
	}
	want := []string{"record family send_message allowed", "send family->family hi", "record family send_message refused"}
	if d := cmp.Diff(want, h.all()); d != "" {
		t.Errorf("what the host did (-want +got):\n%s", d)
	}
}

// wireClient connects over pipes that the server serves.
func wireClient(s *Server) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go s.Serve(theirs)
		return ours, nil
	}}}
}

func TestHTTPBounds(t *testing.T) {
	h := &fakeHost{}
	s := newServer(t, "main", everyTool, h)
	c := wireClient(s)
	big := `{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"` + strings.Repeat("x", maxMessage) + `"}}`
	r, err := c.Post("http://127.0.0.1:8481/mcp", "application/json", strings.NewReader(big))
	if err == nil {
		r.Body.Close()
		if r.StatusCode < 400 {
			t.Errorf("an oversized body got status %d", r.StatusCode)
		}
	}
	var open []net.Conn
	for range maxConns + 5 {
		ours, theirs := net.Pipe()
		open = append(open, ours)
		go s.Serve(theirs)
	}
	closed := 0
	for _, conn := range open {
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) && err != nil && !isTimeout(err) {
			closed++
		}
		defer conn.Close()
	}
	if closed < 5 {
		t.Errorf("of %d connections %d were refused, want at least 5", len(open), closed)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// FuzzArguments: what is accepted is understood in one way. A second reader, which
// knows nothing of structs, finds the same in it.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{`{"text":"hi","group":"main"}`, `{"group":"a","group":"b"}`, `{"Text":"hi"}`, `{"text":null}`, "{\"text\":\"\xff\"}", `{"text":"\ud800"}`, `{} {}`, `null`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var args struct {
			Text  string `json:"text"`
			Group string `json:"group"`
		}
		if parse(in, &args) != nil || len(in) == 0 {
			return
		}
		var other map[string]any
		if err := json.Unmarshal(in, &other); err != nil || !utf8.Valid(in) {
			t.Fatalf("%q was accepted: %v", in, err)
		}
		for name, got := range map[string]string{"text": args.Text, "group": args.Group} {
			if want, _ := other[name].(string); got != want {
				t.Errorf("of %q it took %s to be %q, another reader %q", in, name, got, want)
			}
			delete(other, name)
		}
		if len(other) > 0 {
			t.Errorf("of %q it passed over %v", in, other)
		}
	})
}

// FuzzHTTP gives the way of HTTP arbitrary bytes on one connection: it comes to
// an end, and a group that is not main reaches nobody but itself.
func FuzzHTTP(f *testing.F) {
	const call = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"send_message","arguments":{"text":"hi","group":"main"}}}`
	const head = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8481\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
	one := fmt.Sprintf(head+"Content-Length: %d\r\n\r\n%s", len(call), call)
	f.Add([]byte(one + one))
	f.Add([]byte(fmt.Sprintf(head+"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n%s\r\n0\r\n\r\n%s", len(call), call, one)))
	f.Add([]byte(head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Add([]byte("CONNECT main:80 HTTP/1.1\r\nHost: main\r\n\r\n"))
	f.Add([]byte("GET /mcp?group=main HTTP/1.1\r\nHost: main\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nMcp-Session-Id: main\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h := &fakeHost{}
		s := New(Identity{Group: "family"}, everyTool, h)
		defer s.Close()
		ours, theirs := net.Pipe()
		served := make(chan struct{})
		go func() { s.Serve(theirs); close(served) }()
		go io.Copy(io.Discard, ours)
		ours.Write(in)
		ours.Close()
		<-served
		for _, did := range h.all() {
			if strings.HasPrefix(did, "send ") && !strings.HasPrefix(did, "send family->family ") || strings.HasPrefix(did, "record ") && !strings.HasPrefix(did, "record family ") {
				t.Errorf("%q did: %s", in, did)
			}
		}
	})
}

// What is no message, and messages without end, cost the session one record and
// not one each.
func TestFloodOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no time passes meanwhile
		h := &fakeHost{}
		s := newServer(t, "family", everyTool[:2], h)
		for range 3 * talkBurst {
			if _, err := s.Message(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.all(); len(got) != 1 {
			t.Errorf("a flood of pings made the records %q", got)
		}
		h = &fakeHost{}
		s = newServer(t, "family", everyTool[:2], h)
		for range 10 * burst {
			s.Message(t.Context(), json.RawMessage(`{`))
		}
		if got := h.all(); len(got) != burst+1 {
			t.Errorf("a flood of garbage made %d records", len(got))
		}
	})
}

// A flood over HTTP is told to slow down.
func TestFloodOverHTTP(t *testing.T) {
	c := wireClient(newServer(t, "family", everyTool, &fakeHost{}))
	for until := time.Now().Add(time.Minute); time.Now().Before(until); {
		r, err := c.Post("http://127.0.0.1:8481/mcp", "application/json", strings.NewReader("{"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if r.StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("HTTP has no end of requests")
}
