package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// inspecting is a gateway that looks into example.com, and a pool with its
// authority, as programs inside have it.
func (w *world) inspecting(site *httptest.Server, f func(*Options)) (*Gateway, *x509.CertPool) {
	w.t.Helper()
	o := w.options("example.com", "api.example.com")
	treat(w.t, &o, "example.com", func(t *grant.Terms) { t.Inspect = true })
	o.Trust = x509.NewCertPool()
	o.Trust.AddCert(site.Certificate())
	o.RootFiles = []string{"/nowhere"}
	if f != nil {
		f(&o)
	}
	g := w.gateway(o)
	inside := x509.NewCertPool()
	for _, file := range g.Files() {
		inside.AppendCertsFromPEM(file.Data)
	}
	return g, inside
}

// trusting is an HTTP client inside: through the proxy, trusting only the session's
// authority.
func trusting(t *testing.T, g *Gateway, trust *x509.CertPool, http2 bool) *http.Client {
	c := through(t, listen(t, g, wire.Proxy), nil)
	tr := c.Transport.(*http.Transport)
	tr.TLSClientConfig = &tls.Config{RootCAs: trust}
	tr.ForceAttemptHTTP2 = http2
	return c
}

// TestInspected: requests of both versions of HTTP are judged, written down and
// made anew, to a host whose certificate was verified.
func TestInspected(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, far2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("inside HTTP/2 %v, outside %v", http2, far2), func(t *testing.T) { inspected1(t, http2, far2) })
		}
	}
}

func inspected1(t *testing.T, http2, far2 bool) {
	w := newWorld(t)
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		rw.Header().Set("Trailer", "X-Sum")
		rw.Header().Set("X-Proto", r.Proto)
		fmt.Fprintf(rw, "%s %s%s %q %q %s", r.Method, r.Host, r.RequestURI, r.Header["Proxy-Authorization"], r.Header["Authorization"], b)
		rw.Header().Set("X-Sum", "1")
	}))
	site.EnableHTTP2, site.Config.ErrorLog = far2, quiet()
	site.StartTLS()
	t.Cleanup(site.Close)
	w.names["example.com."] = []string{"93.184.216.34"}
	w.servers["93.184.216.34:443"] = site.Listener.Addr().String()
	g, trust := w.inspecting(site, func(o *Options) {
		treat(t, o, "example.com", func(t *grant.Terms) { t.Rules = []string{"GET /pub/**", "POST /pub/*/form"} })
	})
	c := trusting(t, g, trust, http2)
	for i, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/pub/a?q=1", "", 200, `GET example.com/pub/a?q=1 [] ["Bearer of its own"] `},
		{"POST", "/pub/x/form", strings.Repeat("b", 100_000), 200, `POST example.com/pub/x/form [] ["Bearer of its own"] bbb`},
		{"DELETE", "/pub/a", "", 403, "is not let through to example.com"},
		{"GET", "/pub/..%2fprivate", "", 400, "more than one reading"},
		{"GET", "/private", "", 403, "no rule of the host"},
	} {
		r, err := http.NewRequest(tt.method, "https://example.com"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer of its own")
		r.Header.Set("Proxy-Authorization", "Basic x")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.method, tt.path, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s %s: %d %q, %v; want %d %q", tt.method, tt.path, resp.StatusCode, body, err, tt.status, tt.want)
		}
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}; resp.Proto != want[http2] || tt.status == 200 && resp.Header.Get("X-Proto") != want[far2] {
			t.Errorf("inside %s, outside %s", resp.Proto, resp.Header.Get("X-Proto"))
		}
		if http2 && tt.status == 200 && resp.Trailer.Get("X-Sum") != "1" {
			t.Errorf("trailer %v", resp.Trailer)
		}
		c := waitRequest(t, w, i)
		path, _, _ := strings.Cut(tt.path, "?")
		if c.Method != tt.method || c.Path != path || c.Status != tt.status || (c.Verdict == Allowed) != (tt.status == 200) || c.Up != int64(len(tt.body)) && tt.status == 200 {
			t.Errorf("event %+v", c)
		}
	}
	c.CloseIdleConnections()
	g.Close()
	_, dials, events := w.seen()
	opens := map[uint64]bool{}
	for _, e := range events {
		if e.Phase == Open {
			opens[e.ID] = true
		}
		if e.Tunnel != 0 && !opens[e.Tunnel] || e.Phase == Close && e.Verdict == Allowed && !opens[e.ID] {
			t.Errorf("event %+v without an Open", e)
		}
	}
	if want := map[bool]int{false: 5, true: 1}[http2]; len(dials) != want {
		t.Errorf("%d connections to the host, want %d", len(dials), want)
	}
}

