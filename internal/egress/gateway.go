// Package egress is the only way out of a boundary.
//
// A Gateway belongs to one session and serves the connections that come out of
// that session's wire: those to the HTTP proxy, which leads to the hosts of the
// grant, those to the model endpoint, to which it adds the credential, and those
// to the owner's MCP servers. There is no other network inside, so what the gateway does not do is not done.
//
// It promises:
//
//   - A host is judged in its canonical spelling, with its port, before anything
//     is looked up. An empty list allows nothing.
//   - What the owner denied is refused, whatever allows it.
//   - An allowed name is resolved once, in DNS alone and as an absolute name;
//     addresses that are not public are dropped, unless the grant names them with
//     host and port; the address that was checked is the one dialled.
//   - A tunnel carries TLS for the name it was opened for (SNI, and no encrypted
//     one), and nothing else, unless the grant says otherwise of the host.
//   - A plain request is made anew from its parsed target. What has two readings
//     is refused.
//   - Where the owner chose to inspect a host, TLS ends here, with certificates of
//     an authority that this session alone has and trusts; each request is judged
//     by the host's rules, and goes on over TLS that is verified as strictly as any.
//   - The model's credential is added on the host, to a short list of requests,
//     and whatever the agent sent in its place is dropped (I4).
//   - MCP servers of the owner are asked by the host: at the address of the
//     configuration and no other, with headers that are added here (I4).
//   - The verdict is recorded before the first connection; if it cannot be
//     recorded, there is no connection (I9). Each one ends in exactly one Close.
//   - Number, size, time and pace of everything are bounded (I10). What a session
//     may use up in all is a budget of the grant.
//
// Trust: every byte from a connection is hostile. Who is asking is known from
// which Gateway the connection was given to and from nothing inside it (I5); a
// proxy user name or token is ignored. Upstream servers are trusted with what the
// grant lets the agent send them and with nothing of this machine. The model's
// endpoint is trusted with the credential: one that put it into the body of an
// answer could not be stopped here.
//
// What it does not do: look inside TLS of hosts that are not inspected. Such a
// host, if it serves many customers, can be asked for another one by the Host
// header inside the tunnel. An allowed host can be sent anything that its rules
// let pass, credentials that the agent has among it; a wildcard lets the names
// themselves carry data. Whoever allows a host trusts it to that extent.
package egress

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// Options make a Gateway. Group, Session, Hosts, Model, ServerTools and Record are
// the session's; the rest has defaults.
type Options struct {
	Group   chat.Group
	Session chat.SessionID
	// Hosts is the egress list of the grant. Empty: no host.
	Hosts []grant.Host
	// Denied goes before Hosts.
	Denied []grant.Denied
	// Ask asks the owner about a host that is not among Hosts, and waits for the
	// answer, for some seconds at most or until ctx ends. rule is what a yes adds,
	// for this connection alone; it leads to public addresses. why says in words what
	// happened to a no. Nil: nobody is asked.
	Ask func(ctx context.Context, host string, port int) (rule grant.Host, yes bool, why string)
	// Budget is what the session may use up through the proxy.
	Budget grant.Budget
	// RunTime is the longest run; the session's certificates outlast it.
	RunTime time.Duration
	// Model gives where model requests go now: it is asked for each. Nil, and a nil
	// answer: they are refused in words.
	Model func() *Upstream
	// ServerTools are the tools of the grant that the model's provider may run.
	ServerTools []string
	// Used is told what an answer of the model cost, before the agent has all of it.
	// It must not block. Nil: nobody is told.
	Used func(Usage)
	// Admit is asked before each message to the model, of so many bytes, and may
	// wait for the owner. A text refuses it. Otherwise done is called once, when the
	// request is over. Nil: all are admitted.
	Admit func(ctx context.Context, size int) (done func(Served), refusal string)
	// Login is told, in words for the owner, that the model does not accept the
	// credential. Nil: nobody is told.
	Login func(u *Upstream, text string)
	// Servers are the MCP servers that the session has over HTTP.
	Servers []MCPServer
	// Record writes an Event to the audit log and returns once it is durable. It
	// is called from many goroutines. If it fails for an Open, nothing is opened.
	// Nil: there is no audit, and so no connection either.
	Record func(Event) error
	// Refused is told how the model refused a request, and when it may be repeated,
	// zero if it does not say. It must not block. Nil: nobody is told.
	Refused func(status int, retry time.Time)
	// Log is for the host's own troubles. Nil: silent.
	Log *slog.Logger
	// Limits replaces the defaults where it is not zero.
	Limits Limits

	// Resolver, Dial and Own stand for the machine's name service, network and
	// interface addresses. Nil: the real ones. They are replaced by tests.
	Resolver Resolver
	Dial     func(context.Context, netip.AddrPort) (net.Conn, error)
	Own      func() ([]netip.Addr, error)
	// Trust are the authorities by which inspected hosts are verified, and
	// RootFiles where the system's list may lie. Nil: the system's. They are
	// replaced by tests.
	Trust     *x509.CertPool
	RootFiles []string
}

