package egress

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"context"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// throughput measures 32 MB over one connection that dial opens.
func throughput(b *testing.B, dial func() net.Conn) {
	const size = 32 << 20
	b.SetBytes(size)
	for b.Loop() {
		c := dial()
		if n, err := io.Copy(io.Discard, c); n != size || err != nil {
			b.Fatalf("%d bytes, %v", n, err)
		}
		c.Close()
	}
}

// source serves 32 MB to everybody who has sent a ClientHello.
func source(b *testing.B, hello int64) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	chunk := make([]byte, 1<<20)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if n, _ := io.CopyN(io.Discard, c, hello); n < hello {
					return
				}
				for range 32 {
					c.Write(chunk)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkDownload compares a tunnel with the bare connection that it replaces.
func BenchmarkDownload(b *testing.B) {
	hello := clientHello(b, "example.com")
	to := source(b, int64(len(hello)))
	direct := func() net.Conn {
		c, err := net.Dial("tcp", to)
		if err != nil {
			b.Fatal(err)
		}
		c.Write(hello)
		return c
	}
	b.Run("direct", func(b *testing.B) { throughput(b, direct) })
	b.Run("proxy", func(b *testing.B) {
		g, proxy := benchGateway(b, to)
		defer g.Close()
		throughput(b, func() net.Conn { return benchTunnel(b, proxy, hello) })
	})
}

// BenchmarkConnect is the cost of a refused and of an opened connection.
func BenchmarkConnect(b *testing.B) {
	hello := clientHello(b, "example.com")
	to := source(b, 1<<30)
	g, proxy := benchGateway(b, to)
	defer g.Close()
	b.Run("refused", func(b *testing.B) {
		for b.Loop() {
			c, _ := net.Dial("tcp", proxy)
			io.WriteString(c, "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n")
			io.Copy(io.Discard, c)
			c.Close()
		}
	})
	b.Run("opened", func(b *testing.B) {
		for b.Loop() {
			benchTunnel(b, proxy, hello).Close()
		}
	})
}

type oneName struct{}

func (oneName) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
}

func benchGateway(b *testing.B, to string) (*Gateway, string) {
	hosts, err := grant.ParseHost("example.com")
	if err != nil {
		b.Fatal(err)
	}
	g := New(Options{Group: "family", Session: "s1", Hosts: hosts, Resolver: oneName{},
		Record: func(Event) error { return nil }, Limits: Limits{Burst: 1 << 30, Interval: time.Nanosecond},
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", to)
		}})
	return g, listen(b, g, wire.Proxy)
}

func benchTunnel(b *testing.B, proxy string, hello []byte) net.Conn {
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		b.Fatal(err)
	}
	io.WriteString(c, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	if _, err := io.ReadFull(c, make([]byte, len(established))); err != nil {
		b.Fatal(err)
	}
	c.Write(hello)
	return c
}
