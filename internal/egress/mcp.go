package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/grant"
)

// MCPServer is a server that the gateway asks on behalf of the session: agents
// reach it at a path of an endpoint inside, and know neither its address nor
// what is sent along. It never prints what it holds.
type MCPServer struct {
	as    string
	way   grant.Host
	tools []string
	// url and header are behind functions, which print as addresses at most.
	url    func() *url.URL
	header func() http.Header
	guard  MCPGuard
}

// MCPGuard judges what passes between an agent and a server. A nil one lets all
// pass.
type MCPGuard interface {
	// Request judges a request, and gives other params if they replace its own.
	Request(method string, params json.RawMessage) (json.RawMessage, error)
	// Said gives what the agent may hear of a message of the server.
	Said(msg json.RawMessage) json.RawMessage
}

// As is how the agent knows it.
func (s MCPServer) As() string { return s.as }

// Guarded is the server with a guard.
func (s MCPServer) Guarded(by MCPGuard) MCPServer {
	s.guard = by
	return s
}

// NewMCPServer makes one of its lines in the grant and its secrets.
func NewMCPServer(s grant.Server, address string, headers map[string]string) (MCPServer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return MCPServer{}, fmt.Errorf("mcpServers.%s.url cannot be read", s.Name) // the error would show it
	}
	h := http.Header{}
	for name, value := range headers {
		h.Set(name, value)
	}
	return MCPServer{as: s.As, way: s.Way, tools: slices.Clone(s.Tools), url: func() *url.URL { return u }, header: func() http.Header { return h }}, nil
}

// leaks says whether a text holds something that the host sends along.
func (s *MCPServer) leaks(text string) bool {
	for _, values := range s.header() {
		for _, v := range values {
			_, token, _ := strings.Cut(v, " ") // of "Bearer TOKEN"
			if len(v) >= 8 && strings.Contains(text, v) || len(token) >= 8 && strings.Contains(text, token) {
				return true
			}
		}
	}
	return false
}

// mcpGate is the endpoint of the MCP servers: an HTTP server whose connections
// come from the wire.
type mcpGate struct {
	g       *Gateway
	servers map[string]*mcpTarget // by path
	server  *http.Server
	conns   *connListener
	once    sync.Once
	pace    pace
}

// mcpTarget is a server with the connections to it.
type mcpTarget struct {
	MCPServer
	transport *http.Transport
}

func newMCPGate(g *Gateway) *mcpGate {
	m := &mcpGate{g: g, servers: map[string]*mcpTarget{}, conns: newConnListener(), pace: pace{interval: g.limits.Interval, burst: g.limits.Burst}}
	for _, s := range g.opts.Servers {
		m.servers[grant.MCPPath(s.as)] = &mcpTarget{s, m.transport(s)}
	}
	m.server = &http.Server{
		Handler:                      http.HandlerFunc(m.handle),
		ReadHeaderTimeout:            30 * time.Second,
		IdleTimeout:                  g.limits.ModelIdle,
		MaxHeaderBytes:               maxAnswerHead,
		ErrorLog:                     slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		Protocols:                    http1(),
		DisableGeneralOptionsHandler: true,
	}
	return m
}

// transport reaches one server: by the addresses that the guard lets through,
// and by TLS that is verified as strictly as any. No redirect is followed, since
// only requests that we made are sent.
func (m *mcpGate) transport(s MCPServer) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			addrs, no := m.g.resolve(ctx, s.way.Pattern, s.way)
			if no != nil {
				return nil, &dialRefusal{no}
			}
			conn, _, no := m.g.dial(ctx, addrs, s.way.Port)
			if no != nil {
				return nil, &dialRefusal{no}
			}
			return conn, nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: m.g.opts.Trust, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // bytes pass as they are
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: maxAnswerHead,
	}
}

// dialRefusal carries a refusal through net/http.
type dialRefusal struct{ no *refusal }

func (e *dialRefusal) Error() string { return e.no.text }

// serve hands conn to the server and returns when it is closed.
func (m *mcpGate) serve(conn net.Conn) {
	m.once.Do(func() {
		if m.g.begin() {
			go func() {
				defer m.g.wg.Done()
				m.server.Serve(m.conns) // ends with close
			}()
		}
	})
	m.conns.put(conn)
}

func (m *mcpGate) close() {
	m.conns.Close()
	m.server.Close()
	for _, s := range m.servers {
		s.transport.CloseIdleConnections()
	}
}

// handle serves one request, with its Open and Close.
func (m *mcpGate) handle(w http.ResponseWriter, r *http.Request) {
	if !m.g.begin() {
		panic(http.ErrAbortHandler)
	}
	defer m.g.wg.Done()
	c := &mcpCall{m: m, w: w, r: r, event: m.g.newEvent(MCPGate), start: time.Now()}
	c.event.Method, c.event.Path = clean(r.Method), clean(r.URL.EscapedPath())
	defer c.close()
	if m.pace.wait(r.Context()) != nil {
		c.event.Reason = "the client went away"
		return
	}
	if no := c.run(); no != nil {
		c.event.Status, c.event.Reason = no.status, no.text
		if no.failed {
			c.event.Verdict = Allowed
		} else {
			c.event.Verdict = Refused
		}
		if no.spent {
			c.event.Spent = no.text
		}
		c.refuse(no)
	}
}