// Served is how a message to the model went.
type Served struct {
	// Answered says that the model took it.
	Answered bool
	// Usage is what it cost as far as the provider said, nil for nothing.
	Usage *Usage
	// Down is how many bytes of the answer there were.
	Down int64
}

// Limits bound one session's way out.
type Limits struct {
	Conns      int // proxy connections at once
	ModelConns int // connections to the model endpoint at once

	HeadTime  time.Duration // for a request's head
	HelloTime time.Duration // for a tunnel's ClientHello
	DialTime  time.Duration // for resolving, and again for connecting
	IdleTime  time.Duration // without a byte either way, through the proxy
	ModelIdle time.Duration // without a byte either way, to the model; it may think for long
	ModelBody int64         // bytes of one request to the model

	// Burst connections are taken up at once, then one every Interval.
	Burst    int
	Interval time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Conns:      or(l.Conns, 256),
		ModelConns: or(l.ModelConns, 64),
		HeadTime:   or(l.HeadTime, 10*time.Second),
		HelloTime:  or(l.HelloTime, 10*time.Second),
		DialTime:   or(l.DialTime, 15*time.Second),
		IdleTime:   or(l.IdleTime, 5*time.Minute),
		ModelIdle:  or(l.ModelIdle, 15*time.Minute),
		ModelBody:  or(l.ModelBody, 32<<20),
		Burst:      or(l.Burst, 256),
		Interval:   or(l.Interval, 15*time.Millisecond),
	}
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Gateway is one session's way out.
type Gateway struct {
	opts   Options
	limits Limits
	guard  *guard
	// authority is nil if no host is inspected.
	authority   *authority
	budget      *budget
	hostBudgets map[string]*budget
	resolver    Resolver
	dialer      func(context.Context, netip.AddrPort) (net.Conn, error)
	log         *slog.Logger
	pace        pace
	models      *modelServer
	mcp         *mcpGate

	// ctx ends with Close.
	ctx    context.Context
	cancel context.CancelFunc
	lastID atomic.Uint64

	mu     sync.Mutex
	closed bool
	// active counts connections by kind; wg counts everything that must have
	// ended before Close returns. Both grow only while closed is false.
	active map[wire.Kind]int
	wg     sync.WaitGroup
	// over counts refusals beyond the limit that no Event has told yet.
	over     int
	overTold time.Time
}

