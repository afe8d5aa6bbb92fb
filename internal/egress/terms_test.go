package egress

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// treat changes the terms of the one line of o that is for a pattern.
func treat(t testing.TB, o *Options, pattern string, f func(*grant.Terms)) {
	t.Helper()
	for i := range o.Hosts {
		if o.Hosts[i].Pattern == pattern {
			f(&o.Hosts[i].Terms)
			return
		}
	}
	t.Fatalf("the options have no line for %s", pattern)
}

// TestTermsOfTunnels: what a tunnel may carry depends on the terms of its host
// and of nothing else.
func TestTermsOfTunnels(t *testing.T) {
	hello := clientHello(t, "example.com")
	hidden := addExtension(hello, 0xfe0d, []byte{0, 1, 2, 3})
	ssh := []byte("SSH-2.0-OpenSSH_9.2\r\n")
	raw := func(t *grant.Terms) { t.Raw = true }
	ech := func(t *grant.Terms) { t.ECH = true }
	tests := []struct {
		name  string
		terms func(*grant.Terms)
		send  []byte
		ok    bool
	}{
		{"usual, TLS", func(*grant.Terms) {}, hello, true},
		{"usual, SSH", func(*grant.Terms) {}, ssh, false},
		{"usual, ECH", func(*grant.Terms) {}, hidden, false},
		{"raw, SSH", raw, ssh, true},
		{"raw, TLS for another name", raw, clientHello(t, "evil.test"), true},
		{"ECH granted", ech, hidden, true},
		{"ECH granted, SSH", ech, ssh, false},
		{"ECH granted, another name", ech, clientHello(t, "evil.test"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			got := make(chan []byte, 1)
			w.names["example.com."] = []string{"93.184.216.34"}
			w.servers["93.184.216.34:443"] = farSide(t, got)
			o := w.options("example.com")
			treat(t, &o, "example.com", tt.terms)
			client, in := openTunnel(t, w.gateway(o), "example.com")
			client.Write(tt.send)
			client.CloseWrite()
			io.ReadAll(in)
			far, ev := <-got, w.closes(1)[0]
			if ok := bytes.Equal(far, tt.send); ok != tt.ok || (ev.Verdict == Allowed) != tt.ok {
				t.Errorf("the far side got %q; event %+v", far, ev)
			}
		})
	}
}

// TestPrivateAddresses: an address that is not public is reached only where the
// grant says so of host and port, and some never.
func TestPrivateAddresses(t *testing.T) {
	private := func(t *grant.Terms) { t.Private = true }
	at := func(a string) func(*grant.Terms) { return func(t *grant.Terms) { t.Address = a } }
	tests := []struct {
		name  string
		dns   []string
		terms func(*grant.Terms)
		dial  string // "" is refused
	}{
		{"usual", []string{"192.168.1.20"}, func(*grant.Terms) {}, ""},
		{"private", []string{"192.168.1.20"}, private, "192.168.1.20:5000"},
		{"private in IPv6", []string{"fd12::5"}, private, "[fd12::5]:5000"},
		{"private, carrier-grade", []string{"100.64.1.1"}, private, "100.64.1.1:5000"},
		{"private, and public as well", []string{"93.184.216.34"}, private, "93.184.216.34:5000"},
		{"private is not loopback", []string{"127.0.0.1", "::1"}, private, ""},
		{"private is not link-local", []string{"169.254.7.7", "fe80::1"}, private, ""},
		{"private is not this machine", []string{"10.9.9.9"}, private, ""},
		{"private is not a metadata service", []string{"169.254.169.254", "100.100.100.200", "fd00:ec2::254"}, private, ""},
		{"private is not everywhere", []string{"0.0.0.0", "224.0.0.1", "::"}, private, ""},
		{"by address, DNS is not asked", nil, at("192.168.1.20"), "192.168.1.20:5000"},
		{"by address, loopback on purpose", nil, at("127.0.0.1"), "127.0.0.1:5000"},
		{"by address, this machine on purpose", nil, at("10.9.9.9"), "10.9.9.9:5000"},
		{"by address, never a metadata service", nil, at("169.254.169.254"), ""},
		{"by address, never all hosts", nil, at("255.255.255.255"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.names["nas.lan."] = tt.dns
			o := w.options("nas.lan:5000", "other.lan:5000")
			o.Own = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("10.9.9.9")}, nil }
			treat(t, &o, "nas.lan", tt.terms)
			w.names["other.lan."] = []string{"192.168.1.20"}
			back := say(t, w.gateway(o), wire.Proxy, "GET http://nas.lan:5000/ HTTP/1.1\r\nHost: nas.lan:5000\r\n\r\n")
			lookups, dials, _ := w.seen()
			if got := strings.Join(dials, " "); got != tt.dial {
				t.Errorf("dialled %q, want %q; answer %q", got, tt.dial, back)
			}
			if want := 502; tt.dial == "" {
				if got := status(t, back); got != 403 {
					t.Errorf("status %d, want 403", got)
				}
			} else if got := status(t, back); got != want { // nobody listens in this world
				t.Errorf("status %d, want %d", got, want)
			}
			if (tt.dns == nil) != (len(lookups) == 0) {
				t.Errorf("look-ups %q", lookups)
			}
			// The terms of one line are not those of another.
			if back := say(t, w.gateway(o), wire.Proxy, "GET http://other.lan:5000/ HTTP/1.1\r\nHost: other.lan:5000\r\n\r\n"); status(t, back) != 403 {
				t.Errorf("another host: %q", back)
			}
		})
	}
}

