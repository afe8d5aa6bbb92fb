package egress

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// A host beyond the grant is asked about before anything is looked up, by its
// canonical name; a yes is for that host and port at a public address; what is
// denied or granted is not asked about.
func TestAsk(t *testing.T) {
	get := func(host string) string { return "GET http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	yes := func(host string, port int) (grant.Host, bool, string) {
		return grant.Host{Pattern: host, Port: port, Reason: "the owner said yes"}, true, ""
	}
	tests := []struct {
		name, raw string
		answer    func(string, int) (grant.Host, bool, string)
		status    int
		asked     string
		words     string
	}{
		{"yes", get("Plain.Example.com."), yes, 200, "plain.example.com:80", ""},
		{"no", get("plain.example.com"), func(string, int) (grant.Host, bool, string) { return grant.Host{}, false, "the owner said no\x1b[2J" }, 403, "plain.example.com:80", "said no?[2J"},
		{"yes to another host", get("plain.example.com"), func(string, int) (grant.Host, bool, string) { return yes("*.example.com", 80) }, 403, "plain.example.com:80", "not in the grant"},
		{"yes to another port", get("plain.example.com"), func(h string, _ int) (grant.Host, bool, string) { return yes(h, 443) }, 403, "plain.example.com:80", "not in the grant"},
		{"yes with private addresses", get("plain.example.com"), func(h string, p int) (grant.Host, bool, string) {
			r, _, _ := yes(h, p)
			r.Private = true
			return r, true, ""
		}, 403, "plain.example.com:80", "not in the grant"},
		{"yes, and it leads to a private address", get("inner.example.com"), yes, 403, "inner.example.com:80", "no agent may reach"},
		{"granted", get("granted.example.com"), nil, 502, "", ""},
		{"denied", get("denied.example.com"), nil, 403, "", "the owner denied"},
		{"an address", get("10.0.0.1"), nil, 403, "", "IP address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.rawPlain("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			w.names["inner.example.com."] = []string{"10.0.0.1"}
			o := w.options("granted.example.com:80")
			o.Denied = []grant.Denied{{Pattern: "denied.example.com", Reason: "egress.deny"}}
			var mu sync.Mutex
			asked := ""
			o.Ask = func(_ context.Context, host string, port int) (grant.Host, bool, string) {
				mu.Lock()
				defer mu.Unlock()
				asked += fmt.Sprintf("%s:%d", host, port)
				if lookups, _, _ := w.seen(); len(lookups) > 0 {
					t.Errorf("looked up before the answer: %q", lookups)
				}
				return tt.answer(host, port)
			}
			back := say(t, w.gateway(o), wire.Proxy, tt.raw)
			ev := w.closes(1)[0]
			if status(t, back) != tt.status || asked != tt.asked || !strings.Contains(back, tt.words) {
				t.Errorf("asked about %q, answered %q; want %q, %d", asked, back, tt.asked, tt.status)
			}
			if tt.status == 200 && (ev.Verdict != Allowed || ev.Reason != "ended" || ev.Rule != "plain.example.com:80") {
				t.Errorf("event %+v", ev)
			}
			if tt.status == 403 && ev.Verdict != Refused {
				t.Errorf("event %+v", ev)
			}
			if lookups, _, _ := w.seen(); tt.status == 403 && tt.words != "no agent may reach" && len(lookups) != 0 {
				t.Errorf("looked up %q", lookups)
			}
		})
	}
}
