package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/grant"
)

// Resolver looks names up.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// maxAddresses is how many addresses of one name are looked at, and maxDials
// how many of them are tried.
const (
	maxAddresses = 64
	maxDials     = 4
)

// special are the parts of the address space that no agent reaches, with the
// word for each. From IANA's special-purpose registries (RFC 6890), and the
// clouds' metadata services that lie outside them. The first match counts.
//
// For IPv6 the list only gives words: class allows nothing outside 2000::/3, the
// one block of global unicast, so a form that embeds an IPv4 address and is not
// named here (NAT64, IPv4-compatible, IPv4-translated) is refused all the same.
func special() []struct{ prefix, class string } {
	return []struct{ prefix, class string }{
		{"0.0.0.0/32", "unspecified"},
		{"0.0.0.0/8", "reserved"},
		{"10.0.0.0/8", "private"},
		{"100.100.100.200/32", "cloud metadata"},
		{"100.64.0.0/10", "carrier-grade NAT"},
		{"127.0.0.0/8", "loopback"},
		{"168.63.129.16/32", "cloud metadata"},
		{"169.254.169.254/32", "cloud metadata"},
		{"169.254.0.0/16", "link-local"},
		{"172.16.0.0/12", "private"},
		{"192.0.0.0/24", "reserved"},
		{"192.0.2.0/24", "documentation"},
		{"192.88.99.0/24", "6to4"},
		{"192.168.0.0/16", "private"},
		{"198.18.0.0/15", "benchmarking"},
		{"198.51.100.0/24", "documentation"},
		{"203.0.113.0/24", "documentation"},
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved"},

		{"::/128", "unspecified"},
		{"::1/128", "loopback"},
		{"64:ff9b::/96", "NAT64"},
		{"64:ff9b:1::/48", "NAT64"},
		{"2001:2::/48", "benchmarking"},
		{"2001::/32", "Teredo"},
		{"2001::/23", "reserved"},
		{"2001:db8::/32", "documentation"},
		{"2002::/16", "6to4"},
		{"3fff::/20", "documentation"},
		{"fd00:ec2::254/128", "cloud metadata"},
		{"fc00::/7", "private"},
		{"fe80::/10", "link-local"},
		{"fec0::/10", "private"},
		{"ff00::/8", "multicast"},
	}
}

// guard judges addresses: the second lock of the egress, behind the names. A
// name that the owner allowed may be pointed by its holder at anything, at this
// machine for one (DNS rebinding); the guard is asked about the very address
// that is dialled next.
type guard struct {
	special []classed
	global6 netip.Prefix
	// own gives the addresses of this machine's interfaces, which may be public.
	own func() ([]netip.Addr, error)
}

type classed struct {
	prefix netip.Prefix
	class  string
}

func newGuard(own func() ([]netip.Addr, error)) *guard {
	g := &guard{global6: netip.MustParsePrefix("2000::/3"), own: own}
	for _, s := range special() {
		g.special = append(g.special, classed{netip.MustParsePrefix(s.prefix), s.class})
	}
	return g
}

// class says in a word why a must not be reached, and "" if it may. An
// IPv4-mapped address is judged, and dialled, as the IPv4 address it is.
func (g *guard) class(a netip.Addr, own []netip.Addr) string {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return "scoped"
	}
	for _, s := range g.special {
		if s.prefix.Contains(a) {
			return s.class
		}
	}
	if a.Is6() && !g.global6.Contains(a) {
		return "reserved"
	}
	if slices.Contains(own, a) {
		return "this machine's own"
	}
	return ""
}

// filter keeps the addresses that may be reached, private ones only if the grant
// accepts them for this host and port. If none is left, the error names the kinds
// and not the addresses: what the owner's private names resolve to is not the
// agent's business.
func (g *guard) filter(addrs []netip.Addr, private bool) ([]netip.Addr, error) {
	own, err := g.own()
	if err != nil {
		return nil, fmt.Errorf("the addresses of this machine cannot be listed, so nothing can be checked: %w", err)
	}
	for i := range own {
		own[i] = own[i].Unmap().WithZone("")
	}
	if len(addrs) > maxAddresses {
		addrs = addrs[:maxAddresses]
	}
	var good []netip.Addr
	var classes []string
	for _, a := range addrs {
		class := g.class(a, own)
		if private && (class == "private" || class == "carrier-grade NAT") {
			// Other machines are meant: a name that somebody else holds must not lead
			// back here.
			class = ""
			if slices.Contains(own, a.Unmap()) {
				class = "this machine's own"
			}
		}
		if class == "" {
			good = append(good, a.Unmap())
		} else if !slices.Contains(classes, class) {
			classes = append(classes, class)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("its name leads only to addresses that no agent may reach (%s)", strings.Join(classes, ", "))
	}
	return good, nil
}

// interfaceAddrs lists the addresses of this machine.
func interfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var own []netip.Addr
	for _, n := range list {
		if p, err := netip.ParsePrefix(n.String()); err == nil {
			own = append(own, p.Addr())
		}
	}
	return own, nil
}

// resolve looks name up, once for each connection, as an absolute name: no
// search list may turn it into another. name is canonical. An address that the
// grant gives for the name is taken without asking, and may be any that an owner
// can grant: it stands there on purpose.
func (g *Gateway) resolve(ctx context.Context, name string, rule grant.Host) ([]netip.Addr, *refusal) {
	if rule.Address != "" {
		a, err := netip.ParseAddr(rule.Address)
		if err != nil || grant.NeverAddress(a) != "" {
			return nil, &refusal{status: 403, text: fmt.Sprintf("%s was not reached: its address in the grant cannot be granted", name)}
		}
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.limits.DialTime)
	defer cancel()
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", name+".")
	if err == nil && len(addrs) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		return nil, &refusal{status: 502, text: fmt.Sprintf("the name %s could not be resolved: %s", name, lookupWords(err)), failed: true}
	}
	good, err := g.guard.filter(addrs, rule.Private)
	if err != nil {
		return nil, &refusal{status: 403, text: fmt.Sprintf("%s was not reached: %v", name, err)}
	}
	return good, nil
}

// lookupWords leaves out which server was asked: that is the owner's network.
func lookupWords(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such name"
	case errors.As(err, &dns) && dns.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return "the name service failed"
}

// dial connects to one of the addresses that were checked. It never sees the
// name, so nothing can be looked up a second time.
func (g *Gateway) dial(ctx context.Context, addrs []netip.Addr, port int) (net.Conn, netip.Addr, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, g.limits.DialTime)
	defer cancel()
	if len(addrs) > maxDials {
		addrs = addrs[:maxDials]
	}
	var last error
	for i, a := range addrs {
		conn, err := g.dialOne(ctx, a, port, len(addrs)-i)
		if err == nil {
			return conn, a, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, netip.Addr{}, &refusal{status: 502, text: "the host could not be reached: " + clean(netWords(last)), failed: true}
}

// dialOne gives each address an equal share of the time that is left.
func (g *Gateway) dialOne(ctx context.Context, a netip.Addr, port, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return g.dialer(ctx, netip.AddrPortFrom(a, uint16(port)))
}

// dialTCP is the dialer of the real network.
func dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to.String())
}
