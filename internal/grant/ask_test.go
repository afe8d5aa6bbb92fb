package grant

import (
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

// Whom the owner is asked about: one host with its port, by name, that nothing
// denies and nothing treats in another way.
func TestMayAsk(t *testing.T) {
	r := request(func(r *Request) {
		r.Config.Egress.Ask = true
		r.Config.Egress.Deny = []string{"*.evil.example", "mail.example.com:25"}
		r.Config.Egress.Hosts = map[string]config.EgressHost{
			"nas.example.com:5000": {Private: true}, "*.corp.example.com": {Address: "192.168.1.20"}, "api.example.com": {Inspect: true, Rules: []string{"GET /"}},
		}
		edit(r, "main", func(g *config.Group) { g.EgressDeny = []string{"bad.example.com"} })
	})
	g, err := Decide(r)
	if err != nil || g.EgressAsk != "egress.ask" || !strings.Contains(g.String(), "egress ask the owner about other hosts  # egress.ask") {
		t.Fatalf("%v, %q", err, g.EgressAsk)
	}
	tests := []struct {
		host string
		port int
		want string // in the error, "" for none
	}{
		{"example.com", 443, ""}, {"example.com", 8443, ""}, {"mail.example.com", 993, ""}, {"nas.example.com", 443, ""},
		{"mail.example.com", 25, "denied"}, {"a.evil.example", 443, "denied"}, {"bad.example.com", 443, "denied"},
		{"nas.example.com", 5000, "terms"}, {"git.corp.example.com", 443, "terms"}, {"api.example.com", 443, "terms"},
		{"localhost", 443, "localhost"}, {"printer", 80, "no dot"}, {"192.168.1.1", 443, "IP address"}, {"*.example.com", 443, "not one host"}, {"@git", 443, "preset"},
	}
	for _, tt := range tests {
		h, err := g.MayAsk(r.Config, tt.host, tt.port)
		if tt.want == "" && (err != nil || h.Pattern != tt.host || h.Port != tt.port) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s:%d: %+v, %v; want %q", tt.host, tt.port, h, err, tt.want)
		}
	}
	r.Config.Egress.Ask = false
	if g, err := Decide(r); err != nil || g.EgressAsk != "" {
		t.Errorf("without the switch: %q, %v", g.EgressAsk, err)
	}
	edit(&r, "main", func(g *config.Group) { g.EgressAsk = true })
	if g, err := Decide(r); err != nil || g.EgressAsk != "groups.main.egressAsk" {
		t.Errorf("with the group's own: %q, %v", g.EgressAsk, err)
	}
}

// What the owner allowed when asked is a line of the grant like any other, with
// its reason, and never leads to private addresses or past a denial.
func TestReached(t *testing.T) {
	g, err := Decide(request(func(r *Request) {
		r.Reached = []Reached{
			{"example.com:443", "right 1"}, {"example.org:443", "right 2"}, {"nas.example.com:443", "right 3"}, {"bad.example.com:443", "right 4"},
			{"*.example.net:443", "right 5"}, {"10.0.0.1:443", "right 6"}, {"@git", "right 7"}, {"", "right 8"},
		}
		r.Config.Egress.Deny = []string{"bad.example.com"}
		r.Config.Egress.Hosts = map[string]config.EgressHost{"nas.example.com": {Private: true, Address: "192.168.1.20", Upload: 1 << 20}}
		edit(r, "main", func(g *config.Group) { g.Egress = []string{"example.com"} })
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"example.com": "groups.main.egress example.com", "example.org": "right 2", "nas.example.com": "right 3", "bad.example.com": "right 4",
	}
	for _, h := range g.Egress {
		if h.Reason != want[h.Pattern] || h.Private || h.Address != "" {
			t.Errorf("line %+v", h)
		}
		if h.Pattern == "nas.example.com" && h.Terms.Budget.Upload != 1<<20 {
			t.Errorf("its other terms are lost: %+v", h)
		}
		delete(want, h.Pattern)
	}
	if len(want) != 0 {
		t.Errorf("not there: %v", want)
	}
	if _, denied := Denies(g.Denied, "bad.example.com", 443); !denied {
		t.Error("a right goes before what the owner denied")
	}
}
