package egress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// modelServer is the model endpoint of one session: an HTTP server whose
// connections come from the wire.
type modelServer struct {
	g      *Gateway
	server *http.Server
	conns  *connListener
	once   sync.Once
	pace   pace
}

func newModelServer(g *Gateway) *modelServer {
	m := &modelServer{g: g, conns: newConnListener(), pace: pace{interval: g.limits.Interval, burst: g.limits.Burst}}
	m.server = &http.Server{
		Handler:           http.HandlerFunc(m.handle),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       g.limits.ModelIdle,
		MaxHeaderBytes:    maxAnswerHead,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		// Only HTTP/1: what the agent speaks, and one request at a time for each
		// connection that was counted.
		Protocols: http1(),
		// net/http would answer OPTIONS * by itself, unseen.
		DisableGeneralOptionsHandler: true,
	}
	return m
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// serve hands conn to the server and returns when it is closed.
func (m *modelServer) serve(conn net.Conn) {
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

func (m *modelServer) close() {
	m.conns.Close()
	m.server.Close()
}

// handle serves one request, with its Open and Close.
func (m *modelServer) handle(w http.ResponseWriter, r *http.Request) {
	if !m.g.begin() {
		panic(http.ErrAbortHandler)
	}
	defer m.g.wg.Done()
	c := &call{m: m, w: w, r: r, event: m.g.newEvent(ModelGate), start: time.Now()}
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
		}
		writeRefusal(w, no)
	}
}

// call is one request to the model.
type call struct {
	m     *modelServer
	w     http.ResponseWriter
	r     *http.Request
	event Event
	start time.Time
	body  *requestBody
	down  int64
}

// close makes the one Close of the request.
func (c *call) close() {
	c.event.Phase, c.event.Down, c.event.Took = Close, c.down, time.Since(c.start)
	if c.body != nil {
		c.event.Up = c.body.finish()
	}
	if c.event.Verdict == "" {
		c.event.Verdict = Refused
	}
	c.m.g.record(c.event)
}

// run checks, records and forwards. A refusal is returned if nothing was
// answered yet.
func (c *call) run() *refusal {
	if !isModelRoute(c.r) {
		return &refusal{status: 404, text: fmt.Sprintf("%s %s is not forwarded: this endpoint takes POST /v1/messages, "+
			"POST /v1/messages/count_tokens and GET /v1/models", c.event.Method, c.event.Path)}
	}
	u := c.m.g.opts.Model
	if u == nil {
		// Not 5xx: clients repeat those for minutes.
		return &refusal{status: 403, text: "no model is configured: the owner sets one with nanoclaw login claude, " +
			"or ANTHROPIC_API_KEY, and restarts nanoclaw"}
	}
	limit := c.m.g.limits.ModelBody
	if c.r.ContentLength > limit {
		return c.tooLarge()
	}
	c.event.Host, c.event.Port, c.event.Reason = u.base.Hostname(), u.port(), "the model of the configuration"
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	idle := newIdler(c.m.g.limits.ModelIdle, cancel)
	defer idle.stop()
	c.body = &requestBody{idle: idle, deadline: http.NewResponseController(c.w).SetReadDeadline, r: http.MaxBytesReader(c.w, c.r.Body, limit)}
	body, no := c.read()
	if no != nil {
		return no
	}
	c.event.Model = peekModel(body)
	c.event.Phase, c.event.Verdict = Open, Allowed
	if !c.m.g.record(c.event) {
		c.event.Verdict = Refused
		return notRecorded()
	}
	resp, err := u.transport.RoundTrip(c.outgoing(ctx, u, body))
	if err != nil {
		return c.unreachable(u, err)
	}
	defer resp.Body.Close()
	idle.touch()
	return c.reply(u, resp, idle)
}

func (c *call) tooLarge() *refusal {
	return &refusal{status: 413, text: fmt.Sprintf("the request is larger than %d bytes", c.m.g.limits.ModelBody)}
}

// read takes the whole body and judges it, before any of it goes out.
func (c *call) read() ([]byte, *refusal) {
	body, err := io.ReadAll(c.body)
	switch {
	case c.body.tooLarge():
		return nil, c.tooLarge()
	case err != nil:
		return nil, &refusal{status: 400, text: "the request did not arrive whole"}
	case c.r.Method != http.MethodPost:
		if len(body) > 0 {
			return nil, &refusal{status: 400, text: "this request takes no body"}
		}
		return nil, nil
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &refusal{status: 415, text: "the request is encoded (" + clean(e) + ") and cannot be looked at: send it plain"}
	}
	if why := checkBody(body); why != "" {
		return nil, &refusal{status: 403, text: why}
	}
	return body, nil
}

// isModelRoute is the whole list of what the credential is added to. The Files
// API and everything about accounts are not on it. Paths are compared as they
// were sent, so that no escape or dot segment stands for another path.
func isModelRoute(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	switch r.Method {
	case http.MethodPost:
		return path == "/v1/messages" || path == "/v1/messages/count_tokens"
	case http.MethodGet:
		id, one := strings.CutPrefix(path, "/v1/models/")
		return path == "/v1/models" || one && isModelID(id)
	case http.MethodHead:
		return path == "/" || path == "/api/hello"
	}
	return false
}

func isModelID(s string) bool {
	return s != "" && len(s) <= 128 && s[0] != '.' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-") == ""
}

