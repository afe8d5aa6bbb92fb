package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a name server on loopback whose answers a test writes.
type nameServer struct {
	t    *testing.T
	addr netip.AddrPort
	// answer makes of a query what is sent back, one packet after the other.
	answer func(q dnsmessage.Message, overTCP bool) [][]byte

	mu    sync.Mutex
	asked []string
}

func newNameServer(t *testing.T, answer func(q dnsmessage.Message, overTCP bool) [][]byte) *nameServer {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{t: t, addr: netip.MustParseAddrPort(tcp.Addr().String()), answer: answer}
	var served sync.WaitGroup
	served.Go(func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := udp.ReadFrom(packet)
			if err != nil {
				return
			}
			for _, p := range s.reply(packet[:n], false) {
				udp.WriteTo(p, from)
			}
		}
	})
	served.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			io.ReadFull(c, size[:])
			packet := make([]byte, binary.BigEndian.Uint16(size[:]))
			io.ReadFull(c, packet)
			for _, p := range s.reply(packet, true) {
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
			}
			c.Close()
		}
	})
	t.Cleanup(func() { tcp.Close(); udp.Close(); served.Wait() })
	return s
}

func (s *nameServer) reply(packet []byte, overTCP bool) [][]byte {
	var q dnsmessage.Message
	if err := q.Unpack(packet); err != nil || len(q.Questions) != 1 {
		s.t.Errorf("a query that is none: %v", err)
		return nil
	}
	how := " udp"
	if overTCP {
		how = " tcp"
	}
	s.mu.Lock()
	s.asked = append(s.asked, q.Questions[0].Name.String()+" "+q.Questions[0].Type.String()[4:]+how)
	s.mu.Unlock()
	return s.answer(q, overTCP)
}

// answerTo packs an answer with records; f may spoil it before.
func answerTo(t *testing.T, q dnsmessage.Message, f func(*dnsmessage.Message), records ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions, Answers: records}
	if f != nil {
		f(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func record(name, value string) dnsmessage.Resource {
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET}}
	switch a, err := netip.ParseAddr(value); {
	case err != nil:
		r.Header.Type, r.Body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(value)}
	case a.Is4():
		r.Header.Type, r.Body = dnsmessage.TypeA, &dnsmessage.AResource{A: a.As4()}
	default:
		r.Header.Type, r.Body = dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: a.As16()}
	}
	return r
}

// zone answers from records, all that belong to the question's name and type,
// aliases included.
func zone(t *testing.T, records ...dnsmessage.Resource) func(dnsmessage.Message, bool) [][]byte {
	return func(q dnsmessage.Message, _ bool) [][]byte {
		var out []dnsmessage.Resource
		for _, r := range records {
			if strings.EqualFold(r.Header.Name.String(), q.Questions[0].Name.String()) && (r.Header.Type == q.Questions[0].Type || r.Header.Type == dnsmessage.TypeCNAME) {
				out = append(out, r)
			}
		}
		return [][]byte{answerTo(t, q, nil, out...)}
	}
}

func (s *nameServer) client(others ...netip.AddrPort) *nameClient {
	c := newNameClient()
	c.servers = func() ([]netip.AddrPort, error) { return append(others, s.addr), nil }
	return c
}

