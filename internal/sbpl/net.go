package sbpl

import (
	"fmt"
	"net/netip"
	"strings"
)

// address makes the filter (remote ip "HOST:PORT") and its relatives. HOST is "*"
// or "localhost": the language knows no other. A Unix socket is named by its path.
func (c *compiler) address(n node) (filter, error) {
	if len(n.list) < 2 || len(n.list) > 3 {
		return nil, fmt.Errorf("%s needs a protocol and an address", n.head())
	}
	protocol := n.list[1].text
	if protocol == "unix-socket" {
		return c.unixSocket(n)
	}
	if len(n.list) != 3 || protocol != "ip" && protocol != "tcp" && protocol != "udp" {
		return nil, fmt.Errorf("%s %s is not known here", n.head(), protocol)
	}
	value, err := c.value(n.list[2])
	if err != nil {
		return nil, err
	}
	host, port, ok := strings.Cut(value, ":")
	if !ok || host != "*" && host != "localhost" || port == "" || strings.Trim(port, "0123456789") != "" && port != "*" {
		return nil, fmt.Errorf("the address %q is neither *:PORT nor localhost:PORT", value)
	}
	return func(q Query) bool {
		i := strings.LastIndexByte(q.Addr, ':')
		if i < 0 || strings.HasPrefix(q.Addr, "/") {
			return false
		}
		return (host == "*" || Loopback(q.Addr[:i])) && (port == "*" || port == q.Addr[i+1:])
	}, nil
}

// unixSocket makes the filter (remote unix-socket (path-literal "PATH")), or
// without a path the one for all.
func (c *compiler) unixSocket(n node) (filter, error) {
	isSocket := func(q Query) bool { return strings.HasPrefix(q.Addr, "/") }
	if len(n.list) == 2 {
		return isSocket, nil
	}
	f, err := c.filter(n.list[2])
	if err != nil {
		return nil, err
	}
	return func(q Query) bool { return isSocket(q) && f(Query{Path: q.Addr}) }, nil
}

// Loopback says whether Seatbelt takes a host for "localhost".
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}
