package attack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"nanoclaw/internal/attack/inside"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
)

// Beyond serves what lies beyond a boundary until its listener is closed: it
// answers whatever it is sent with the secret, and repeats it. As a proxy that
// asks nobody it is what the control arm attacks.
func Beyond(l net.Listener, secret string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go answer(conn, secret)
	}
}

func answer(conn net.Conn, secret string) {
	defer conn.Close()
	b := make([]byte, 16<<10)
	n, _ := conn.Read(b)
	if n > 0 && b[0] == 5 { // SOCKS
		conn.Write([]byte{5, 0})
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Secret: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", secret, n, b[:n])
}

// network is a made-up one: each name leads to an address that looks public,
// but for those that are there to mislead, and behind each address is the same
// server on our loopback.
type network struct {
	listener net.Listener

	mu     sync.Mutex
	events []egress.Event
}

func newNetwork(secret string) (*network, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go Beyond(l, secret)
	return &network{listener: l}, nil
}

func (n *network) close() { n.listener.Close() }

// hosts are those of the grant.
func hosts() []grant.Host {
	var out []grant.Host
	for _, name := range []string{inside.Allowed, "*." + inside.Wild, inside.Rebound, inside.Metadata, inside.Private} {
		out = append(out, grant.Host{Pattern: name, Port: 443, Reason: "for the attacks"})
	}
	return append(out, grant.Host{Pattern: inside.Allowed, Port: 80, Reason: "for the attacks"})
}

// gateway is the way out of one session.
func (n *network) gateway(granted []grant.Host) *egress.Gateway {
	n.mu.Lock()
	n.events = nil
	n.mu.Unlock()
	return egress.New(egress.Options{
		Group: "attack", Hosts: granted, Record: n.record, Resolver: n, Dial: n.dial,
		Own: func() ([]netip.Addr, error) { return nil, nil }, Limits: egress.Limits{Conns: inside.MaxConns},
	})
}

func (n *network) record(e egress.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
	return nil
}

// LookupNetIP is the name service.
func (n *network) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	addr := map[string]string{
		inside.Rebound + ".": "127.0.0.1", inside.Metadata + ".": "169.254.169.254", inside.Private + ".": "10.1.2.3",
	}[host]
	if addr == "" {
		addr = "1.2.3.4"
	}
	return []netip.Addr{netip.MustParseAddr(addr)}, nil
}

// dial leads to the one server, whatever the address.
func (n *network) dial(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", n.listener.Addr().String())
}

// unheard gives findings for refusals of lines that the audit did not hear of.
func (n *network) unheard(lines []Line) []finding {
	n.mu.Lock()
	defer n.mu.Unlock()
	heard := func(ok func(egress.Event) bool) bool {
		return slices.ContainsFunc(n.events, func(e egress.Event) bool { return e.Verdict == egress.Refused && ok(e) })
	}
	var out []finding
	for _, l := range lines {
		for _, host := range l.Audit {
			if !heard(func(e egress.Event) bool { return e.Host == host }) {
				out = append(out, finding{recorded, l.ID, "no refusal of " + host})
			}
		}
		if l.ID == "R-06" && !heard(func(e egress.Event) bool { return e.Count > 0 }) {
			out = append(out, finding{recorded, l.ID, "no word of connections beyond the limit"})
		}
	}
	return out
}
