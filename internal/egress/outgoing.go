package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"nanoclaw/internal/grant"
)

// Bounds of the host's own requests.
const (
	outgoingDial = 10 * time.Second
	outgoingHead = 30 * time.Second
)

// Outgoing gives a way for requests of the host itself to an address that the owner
// named, such as the one that a webhook's answers go to. Names are looked up here, and
// the very address that is dialled is judged as for an agent: who holds the name must
// not be able to point the host at this machine or at what lies behind it. private lets
// it lead to other machines on private addresses. An address of loopback by number is
// the owner's own word for this machine, and taken.
//
// No proxy of the environment is asked, and no redirect is followed by a RoundTripper.
func Outgoing(private bool) http.RoundTripper {
	return outgoing(private, net.DefaultResolver, interfaceAddrs)
}

func outgoing(private bool, names Resolver, own func() ([]netip.Addr, error)) http.RoundTripper {
	g := newGuard(own)
	return &http.Transport{
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
			return dialOutgoing(ctx, g, names, private, to)
		},
		TLSHandshakeTimeout: outgoingDial, ResponseHeaderTimeout: outgoingHead, MaxResponseHeaderBytes: maxAnswerHead,
		MaxConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}
}

func dialOutgoing(ctx context.Context, g *guard, names Resolver, private bool, to string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, outgoingDial)
	defer cancel()
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	if a, err := netip.ParseAddr(host); err == nil {
		if !a.IsLoopback() {
			return nil, fmt.Errorf("%s is an address: write a name", host)
		}
		return d.DialContext(ctx, "tcp", to)
	}
	hosts, err := grant.ParseHost(host)
	if err != nil {
		return nil, err
	}
	addrs, err := names.LookupNetIP(ctx, "ip", hosts[0].Pattern+".")
	if err != nil || len(addrs) == 0 {
		return nil, fmt.Errorf("the name %s could not be resolved: %s", host, lookupWords(err))
	}
	good, err := g.filter(addrs, private)
	if err != nil {
		return nil, fmt.Errorf("%s was not reached: %w", host, err)
	}
	var all error
	for _, a := range good[:min(len(good), maxDials)] {
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}
