package grant

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

// lines are the egress lines of the family's grant.
func egressLines(t *testing.T, common config.Egress, g config.Group) []string {
	t.Helper()
	r := request(func(r *Request) {
		r.Group, r.Config.Egress = "family", common
		edit(r, "family", func(group *config.Group) {
			group.Egress, group.EgressDeny, group.EgressHosts = g.Egress, g.EgressDeny, g.EgressHosts
		})
	})
	got, err := Decide(r)
	if err != nil {
		return []string{err.Error()}
	}
	return slices.DeleteFunc(got.Lines(), func(l string) bool { return !strings.HasPrefix(l, "egress ") })
}

// TestTermsInTheGrant: the grant's lines say all that the gateway goes by. Terms
// allow nothing by themselves, and the most specific ones count.
func TestTermsInTheGrant(t *testing.T) {
	inspect := config.EgressHost{Inspect: true, Rules: []string{"GET /a/**", "POST /b"}}
	tests := []struct {
		name   string
		common config.Egress
		group  config.Group
		want   []string
	}{
		{"terms for a host that is not granted", config.Egress{Hosts: map[string]config.EgressHost{"nas.lan:5000": {Private: true}}}, config.Group{}, nil},
		{"exactly", config.Egress{Hosts: map[string]config.EgressHost{"NAS.lan:5000": {Private: true}}}, config.Group{Egress: []string{"nas.lan:5000", "nas.lan:80"}},
			[]string{"egress nas.lan:5000 (private addresses)  # groups.family.egress nas.lan:5000", "egress nas.lan:80  # groups.family.egress nas.lan:80"}},
		{"for all below", config.Egress{Hosts: map[string]config.EgressHost{"*.example.com": inspect}}, config.Group{Egress: []string{"a.example.com", "example.com"}},
			[]string{"egress a.example.com:443 (inspected, only GET /a/**; POST /b)  # groups.family.egress a.example.com", "egress example.com:443  # groups.family.egress example.com"}},
		{"for one below a granted wildcard", config.Egress{Hosts: map[string]config.EgressHost{"a.example.com": inspect, "*.b.example.com": {ECH: true}}},
			config.Group{Egress: []string{"*.example.com"}},
			[]string{"egress *.example.com:443  # groups.family.egress *.example.com",
				"egress *.b.example.com:443 (encrypted names)  # groups.family.egress *.example.com",
				"egress a.example.com:443 (inspected, only GET /a/**; POST /b)  # groups.family.egress *.example.com"}},
		{"the group's own first", config.Egress{Hosts: map[string]config.EgressHost{"example.com:22": {Raw: true}}},
			config.Group{Egress: []string{"example.com:22"}, EgressHosts: map[string]config.EgressHost{"example.com:22": {Address: "::ffff:10.0.0.1", WebSocket: true}}},
			[]string{"egress example.com:22 (at 10.0.0.1, WebSocket)  # groups.family.egress example.com:22"}},
		{"budgets and denials", config.Egress{Deny: []string{"evil.test", "*.com:80"}, Upload: 1 << 20, Connections: 7,
			Hosts: map[string]config.EgressHost{"example.com": {Download: 1 << 30}}}, config.Group{Egress: []string{"example.com"}, EgressDeny: []string{"*"}},
			[]string{"egress never evil.test  # egress.deny evil.test", "egress never *.com:80  # egress.deny *.com:80", "egress never *  # groups.family.egressDeny *",
				"egress example.com:443 (at most 1GB down)  # groups.family.egress example.com", "egress at most 1MB up, 7 connections  # of the whole session"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := egressLines(t, tt.common, tt.group); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestTermsThatAreNone(t *testing.T) {
	tests := []struct {
		entry string
		terms config.EgressHost
		want  string
	}{
		{"@git", config.EgressHost{}, "preset"},
		{"http://example.com", config.EgressHost{}, "URL"},
		{"nas.lan", config.EgressHost{Address: "nas"}, "no IP address"},
		{"nas.lan", config.EgressHost{Address: "169.254.169.254"}, "cloud metadata"},
		{"nas.lan", config.EgressHost{Address: "::ffff:100.100.100.200"}, "cloud metadata"},
		{"nas.lan", config.EgressHost{Address: "0.0.0.0"}, "unspecified"},
		{"nas.lan", config.EgressHost{Address: "ff02::1"}, "multicast"},
		{"nas.lan", config.EgressHost{Address: "fe80::1%eth0"}, "scoped"},
		{"example.com", config.EgressHost{Rules: []string{"GET /"}}, "inspect"},
		{"example.com", config.EgressHost{Inspect: true, Rules: []string{"GET"}}, "the rule"},
		{"example.com:22", config.EgressHost{Raw: true, Inspect: true}, "raw"},
		{"example.com:22", config.EgressHost{Raw: true, Rules: []string{"GET /"}}, "raw"},
	}
	for _, tt := range tests {
		if err := CheckTerms(tt.entry, tt.terms); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %+v: %v, want %q", tt.entry, tt.terms, err, tt.want)
		}
	}
	if err := CheckTerms("nas.lan:80", config.EgressHost{Rules: []string{"GET /"}, Address: "127.0.0.1"}); err != nil {
		t.Error(err)
	}
	for _, entry := range []string{"", "a b", "@x", "https://example.com", "example.com:0", "*.*", "**", "*x.com"} {
		if err := CheckDeny(entry); err == nil {
			t.Errorf("%q is a line that denies", entry)
		}
	}
}

func TestDenies(t *testing.T) {
	tests := []struct {
		entry, host string
		port        int
		want        bool
	}{
		{"example.com", "example.com", 443, true},
		{"example.com", "EXAMPLE.com.", 22, true},
		{"example.com", "a.example.com", 443, false},
		{"example.com:443", "example.com", 22, false},
		{"example.com:22", "example.com", 22, true},
		{"*.example.com", "a.b.example.com", 443, true},
		{"*.example.com", "example.com", 443, false},
		{"*.example.com", "evilexample.com", 443, false},
		{"*.com", "example.com", 443, true},
		{"*", "localhost", 1, true},
		{"@npm", "registry.npmjs.org", 80, true},
	}
	for _, tt := range tests {
		list, err := ParseDeny(tt.entry)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := Denies(list, tt.host, tt.port); got != tt.want {
			t.Errorf("%s denies %s:%d: %v", tt.entry, tt.host, tt.port, got)
		}
	}
}

func TestNeverAddress(t *testing.T) {
	for a, want := range map[string]string{
		"192.168.1.1": "", "10.0.0.1": "", "127.0.0.1": "", "::1": "", "100.64.0.1": "", "fd00::1": "", "93.184.216.34": "",
		"169.254.0.1": "link-local", "168.63.129.16": "cloud metadata", "fd00:ec2::254": "cloud metadata", "::": "unspecified", "255.255.255.255": "multicast",
	} {
		if got := NeverAddress(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %q, want %q", a, got, want)
		}
	}
}

// explainURL asks a grant with terms of every kind.
func TestExplainRequests(t *testing.T) {
	r := request(func(r *Request) {
		r.Config.Egress = config.Egress{Deny: []string{"bad.example.org"}, Hosts: map[string]config.EgressHost{
			"api.example.org":      {Inspect: true, Rules: []string{"GET /repos/**"}},
			"nas.lan:5000":         {Private: true, Rules: []string{"* /media/**"}},
			"seen.example.org":     {Inspect: true},
			"plain.example.org:80": {},
		}}
		edit(r, "main", func(g *config.Group) {
			g.Egress = []string{"*.example.org", "nas.lan:5000", "plain.example.org:80"}
		})
	})
	g, err := Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		ask  string
		ok   bool
		why  string
		line string
	}{
		{"https://api.example.org/repos/x?y", true, "the rule GET /repos/**", "egress api.example.org:443 (inspected, only GET /repos/**)"},
		{"POST https://api.example.org/repos/x", false, "no rule", "egress api.example.org"},
		{"https://api.example.org/repos/../x", false, "more than one reading", "egress api.example.org"},
		{"https://www.example.org/anything", true, "sees its name and no request", "egress *.example.org"},
		{"https://seen.example.org/anything", true, "no rules", "egress seen.example.org"},
		{"http://www.example.org/", false, "no line", ""},
		{"http://plain.example.org/", true, "no rules", "egress plain.example.org:80"},
		{"http://plain.example.org:443/", false, "speaks TLS", "egress *.example.org"},
		{"http://nas.lan:5000/media/x", true, "the rule * /media/**", "egress nas.lan:5000 (private addresses"},
		{"https://nas.lan:5000/media/x", false, "not inspected", "egress nas.lan:5000"},
		{"bad.example.org", false, "goes before everything", "egress never bad.example.org  # egress.deny"},
		{"https://bad.example.org/x", false, "goes before everything", "egress never"},
		{"/etc/nanoclaw/roots.pem", true, "hosts are inspected", ""},
		{"SSL_CERT_FILE", true, "", "env SSL_CERT_FILE=/etc/nanoclaw/roots.pem"},
		{"NODE_EXTRA_CA_CERTS", true, "", "env NODE_EXTRA_CA_CERTS=/etc/nanoclaw/session-ca.pem"},
	}
	for _, tt := range tests {
		q, err := ParseQuestion(tt.ask)
		if err != nil {
			t.Fatal(err)
		}
		a := Explain(g, r.Machine, q)
		if a.Allowed != tt.ok || !strings.Contains(a.Why, tt.why) || !strings.HasPrefix(a.Line, tt.line) || (a.Line == "") != (tt.line == "") {
			t.Errorf("%s: %+v", tt.ask, a)
		}
	}
	// Where nothing is inspected, nothing of that is there.
	g.Egress = nil
	if a := Explain(g, r.Machine, Question{Kind: AboutPath, Op: OpRead, Name: "/etc/nanoclaw/roots.pem"}); a.Allowed {
		t.Errorf("without inspection: %+v", a)
	}
	if vars := trust(nil); vars != nil {
		t.Errorf("without inspection: %v", vars)
	}
}
