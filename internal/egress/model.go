package egress

import (
	"bytes"
	"context"
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
	rules  bodyRules
}

func newModelServer(g *Gateway) *modelServer {
	m := &modelServer{g: g, conns: newConnListener(), pace: pace{interval: g.limits.Interval, burst: g.limits.Burst},
		rules: newBodyRules(g.opts.ServerTools)}
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
	u := c.m.upstream()
	if u == nil {
		// Not 5xx: clients repeat those for minutes.
		return &refusal{status: 403, text: "no model is configured: the owner sets one with nanoclaw login claude"}
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
	done, no := c.admit(len(body))
	if no != nil {
		return no
	}
	defer func() { done(Served{c.event.Status == http.StatusOK, c.event.Usage, c.down}) }()
	idle.touch()
	c.event.Phase, c.event.Verdict = Open, Allowed
	if !c.m.g.record(c.event) {
		c.event.Verdict = Refused
		return notRecorded()
	}
	resp, no := c.exchange(ctx, u, body)
	if no != nil {
		return no
	}
	defer resp.Body.Close()
	idle.touch()
	return c.reply(u, resp, idle)
}

// admit asks whether a message may cost more. Not 429: clients repeat that.
func (c *call) admit(size int) (done func(Served), no *refusal) {
	if c.m.g.opts.Admit == nil || c.r.Method != http.MethodPost || c.r.URL.Path != "/v1/messages" {
		return func(Served) {}, nil
	}
	done, why := c.m.g.opts.Admit(c.r.Context(), size)
	if why != "" {
		return nil, &refusal{status: 403, text: why}
	}
	return done, nil
}

// upstream is where requests go now, nil for nowhere.
func (m *modelServer) upstream() *Upstream {
	if m.g.opts.Model == nil {
		return nil
	}
	return m.g.opts.Model()
}

// exchange sends the request with the credential, and once more if the service
// refuses the credential and there is another by now. A credential that is refused
// for good is the owner's matter: the agent gets no 401, which it would repeat and
// could do nothing about.
func (c *call) exchange(ctx context.Context, u *Upstream, body []byte) (*http.Response, *refusal) {
	for again := true; ; again = false {
		out := c.outgoing(ctx, u, body)
		if err := u.authorize(ctx, out, body); err != nil {
			return nil, c.unauthorized(u, err)
		}
		resp, err := u.transport.RoundTrip(out)
		if err != nil {
			return nil, c.unreachable(u, err)
		}
		if resp.StatusCode != http.StatusUnauthorized {
			return resp, nil
		}
		io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
		resp.Body.Close()
		err = ErrLogin
		if again {
			err = u.auth.refused(ctx, out)
		}
		if err != nil {
			return nil, c.unauthorized(u, err)
		}
	}
}

// unauthorized words a credential that cannot be used. Where only the owner can
// mend it, the owner is told.
func (c *call) unauthorized(u *Upstream, err error) *refusal {
	if !errors.Is(err, ErrLogin) {
		if c.r.Context().Err() != nil {
			return &refusal{status: 502, text: "the client went away", failed: true}
		}
		c.m.g.log.Warn("the model's credential could not be renewed", "upstream", u, "err", u.redact(err))
		if c.m.g.opts.Refused != nil {
			c.m.g.opts.Refused(http.StatusServiceUnavailable, time.Time{})
		}
		return &refusal{status: 503, text: "the model's credential could not be renewed now: " + u.redact(err), failed: true}
	}
	why := " does not accept the credential"
	if err != ErrLogin {
		why += ", and " + strings.TrimPrefix(u.redact(err), ErrLogin.Error()+": ")
	}
	if end := u.Until(); !end.IsZero() && time.Now().After(end) {
		why += "; it ended at " + end.Local().Format(time.DateTime)
	}
	why += ". The owner has to " + u.Remedy()
	if c.m.g.opts.Login != nil {
		c.m.g.opts.Login(u, u.base.String()+why)
	}
	// Not 401: clients repeat that.
	return &refusal{status: 403, text: "the model's endpoint" + why, failed: true}
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
	if why := c.m.rules.check(body); why != "" {
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
	if len(body) > 0 {
		// Not what the agent says: in another encoding the body could read differently.
		out.Header.Set("Content-Type", "application/json")
	}
	// Plain, so that the usage can be read from the answer while it passes.
	out.Header.Set("Accept-Encoding", "identity")
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
	case "Accept", "Accept-Language", "User-Agent", "X-App":
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
	usage := newTally(resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding"))
	defer func() { c.count(usage.result()) }()
	buf := make([]byte, 32<<10)
	for got := int64(0); ; {
		n, err := resp.Body.Read(buf)
		idle.touch()
		got += int64(n)
		if usage.see(buf[:n], err == io.EOF || got == resp.ContentLength) {
			c.count(usage.result())
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
			c.event.Reason = "the answer was cut off: " + clean(c.words(u, err))
			// The client must not take the piece for the whole.
			panic(http.ErrAbortHandler)
		}
	}
}

// count notes what the answer cost, once.
func (c *call) count(u *Usage) {
	if u == nil || c.event.Usage != nil {
		return
	}
	c.event.Usage = u
	if c.m.g.opts.Used != nil {
		c.m.g.opts.Used(*u)
	}
}
