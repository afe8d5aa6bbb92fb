package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// inspection is one tunnel whose TLS ends here: towards the agent with a
// certificate of the session's authority, towards the host as any careful
// client.
//
// What the agent says is read as strictly as what comes in plain: HTTP/1.1 by
// the reader of this package, one request for each tunnel, HTTP/2 by net/http,
// whose framing leaves nothing to be smuggled. Each request is judged, written
// down and made anew.
type inspection struct {
	x     *exchange
	req   *request // the CONNECT
	front *tls.Conn
	below *watchedConn // front's own connection

	mu sync.Mutex
	// first is the connection that was opened for the tunnel, until it is used.
	first net.Conn
	all   []net.Conn
}

// inspect serves an inspected tunnel to its end.
func (x *exchange) inspect(req *request, h hello, up net.Conn) {
	idle := x.watch(up)
	i := &inspection{x: x, req: req, first: up, all: []net.Conn{up}}
	defer i.close()
	i.below = watched(&replayConn{x.conn, io.MultiReader(bytes.NewReader(h.raw), x.in)})
	i.front = tls.Server(i.below, &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return x.g.authority.leaf(req.host) },
		NextProtos:     []string{"h2", "http/1.1"},
		MinVersion:     tls.VersionTLS12,
	})
	ctx, cancel := context.WithTimeout(x.g.ctx, x.g.limits.HelloTime)
	err := i.front.HandshakeContext(ctx)
	cancel()
	if err != nil {
		x.event.Reason = idle.stop("the client did not accept the session's certificate: " + clean(netWords(err)))
		return
	}
	defer i.front.Close()
	x.event.Reason = "ended"
	if i.front.ConnectionState().NegotiatedProtocol == "h2" {
		i.serveHTTP2()
	} else {
		i.serveHTTP1()
	}
	x.event.Reason = idle.stop(x.event.Reason)
}

// replayConn is a connection whose first bytes were read already.
type replayConn struct {
	net.Conn
	in io.Reader
}

func (c *replayConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// request begins one request of the tunnel. Its event is its own.
func (i *inspection) request() *exchange {
	in := &exchange{g: i.x.g, conn: i.front, event: i.x.g.newEvent(ProxyGate), start: time.Now(), rule: i.x.rule}
	in.meter.start = in.start
	in.event.Tunnel = i.x.event.ID
	in.event.Host, in.event.Port, in.event.Addr = i.req.host, i.req.port, i.x.event.Addr
	in.event.Rule, in.event.Reason = ruleName(i.x.rule), i.x.rule.Reason
	return in
}

// serveHTTP1 serves one request, as the proxy does where it is not inspected.
func (i *inspection) serveHTTP1() {
	in := i.request()
	defer in.close()
	in.in = bufio.NewReaderSize(i.front, 16<<10)
	req, no := in.readInside(i.req.host, i.req.port)
	if no == nil {
		no = in.admit(req)
	}
	if no != nil {
		in.refuse(no)
	} else {
		in.relay(req, i.transport(req.webSocket))
	}
	i.x.spentBy(in)
}

// spentBy takes over that a request ended by a budget.
func (x *exchange) spentBy(in *exchange) {
	if in.event.Spent != "" {
		x.event.Verdict, x.event.Reason, x.event.Spent = Refused, in.event.Reason, in.event.Spent
	}
}

// readInside takes in a request inside a tunnel.
func (x *exchange) readInside(host string, port int) (*request, *refusal) {
	return x.readWith(func(lines []string) (*request, *refusal) { return parseInside(lines, host, port) })
}

// admit judges a request inside a tunnel, and writes down that it goes on.
func (x *exchange) admit(req *request) *refusal {
	if no := x.permit(req); no != nil {
		return no
	}
	x.event.Verdict, x.event.Phase = Allowed, Open
	if !x.g.record(x.event) {
		return notRecorded()
	}
	return nil
}

// transport speaks with the host. net/http keeps the connection for the next
// request of the tunnel; close ends it.
func (i *inspection) transport(webSocket bool) *http.Transport {
	protocols := []string{"h2", "http/1.1"}
	if webSocket {
		protocols = protocols[1:]
	}
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return i.dial(ctx, protocols)
		},
		ForceAttemptHTTP2:      !webSocket,
		DisableCompression:     true,
		MaxConnsPerHost:        8, // of a host that speaks HTTP/1.1 alone
		MaxResponseHeaderBytes: maxAnswerHead,
	}
}

// dial opens TLS to the host: to an address that was judged for this tunnel, with
// the system's authorities, for this name, and without falling back to anything.
func (i *inspection) dial(ctx context.Context, protocols []string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, i.x.g.limits.DialTime)
	defer cancel()
	conn := i.takeFirst()
	if conn == nil {
		var no *refusal
		if conn, _, no = i.x.g.dial(ctx, i.x.addrs, i.req.port); no != nil {
			return nil, errors.New(no.text)
		}
		if !i.keep(conn) {
			conn.Close()
			return nil, net.ErrClosed
		}
	}
	t := tls.Client(newFarConn(conn, &i.x.meter), &tls.Config{
		ServerName: i.req.host, RootCAs: i.x.g.opts.Trust, MinVersion: tls.VersionTLS12, NextProtos: protocols,
	})
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, handshakeError(err)
	}
	return t, nil
}

// handshakeError says in words that a host could not prove who it is.
func handshakeError(err error) error {
	var bad *tls.CertificateVerificationError
	var name x509.HostnameError
	switch {
	case errors.As(err, &name):
		return errors.New("its certificate is for other names")
	case errors.As(err, &bad):
		return errors.New("its certificate is not good: " + bad.Err.Error())
	}
	return err
}

func (i *inspection) takeFirst() net.Conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.first
	i.first = nil
	return c
}

// keep remembers a connection for close; false if that was already.
func (i *inspection) keep(c net.Conn) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.all == nil {
		return false
	}
	i.all = append(i.all, c)
	return true
}

// close ends every connection to the host.
func (i *inspection) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.all {
		c.Close()
	}
	i.all = nil
}