// TestDeniedFirst: what is denied is refused before it is looked up, whatever
// allows it, and nobody is told a command that would allow it.
func TestDeniedFirst(t *testing.T) {
	for _, entry := range []string{"*", "example.com", "example.com:443", "EXAMPLE.COM.", "*.com"} {
		w := newWorld(t)
		w.site(http.NotFoundHandler())
		o := w.options("example.com")
		list, err := grant.ParseDeny(entry)
		if err != nil {
			t.Fatal(err)
		}
		o.Denied = list
		back := say(t, w.gateway(o), wire.Proxy, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
		ev := w.closes(1)[0]
		if lookups, _, _ := w.seen(); status(t, back) != 403 || len(lookups) != 0 || ev.Verdict != Refused || ev.Allow != "" || !strings.Contains(ev.Reason, "denied") {
			t.Errorf("deny %s: %q, look-ups %q, event %+v", entry, back, lookups, ev)
		}
	}
	w := newWorld(t)
	w.site(http.NotFoundHandler())
	o := w.options("example.com")
	for _, entry := range []string{"example.com:80", "*.example.com", "xample.com"} {
		list, _ := grant.ParseDeny(entry)
		o.Denied = append(o.Denied, list...)
	}
	openTunnel(t, w.gateway(o), "example.com") // fails the test if it is refused
}

// TestRulesOfPlainRequests: the grant's rules hold for plain HTTP; and where
// there are rules, there is no tunnel in which they could not be seen.
func TestRulesOfPlainRequests(t *testing.T) {
	tests := []struct {
		name, request string
		status        int
	}{
		{"allowed", "GET http://plain.example.com/pub/x?q=%2F HTTP/1.1", 200},
		{"escaped letters", "GET http://plain.example.com/%70ub/x HTTP/1.1", 200},
		{"another path", "GET http://plain.example.com/private HTTP/1.1", 403},
		{"another case", "GET http://plain.example.com/PUB/x HTTP/1.1", 403},
		{"another method", "POST http://plain.example.com/pub/x HTTP/1.1", 403},
		{"another method in small letters", "get http://plain.example.com/pub/x HTTP/1.1", 403},
		{"dots", "GET http://plain.example.com/pub/../private HTTP/1.1", 400},
		{"escaped dots", "GET http://plain.example.com/pub/%2e%2E/private HTTP/1.1", 400},
		{"dots with parameters", "GET http://plain.example.com/pub/..;x/private HTTP/1.1", 400},
		{"escaped slash", "GET http://plain.example.com/pub%2Fx HTTP/1.1", 400},
		{"two slashes", "GET http://plain.example.com/pub//x HTTP/1.1", 400},
		{"backslash", "GET http://plain.example.com/pub/%5c..%5cprivate HTTP/1.1", 400},
		{"escaped twice", "GET http://plain.example.com/pub/%252e%252e/private HTTP/1.1", 400},
		{"overlong", "GET http://plain.example.com/pub/%c0%ae%c0%ae/private HTTP/1.1", 400},
		{"control character", "GET http://plain.example.com/pub/%00 HTTP/1.1", 400},
		{"another method by a field", "GET http://plain.example.com/pub/x HTTP/1.1\r\nX-HTTP-Method-Override: DELETE", 400},
		{"another path by a field", "GET http://plain.example.com/pub/x HTTP/1.1\r\nX-Original-URL: /private", 400},
		{"a tunnel", "CONNECT plain.example.com:80 HTTP/1.1", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			seen := make(chan string, 1)
			w.plainSite(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI }))
			o := w.options("plain.example.com:80")
			treat(t, &o, "plain.example.com", func(t *grant.Terms) { t.Rules = []string{"GET /pub/**"} })
			back := say(t, w.gateway(o), wire.Proxy, tt.request+"\r\nHost: plain.example.com\r\n\r\n")
			if got := status(t, back); got != tt.status {
				t.Errorf("status %d, want %d: %q", got, tt.status, back)
			}
			ev := w.closes(1)[0]
			if ok := len(seen) == 1; ok != (tt.status == 200) || (ev.Verdict == Allowed) != ok || ok && ev.Rule != "plain.example.com:80 GET /pub/**" {
				t.Errorf("reached the host: %v; event %+v", ok, ev)
			}
		})
	}
}

