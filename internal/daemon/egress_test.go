package daemon

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// TestWayOut follows what the configuration says about hosts to the inside of a
// session and back: a service of this machine that was granted on purpose, the
// certificates of the session, the record, and a budget that ends in words.
func TestWayOut(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "served ", r.Host, r.URL.Path) }))
	defer service.Close()
	_, port, err := net.SplitHostPort(service.Listener.Addr().String())
	must(t, err)
	d, _ := newInstall(t, fmt.Sprintf(`{
		"hostMode": {"enabled": true}, "agent": {"kind": "shell"},
		"egress": {"connections": 2, "deny": ["never.example.org"], "hosts": {
			"here.lan:%[1]s": {"address": "127.0.0.1", "rules": ["GET /open/*"]},
			"seen.example.org": {"inspect": true},
		}},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true, "egress": ["here.lan:%[1]s", "*.example.org"]}},
	}`, port)).run()

	out, errs, exit := runInside(t, d, chat.Main, "sh", "-c", `head -1 "$NODE_EXTRA_CA_CERTS"; grep -c BEGIN "$SSL_CERT_FILE"; ls /etc/nanoclaw; ! echo x >>"$SSL_CERT_FILE"`)
	var roots int
	if n, err := fmt.Sscanf(out, "-----BEGIN CERTIFICATE-----\n%d\nroots.pem\nsession-ca.pem\n", &roots); n != 1 || roots < 10 || exit.Code != 0 {
		t.Errorf("inside: %q, %q, %+v (%v): want the session's authority and the system's", out, errs, exit, err)
	}

	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: chat.Main, Render: "native"})
	must(t, err)
	for _, name := range []string{"session-ca.pem", "roots.pem"} {
		if want := `file /etc/nanoclaw/` + name + ` "(the certificate of the session's own authority, for seen.example.org)`; !strings.Contains(p.RenderedText, want) {
			t.Errorf("the rendering lacks %s", name)
		}
	}

	get := "curl -sS http://here.lan:" + port
	a := ask(t, d, chat.Main, get+"/open/a; echo; "+get+"/shut; "+get+"/open/b; echo; "+get+"/open/c; curl -sS https://never.example.org/ || true")
	for _, want := range []string{"served here.lan:" + port + "/open/a", "GET /shut is not let through", "/open/b", "used up its 2 connections", "Connections were ended"} {
		if !strings.Contains(a.text(), want) {
			t.Errorf("%q is missing in\n%s", want, a.text())
		}
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: string(audit.EgressTried)})
	must(t, err)
	var told []string
	for _, e := range entries {
		told = append(told, audit.Describe(audit.EgressTried, e.Data))
	}
	all := strings.Join(told, "\n")
	for _, want := range []string{"GET here.lan:" + port + "/open/a: allowed", "GET here.lan:" + port + "/shut: refused", "never.example.org:443: refused (the owner denied"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in the record\n%s", want, all)
		}
	}
}
