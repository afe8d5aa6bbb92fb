package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// world is a network made up for tests: names, pretended public addresses, and
// the loopback servers that stand behind them. The gateway judges the pretended
// addresses; only its last step, the dial, is turned to loopback.
type world struct {
	guard MCPGuard // of the MCP server tracker
	t     testing.TB

	mu      sync.Mutex
	names   map[string][]string // absolute name to addresses
	servers map[string]string   // pretended address:port to the real one
	lookups []string
	dials   []string
	events  []Event
	refuse  error // what Record answers
	changed chan struct{}
}

// newWorld makes an empty one. At the end of the test no goroutine of this package
// may be left.
func newWorld(t testing.TB) *world {
	t.Cleanup(func() { noLeaks(t) })
	return &world{t: t, names: map[string][]string{}, servers: map[string]string{}, changed: make(chan struct{}, 1)}
}

// LookupNetIP is the name service.
func (w *world) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups = append(w.lookups, host)
	list, ok := w.names[host]
	if !ok || network != "ip" {
		return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.9.8.7:53", IsNotFound: true}
	}
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// dial goes to the server that stands behind the pretended address.
func (w *world) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, to.String())
	real, ok := w.servers[to.String()]
	w.mu.Unlock()
	if !ok {
		return nil, errors.New("connection refused")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", real)
}

func (w *world) record(ev Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	w.events = append(w.events, ev)
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return nil
}

// seen gives what the network and the audit have seen so far.
func (w *world) seen() (lookups, dials []string, events []Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lookups), slices.Clone(w.dials), slices.Clone(w.events)
}

// closes waits until there are n Close events and gives them in order.
func (w *world) closes(n int) []Event {
	w.t.Helper()
	late := time.After(10 * time.Second)
	for {
		_, _, events := w.seen()
		var out []Event
		for _, e := range events {
			if e.Phase == Close {
				out = append(out, e)
			}
		}
		if len(out) >= n {
			return out
		}
		select {
		case <-w.changed:
		case <-late:
			w.t.Fatalf("waited for %d Close events, have %+v", n, events)
		}
	}
}

// options are those of a gateway in this world that allows entries.
func (w *world) options(entries ...string) Options {
	o := Options{
		Group: "family", Session: "s1", Record: w.record, Resolver: w, Dial: w.dial,
		Own: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("93.184.216.99")}, nil },
	}
	for _, e := range entries {
		hosts, err := grant.ParseHost(e)
		if err != nil {
			w.t.Fatal(err)
		}
		o.Hosts = append(o.Hosts, hosts...)
	}
	return o
}

// gateway opens a gateway that is closed with the test.
func (w *world) gateway(o Options) *Gateway {
	g := New(o)
	w.t.Cleanup(g.Close)
	return g
}

// noLeaks waits for the goroutines of this package to end.
func noLeaks(t testing.TB) {
	t.Helper()
	buf := make([]byte, 1<<20)
	deadline := time.Now().Add(5 * time.Second)
	for {
		var left []string
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "egress.(*") && !strings.Contains(g, "testing.") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines left:\n%s", len(left), strings.Join(left, "\n\n"))
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// listen gives an address on loopback whose connections go to g, as those of the
// wire would.
func listen(t testing.TB, g *Gateway, kind wire.Kind) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.Serve(kind, c)
		}
	}()
	return l.Addr().String()
}

// say sends raw bytes to the proxy and gives all that comes back.
func say(t *testing.T, g *Gateway, kind wire.Kind, raw string) string {
	t.Helper()
	client, server := tcpPair(t)
	go g.Serve(kind, server)
	client.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(client, raw)
	client.CloseWrite()
	out, err := io.ReadAll(client)
	if err != nil {
		t.Fatalf("reading the answer: %v (have %q)", err, out)
	}
	return string(out)
}

// tcpPair gives both ends of a connection that can be half closed, as a stream
// of the wire can.
func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// status is the number in the first line of a response.
func status(t *testing.T, response string) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(response)), nil)
	if err != nil {
		t.Fatalf("not a response: %q: %v", response, err)
	}
	return resp.StatusCode
}

// site is an HTTPS server for example.com and *.example.com that stands behind
// the pretended address 93.184.216.34.
func (w *world) site(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.names["example.com."] = []string{"93.184.216.34"}
	w.names["api.example.com."] = []string{"93.184.216.34"}
	w.servers["93.184.216.34:443"] = s.Listener.Addr().String()
	return s
}

// quiet is the log of a server whose refused handshakes are what is tested.
func quiet() *log.Logger { return slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) }

// plainSite is an HTTP server behind 93.184.216.35:80.
func (w *world) plainSite(h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.names["plain.example.com."] = []string{"93.184.216.35"}
	w.servers["93.184.216.35:80"] = s.Listener.Addr().String()
	return s
}

// through is an HTTP client that trusts site and goes through the proxy.
func through(t testing.TB, proxy string, site *httptest.Server) *http.Client {
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})}
	if site != nil {
		tr.TLSClientConfig = site.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		tr.TLSClientConfig.ServerName = ""
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// clientHello gives the first bytes that a Go TLS client sends for name.
func clientHello(t testing.TB, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	var b bytes.Buffer
	if _, err := readHello(io.TeeReader(server, &b)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