// New makes the gateway of one session. It starts nothing.
func New(o Options) *Gateway {
	g := &Gateway{
		opts: o, limits: o.Limits.withDefaults(), guard: newGuard(o.Own), resolver: o.Resolver,
		dialer: o.Dial, log: o.Log, active: map[wire.Kind]int{},
	}
	if o.Own == nil {
		g.guard.own = interfaceAddrs
	}
	if g.resolver == nil {
		g.resolver = newNameClient()
	}
	if g.dialer == nil {
		g.dialer = dialTCP
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.pace = pace{interval: g.limits.Interval, burst: g.limits.Burst}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.models = newModelServer(g)
	g.mcp = newMCPGate(g)
	g.budget, g.hostBudgets = budgets(o)
	var err error
	if g.authority, err = newAuthority(o.Hosts, o.RunTime); err != nil {
		// Inspected hosts are refused then; see tunnel.
		g.log.Error("the session's certificate authority could not be made", "err", err)
	}
	return g
}

// Stale says that the session should not be used for another run: its
// certificates would end during one, or a budget is used up.
func (g *Gateway) Stale() bool {
	return !g.spendable() || g.authority != nil && time.Now().Add(g.opts.RunTime).After(g.authority.until)
}

// Serve handles one connection from the session's wire, to its end, and closes
// it. kind is wire.Proxy, wire.Model or wire.MCP and comes from the host's own listener
// table, not from the agent.
func (g *Gateway) Serve(kind wire.Kind, conn net.Conn) {
	defer conn.Close()
	defer g.contain()
	most := g.limits.Conns
	switch kind {
	case wire.Proxy:
	case wire.Model, wire.MCP:
		most = g.limits.ModelConns
	default:
		g.log.Error("egress was given a stream that is not its own", "kind", kind)
		return
	}
	ok, full := g.enter(kind, most)
	if full {
		g.turnAway(kind, conn)
	}
	if !ok {
		return
	}
	defer g.leave(kind)
	stop := context.AfterFunc(g.ctx, func() { conn.Close() })
	defer stop()
	switch kind {
	case wire.Model:
		g.models.serve(conn)
		return
	case wire.MCP:
		g.mcp.serve(conn)
		return
	}
	g.serveProxy(conn)
}

// Close ends every connection, waits until all have ended and are recorded, and
// refuses new ones. It may be called twice.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.models.close()
	g.mcp.close()
	g.wg.Wait()
	g.tellOver(true)
}

// begin counts a piece of work that Close waits for.
func (g *Gateway) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.wg.Add(1)
	}
	return !g.closed
}

// enter takes a place for a connection. full says that there was none.
func (g *Gateway) enter(kind wire.Kind, most int) (ok, full bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false, false
	}
	if g.active[kind] >= most {
		g.over++
		return false, true
	}
	g.active[kind]++
	g.wg.Add(1)
	return true, false
}

func (g *Gateway) leave(kind wire.Kind) {
	g.mu.Lock()
	g.active[kind]--
	g.mu.Unlock()
	g.wg.Done()
}

// turnAway answers a connection beyond the limit, unread. The audit hears of
// such connections at most once a second, with their number.
func (g *Gateway) turnAway(kind wire.Kind, conn net.Conn) {
	no := &refusal{status: 503, text: "too many connections at once: wait until others have ended"}
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	if kind == wire.Model || kind == wire.MCP {
		conn.Write(modelAnswer(no))
	} else {
		conn.Write(answer(no))
	}
	g.tellOver(false)
}

func (g *Gateway) tellOver(last bool) {
	g.mu.Lock()
	n := g.over
	if n == 0 || !last && time.Since(g.overTold) < time.Second {
		g.mu.Unlock()
		return
	}
	g.over, g.overTold = 0, time.Now()
	g.mu.Unlock()
	ev := g.newEvent(ProxyGate)
	ev.Phase, ev.Verdict, ev.Status, ev.Count = Close, Refused, 503, n
	ev.Reason = "too many connections at once"
	g.record(ev)
}

func (g *Gateway) newEvent(gate Gate) Event {
	return Event{ID: g.lastID.Add(1), Gate: gate, Group: g.opts.Group, Session: g.opts.Session}
}

// record writes ev, stamped with the time, and says whether it was written.
func (g *Gateway) record(ev Event) bool {
	ev.At = time.Now()
	if g.opts.Record == nil {
		return false
	}
	if err := g.opts.Record(ev); err != nil {
		g.log.Error("an egress event could not be written to the audit log", "err", err, "id", ev.ID, "phase", ev.Phase)
		return false
	}
	return true
}

// contain keeps a panic in the handling of hostile bytes to its connection.
func (g *Gateway) contain() {
	if v := recover(); v != nil {
		g.log.Error("egress: a connection was ended by a panic; this is a bug", "panic", v)
	}
}
