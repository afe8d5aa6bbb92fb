package egress

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// tracker is an MCP server at https://mcp.example.com/s/PART?k=KEY, which the
// gateway asks with a bearer token; and what it was asked.
func (w *world) tracker(h http.HandlerFunc, change ...func(*grant.Server, *Options)) (url string, a *asked) {
	w.t.Helper()
	a = &asked{}
	site := w.site(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { a.add(r); h(rw, r) }))
	w.names["mcp.example.com."] = []string{"93.184.216.34"}
	w.servers["93.184.216.34:443"] = site.Listener.Addr().String()
	s := grant.Server{Name: "tracker", As: "tracker", TLS: true, Way: grant.Host{Pattern: "mcp.example.com", Port: 443, Reason: "mcpServers.tracker.url"}}
	o := w.options()
	o.Trust = x509.NewCertPool()
	o.Trust.AddCert(site.Certificate())
	for _, f := range change {
		f(&s, &o)
	}
	server, err := NewMCPServer(s, "https://mcp.example.com/s/canary-part?k=canary-key", map[string]string{"Authorization": "Bearer canary-token"})
	if err != nil {
		w.t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", server, server, server); strings.Contains(text, "canary") {
		w.t.Errorf("a print shows the secret: %s", text)
	}
	o.Servers = []MCPServer{server.Guarded(w.guard)}
	return "http://" + listen(w.t.(*testing.T), w.gateway(o), wire.MCP) + grant.MCPPath("tracker"), a
}

const listCall = `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`

// The host asks at the configured address, with its own headers; what the agent
// sends in their place ends at the gateway, and what the server says about them
// does not come back.
func TestMCPHeaders(t *testing.T) {
	w := newWorld(t)
	url, a := w.tracker(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := rw.Header()
		h.Set("Mcp-Session-Id", "s1")
		h.Set("Set-Cookie", "a=b")
		h.Set("Www-Authenticate", "Bearer realm=x")
		h.Set("Retry-After", r.Header.Get("Authorization"))
		h.Set("Content-Type", "application/json")
		rw.Write(body)
	})
	status, header, body := send(t, client(t), "POST", url, listCall, "Authorization", "Bearer of-the-agent", "Cookie", "c=d", "X-Api-Key", "x",
		"Mcp-Session-Id", "s1", "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream", "X-Forwarded-Host", "evil")
	if status != 200 || body != listCall || header.Get("Mcp-Session-Id") != "s1" {
		t.Errorf("got %d %q %v", status, body, header)
	}
	for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Retry-After"} {
		if v := header.Get(name); v != "" {
			t.Errorf("%s: %s came back", name, v)
		}
	}
	r := a.all()[0]
	if r.URL.String() != "/s/canary-part?k=canary-key" || r.Host != "mcp.example.com" || r.Header.Get("Authorization") != "Bearer canary-token" {
		t.Errorf("asked %s of %s with %v", r.URL, r.Host, r.Header)
	}
	for _, name := range []string{"Cookie", "X-Api-Key", "X-Forwarded-Host"} {
		if v := r.Header.Get(name); v != "" {
			t.Errorf("%s: %s went out", name, v)
		}
	}
	e := w.closes(1)[0]
	e.At, e.Took, e.Group, e.Session = e.At.UTC(), 0, "", ""
	want := Event{ID: e.ID, At: e.At, Gate: MCPGate, Phase: Close, Verdict: Allowed, Method: "POST", Host: "mcp.example.com", Port: 443, Path: "/mcp/tracker",
		Rule: "mcp.example.com:443", Reason: "mcpServers.tracker.url", Up: int64(len(listCall)), Down: int64(len(listCall)), Status: 200, RPC: "tools/list"}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// What is refused does not reach the server, and is refused in words.