// waitRequest waits for the Close of the nth inspected request.
func waitRequest(t *testing.T, w *world, n int) Event {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		_, _, events := w.seen()
		seen := 0
		for _, e := range events {
			if e.Phase != Close || e.Tunnel == 0 {
				continue
			}
			if seen == n {
				return e
			}
			seen++
		}
		select {
		case <-w.changed:
		case <-late:
			t.Fatalf("request %d has no Close: %+v", n, events)
		}
	}
}

// TestInspectedIsVerified: the host has to prove who it is, by its name and by
// the authorities that count, in a version of TLS that is good.
func TestInspectedIsVerified(t *testing.T) {
	tests := []struct {
		name string
		with func(*Options, *tls.Config)
		want string
	}{
		{"an authority that nobody knows", func(o *Options, _ *tls.Config) { o.Trust = x509.NewCertPool() }, "certificate is not good"},
		{"an old version", func(_ *Options, c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 }, "no answer"},
		{"another name", func(o *Options, _ *tls.Config) {
			o.Hosts = append(o.Hosts, grant.Host{Pattern: "other.test", Port: 443, Terms: grant.Terms{Inspect: true}})
		}, "certificate is for other names"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			reached := false
			site := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
			site.TLS = &tls.Config{}
			site.Config.ErrorLog = quiet()
			site.StartTLS()
			t.Cleanup(site.Close)
			w.names["example.com."] = []string{"93.184.216.34"}
			w.names["other.test."] = []string{"93.184.216.34"}
			w.servers["93.184.216.34:443"] = site.Listener.Addr().String()
			g, trust := w.inspecting(site, func(o *Options) { tt.with(o, site.TLS) })
			host := "example.com"
			if tt.name == "another name" {
				host = "other.test"
			}
			resp, err := trusting(t, g, trust, true).Get("https://" + host + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 502 || !strings.Contains(string(body), tt.want) || reached {
				t.Errorf("%d %q, reached %v", resp.StatusCode, body, reached)
			}
		})
	}
}