// mcpCall is one request to a server.
type mcpCall struct {
	m      *mcpGate
	w      http.ResponseWriter
	r      *http.Request
	target *mcpTarget
	event  Event
	start  time.Time
	id     json.RawMessage // of the JSON-RPC request
	params json.RawMessage // and its params
	up     int64
	down   int64
}

// close makes the one Close of the request.
func (c *mcpCall) close() {
	c.event.Phase, c.event.Up, c.event.Down, c.event.Took = Close, c.up, c.down, time.Since(c.start)
	if c.event.Verdict == "" {
		c.event.Verdict = Refused
	}
	c.m.g.record(c.event)
}

// run checks, records and forwards. A refusal is returned if nothing was
// answered yet.
func (c *mcpCall) run() *refusal {
	// The path is compared as it was sent, so that no escape stands for another.
	c.target = c.m.servers[c.r.RequestURI]
	if c.target == nil {
		return &refusal{status: 404, text: "this session has no MCP server at " + c.event.Path}
	}
	switch c.r.Method {
	case http.MethodPost, http.MethodGet, http.MethodDelete:
	default:
		return &refusal{status: 405, text: "an MCP server is asked by POST, GET and DELETE"}
	}
	way := c.target.way
	c.event.Host, c.event.Port, c.event.Reason, c.event.Rule = way.Pattern, way.Port, way.Reason, ruleName(way)
	if d, ok := grant.Denies(c.m.g.opts.Denied, way.Pattern, way.Port); ok {
		return &refusal{status: 403, text: fmt.Sprintf("the owner denied the host of this MCP server (%s)", d.Reason)}
	}
	body, no := c.read()
	if no != nil {
		return no
	}
	if no := c.spend(int64(len(body))); no != nil {
		return no
	}
	c.event.Phase, c.event.Verdict = Open, Allowed
	if !c.m.g.record(c.event) {
		c.event.Verdict = Refused
		return notRecorded()
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	idle := newIdler(c.m.g.limits.ModelIdle, cancel)
	defer idle.stop()
	c.up = int64(len(body))
	resp, err := c.target.transport.RoundTrip(c.outgoing(ctx, body))
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	idle.touch()
	return c.reply(resp, idle)
}

// spend takes a request of so many bytes from the budgets.
func (c *mcpCall) spend(n int64) *refusal {
	err := c.m.g.budget.connect()
	if err == nil {
		err = c.m.g.budget.add(int(n), 0)
	}
	if err != nil {
		return &refusal{status: 403, text: err.Error(), spent: true}
	}
	return nil
}

// maxMCPBody bounds one message to a server, in bytes.
const maxMCPBody = 4 << 20

// read takes the whole message and judges it, before any of it goes out.
func (c *mcpCall) read() ([]byte, *refusal) {
	rc := http.NewResponseController(c.w)
	rc.SetReadDeadline(time.Now().Add(30 * time.Second))
	defer rc.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxMCPBody))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return nil, &refusal{status: 413, text: fmt.Sprintf("the message is larger than %d bytes", maxMCPBody)}
	case err != nil:
		return nil, &refusal{status: 400, text: "the message did not arrive whole"}
	case c.r.Method != http.MethodPost:
		if len(body) > 0 {
			return nil, &refusal{status: 400, text: "this request takes no body"}
		}
		return nil, nil
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &refusal{status: 415, text: "the message is encoded (" + clean(e) + ") and cannot be looked at: send it plain"}
	}
	if no := c.judge(body); no != nil {
		return nil, no
	}
	return c.guarded(body)
}

// judge reads what is asked. The message goes on as it is, so it must not read
// differently elsewhere: it is one object that names no key twice, and so are
// its params.
func (c *mcpCall) judge(body []byte) *refusal {
	if body = bytes.TrimLeft(body, " \t\r\n"); !json.Valid(body) || body[0] != '{' {
		return bad("the message is not one JSON-RPC message")
	}
	var tool *string
	err := members(body, func(key string, value []byte) error {
		switch key {
		case "id":
			c.id = slices.Clone(value)
		case "method":
			c.event.RPC = clean(text(value))
		case "params":
			c.params = slices.Clone(value)
			if value[0] != '{' {
				return nil
			}
			return members(value, func(key string, value []byte) error {
				if key == "name" {
					name := text(value)
					tool = &name
				}
				return folded(key, "name")
			})
		}
		return folded(key, "id", "method", "params")
	})
	if err != nil {
		return bad("%s", clean(err.Error()))
	}
	if c.event.RPC != "tools/call" {
		return nil
	}
	if tool == nil {
		return bad("a call names no tool")
	}
	c.event.Tool = clean(*tool)
	if len(c.target.tools) > 0 && !slices.Contains(c.target.tools, *tool) {
		return &refusal{status: 403, text: fmt.Sprintf("the owner has not allowed the tool %s of this MCP server: there are %s",
			c.event.Tool, clean(strings.Join(c.target.tools, ", ")))}
	}
	return nil
}