// TestBudgets: bytes and connections of a session and of a host end in words,
// to the agent and in the audit, and for plain requests and tunnels alike.
func TestBudgets(t *testing.T) {
	get := "GET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n"
	post := "POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000)
	connect := "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n" + string(clientHello(t, "example.com"))
	ofSession := func(b grant.Budget) func(*Options) { return func(o *Options) { o.Budget = b } }
	ofHost := func(pattern string, b grant.Budget) func(*Options) {
		return func(o *Options) { treat(t, o, pattern, func(t *grant.Terms) { t.Budget = b }) }
	}
	tests := []struct {
		name string
		set  func(*Options)
		say  []string
		want string // of the last; "" is enough left
	}{
		{"enough", ofSession(grant.Budget{Upload: 200_000, Download: 300_000, Connections: 3}), []string{get, get, post}, ""},
		{"connections", ofSession(grant.Budget{Connections: 2}), []string{get, get, get}, "2 connections (egress.connections"},
		{"download", ofSession(grant.Budget{Download: 50_000}), []string{get}, "50000B of download (egress.download"},
		{"download, the second time", ofSession(grant.Budget{Download: 150_000}), []string{get, get}, "of download"},
		{"upload", ofSession(grant.Budget{Upload: 50_000}), []string{post}, "of upload"},
		{"upload in a tunnel", ofSession(grant.Budget{Upload: 50}), []string{connect}, "of upload"},
		{"of the host", ofHost("plain.example.com", grant.Budget{Connections: 1}), []string{get, get}, "1 connections with plain.example.com:80 (egress.hosts.connections"},
		{"of another host", ofHost("example.com", grant.Budget{Connections: 1, Upload: 10}), []string{get, get, post}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.site(http.NotFoundHandler())
			w.plainSite(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if r.Method == "GET" {
					rw.Write(bytes.Repeat([]byte("y"), 100_000))
				}
			}))
			o := w.options("example.com", "plain.example.com:80")
			tt.set(&o)
			g := w.gateway(o)
			var back string
			if g.Stale() {
				t.Error("a new session counts as used up")
			}
			for _, s := range tt.say {
				back = sayAnyhow(t, g, s)
			}
			ev := w.closes(len(tt.say))[len(tt.say)-1]
			if tt.want == "" {
				if ev.Spent != "" || ev.Verdict != Allowed {
					t.Errorf("event %+v", ev)
				}
				return
			}
			if !strings.Contains(ev.Spent, tt.want) || ev.Verdict != Refused || ev.Reason != ev.Spent || !g.Stale() {
				t.Errorf("event %+v, want %q; stale %v", ev, tt.want, g.Stale())
			}
			if strings.HasPrefix(back, "HTTP/1.1 403") && !strings.Contains(back, ev.Spent) {
				t.Errorf("answer %q, want %q in it", back, ev.Spent)
			}
			if back = sayAnyhow(t, g, tt.say[0]); status(t, back) != 403 || !strings.Contains(back, "used up") {
				t.Errorf("the next connection: %q", back)
			}
		})
	}
}

// sayAnyhow is say where the connection may be broken off.
func sayAnyhow(t *testing.T, g *Gateway, raw string) string {
	t.Helper()
	client, server := tcpPair(t)
	done := make(chan struct{})
	go func() { g.Serve(wire.Proxy, server); close(done) }()
	go func() { io.WriteString(client, raw); client.CloseWrite() }()
	var out bytes.Buffer
	io.Copy(&out, client)
	client.Close()
	<-done
	return out.String()
}

// TestWebSocket: a plain connection becomes a WebSocket where that is granted.
func TestWebSocket(t *testing.T) {
	ask := "GET http://plain.example.com/chat HTTP/1.1\r\nHost: plain.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n\r\nframes"
	for _, granted := range []bool{false, true} {
		w := newWorld(t)
		reached := false
		w.plainSite(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			reached = true
			conn, in, err := rw.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Accept: b\r\n\r\n", r.Header.Get("Upgrade"))
			got := make([]byte, 6)
			io.ReadFull(in, got)
			fmt.Fprintf(conn, "echo %s, key %s", got, r.Header.Get("Sec-WebSocket-Key"))
		}))
		o := w.options("plain.example.com:80")
		treat(t, &o, "plain.example.com", func(t *grant.Terms) { t.WebSocket = granted })
		back := sayAnyhow(t, w.gateway(o), ask)
		if granted && (!strings.HasPrefix(back, "HTTP/1.1 101 ") || !strings.Contains(back, "Sec-Websocket-Accept: b\r\n") || !strings.HasSuffix(back, "\r\n\r\necho frames, key a")) {
			t.Errorf("granted: %q", back)
		}
		if !granted && (status(t, back) != 403 || reached) {
			t.Errorf("not granted: %q, reached the host: %v", back, reached)
		}
	}
}
