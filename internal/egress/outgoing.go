package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
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
	o := outgoing{newGuard(interfaceAddrs), net.DefaultResolver, private, dialTCP}
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, to string) (net.Conn, error) { return o.dial(ctx, to) },
		TLSHandshakeTimeout: outgoingDial, ResponseHeaderTimeout: outgoingHead, MaxResponseHeaderBytes: maxAnswerHead,
		MaxConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}
}

// outgoing is how such a request finds its way.
type outgoing struct {
	guard   *guard
	names   Resolver
	private bool
	dialer  func(context.Context, netip.AddrPort) (net.Conn, error)
}

func (o outgoing) dial(ctx context.Context, to string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, outgoingDial)
	defer cancel()
	if a, err := netip.ParseAddrPort(to); err == nil {
		if !a.Addr().IsLoopback() {
			return nil, fmt.Errorf("%s is an address: write a name", a.Addr())
		}
		return o.dialer(ctx, a)
	}
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	hosts, err := grant.ParseHost(host)
	if err != nil {
		return nil, err
	}
	addrs, err := o.names.LookupNetIP(ctx, "ip", hosts[0].Pattern+".")
	if err != nil || len(addrs) == 0 {
		return nil, fmt.Errorf("the name %s could not be resolved: %s", host, lookupWords(err))
	}
	good, err := o.guard.filter(addrs, o.private)
	if err != nil {
		return nil, fmt.Errorf("%s was not reached: %w", host, err)
	}
	var all error
	for _, a := range good[:min(len(good), maxDials)] {
		conn, err := o.dialer(ctx, netip.AddrPortFrom(a, uint16(number)))
		if err == nil {
			return conn, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}
