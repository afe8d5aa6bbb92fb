package egress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"nanoclaw/internal/grant"
)

// notRecorded is the answer where the audit log does not take an entry.
func notRecorded() *refusal {
	return &refusal{status: 503, text: "the audit log could not be written, so nothing was done"}
}

// exchange is one connection to the proxy, from its first byte to its Close.
// A connection carries one request: it is closed after the answer, so that no
// second request can be mistaken for a part of the first.
type exchange struct {
	g     *Gateway
	conn  net.Conn
	in    *bufio.Reader
	event Event
	start time.Time
	meter meter
	// rule is the line of the grant that allows the host, addrs where it may be.
	rule  grant.Host
	addrs []netip.Addr
}

// meter counts bytes, takes them from the budgets and remembers when the last
// one moved.
type meter struct {
	up, down atomic.Int64
	last     atomic.Int64 // nanoseconds since the exchange began
	start    time.Time
	budgets  []*budget
}

func (m *meter) touch() { m.last.Store(int64(time.Since(m.start))) }

// moved counts bytes that are about to go on. An error is a *spentError, and
// then they must not.
func (m *meter) moved(up, down int) error {
	m.touch()
	for _, b := range m.budgets {
		if err := b.add(up, down); err != nil {
			return err
		}
	}
	m.up.Add(int64(up))
	m.down.Add(int64(down))
	return nil
}

func (g *Gateway) serveProxy(conn net.Conn) {
	x := &exchange{g: g, conn: conn, in: bufio.NewReaderSize(conn, 16<<10), event: g.newEvent(ProxyGate), start: time.Now()}
	x.meter.start = x.start
	defer x.close()
	req, no := x.read()
	if g.pace.wait(g.ctx) != nil {
		x.event.Verdict, x.event.Reason = Refused, "the session ended"
		return
	}
	if no == nil {
		no = x.decide(req)
	}
	if no != nil {
		x.refuse(no)
		return
	}
	up, no := x.connect(req)
	if no != nil {
		x.refuse(no)
		return
	}
	defer up.Close()
	if req.connect() {
		x.tunnel(req, up)
	} else {
		x.forward(req, up)
	}
}

// read takes in the request and writes what is known of it into the event.
func (x *exchange) read() (*request, *refusal) { return x.readWith(parseRequest) }

func (x *exchange) readWith(parse func([]string) (*request, *refusal)) (*request, *refusal) {
	x.conn.SetReadDeadline(x.start.Add(x.g.limits.HeadTime))
	defer x.conn.SetReadDeadline(time.Time{})
	lines, err := readHead(x.in)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{status: 408, text: "the request did not arrive in time"}
	case err != nil:
		return nil, bad("%s", clean(err.Error()))
	}
	req, no := parse(lines)
	if req != nil {
		x.event.Method, x.event.Host, x.event.Port = clean(req.method), req.host, req.port
		if req.target != nil {
			x.event.Path = clean(req.target.EscapedPath())
		}
	}
	return req, no
}

// decide asks the grant. Nothing has been looked up yet, so that a refused name
// leaves no trace outside: not even a question to a name server.
func (x *exchange) decide(req *request) *refusal {
	dest := req.host
	if req.port != grant.HTTPSPort {
		dest += ":" + strconv.Itoa(req.port)
	}
	if d, ok := grant.Denies(x.g.opts.Denied, req.host, req.port); ok {
		return &refusal{status: 403, text: fmt.Sprintf("the owner denied %s (%s)", dest, d.Reason)}
	}
	rule, ok := grant.Match(x.g.opts.Hosts, req.host, req.port)
	why := ""
	if !ok {
		rule, ok, why = x.ask(req)
	}
	if !ok {
		return &refusal{
			status: 403,
			text:   fmt.Sprintf("%s is not in the grant of group %s", dest, x.g.opts.Group) + why,
			allow:  fmt.Sprintf("nanoclaw group egress add %s %s", x.g.opts.Group, dest),
		}
	}
	x.rule = rule
	x.event.Rule, x.event.Reason = ruleName(rule), rule.Reason
	if req.connect() && len(rule.Rules) > 0 && !rule.Inspect {
		return &refusal{status: 403, text: fmt.Sprintf("%s has rules for requests, which could not be seen in a tunnel: plain HTTP is let through", dest)}
	}
	if !req.connect() {
		if no := x.permit(req); no != nil {
			return no
		}
	}
	return x.spend()
}