// TestNames looks a name up against servers of every kind, the hostile ones too.
func TestNames(t *testing.T) {
	const want = "93.184.216.34"
	good := record("example.com.", want)
	evil := record("example.com.", "6.6.6.6")
	tests := []struct {
		name   string
		answer func(q dnsmessage.Message, overTCP bool) [][]byte
		want   string // addresses in order, or part of the error
	}{
		{"both families take turns", zone(t, good, record("example.com.", "93.184.216.35"), record("example.com.", "2606:2800::1")), "93.184.216.34 2606:2800::1 93.184.216.35"},
		{"IPv6 alone", zone(t, record("example.com.", "2606:2800::1")), "2606:2800::1"},
		{"case of the answer", zone(t, record("EXAMPLE.com.", want)), want},
		{"aliases in one answer", func(q dnsmessage.Message, _ bool) [][]byte {
			if q.Questions[0].Type != dnsmessage.TypeA {
				return [][]byte{answerTo(t, q, nil)}
			}
			return [][]byte{answerTo(t, q, nil, record("b.test.", want), record("example.com.", "a.test."), record("a.test.", "b.test."))}
		}, want},
		{"an alias to be asked for", zone(t, record("example.com.", "a.test."), record("a.test.", want)), want},
		{"an alias in a circle", zone(t, record("example.com.", "a.test."), record("a.test.", "example.com.")), "go on and on"},
		{"an alias to itself", zone(t, record("example.com.", "example.com.")), "no such name"},
		{"no address", zone(t), "no such name"},
		{"no such name", func(q dnsmessage.Message, _ bool) [][]byte {
			return [][]byte{answerTo(t, q, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError })}
		}, "no such name"},
		{"a server that fails", func(q dnsmessage.Message, _ bool) [][]byte {
			return [][]byte{answerTo(t, q, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure })}
		}, "the name server failed"},
		{"records of another name", func(q dnsmessage.Message, _ bool) [][]byte {
			return [][]byte{answerTo(t, q, nil, record("evil.test.", "6.6.6.6"))}
		}, "no such name"},
		{"addresses beside the answer", func(q dnsmessage.Message, _ bool) [][]byte {
			return [][]byte{answerTo(t, q, func(m *dnsmessage.Message) { m.Additionals = []dnsmessage.Resource{evil} })}
		}, "no such name"},
		{"an answer to another question first", func(q dnsmessage.Message, _ bool) [][]byte {
			if q.Questions[0].Type != dnsmessage.TypeA {
				return [][]byte{answerTo(t, q, nil)}
			}
			return [][]byte{
				answerTo(t, q, func(m *dnsmessage.Message) { m.ID++ }, evil),
				answerTo(t, q, func(m *dnsmessage.Message) { m.Response = false }, evil),
				answerTo(t, q, func(m *dnsmessage.Message) { m.Questions = nil }, evil),
				answerTo(t, q, func(m *dnsmessage.Message) {
					m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("evil.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
				}, evil),
				[]byte("x"), answerTo(t, q, nil, good),
			}
		}, want},
		{"too long for a packet", func(q dnsmessage.Message, overTCP bool) [][]byte {
			if !overTCP {
				return [][]byte{answerTo(t, q, func(m *dnsmessage.Message) { m.Truncated = true })}
			}
			if q.Questions[0].Type != dnsmessage.TypeA {
				return [][]byte{answerTo(t, q, nil)}
			}
			return [][]byte{answerTo(t, q, nil, good)}
		}, want},
		{"too long for everything", func(q dnsmessage.Message, _ bool) [][]byte {
			return [][]byte{answerTo(t, q, func(m *dnsmessage.Message) { m.Truncated = true })}
		}, "cannot be read"},
		{"garbage", func(q dnsmessage.Message, _ bool) [][]byte {
			b := answerTo(t, q, nil, good)
			return [][]byte{b[:len(b)-3]}
		}, "cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newNameServer(t, tt.answer)
			list, err := s.client().LookupNetIP(t.Context(), "ip", "example.com.")
			var got []string
			for _, a := range list {
				got = append(got, a.String())
			}
			text := strings.Join(got, " ")
			if err != nil {
				text = err.Error()
				var dns *net.DNSError
				if !errors.As(err, &dns) || dns.IsNotFound != (tt.want == "no such name") {
					t.Errorf("error %#v", err)
				}
			}
			if text != tt.want && !(err != nil && strings.Contains(text, tt.want)) {
				t.Errorf("got %q, want %q", text, tt.want)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.asked) > 4*dnsHops {
				t.Errorf("asked %d times", len(s.asked))
			}
			for _, q := range s.asked {
				if !strings.HasPrefix(q, "example.com. ") && !strings.HasPrefix(q, "a.test. ") {
					t.Errorf("asked for %q", q)
				}
			}
		})
	}
}

