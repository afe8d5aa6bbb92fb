package hosttools

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

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
	s := newServer(t, "family", everyTool, h)
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
	s := newServer(t, "family", everyTool, h)
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