// ask asks the owner about a host that the grant lacks. Nothing is looked up
// before the answer.
func (x *exchange) ask(req *request) (rule grant.Host, yes bool, why string) {
	if x.g.opts.Ask == nil {
		return grant.Host{}, false, ""
	}
	rule, yes, why = x.g.opts.Ask(x.g.ctx, req.host, req.port)
	// Whoever answered, it is this host and port, and no private address.
	if yes && (rule.Pattern != req.host || rule.Port != req.port || rule.Private || rule.Address != "") {
		x.g.log.Error("egress: an answer about another host than was asked", "asked", req.host, "answered", rule.Pattern)
		yes = false
	}
	if why = clean(why); why != "" {
		why = ": " + why
	}
	return rule, yes, why
}

func ruleName(h grant.Host) string { return h.Pattern + ":" + strconv.Itoa(h.Port) }

// spend takes the connection from the budgets.
func (x *exchange) spend() *refusal {
	x.meter.budgets = []*budget{x.g.budget}
	if b := x.g.hostBudgets[ruleName(x.rule)]; b != nil {
		x.meter.budgets = append(x.meter.budgets, b)
	}
	for _, b := range x.meter.budgets {
		if err := b.connect(); err != nil {
			return &refusal{status: 403, text: err.Error(), spent: true}
		}
	}
	return nil
}

// connect resolves, checks, records and dials, in this order.
func (x *exchange) connect(req *request) (net.Conn, *refusal) {
	addrs, no := x.g.resolve(x.g.ctx, req.host, x.rule)
	if no != nil {
		return nil, no
	}
	x.addrs = addrs
	x.event.Verdict, x.event.Phase = Allowed, Open
	x.event.Addr = addrs[0].String()
	if !x.g.record(x.event) {
		return nil, notRecorded()
	}
	up, to, no := x.g.dial(x.g.ctx, addrs, req.port)
	if no != nil {
		return nil, no
	}
	x.event.Addr = to.String()
	return up, nil
}

// refuse answers, and throws away for a moment what else the client sends, so
// that it reads the answer before its connection ends.
func (x *exchange) refuse(no *refusal) {
	if x.deny(no) == nil {
		x.linger()
	}
}

// deny answers and fills the event.
func (x *exchange) deny(no *refusal) error {
	x.refused(no)
	x.conn.SetDeadline(time.Now().Add(x.g.limits.HeadTime))
	_, err := x.conn.Write(answer(no))
	return err
}

// refused fills the event.
func (x *exchange) refused(no *refusal) {
	x.event.Verdict = Refused
	if no.failed {
		x.event.Verdict = Allowed
	} else {
		x.event.Addr = ""
	}
	x.event.Status, x.event.Reason, x.event.Allow = no.status, no.text, no.allow
	if no.spent {
		x.event.Spent = no.text
	}
}

// linger closes our half and reads on for at most half a second and 256 KB.
func (x *exchange) linger() {
	if h, ok := x.conn.(halfCloser); ok && h.CloseWrite() == nil {
		x.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		io.CopyN(io.Discard, x.in, 256<<10)
	}
}

// close makes the one Close of the connection.
func (x *exchange) close() {
	x.event.Phase = Close
	x.event.Up, x.event.Down = x.meter.up.Load(), x.meter.down.Load()
	x.event.Took = time.Since(x.start)
	if x.event.Verdict == "" { // a panic: nothing was decided
		x.event.Verdict, x.event.Reason = Refused, "the connection failed inside the gateway"
	}
	x.g.record(x.event)
}

// words are the body of a refusal.
func words(no *refusal) string {
	s := fmt.Sprintf("nanoclaw: %s.\n", no.text)
	if no.allow != "" {
		s += fmt.Sprintf("The owner can allow it with:\n  %s\n", no.allow)
	}
	return s
}

// answer is a whole response in words. The reason phrase says it too, since
// many clients show only that of a CONNECT that failed.
func answer(no *refusal) []byte {
	var body, b bytes.Buffer
	phrase := http.StatusText(no.status)
	body.WriteString(words(no))
	if no.allow != "" {
		phrase = no.text + "; the owner can allow it: " + no.allow
	}
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=us-ascii\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n", no.status, phrase, body.Len())
	b.Write(body.Bytes())
	return b.Bytes()
}
