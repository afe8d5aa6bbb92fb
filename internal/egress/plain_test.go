package egress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/wire"
)

// TestPlainIsRebuilt is the other half of N-15: what the far side receives is
// made from the parsed target, byte for byte as written here.
func TestPlainIsRebuilt(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"fields of the hop",
			"GET http://Plain.Example.COM:80/a?q=1&r HTTP/1.1\r\nHost: plain.example.com\r\nProxy-Connection: keep-alive\r\n" +
				"Proxy-Authorization: Basic c2VjcmV0\r\nConnection: keep-alive, X-Secret\r\nX-Secret: s\r\nKeep-Alive: 5\r\nTE: trailers\r\n" +
				"Upgrade: h2c\r\nHTTP2-Settings: x\r\nAccept: */*\r\nX-Kept: 1\r\nX-Kept: 2\r\n\r\n",
			"GET /a?q=1&r HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\nAccept: */*\r\nX-Kept: 1\r\nX-Kept: 2\r\n\r\n"},
		{"no path", "GET http://plain.example.com?x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n",
			"GET /?x HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\n\r\n"},
		{"two slashes are a path", "GET http://plain.example.com//evil.test/x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n",
			"GET //evil.test/x HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\n\r\n"},
		{"escapes stay", "GET http://plain.example.com/a%2Fb%20c HTTP/1.1\r\nHost: plain.example.com\r\n\r\n",
			"GET /a%2Fb%20c HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\n\r\n"},
		{"a second request in the body is no request",
			"POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nContent-Length: 5\r\n\r\nhelloGET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"},
		{"chunks are counted anew, trailers dropped",
			"POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;ext=1\r\nhel\r\n02\r\nlo\r\n0\r\nX-T: evil\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"Connection cannot remove the framing",
			"POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nConnection: Content-Length, Host\r\nContent-Length: 2\r\n\r\nhi",
			"POST / HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"},
		{"HTTP/1.0 without Host", "GET http://plain.example.com/ HTTP/1.0\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			got := w.rawPlain("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			g := w.gateway(w.options("plain.example.com:80"))
			back := say(t, g, wire.Proxy, tt.raw)
			if d := cmp.Diff(sortFields(tt.want), sortFields(<-got)); d != "" {
				t.Errorf("the far side, -want +got:\n%s", d)
			}
			if status(t, back) != 200 || !strings.HasSuffix(back, "\r\n\r\nok") {
				t.Errorf("answer %q", back)
			}
			ev := w.closes(1)[0]
			if ev.Verdict != Allowed || ev.Status != 200 || ev.Up == 0 || ev.Down == 0 || strings.Contains(ev.Path, "?") {
				t.Errorf("event %+v", ev)
			}
		})
	}
}

// sortFields puts the header lines into one order: net/http writes its own first.
func sortFields(s string) string {
	head, body, _ := strings.Cut(s, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	slices.Sort(lines[1:])
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// rawPlain is a server behind plain.example.com:80 that takes one request, gives
// the bytes of it, and answers with fixed ones.
func (w *world) rawPlain(answer string) <-chan string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	w.names["plain.example.com."] = []string{"93.184.216.35"}
	w.servers["93.184.216.35:80"] = l.Addr().String()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var seen bytes.Buffer
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &seen)))
		if err == nil {
			io.Copy(io.Discard, req.Body)
		}
		got <- seen.String()
		io.WriteString(c, answer)
	}()
	return got
}