// folded refuses a key that some parsers take for one of the words, which they
// compare without case.
func folded(key string, words ...string) error {
	for _, w := range words {
		if key != w && strings.EqualFold(key, w) {
			return fmt.Errorf("the key %s could be read as %s", clean(key), w)
		}
	}
	return nil
}

// outgoing builds the request from nothing: the address and its secrets are the
// host's, a few fields of the protocol the agent's. So whatever the agent sends
// in the place of a credential ends here.
func (c *mcpCall) outgoing(ctx context.Context, body []byte) *http.Request {
	to := *c.target.url()
	out := (&http.Request{Method: c.r.Method, URL: &to, Host: to.Host, Header: http.Header{}, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewReader(body))}).WithContext(ctx)
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	for name, values := range c.r.Header {
		switch name {
		case "Accept", "Accept-Language", "Content-Type", "User-Agent", "Last-Event-Id", "Mcp-Session-Id", "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name":
			out.Header[name] = slices.Clone(values)
		}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""}
	}
	for name, values := range c.target.header() {
		out.Header[name] = slices.Clone(values)
	}
	return out
}

// reply passes status, a few header fields and the body, each piece as it comes.
func (c *mcpCall) reply(resp *http.Response, idle *idler) *refusal {
	switch {
	case resp.StatusCode < 200:
		return &refusal{status: 502, text: "the MCP server switched to another protocol", failed: true}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return &refusal{status: 502, text: "the MCP server wants to be asked elsewhere (a redirect), which is not followed: the owner has to change its url", failed: true}
	}
	h := c.w.Header()
	for name, values := range resp.Header {
		switch name {
		case "Content-Type", "Content-Encoding", "Cache-Control", "Date", "Retry-After", "Allow", "Mcp-Session-Id", "Mcp-Protocol-Version":
			if !slices.ContainsFunc(values, c.target.leaks) {
				h[name] = values
			}
		}
	}
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", fmt.Sprint(resp.ContentLength))
	}
	body, no := c.heard(resp)
	if no != nil {
		clear(h)
		return no
	}
	c.event.Status = resp.StatusCode
	c.w.WriteHeader(resp.StatusCode)
	return c.pass(body, idle)
}

func (c *mcpCall) pass(from io.Reader, idle *idler) *refusal {
	flush := http.NewResponseController(c.w)
	flush.Flush() // an error shows in the next one
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		idle.touch()
		if spent := c.m.g.budget.add(0, n); spent != nil {
			c.event.Reason, c.event.Spent = spent.Error(), spent.Error()
			panic(http.ErrAbortHandler)
		}
		if n > 0 {
			w, werr := c.w.Write(buf[:n])
			c.down += int64(w)
			if werr == nil {
				werr = flush.Flush()
			}
			if werr != nil {
				c.event.Reason = "the client went away"
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			c.event.Reason = "the answer was cut off"
			panic(http.ErrAbortHandler) // the client must not take the piece for the whole
		}
	}
}

// unreachable words a failure for the agent; the log has the rest.
func (c *mcpCall) unreachable(err error) *refusal {
	var no *dialRefusal
	switch {
	case errors.As(err, &no):
		return no.no
	case c.r.Context().Err() != nil:
		return &refusal{status: 502, text: "the client went away", failed: true}
	case errors.Is(err, context.Canceled):
		return &refusal{status: 504, text: fmt.Sprintf("nothing moved for %v", c.m.g.limits.ModelIdle), failed: true}
	}
	text := "the connection failed"
	if strings.Contains(err.Error(), "x509:") || strings.Contains(err.Error(), "tls:") {
		text = "its TLS certificate or handshake is not acceptable"
	}
	if words := err.Error(); !c.target.leaks(words) {
		c.m.g.log.Warn("an MCP server failed", "server", c.target.as, "err", words)
	}
	return &refusal{status: 502, text: "the MCP server could not be reached: " + text, failed: true}
}

// refuse answers in the form of the protocol: as an error of the request, if
// there was one, so that the client shows the words.
func (c *mcpCall) refuse(no *refusal) {
	c.w.Header().Set("Content-Type", "application/json")
	if len(c.id) > 0 && no.status == 403 {
		c.w.WriteHeader(http.StatusOK)
	} else {
		c.w.WriteHeader(no.status)
	}
	c.w.Write(rpcError(c.id, no.text))
}

func rpcError(id json.RawMessage, text string) []byte {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": -32000, "message": "nanoclaw: " + text}})
	if err != nil {
		return []byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"nanoclaw: refused"}}`)
	}
	return append(b, '\n')
}