func TestMCPRefusals(t *testing.T) {
	const call = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"%s","arguments":{}}}`
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		want                     string
	}{
		{"another tool", "POST", "", fmt.Sprintf(call, "delete"), nil, 200, `"id":7`},
		{"another tool, in words", "POST", "", fmt.Sprintf(call, "delete"), nil, 200, "there are search"},
		{"two names", "POST", "", `{"id":7,"method":"tools/call","params":{"name":"search","name":"delete"}}`, nil, 400, "twice"},
		{"two names by an escape", "POST", "", `{"id":7,"method":"tools/call","params":{"name":"search","n\u0061me":"delete"}}`, nil, 400, "twice"},
		{"two names by case", "POST", "", `{"id":7,"method":"tools/call","params":{"name":"search","Name":"delete"}}`, nil, 400, "could be read as name"},
		{"two methods", "POST", "", `{"id":7,"method":"ping","Method":"tools/call","params":{"name":"delete"}}`, nil, 400, "could be read as method"},
		{"no name", "POST", "", `{"id":7,"method":"tools/call","params":{}}`, nil, 400, "names no tool"},
		{"params that are a list", "POST", "", `{"id":7,"method":"tools/call","params":["delete"]}`, nil, 400, "names no tool"},
		{"a batch", "POST", "", "[" + fmt.Sprintf(call, "delete") + "]", nil, 400, "one JSON-RPC message"},
		{"two messages", "POST", "", listCall + fmt.Sprintf(call, "delete"), nil, 400, "one JSON-RPC message"},
		{"nothing", "POST", "", "", nil, 400, "one JSON-RPC message"},
		{"encoded", "POST", "", listCall, []string{"Content-Encoding", "gzip"}, 415, "send it plain"},
		{"too long", "POST", "", `{"x":"` + strings.Repeat("x", maxMCPBody) + `"}`, nil, 413, "larger"},
		{"a body where none belongs", "DELETE", "", listCall, nil, 400, "takes no body"},
		{"another method", "PUT", "", listCall, nil, 405, "by POST"},
		{"below the server", "POST", "/admin", listCall, nil, 404, "no MCP server"},
		{"beside the server", "POST", "2", listCall, nil, 404, "no MCP server"},
		{"with a query", "POST", "?a=b", listCall, nil, 404, "no MCP server"},
		{"by dots", "POST", "/../tracker", listCall, nil, 404, "no MCP server"},
	}
	w := newWorld(t)
	url, a := w.tracker(func(rw http.ResponseWriter, r *http.Request) {}, func(s *grant.Server, _ *Options) { s.Tools = []string{"search"} })
	c := client(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, _, body := send(t, c, test.method, url+test.path, test.body, test.header...)
			if status != test.status || !strings.Contains(body, test.want) {
				t.Errorf("got %d %q", status, body)
			}
		})
	}
	if n := len(a.all()); n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
	for _, e := range w.closes(len(tests)) {
		if e.Verdict != Refused {
			t.Errorf("the audit says %s of %s %s: %s", e.Verdict, e.Method, e.Path, e.Reason)
		}
	}
	if status, _, _ := send(t, c, "POST", url, fmt.Sprintf(call, "search")); status != 200 || len(a.all()) != 1 {
		t.Errorf("the tool that is allowed: %d", status)
	}
}

// An answer that says to ask elsewhere is not followed, wherever that is.
func TestMCPRedirects(t *testing.T) {
	w := newWorld(t)
	url, a := w.tracker(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://mcp.example.com/other", http.StatusTemporaryRedirect)
	})
	status, header, body := send(t, client(t), "POST", url, listCall)
	if status != 502 || header.Get("Location") != "" || !strings.Contains(body, "redirect") || len(a.all()) != 1 {
		t.Errorf("got %d %v %q, %d requests", status, header, body, len(a.all()))
	}
}

// The rules of the way out hold: what the owner denied, private addresses,
// budgets, certificates, and an audit that has to be written.
func TestMCPIsJudgedAsOtherHosts(t *testing.T) {
	tests := []struct {
		name   string
		change func(*world) func(*grant.Server, *Options)
		want   string
	}{
		{"denied", func(*world) func(*grant.Server, *Options) {
			return func(_ *grant.Server, o *Options) {
				o.Denied = []grant.Denied{{Pattern: "*.example.com", Reason: "egress.deny"}}
			}
		}, "the owner denied"},
		{"a private address", func(w *world) func(*grant.Server, *Options) {
			return func(*grant.Server, *Options) { w.names["mcp.example.com."] = []string{"127.0.0.1", "10.0.0.1"} }
		}, "no agent may reach"},
		{"metadata that was granted", func(*world) func(*grant.Server, *Options) {
			return func(s *grant.Server, _ *Options) { s.Way.Address = "169.254.169.254" }
		}, "cannot be granted"},
		{"a certificate of somebody", func(*world) func(*grant.Server, *Options) {
			return func(_ *grant.Server, o *Options) { o.Trust = x509.NewCertPool() }
		}, "TLS certificate"},
		{"a budget", func(*world) func(*grant.Server, *Options) {
			return func(_ *grant.Server, o *Options) { o.Budget = grant.Budget{Upload: 5} }
		}, "used up"},
		{"no audit", func(w *world) func(*grant.Server, *Options) {
			return func(*grant.Server, *Options) { w.refuse = io.ErrShortWrite }
		}, "audit log could not be written"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			url, a := w.tracker(func(http.ResponseWriter, *http.Request) {}, test.change(w))
			_, _, body := send(t, client(t), "POST", url, listCall)
			if !strings.Contains(body, test.want) || len(a.all()) != 0 {
				t.Errorf("got %q, %d requests", body, len(a.all()))
			}
		})
	}
}

// What a server streams arrives piece by piece, and ends with the session.
func TestMCPStreams(t *testing.T) {
	w := newWorld(t)
	next := make(chan string)
	url, _ := w.tracker(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case s := <-next:
				io.WriteString(rw, s+"\n")
				rw.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { next <- "data: 0" }()
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := in.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
			t.Fatalf("got %q, %v", line, err)
		}
		next <- fmt.Sprintf("data: %d", i+1)
	}
}

// FuzzMCPMessage: no message makes the judge panic, and none that it lets
// through names another tool for a parser that compares keys without case.
func FuzzMCPMessage(f *testing.F) {
	for _, s := range []string{listCall, `{"method":"tools/call","params":{"name":"search"}}`, `{"method":"tools/call","params":{"name":"search","NAME":"x"}}`, "[]", " {}", `{"params":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &mcpCall{target: &mcpTarget{MCPServer: MCPServer{tools: []string{"search"}}}}
		if c.judge(body) != nil {
			return
		}
		var m struct {
			Method string
			Params struct{ Name string }
		}
		if err := json.Unmarshal(body, &m); err == nil && m.Method == "tools/call" && m.Params.Name != "search" {
			t.Errorf("%q was let through and is a call of %q", body, m.Params.Name)
		}
	})
}
