package egress

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("93.184.216.99"), netip.MustParseAddr("2a00:1450::99")}
	g := newGuard(nil)
	tests := []struct{ name, addr, want string }{
		{"public", "93.184.216.34", ""},
		{"public next to private", "172.32.0.1", ""},
		{"public next to NAT", "100.128.0.1", ""},
		{"public IPv6", "2606:2800:220:1::1", ""},
		{"last global", "3ffe:ffff::1", ""},
		{"mapped public", "::ffff:93.184.216.34", ""},

		{"loopback", "127.0.0.1", "loopback"},
		{"loopback, other", "127.255.3.4", "loopback"},
		{"loopback IPv6", "::1", "loopback"},
		{"loopback mapped", "::ffff:127.0.0.1", "loopback"},
		{"loopback compatible", "::127.0.0.1", "reserved"},
		{"loopback translated", "::ffff:0:127.0.0.1", "reserved"},
		{"loopback in NAT64", "64:ff9b::7f00:1", "NAT64"},
		{"loopback in local NAT64", "64:ff9b:1::7f00:1", "NAT64"},
		{"loopback in 6to4", "2002:7f00:1::", "6to4"},
		{"Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"},
		{"unspecified", "0.0.0.0", "unspecified"},
		{"this network", "0.1.2.3", "reserved"},
		{"unspecified IPv6", "::", "unspecified"},
		{"private 10", "10.1.2.3", "private"},
		{"private 172.16", "172.16.0.1", "private"},
		{"private 172.31", "172.31.255.255", "private"},
		{"private 192.168", "192.168.1.1", "private"},
		{"private mapped", "::ffff:10.0.0.1", "private"},
		{"private IPv6", "fd12:3456::1", "private"},
		{"site-local", "fec0::1", "private"},
		{"CGNAT", "100.64.0.1", "carrier-grade NAT"},
		{"link-local", "169.254.1.1", "link-local"},
		{"link-local IPv6", "fe80::1", "link-local"},
		{"zone", "fe80::1%eth0", "scoped"},
		{"zone on a public one", "2606:2800:220:1::1%eth0", "scoped"},
		{"metadata", "169.254.169.254", "cloud metadata"},
		{"metadata IPv6", "fd00:ec2::254", "cloud metadata"},
		{"metadata, Azure", "168.63.129.16", "cloud metadata"},
		{"metadata, Alibaba", "100.100.100.200", "cloud metadata"},
		{"metadata, Oracle", "192.0.0.192", "reserved"},
		{"multicast", "224.0.0.251", "multicast"},
		{"multicast IPv6", "ff02::1", "multicast"},
		{"broadcast", "255.255.255.255", "reserved"},
		{"class E", "240.0.0.1", "reserved"},
		{"benchmarking", "198.19.0.1", "benchmarking"},
		{"benchmarking IPv6", "2001:2::1", "benchmarking"},
		{"documentation", "203.0.113.5", "documentation"},
		{"documentation IPv6", "2001:db8::1", "documentation"},
		{"documentation IPv6, new", "3fff::1", "documentation"},
		{"6to4 relay", "192.88.99.1", "6to4"},
		{"discard", "100::1", "reserved"},
		{"segment routing", "5f00::1", "reserved"},
		{"own", "93.184.216.99", "this machine's own"},
		{"own mapped", "::ffff:93.184.216.99", "this machine's own"},
		{"own IPv6", "2a00:1450::99", "this machine's own"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := g.class(netip.MustParseAddr(tt.addr), own); got != tt.want {
				t.Errorf("class(%s) = %q, want %q", tt.addr, got, tt.want)
			}
		})
	}
	if got := g.class(netip.Addr{}, nil); got == "" {
		t.Error("the zero address may be reached")
	}
}

func TestGuardFilter(t *testing.T) {
	parse := func(list ...string) (out []netip.Addr) {
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	none := func() ([]netip.Addr, error) { return nil, nil }
	g := newGuard(none)
	got, err := g.filter(parse("10.0.0.1", "::ffff:93.184.216.34", "127.0.0.1", "2606:2800::1"), false)
	if want := parse("93.184.216.34", "2606:2800::1"); err != nil || !slices.Equal(got, want) {
		t.Errorf("filter = %v, %v; want %v", got, err, want)
	}
	_, err = g.filter(parse("10.0.0.1", "192.168.7.7", "127.0.0.1"), false)
	if err == nil || !strings.Contains(err.Error(), "(private, loopback)") || strings.Contains(err.Error(), "7.7") {
		t.Errorf("error %v: want the kinds and no address", err)
	}
	if _, err := g.filter(nil, false); err == nil {
		t.Error("no address at all is no error")
	}
	many := slices.Repeat(parse("127.0.0.1"), maxAddresses)
	if _, err := g.filter(append(many, parse("93.184.216.34")...), false); err == nil {
		t.Error("an address beyond the limit counts")
	}

	g = newGuard(func() ([]netip.Addr, error) { return nil, errors.New("netlink is gone") })
	if _, err := g.filter(parse("93.184.216.34"), false); err == nil {
		t.Error("without the own addresses nothing can be checked, yet an address passed")
	}
	// The real list of this machine must be readable and hold loopback.
	own, err := interfaceAddrs()
	if err != nil || !slices.Contains(own, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("interfaceAddrs() = %v, %v; want 127.0.0.1 among them", own, err)
	}
}