// modelField finds the model's name in the first bytes of a request.
//
// It is made when first needed: that takes two milliseconds.
var modelField = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`"model"\s*:\s*"([A-Za-z0-9._:/@\[\]-]{1,128})"`)
})

// peekModel looks at the first 2 KB of the body. It is for the audit to read:
// the agent wrote it and nothing depends on it.
func peekModel(body []byte) string {
	if found := modelField().FindSubmatch(body[:min(len(body), 2<<10)]); found != nil {
		return string(found[1])
	}
	return ""
}

// outgoing builds the request to the endpoint from nothing: method, path, a few
// query keys and a list of harmless header fields come from the agent, the
// credential from the host. So no credential of somebody else can ride along and
// make the model's own service a way out.
func (c *call) outgoing(ctx context.Context, u *Upstream, body []byte) *http.Request {
	to := *u.base
	to.Path += c.r.URL.Path
	to.RawQuery = keepQuery(c.r.URL.Query())
	out := (&http.Request{Method: c.r.Method, URL: &to, Host: to.Host, Header: http.Header{},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body))}).WithContext(ctx)
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	for name, values := range c.r.Header {
		if forwarded(name) {
			out.Header[name] = slices.Clone(values)
		}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""}
	}
	u.authorize(out.Header)
	return out
}

func keepQuery(q url.Values) string {
	kept := url.Values{}
	for _, k := range []string{"beta", "limit", "after_id", "before_id"} {
		if v, ok := q[k]; ok {
			kept[k] = v
		}
	}
	return kept.Encode()
}

// forwarded names the header fields of a request that pass.
func forwarded(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "User-Agent", "X-App":
		return true
	}
	return strings.HasPrefix(name, "Anthropic-") || strings.HasPrefix(name, "X-Stainless-") || strings.HasPrefix(name, "X-Claude-")
}

// returned names the header fields of an answer that pass. No cookie, and not
// which organisation the owner belongs to.
func returned(name string) bool {
	switch name {
	case "Content-Type", "Content-Encoding", "Cache-Control", "Date", "Request-Id", "Retry-After", "Retry-After-Ms", "X-Should-Retry":
		return true
	}
	return strings.HasPrefix(name, "Anthropic-") && name != "Anthropic-Organization-Id"
}

// reply passes status, chosen header fields and the body, each piece as it
// comes. Trailers and interim answers do not pass.
func (c *call) reply(u *Upstream, resp *http.Response, idle *idler) *refusal {
	if resp.StatusCode < 200 {
		return &refusal{status: 502, text: "the model endpoint switched to another protocol", failed: true}
	}
	h := c.w.Header()
	for name, values := range resp.Header {
		if returned(name) && !slices.ContainsFunc(values, u.leaks) {
			h[name] = values
		}
	}
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", fmt.Sprint(resp.ContentLength))
	}
	c.event.Status = resp.StatusCode
	c.advise(resp, h)
	c.w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(c.w)
	flush.Flush() // an error shows in the next one
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		idle.touch()
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
			c.event.Reason = "the answer was cut off: " + clean(c.words(u, err))
			// The client must not take the piece for the whole.
			panic(http.ErrAbortHandler)
		}
	}
}

// unreachable words a failure for the agent, without addresses, proxies or
// certificates of the owner's network; the log has the rest.
func (c *call) unreachable(u *Upstream, err error) *refusal {
	if c.r.Context().Err() != nil {
		c.event.Reason = "the client went away"
	}
	c.m.g.log.Warn("the model endpoint failed", "upstream", u, "err", redact(u, err))
	return &refusal{status: 502, text: "the model endpoint could not be reached: " + c.words(u, err), failed: true}
}

func (c *call) words(u *Upstream, err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case c.r.Context().Err() != nil:
		return "the client went away"
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("nothing moved for %v", c.m.g.limits.ModelIdle)
	case errors.As(err, &dns):
		return lookupWords(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there (connection refused)"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case strings.Contains(err.Error(), "x509:"), strings.Contains(err.Error(), "tls:"):
		return "its TLS certificate or handshake is not acceptable"
	}
	return "the connection failed"
}

// redact makes sure that no error text carries the credential into the log.
func redact(u *Upstream, err error) string {
	if u.leaks(err.Error()) {
		return strings.ReplaceAll(err.Error(), u.secret(), "[credential]")
	}
	return err.Error()
}

// modelError is the API's own form of an error, which its clients show.
func modelError(no *refusal) []byte {
	kind := map[int]string{403: "permission_error", 404: "not_found_error", 413: "request_too_large", 503: "overloaded_error"}[no.status]
	type inner struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	b, _ := json.Marshal(struct { // cannot fail: strings alone
		Type  string `json:"type"`
		Error inner  `json:"error"`
	}{"error", inner{or(kind, "api_error"), "nanoclaw: " + no.text}})
	return append(b, '\n')
}

func writeRefusal(w http.ResponseWriter, no *refusal) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(no.status)
	w.Write(modelError(no))
}

// modelAnswer is a refusal as a whole response, for a connection that was not
// given to the server.
func modelAnswer(no *refusal) []byte {
	body := modelError(no)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		no.status, http.StatusText(no.status), len(body))
	b.Write(body)
	return b.Bytes()
}
