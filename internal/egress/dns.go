package egress

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of one look-up.
const (
	dnsServers  = 3               // name servers asked, as many as resolv.conf(5) has
	dnsRounds   = 2               // times that each is asked
	dnsPatience = 3 * time.Second // for one answer
	dnsHops     = 8               // aliases followed with a new question
	dnsAliases  = 16              // aliases followed inside one answer
	dnsStray    = 16              // packets on our port that are no answer to us
)

// nameClient looks names up in DNS and nowhere else. The resolver of package net
// cannot be told to leave out /etc/hosts, where a line for an allowed name would
// decide where an agent is let through; what the owner wants to have there they
// write into the configuration, by name.
//
// It is a stub as RFC 1034 section 5.3.1 has it: it asks the name servers of this
// machine, which do the work, and follows aliases in what they say. Names are
// absolute, so no search list applies. It keeps nothing. A name server on this
// machine may itself read /etc/hosts (systemd-resolved does unless told
// otherwise); the addresses are judged all the same.
//
// Answers are taken from anybody who guesses a port, an identifier and the
// question, and so are as good as DNS is. What holds regardless is the guard,
// and TLS.
type nameClient struct {
	servers func() ([]netip.AddrPort, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

func newNameClient() *nameClient {
	var d net.Dialer
	return &nameClient{servers: systemServers, dial: d.DialContext}
}

// systemServers reads the name servers at each look-up: a laptop changes its own.
func systemServers() ([]netip.AddrPort, error) {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return parseServers(string(text)), err
}

// parseServers reads resolv.conf(5) for its name servers. Without one it is the
// one on this machine.
func parseServers(text string) []netip.AddrPort {
	var out []netip.AddrPort
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" || len(out) == dnsServers {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
		}
	}
	if out == nil {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53))
	}
	return out
}

// LookupNetIP gives the addresses of host, an absolute name with its final dot.
// IPv4 and IPv6 take turns in it. The errors are of type *net.DNSError.
func (c *nameClient) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	type found struct {
		addrs []netip.Addr
		err   error
	}
	six := make(chan found, 1)
	go func() {
		addrs, err := c.addresses(ctx, host, dnsmessage.TypeAAAA)
		six <- found{addrs, err}
	}()
	v4, err := c.addresses(ctx, host, dnsmessage.TypeA)
	v6 := <-six
	if err == nil {
		err = v6.err
	}
	out := interleave(v4, v6.addrs)
	if len(out) > 0 {
		return out, nil
	}
	if err == nil || errors.Is(err, errNoName) {
		return nil, &net.DNSError{Err: errNoName.Error(), Name: host, IsNotFound: true}
	}
	var slow net.Error
	return nil, &net.DNSError{Err: err.Error(), Name: host, IsTimeout: errors.As(err, &slow) && slow.Timeout() || ctx.Err() != nil}
}

func interleave(a, b []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			out = append(out, a[i])
		}
		if i < len(b) {
			out = append(out, b[i])
		}
	}
	return out[:min(len(out), maxAddresses)]
}

var (
	errNoName = errors.New("no such name")
	errServer = errors.New("the name server failed")
	errAnswer = errors.New("an answer that cannot be read")
)

// addresses asks for one type of address and follows aliases.
func (c *nameClient) addresses(ctx context.Context, name string, kind dnsmessage.Type) ([]netip.Addr, error) {
	for range dnsHops {
		q, err := newQuestion(name, kind)
		if err != nil {
			return nil, err
		}
		a, err := c.ask(ctx, q)
		if err != nil || len(a.addrs) > 0 || a.alias == "" {
			return a.addrs, err
		}
		name = a.alias
	}
	return nil, fmt.Errorf("%w: its aliases go on and on", errServer)
}

// question is one query, packed, and what an answer to it must repeat.
type question struct {
	id     uint16
	q      dnsmessage.Question
	packet []byte
}

func newQuestion(name string, kind dnsmessage.Type) (question, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return question{}, fmt.Errorf("%w: %w", errNoName, err)
	}
	var id [2]byte
	rand.Read(id[:]) // never fails
	q := question{id: binary.BigEndian.Uint16(id[:]), q: dnsmessage.Question{Name: n, Type: kind, Class: dnsmessage.ClassINET}}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.id, RecursionDesired: true}, Questions: []dnsmessage.Question{q.q}}
	if q.packet, err = m.Pack(); err != nil {
		return question{}, fmt.Errorf("%w: %w", errNoName, err)
	}
	return q, nil
}

// ask asks each server in turn, until one says something about the name.
func (c *nameClient) ask(ctx context.Context, q question) (answer reply, err error) {
	servers, err := c.servers()
	if err != nil {
		return reply{}, err
	}
	err = errServer
	for range dnsRounds {
		for _, s := range servers {
			if ctx.Err() != nil {
				return reply{}, context.Cause(ctx)
			}
			answer, err = c.askOne(ctx, q, s, "udp")
			if errors.Is(err, errTruncated) {
				answer, err = c.askOne(ctx, q, s, "tcp")
			}
			if err == nil || errors.Is(err, errNoName) {
				return answer, err
			}
		}
	}
	return reply{}, err
}

// askOne asks one server over one kind of connection.
func (c *nameClient) askOne(ctx context.Context, q question, server netip.AddrPort, network string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsPatience)
	defer cancel()
	conn, err := c.dial(ctx, network, server.String())
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if network == "tcp" {
		return askStream(conn, q)
	}
	if _, err := conn.Write(q.packet); err != nil {
		return reply{}, err
	}
	packet := make([]byte, 4096)
	for range dnsStray {
		n, err := conn.Read(packet)
		if err != nil {
			return reply{}, err
		}
		if r, err := readAnswer(packet[:n], q); !errors.Is(err, errStray) {
			return r, err
		}
	}
	return reply{}, errStray
}

// askStream is the form for TCP: two bytes of length before each message (RFC
// 1035 section 4.2.2).
func askStream(conn net.Conn, q question) (reply, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(q.packet)))
	if _, err := conn.Write(append(framed, q.packet...)); err != nil {
		return reply{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return reply{}, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, packet); err != nil {
		return reply{}, err
	}
	r, err := readAnswer(packet, q)
	if errors.Is(err, errTruncated) {
		err = errAnswer // there is no further way to ask
	}
	return r, err
}