// TestInspectedSmuggling says raw requests inside a tunnel that could be read in
// two ways. The host must get none of them.
func TestInspectedSmuggling(t *testing.T) {
	tests := []struct {
		name, raw string
		status    int
	}{
		{"good", "GET /pub/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 200},
		{"and a second one, which is not read", "GET /pub/ HTTP/1.1\r\nHost: example.com\r\n\r\nGET /private HTTP/1.1\r\nHost: example.com\r\n\r\n", 200},
		{"two lengths", "POST /pub/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"two hosts", "GET /pub/ HTTP/1.1\r\nHost: example.com\r\nHost: evil.test\r\n\r\n", 400},
		{"N-12 fronting by Host", "GET /pub/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", 400},
		{"N-12 a granted host in a tunnel to another", "GET /pub/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 400},
		{"another port", "GET /pub/ HTTP/1.1\r\nHost: example.com:8443\r\n\r\n", 400},
		{"no host", "GET /pub/ HTTP/1.1\r\n\r\n", 400},
		{"a URL in full", "GET https://evil.test/pub/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 400},
		{"a tunnel in the tunnel", "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", 400},
		{"bare line feeds", "GET /pub/ HTTP/1.1\nHost: example.com\n\n", 400},
		{"a folded field", "GET /pub/ HTTP/1.1\r\nHost: example.com\r\nX: a\r\n b\r\n\r\n", 400},
		{"an upgrade that is not granted", "GET /pub/ HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 403},
		{"HTTP/2 without its turn", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			reached := 0
			site := w.site(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.RequestURI == "/pub/" && r.Host == "example.com" && len(r.Header["Upgrade"]) == 0 {
					reached++
				} else {
					t.Errorf("the host got %s %s of %s, %v", r.Method, r.RequestURI, r.Host, r.Header)
				}
			}))
			g, trust := w.inspecting(site, func(o *Options) {
				treat(t, o, "example.com", func(t *grant.Terms) { t.Rules = []string{"* /pub/**"} })
			})
			conn := insideTunnel(t, g, trust)
			io.WriteString(conn, tt.raw)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != tt.status || (reached == 1) != (tt.status == 200) || reached > 1 {
				t.Errorf("status %d, want %d; reached %d times", resp.StatusCode, tt.status, reached)
			}
		})
	}
}

// TestInspectedAuthority is N-12 in HTTP/2: a request names another host than the
// tunnel is for, even one that is granted.
func TestInspectedAuthority(t *testing.T) {
	w := newWorld(t)
	reached := false
	site := w.site(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	g, trust := w.inspecting(site, nil)
	for _, host := range []string{"evil.test", "api.example.com", "example.com:8443"} {
		r, err := http.NewRequest("GET", "https://example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := trusting(t, g, trust, true).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 || resp.ProtoMajor != 2 || reached {
			t.Errorf("%s: %s %d, reached the host: %v", host, resp.Proto, resp.StatusCode, reached)
		}
	}
}

// insideTunnel opens an inspected tunnel to example.com and ends TLS in it.
func insideTunnel(t *testing.T, g *Gateway, trust *x509.CertPool) *tls.Conn {
	t.Helper()
	raw, _ := openTunnel(t, g, "example.com")
	conn := tls.Client(raw, &tls.Config{ServerName: "example.com", RootCAs: trust, NextProtos: []string{"http/1.1"}})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestInspectedWebSocket: where it is granted, frames pass through both TLS.
func TestInspectedWebSocket(t *testing.T) {
	w := newWorld(t)
	site := w.site(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, in, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		got := make([]byte, 6)
		io.ReadFull(in, got)
		conn.Write(bytes.ToUpper(got))
	}))
	g, trust := w.inspecting(site, func(o *Options) {
		treat(t, o, "example.com", func(t *grant.Terms) { t.WebSocket, t.Rules = true, []string{"GET /chat"} })
	})
	conn := insideTunnel(t, g, trust)
	io.WriteString(conn, "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes")
	back, _ := io.ReadAll(conn)
	if !bytes.HasPrefix(back, []byte("HTTP/1.1 101 ")) || !bytes.HasSuffix(back, []byte("\r\n\r\nFRAMES")) {
		t.Errorf("got %q", back)
	}
}

// TestAuthority: what the session's certificates are good for, and what not.
func TestAuthority(t *testing.T) {
	hosts := []grant.Host{{Pattern: "example.com", Port: 443, Terms: grant.Terms{Inspect: true}}, {Pattern: "*.example.org", Port: 443, Terms: grant.Terms{Inspect: true}},
		{Pattern: "plain.test", Port: 443}}
	a, err := newAuthority(hosts, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	long := strings.Repeat("a", 60) + ".deep.example.org"
	for name, want := range map[string]bool{"example.com": true, "a.example.org": true, long: true, "plain.test": false, "evil.test": false} {
		c, err := a.leaf(name)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		// The constraint holds even for somebody with the key.
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); (err == nil) != want {
			t.Errorf("%s: %v, want good %v", name, err, want)
		}
		if leaf.IsCA || !slices.Equal(leaf.DNSNames, []string{name}) || leaf.NotAfter.After(a.cert.NotAfter) {
			t.Errorf("leaf %+v", leaf)
		}
	}
	life := time.Until(a.cert.NotAfter)
	if !a.cert.MaxPathLenZero || !a.cert.PermittedDNSDomainsCritical || life > 14*time.Hour || life < 12*time.Hour {
		t.Errorf("authority lives %v: %+v", life, a.cert)
	}
	for i := range 2 * maxLeaves {
		if _, err := a.leaf(fmt.Sprintf("x%d.example.org", i)); err != nil || len(a.leaves) > maxLeaves {
			t.Fatalf("%d leaves are kept, %v", len(a.leaves), err)
		}
	}
	if a, err := newAuthority(hosts[2:], time.Hour); a != nil || err != nil {
		t.Errorf("no host is inspected, and there is an authority: %v, %v", a, err)
	}
}

// TestTrustFiles: only certificates go inside, and only where a host is
// inspected; two sessions have nothing in common.
func TestTrustFiles(t *testing.T) {
	w := newWorld(t)
	site := w.site(http.NotFoundHandler())
	roots := filepath.Join(t.TempDir(), "roots.pem")
	system := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})
	if err := os.WriteFile(roots, append([]byte("# a comment\n"), append(system, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"...)...), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(o *Options) { o.RootFiles = []string{"/nowhere", roots} }
	g, _ := w.inspecting(site, set)
	other, _ := w.inspecting(site, set)
	files, others := g.Files(), other.Files()
	if len(files) != 2 || files[0].Path != grant.Authority || files[1].Path != grant.Roots {
		t.Fatalf("files %v", files)
	}
	if want := string(files[0].Data) + string(system); string(files[1].Data) != want {
		t.Errorf("the list is %q, want %q", files[1].Data, want)
	}
	if bytes.Contains(files[1].Data, []byte("PRIVATE")) || bytes.Equal(files[0].Data, others[0].Data) {
		t.Errorf("files %q and %q", files, others)
	}
	plain, shown := w.options("example.com"), PreviewFiles(g.opts.Hosts)
	if f, p := w.gateway(plain).Files(), PreviewFiles(plain.Hosts); f != nil || p != nil {
		t.Errorf("nothing is inspected, and there are files: %v, %v", f, p)
	}
	if len(shown) != 2 || shown[0].Path != files[0].Path || shown[1].Path != files[1].Path || bytes.Contains(shown[1].Data, []byte("BEGIN")) {
		t.Errorf("shown beforehand: %q", shown)
	}
}

// TestInspectedByStrangers: the certificate of one session convinces nobody who
// trusts another one, and the event says why the tunnel ended.
func TestInspectedByStrangers(t *testing.T) {
	w := newWorld(t)
	site := w.site(http.NotFoundHandler())
	g, _ := w.inspecting(site, nil)
	_, foreign := w.inspecting(site, nil)
	if _, err := trusting(t, g, foreign, true).Get("https://example.com/"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a client of another session: %v", err)
	}
	if ev := w.closes(1)[0]; !strings.Contains(ev.Reason, "did not accept the session's certificate") || ev.Up != 0 {
		t.Errorf("event %+v", ev)
	}
	// A host that is not inspected shows its own certificate.
	ok := through(t, listen(t, g, wire.Proxy), site)
	resp, err := ok.Get("https://api.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// TestInspectedStale: a session whose certificates would end during a run is not
// used for one.
func TestInspectedStale(t *testing.T) {
	w := newWorld(t)
	g, _ := w.inspecting(w.site(http.NotFoundHandler()), func(o *Options) { o.RunTime = time.Hour })
	if g.Stale() {
		t.Error("a new session is stale")
	}
	g.authority.until = time.Now().Add(59 * time.Minute)
	if !g.Stale() {
		t.Error("a session whose certificates end within the hour is not stale")
	}
}

// TestInspectedEnds: Close ends inspected connections of both kinds at once.
func TestInspectedEnds(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		w := newWorld(t)
		begun := make(chan struct{}, 1)
		site := w.site(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.(http.Flusher).Flush()
			begun <- struct{}{}
			<-r.Context().Done()
		}))
		g, trust := w.inspecting(site, nil)
		resp, err := trusting(t, g, trust, http2).Get("https://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		done := make(chan struct{})
		go func() { g.Close(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("Close does not return")
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("HTTP/2 %v: the answer looks whole", http2)
		}
		resp.Body.Close()
	}
}

// FuzzInspected says anything inside an inspected tunnel. What reaches the host is
// a request for it that the rule lets pass, or nothing.
func FuzzInspected(f *testing.F) {
	for _, s := range []string{"GET /pub/x HTTP/1.1\r\nHost: example.com\r\n\r\n", "POST /pub/../x HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\nx",
		"GET /pub/%2e%2e HTTP/1.0\r\n\r\n", "GET /pub/ HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\r\n"} {
		f.Add([]byte(s))
	}
	rule := grant.Terms{Inspect: true, Rules: []string{"GET,POST /pub/**"}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := newWorld(t)
		o := w.options("example.com")
		o.Hosts[0].Terms = rule
		g := New(o)
		var sent []*http.Request
		over := roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r)
			return &http.Response{StatusCode: 204, Body: http.NoBody, Header: http.Header{}}, nil
		})
		x := &exchange{g: g, rule: o.Hosts[0], conn: &fixedPeer{answer: bytes.NewReader(raw)}, addrs: []netip.Addr{}}
		x.in = bufio.NewReader(x.conn)
		x.event.Tunnel = 1
		req, no := x.readInside("example.com", 443)
		if no == nil {
			no = x.admit(req)
		}
		if no == nil {
			x.relay(req, over)
		}
		g.Close()
		for _, r := range sent {
			path, err := grant.PlainPath(r.URL.EscapedPath())
			if r.Host != "example.com" || r.URL.Host != "example.com" || r.URL.Scheme != "https" || err != nil ||
				path != "/pub" && !strings.HasPrefix(path, "/pub/") || r.Method != "GET" && r.Method != "POST" {
				t.Fatalf("sent %s %s (%v)", r.Method, r.URL, err)
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
