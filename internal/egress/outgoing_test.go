package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// errReached stands for a connection.
var errReached = errors.New("reached")

// namesOf resolves every name to some addresses.
type namesOf []string

func (n namesOf) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range n {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// A request of the host's own goes where the owner's name leads in public, and nowhere
// that whoever holds the name points it to.
func TestOutgoing(t *testing.T) {
	for _, tt := range []struct {
		name    string
		to      string
		leads   namesOf
		private bool
		reached string
	}{
		{"a public name", "example.com:443", namesOf{"93.184.216.34"}, false, "93.184.216.34:443"},
		{"a name of this machine", "example.com:443", namesOf{"127.0.0.1"}, false, ""},
		{"a name of this machine, where private ones are granted", "example.com:443", namesOf{"127.0.0.1", "::1"}, true, ""},
		{"a name of the network behind it", "example.com:443", namesOf{"10.1.2.3", "fd00::1"}, false, ""},
		{"that, granted", "example.com:443", namesOf{"10.1.2.3"}, true, "10.1.2.3:443"},
		{"the cloud's own", "example.com:443", namesOf{"169.254.169.254"}, true, ""},
		{"this machine's own address", "example.com:443", namesOf{"198.41.0.4"}, true, ""},
		{"the good one of two", "example.com:443", namesOf{"127.0.0.1", "93.184.216.34"}, false, "93.184.216.34:443"},
		{"a mapped address", "example.com:443", namesOf{"::ffff:127.0.0.1"}, false, ""},
		{"no address", "example.com:443", nil, false, ""},
		{"loopback by number", "127.0.0.1:5678", nil, false, "127.0.0.1:5678"},
		{"another address by number", "93.184.216.34:443", nil, false, ""},
		{"a private one by number", "10.1.2.3:443", nil, true, ""},
		{"loopback in other digits", "0x7f.1:443", namesOf{"127.0.0.1"}, true, ""},
		{"localhost", "localhost:443", namesOf{"127.0.0.1"}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reached := ""
			o := outgoing{newGuard(func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("198.41.0.4")}, nil }), tt.leads, tt.private,
				func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
					reached += a.String()
					return nil, errReached
				}}
			_, err := o.dial(t.Context(), tt.to)
			if reached != tt.reached || errors.Is(err, errReached) != (tt.reached != "") {
				t.Errorf("reached %q, want %q (%v)", reached, tt.reached, err)
			}
			if err != nil && strings.Contains(err.Error(), "10.1.2.3") && tt.to != "10.1.2.3:443" {
				t.Errorf("it tells where a name leads: %v", err)
			}
		})
	}
}
