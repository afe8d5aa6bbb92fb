package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nanoclaw/internal/wire"
)

// openTunnel sends CONNECT example.com:443 and reads the 200.
func openTunnel(t *testing.T, g *Gateway, host string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	client, server := tcpPair(t)
	go g.Serve(wire.Proxy, server)
	client.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(client, "CONNECT "+host+":443 HTTP/1.1\r\nHost: "+host+":443\r\n\r\n")
	in := bufio.NewReader(client)
	resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %v, %v", resp, err)
	}
	return client, in
}

// TestTunnelCarriesOnlyItsTLS is N-12 and N-14. The far side must not see one
// byte of what is refused.
func TestTunnelCarriesOnlyItsTLS(t *testing.T) {
	alert := unrecognizedName
	withECH := addExtension(clientHello(t, "example.com"), 0xfe0d, []byte{0, 1, 2, 3})
	twoNames := addExtension(clientHello(t, "example.com"), 0, []byte{0, 7, 0, 0, 4, 'e', 'v', 'i', 'l'})
	tests := []struct {
		name   string
		send   []byte
		reason string // "" is allowed
		back   string
	}{
		{"the same name", clientHello(t, "example.com"), "", ""},
		{"in small records", fragment(clientHello(t, "example.com"), 100), "", ""},
		{"other case", bytes.Replace(clientHello(t, "example.com"), []byte("example.com"), []byte("EXAMPLE.com"), 1), "", ""},
		{"N-12 an encrypted name", withECH, "carries an encrypted one (ECH)", alert},
		{"N-12 other name", clientHello(t, "evil.test"), `names "evil.test", but the tunnel was opened for example.com`, alert},
		{"N-12 below the name", clientHello(t, "x.example.com"), "was opened for example.com", alert},
		{"N-12 no name", clientHello(t, "127.0.0.1"), "names no host", alert},
		{"N-12 two names", twoNames, "malformed", ""},
		{"N-14 ssh", []byte("SSH-2.0-OpenSSH_9.2\r\n"), "did not begin with TLS", ""},
		{"N-14 plain HTTP", []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), "did not begin with TLS", ""},
		{"N-14 another record", []byte{23, 3, 3, 0, 5, 1, 2, 3, 4, 5}, "did not begin with TLS", ""},
		{"N-14 another handshake", []byte{22, 3, 3, 0, 5, 2, 2, 3, 4, 5}, "did not begin with TLS", ""},
		{"N-14 old SSL", []byte{0x80, 0x2e, 1, 3, 1, 0, 0}, "did not begin with TLS", ""},
		{"empty record", []byte{22, 3, 1, 0, 0, 22, 3, 1}, "did not begin with TLS", ""},
		{"too large", append([]byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, make([]byte, maxHello)...), "did not begin with TLS", ""},
		{"cut off", clientHello(t, "example.com")[:60], "ended inside", ""},
		{"nothing", nil, "ended before", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			got := make(chan []byte, 1)
			l := farSide(t, got)
			w.names["example.com."] = []string{"93.184.216.34"}
			w.servers["93.184.216.34:443"] = l
			g := w.gateway(w.options("example.com"))
			client, in := openTunnel(t, g, "example.com")
			client.Write(tt.send)
			client.CloseWrite()
			back, _ := io.ReadAll(in)
			far, ev := <-got, w.closes(1)[0]
			if string(back) != tt.back {
				t.Errorf("the client got %q, want %q", back, tt.back)
			}
			if tt.reason == "" {
				if !bytes.Equal(far, tt.send) || ev.Verdict != Allowed || ev.Up != int64(len(far)) {
					t.Errorf("the far side got %d bytes of %d; event %+v", len(far), len(tt.send), ev)
				}
				return
			}
			if len(far) != 0 || ev.Verdict != Refused || !strings.Contains(ev.Reason, tt.reason) || ev.Up != 0 {
				t.Errorf("the far side got %q; event %+v, want refused: %q", far, ev, tt.reason)
			}
		})
	}
}

// farSide accepts one connection and gives all that it received.
func farSide(t *testing.T, got chan<- []byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		got <- b
	}()
	return l.Addr().String()
}