// TestPlainAnswers: fields of the hop, trailers and lengths of an answer.
func TestPlainAnswers(t *testing.T) {
	get := "GET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n"
	get10 := "GET http://plain.example.com/ HTTP/1.0\r\n\r\n"
	head := "HEAD http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n"
	tests := []struct{ name, ask, far, want string }{
		{"fields of the hop", get, "HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nX-Kept: 1\r\n\r\nok"},
		{"chunks", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"chunks to HTTP/1.0", get10, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"},
		{"until the end", get, "HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"HEAD", head, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"},
		{"no content", get, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"interim answers are dropped", get, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		{"redirects are the agent's", get, "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: http://evil.test/\r\n\r\n"},
		{"switching protocols", get, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", ""},
		{"no HTTP", get, "hello\r\n\r\n", ""},
		{"nothing", get, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.rawPlain(tt.far)
			g := w.gateway(w.options("plain.example.com:80"))
			back := say(t, g, wire.Proxy, tt.ask)
			if tt.want == "" {
				if status(t, back) != 502 || !strings.Contains(back, "the host gave no answer") {
					t.Errorf("answer %q, want 502 in words", back)
				}
				return
			}
			if d := cmp.Diff(sortFields(tt.want), sortFields(back)); d != "" {
				t.Errorf("answer, -want +got:\n%s", d)
			}
		})
	}
}

// TestPlainCutIsSeen: an answer that breaks off must not look whole.
func TestPlainCutIsSeen(t *testing.T) {
	for name, far := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok",
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
	} {
		w := newWorld(t)
		w.rawPlain(far)
		g := w.gateway(w.options("plain.example.com:80"))
		back := say(t, g, wire.Proxy, "GET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(back)), nil)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
		}
		if ev := w.closes(1)[0]; err == nil || !strings.HasPrefix(ev.Reason, "cut off") {
			t.Errorf("%s: %q reads as whole; event %+v", name, back, ev)
		}
	}
}

// TestPlainStreams: a piece of an answer arrives before the next one is made,
// and a client that expects to be asked for its body is asked.
func TestPlainStreams(t *testing.T) {
	w := newWorld(t)
	next := make(chan struct{})
	w.plainSite(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		for range 2 {
			fmt.Fprintf(rw, "%s,", b)
			rw.(http.Flusher).Flush()
			<-next
		}
	}))
	g := w.gateway(w.options("plain.example.com:80"))
	client, server := tcpPair(t)
	go g.Serve(wire.Proxy, server)
	client.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(client, "PUT http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	in := bufio.NewReader(client)
	if line, _ := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, want 100 Continue", line)
	}
	in.ReadString('\n')
	io.WriteString(client, "hi")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		piece := make([]byte, 3)
		if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != "hi," {
			t.Fatalf("piece %q, %v", piece, err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
}

// FuzzProxyRequest feeds whole connections to a gateway that allows two hosts.
// Whatever is sent: only these two are looked up, only their addresses are
// dialled, a plain far side gets a request made for it, a TLS one gets nothing
// but a handshake, and exactly one Close is recorded.
func FuzzProxyRequest(f *testing.F) {
	for _, s := range []string{
		"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n" + string(clientHello(f, "example.com")),
		"GET http://plain.example.com/a?b HTTP/1.1\r\nHost: plain.example.com\r\nConnection: x\r\n\r\n",
		"POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na",
		"GET http://u:p@plain.example.com/ HTTP/1.0\r\n\r\n", "CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "\x05\x01\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := newWorld(t)
		w.names["example.com."] = []string{"93.184.216.34"}
		w.names["plain.example.com."] = []string{"93.184.216.35"}
		o := w.options("example.com", "plain.example.com:80")
		var dialled netip.AddrPort
		far := &fixedPeer{answer: strings.NewReader("HTTP/1.1 204 No Content\r\n\r\n")}
		o.Dial = func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			dialled = to
			return far, nil
		}
		g := New(o)
		g.Serve(wire.Proxy, &fixedPeer{answer: bytes.NewReader(raw)})
		g.Close()
		lookups, _, events := w.seen()
		if len(lookups) > 1 || len(lookups) == 1 && lookups[0] != "example.com." && lookups[0] != "plain.example.com." {
			t.Fatalf("looked up %q", lookups)
		}
		if n := len(slices.DeleteFunc(events, func(e Event) bool { return e.Phase != Close })); n != 1 {
			t.Fatalf("%d Close events", n)
		}
		switch dialled.String() {
		case "93.184.216.34:443":
			if got := far.bytes(); len(got) > 0 && got[0] != 22 {
				t.Fatalf("a TLS host got %q", got)
			}
		case "93.184.216.35:80":
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(far.bytes())))
			if err == nil && (r.Host != "plain.example.com" || len(r.Header["Proxy-Authorization"]) > 0 || !r.Close) {
				t.Fatalf("a plain host got a request for %q: %v", r.Host, r.Header)
			}
		case "invalid AddrPort":
		default:
			t.Fatalf("dialled %v", dialled)
		}
	})
}

// fixedPeer is a connection whose other side sends answer and takes everything.
type fixedPeer struct {
	net.Conn
	answer io.Reader
	mu     sync.Mutex
	got    bytes.Buffer
}

func (p *fixedPeer) bytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.got.Bytes())
}

func (p *fixedPeer) Read(b []byte) (int, error) { return p.answer.Read(b) }
func (p *fixedPeer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.Write(b)
}
func (p *fixedPeer) Close() error                     { return nil }
func (p *fixedPeer) SetDeadline(time.Time) error      { return nil }
func (p *fixedPeer) SetReadDeadline(time.Time) error  { return nil }
func (p *fixedPeer) SetWriteDeadline(time.Time) error { return nil }