// TestNamesOfHostsFile: a line of /etc/hosts counts for nothing. Every machine
// has one for localhost, which the resolver of package net would find there.
func TestNamesOfHostsFile(t *testing.T) {
	s := newNameServer(t, zone(t, record("localhost.", "93.184.216.34")))
	got, err := s.client().LookupNetIP(t.Context(), "ip", "localhost.")
	if err != nil || !slices.Equal(got, []netip.Addr{netip.MustParseAddr("93.184.216.34")}) {
		t.Errorf("got %v, %v", got, err)
	}
	g := New(Options{})
	defer g.Close()
	if _, ok := g.resolver.(*nameClient); !ok {
		t.Errorf("a gateway asks %T", g.resolver)
	}
}

// TestNamesOverServers: one server that is gone does not matter, and all of them
// being silent is an end.
func TestNamesOverServers(t *testing.T) {
	s := newNameServer(t, zone(t, record("example.com.", "93.184.216.34")))
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(closed.LocalAddr().String())
	closed.Close() // the kernel says at once that nobody listens
	got, err := s.client(gone).LookupNetIP(t.Context(), "ip", "example.com.")
	if err != nil || len(got) != 1 {
		t.Errorf("after one that is gone: %v, %v", got, err)
	}
	silent := newNameServer(t, func(dnsmessage.Message, bool) [][]byte { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var dns *net.DNSError
	if _, err := silent.client().LookupNetIP(ctx, "ip", "example.com."); !errors.As(err, &dns) || !dns.IsTimeout {
		t.Errorf("silent servers: %v", err)
	}
	broken := newNameClient()
	broken.servers = func() ([]netip.AddrPort, error) { return nil, os.ErrPermission }
	if _, err := broken.LookupNetIP(t.Context(), "ip", "example.com."); err == nil {
		t.Error("without a list of servers there was an answer")
	}
	if _, err := s.client().LookupNetIP(t.Context(), "ip", "not absolute"); err == nil {
		t.Error("a name that is not absolute was looked up")
	}
}

func TestParseServers(t *testing.T) {
	tests := map[string]string{
		"":                                    "127.0.0.1:53",
		"search corp.example\nnameserver x\n": "127.0.0.1:53",
		"# a\nnameserver 10.0.0.1 # b\nnameserver\t::1\noptions ndots:5\nnameserver fe80::1%eth0\nnameserver 10.0.0.4\n": "10.0.0.1:53 [::1]:53 [fe80::1%eth0]:53",
	}
	for text, want := range tests {
		var got []string
		for _, s := range parseServers(text) {
			got = append(got, s.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzAnswer: whatever comes back, what is taken from it are addresses of the
// type that was asked for, or an alias, and never of a packet for another
// question.
func FuzzAnswer(f *testing.F) {
	q, err := newQuestion("example.com.", dnsmessage.TypeA)
	if err != nil {
		f.Fatal(err)
	}
	q.id = 7
	var query dnsmessage.Message
	query.ID, query.Questions = q.id, []dnsmessage.Question{q.q}
	t := &testing.T{}
	f.Add(answerTo(t, query, nil, record("example.com.", "93.184.216.34")))
	f.Add(answerTo(t, query, nil, record("example.com.", "a.test."), record("a.test.", "1.2.3.4")))
	f.Add(answerTo(t, query, func(m *dnsmessage.Message) { m.RCode = 3 }))
	f.Add([]byte{0, 7, 0x80})
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := readAnswer(packet, q)
		if err != nil {
			if len(r.addrs) > 0 || r.alias != "" {
				t.Fatalf("%v, and yet %+v", err, r)
			}
			return
		}
		var m dnsmessage.Message
		if len(packet) < 12 || binary.BigEndian.Uint16(packet) != 7 || packet[2]&0x80 == 0 {
			t.Fatalf("taken from a stray packet: %+v", r)
		}
		for _, a := range r.addrs {
			if !a.Is4() || len(r.addrs) > 0 && r.alias != "" {
				t.Fatalf("reply %+v", r)
			}
		}
		if m.Unpack(packet) == nil && len(r.addrs) > len(m.Answers) {
			t.Fatalf("%d addresses of %d records", len(r.addrs), len(m.Answers))
		}
	})
}