// addExtension appends an extension to the ClientHello in one record.
func addExtension(record []byte, kind uint16, data []byte) []byte {
	b := bytes.Clone(record)
	ext := binary.BigEndian.AppendUint16(nil, kind)
	ext = binary.BigEndian.AppendUint16(ext, uint16(len(data)))
	b = append(append(b, ext...), data...)
	grow := len(ext) + len(data)
	add := func(at, size int) {
		n := 0
		for _, v := range b[at : at+size] {
			n = n<<8 | int(v)
		}
		n += grow
		for i := range size {
			b[at+size-1-i] = byte(n >> (8 * i))
		}
	}
	at := 5 + 4 + 2 + 32
	at += 1 + int(b[at])                                  // session
	at += 2 + int(binary.BigEndian.Uint16(b[at:]))        // suites
	at += 1 + int(b[at])                                  // compression
	for _, f := range [][2]int{{3, 2}, {6, 3}, {at, 2}} { // record, handshake, extensions
		add(f[0], f[1])
	}
	return b
}

// fragment spreads the handshake message of one record over records of size.
func fragment(record []byte, size int) []byte {
	var out []byte
	for msg := record[5:]; len(msg) > 0; {
		n := min(size, len(msg))
		out = append(out, 22, 3, 1, byte(n>>8), byte(n))
		out = append(out, msg[:n]...)
		msg = msg[n:]
	}
	return out
}

// FuzzClientHello compares the parser with that of crypto/tls: where both accept
// a hello they must read the same name from it. And whatever comes, no more is
// read than the bounds allow.
func FuzzClientHello(f *testing.F) {
	h := clientHello(f, "example.com")
	f.Add(h)
	f.Add(fragment(h, 7))
	f.Add(addExtension(h, 0xfe0d, []byte{1}))
	f.Add([]byte("SSH-2.0-x\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		got, err := readHello(r)
		if read := len(b) - r.Len(); read != len(got.raw) || read > maxHello+5*maxRecords {
			t.Fatalf("read %d bytes, kept %d", read, len(got.raw))
		}
		if err != nil {
			return
		}
		theirs, ok := stdName(got.raw)
		if ok && theirs != strings.TrimSuffix(got.name, ".") && theirs != got.name {
			t.Fatalf("name %q, crypto/tls reads %q", got.name, theirs)
		}
	})
}

// stdName is the server name as crypto/tls sees it.
func stdName(raw []byte) (name string, ok bool) {
	stop := errors.New("seen")
	conn := tls.Server(&fixedConn{r: bytes.NewReader(raw)}, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			name, ok = i.ServerName, true
			return nil, stop
		}})
	conn.Handshake()
	return name, ok
}

// fixedConn reads from r and swallows writes.
type fixedConn struct {
	net.Conn
	r io.Reader
}

func (c *fixedConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *fixedConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *fixedConn) Close() error                     { return nil }
func (c *fixedConn) SetDeadline(time.Time) error      { return nil }
func (c *fixedConn) SetWriteDeadline(time.Time) error { return nil }
func (c *fixedConn) RemoteAddr() net.Addr             { return wireAddr{} }

// TestTimes checks each deadline on a clock of its own: a client that says
// nothing, one that opens a tunnel and says nothing, a tunnel that goes quiet,
// and a quiet tunnel that is not idle.
func TestTimes(t *testing.T) {
	hello := clientHello(t, "example.com")
	tests := []struct {
		name   string
		client func(c net.Conn)
		after  time.Duration
		reason string
	}{
		{"no request", func(c net.Conn) { io.Copy(io.Discard, c) }, 10 * time.Second, "did not arrive in time"},
		{"slow request", func(c net.Conn) {
			go io.Copy(io.Discard, c)
			for _, b := range []byte("CONNECT example.com:443") {
				time.Sleep(time.Second)
				c.Write([]byte{b})
			}
		}, 10 * time.Second, "did not arrive in time"},
		{"no hello", func(c net.Conn) { connectPipe(c) }, 10 * time.Second, "ended before a TLS ClientHello"},
		{"quiet tunnel", func(c net.Conn) { connectPipe(c); c.Write(hello) }, 5 * time.Minute, "nothing moved for 5m0s"},
		{"slow tunnel", func(c net.Conn) {
			connectPipe(c)
			c.Write(hello)
			for range 3 {
				time.Sleep(4 * time.Minute)
				c.Write([]byte("x"))
			}
		}, 17 * time.Minute, "nothing moved for 5m0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.names["example.com."] = []string{"93.184.216.34"}
				o := w.options("example.com")
				o.Dial = pipeDial
				g := New(o)
				client, server := net.Pipe()
				start := time.Now()
				done := make(chan struct{})
				go func() { tt.client(client); close(done) }()
				g.Serve(wire.Proxy, server)
				_, _, events := w.seen()
				ev := events[len(events)-1]
				if took := time.Since(start); took != tt.after || !strings.Contains(ev.Reason, tt.reason) {
					t.Errorf("ended after %v with %q, want %v and %q", took, ev.Reason, tt.after, tt.reason)
				}
				client.Close()
				g.Close()
				<-done
			})
		})
	}
}

// pipeDial reaches a far side that reads everything and says nothing.
func pipeDial(context.Context, netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	return near, nil
}

func connectPipe(c net.Conn) {
	io.WriteString(c, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	io.ReadFull(c, make([]byte, len(established)))
}

// TestFloods: connections beyond the limit are refused unread and told together,
// and a flood waits its turn instead of filling the audit log.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options()
		o.Limits = Limits{Conns: 3}
		g := New(o)
		var held []net.Conn
		hold := func() net.Conn {
			client, server := net.Pipe()
			go g.Serve(wire.Proxy, server)
			held = append(held, client)
			return client
		}
		for range 3 {
			hold()
		}
		synctest.Wait()
		for range 500 {
			c := hold()
			got := make([]byte, 12)
			if _, err := io.ReadFull(c, got); err != nil || string(got) != "HTTP/1.1 503" {
				t.Fatalf("beyond the limit: %q, %v", got, err)
			}
			c.Close()
		}
		synctest.Wait()
		_, _, events := w.seen()
		if len(events) != 1 || events[0].Verdict != Refused || events[0].Status != 503 {
			t.Errorf("%d events in one instant, want one: %+v", len(events), events)
		}
		for _, c := range held {
			c.Close()
		}
		g.Close()
		total := 0
		_, _, events = w.seen()
		for _, e := range events {
			total += e.Count
		}
		if total != 500 {
			t.Errorf("the events stand for %d refused connections, want 500", total)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.options()
		o.Limits = Limits{Burst: 10, Interval: 100 * time.Millisecond}
		g := New(o)
		start := time.Now()
		for range 60 {
			client, server := net.Pipe()
			go func() {
				io.WriteString(client, "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n")
				io.Copy(io.Discard, client)
			}()
			g.Serve(wire.Proxy, server)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("60 refusals took %v, want 5s: 10 at once, 50 at 10 a second", took)
		}
		g.Close()
	})
}

// TestCloseEndsAll: tunnels in use, clients that say nothing and late ones.
func TestCloseEndsAll(t *testing.T) {
	w := newWorld(t)
	w.site(http.NotFoundHandler())
	g := New(w.options("example.com"))
	tunnel, in := openTunnel(t, g, "example.com")
	tunnel.Write(clientHello(t, "example.com"))
	if _, err := in.ReadByte(); err != nil { // the server's answer: the tunnel stands
		t.Fatal(err)
	}
	silent, server := tcpPair(t)
	go g.Serve(wire.Proxy, server)
	model, server := tcpPair(t)
	go g.Serve(wire.Model, server)
	io.WriteString(model, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(model), nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { g.Close(); g.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("Close does not return")
	}
	for name, c := range map[string]net.Conn{"tunnel": tunnel, "silent": silent, "model": model} {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is still open", name)
		}
	}
	_, server = tcpPair(t)
	g.Serve(wire.Proxy, server) // returns at once
	if last := w.closes(2); last[0].Reason != "the session ended" && last[1].Reason != "the session ended" {
		t.Errorf("closes %+v, want the session ended", last)
	}
	noLeaks(t)
}
