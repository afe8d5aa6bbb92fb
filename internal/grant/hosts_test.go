package grant

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCanonicalHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	longest := strings.Join([]string{long, long, long, strings.Repeat("a", 61)}, ".")
	tests := []struct {
		name, in, want string
		err            string // part of the error; "" is none
		ip             bool
	}{
		{name: "plain", in: "github.com", want: "github.com"},
		{name: "case", in: "API.GitHub.Com", want: "api.github.com"},
		{name: "one final dot", in: "github.com.", want: "github.com"},
		{name: "underscore", in: "_dmarc.example.com", want: "_dmarc.example.com"},
		{name: "punycode", in: "XN--bcher-kva.example", want: "xn--bcher-kva.example"},
		{name: "single label", in: "localhost", want: "localhost"},
		{name: "digits in front", in: "1.2.3.4.example", want: "1.2.3.4.example"},
		{name: "hexadecimal letters", in: "0x7f.fe", want: "0x7f.fe"},
		{name: "longest", in: longest, want: longest},
		{name: "longest with dot", in: longest + ".", want: longest},

		{name: "empty", in: "", err: "empty"},
		{name: "dot", in: ".", err: "empty part"},
		{name: "two final dots", in: "github.com..", err: "empty part"},
		{name: "leading dot", in: ".github.com", err: "empty part"},
		{name: "too long", in: longest + "a", err: "longer than 253"},
		{name: "far too long", in: strings.Repeat("a.", 4000), err: "longer than 253"},
		{name: "long label", in: long + "a.example", err: "more than 63"},
		{name: "leading hyphen", in: "-a.example", err: "hyphen"},
		{name: "trailing hyphen", in: "a-.example", err: "hyphen"},
		{name: "NUL before an allowed suffix", in: "evil.test\x00.google.com", err: "control character 0x00"},
		{name: "CRLF", in: "a\r\nHost", err: "0x0d"},
		{name: "CRLF and a header", in: "a\r\nHost: x", err: "holds ':'"},
		{name: "tab", in: "a\tb.example", err: "0x09"},
		{name: "DEL", in: "a\x7f.example", err: "0x7f"},
		{name: "space", in: "github.com ", err: `holds " "`},
		{name: "percent", in: "git%68ub.com", err: "'%'"},
		{name: "user", in: "github.com@evil.test", err: "'@'"},
		{name: "slash", in: "github.com/x", err: `holds "/"`},
		{name: "backslash", in: `github.com\x`, err: `holds`},
		{name: "wildcard", in: "*.github.com", err: `holds "*"`},
		{name: "port", in: "github.com:443", err: "holds ':'"},
		{name: "not ASCII", in: "bücher.example", err: "punycode"},
		{name: "kelvin sign", in: "\u212aube.example", err: "punycode"},
		{name: "fullwidth dot", in: "github\uff0ecom", err: "punycode"},

		{name: "IPv4", in: "127.0.0.1", ip: true},
		{name: "IPv4 final dot", in: "127.0.0.1.", ip: true},
		{name: "two parts", in: "127.1", ip: true},
		{name: "one number", in: "2130706433", ip: true},
		{name: "metadata as a number", in: "2852039166", ip: true},
		{name: "hexadecimal", in: "0x7f000001", ip: true},
		{name: "hexadecimal upper", in: "0X7F.0.0.1", ip: true},
		{name: "hexadecimal last part", in: "127.0.0.0x1", ip: true},
		{name: "bare 0x", in: "a.0x", ip: true},
		{name: "octal", in: "017700000001", ip: true},
		{name: "too many parts", in: "1.2.3.4.5", ip: true},
		{name: "name that ends in a number", in: "example.1", ip: true},
		{name: "IPv6", in: "::1", ip: true},
		{name: "IPv6 in brackets", in: "[::1]", ip: true},
		{name: "mapped", in: "[::ffff:7f00:1]", ip: true},
		{name: "mapped dotted", in: "::ffff:127.0.0.1", ip: true},
		{name: "zone", in: "fe80::1%eth0", ip: true},
		{name: "zone that looks like a name", in: "::ffff:127.0.0.1%x.github.com", ip: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := CanonicalHost(tt.in)
			if got != tt.want {
				t.Errorf("CanonicalHost(%q) = %q, want %q", tt.in, got, tt.want)
			}
			if errors.Is(err, ErrIPLiteral) != tt.ip {
				t.Errorf("error %v: is an IP literal %v, want %v", err, !tt.ip, tt.ip)
			}
			if wantErr := tt.want == ""; (err != nil) != wantErr || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
		})
	}
}

func TestParseHost(t *testing.T) {
	tests := []struct {
		name, entry string
		want        []Host
		err         string
	}{
		{name: "host", entry: "Example.com.", want: []Host{{Pattern: "example.com", Port: 443, Reason: "egress entry Example.com."}}},
		{name: "port", entry: "example.com:8443", want: []Host{{Pattern: "example.com", Port: 8443, Reason: "egress entry example.com:8443"}}},
		{name: "plain HTTP only when written", entry: "example.com:80", want: []Host{{Pattern: "example.com", Port: 80, Reason: "egress entry example.com:80"}}},
		{name: "wildcard", entry: "*.Example.com", want: []Host{{Pattern: "*.example.com", Port: 443, Reason: "egress entry *.Example.com"}}},
		{name: "wildcard with port", entry: "*.example.com:8443", want: []Host{{Pattern: "*.example.com", Port: 8443, Reason: "egress entry *.example.com:8443"}}},
		{name: "wildcard below a private suffix", entry: "*.alice.github.io", want: []Host{{Pattern: "*.alice.github.io", Port: 443, Reason: "egress entry *.alice.github.io"}}},
		{name: "go", entry: "@go", want: []Host{
			{Pattern: "proxy.golang.org", Port: 443, Reason: "egress entry @go (Go modules)"},
			{Pattern: "sum.golang.org", Port: 443, Reason: "egress entry @go (Go modules)"}}},

		{name: "star", entry: "*", err: "bare *"},
		{name: "star dot", entry: "*.", err: "empty"},
		{name: "top level", entry: "*.com", err: "too wide"},
		{name: "public suffix", entry: "*.co.uk", err: "too wide"},
		{name: "star inside", entry: "a.*.example.com", err: "whole names at the front"},
		{name: "star glued", entry: "*example.com", err: "whole names at the front"},
		{name: "two stars", entry: "*.*.example.com", err: "whole names at the front"},
		{name: "URL", entry: "https://example.com", err: "looks like a URL"},
		{name: "path", entry: "example.com/x", err: "looks like a URL"},
		{name: "address", entry: "10.0.0.1", err: "IP address"},
		{name: "address with port", entry: "10.0.0.1:443", err: "IP address"},
		{name: "IPv6 with port", entry: "[::1]:443", err: "brackets"},
		{name: "wildcard of an address", entry: "*.0.0.1", err: "IP address"},
		{name: "port zero", entry: "example.com:0", err: "1 to 65535"},
		{name: "port too big", entry: "example.com:65536", err: "1 to 65535"},
		{name: "port with sign", entry: "example.com:+443", err: "1 to 65535"},
		{name: "port with zero in front", entry: "example.com:0443", err: "1 to 65535"},
		{name: "port empty", entry: "example.com:", err: "1 to 65535"},
		{name: "port star", entry: "example.com:*", err: "1 to 65535"},
		{name: "localhost", entry: "localhost:8080", err: "inside the boundary already"},
		{name: "below localhost", entry: "*.a.localhost", err: "inside the boundary already"},
		{name: "no dot", entry: "nas", err: "has no dot"},
		{name: "preset unknown", entry: "@cargo", err: "@git, @go, @npm, @pypi"},
		{name: "preset with port", entry: "@git:22", err: "no preset"},
		{name: "empty", entry: "", err: "empty"},
		{name: "space", entry: " example.com", err: "no name has"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseHost(tt.entry)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("ParseHost(%q), want - got +:\n%s", tt.entry, d)
			}
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
		})
	}
}

// TestPresetsAreExact holds what makes presets safe to offer: exact canonical
// names, HTTPS only, and a reason that names the entry.
func TestPresetsAreExact(t *testing.T) {
	for _, p := range []string{"@git", "@go", "@npm", "@pypi"} {
		hosts, err := ParseHost(p)
		if err != nil || len(hosts) == 0 {
			t.Fatalf("ParseHost(%q) = %v, %v", p, hosts, err)
		}
		for _, h := range hosts {
			if c, err := CanonicalHost(h.Pattern); err != nil || c != h.Pattern {
				t.Errorf("%s: %q is not a canonical name: %q, %v", p, h.Pattern, c, err)
			}
			if h.Port != HTTPSPort || !strings.Contains(h.Reason, p) {
				t.Errorf("%s: line %+v, want port 443 and a reason with the entry", p, h)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	hosts := []Host{
		{Pattern: "*.example.com", Port: 443, Reason: "wild"}, {Pattern: "api.example.com", Port: 443, Reason: "exact"}, {Pattern: "github.com", Port: 443, Reason: "git"},
		{Pattern: "plain.test.org", Port: 80, Reason: "plain"}, {Pattern: "*.", Port: 443, Reason: "broken"}, {Pattern: "*", Port: 443, Reason: "broken"}, {Pattern: "*.com", Port: 443, Reason: "broken"}, {Pattern: "", Port: 443, Reason: "broken"},
	}
	tests := []struct {
		name, host string
		port       int
		want       string // reason of the line
	}{
		{"exact", "github.com", 443, "git"},
		{"case and dot", "GitHub.COM.", 443, "git"},
		{"exact beats wildcard", "api.example.com", 443, "exact"},
		{"wildcard", "x.example.com", 443, "wild"},
		{"wildcard, deep", "a.b.c.example.com", 443, "wild"},
		{"apex of a wildcard", "example.com", 443, ""},
		{"dot and apex", ".example.com", 443, ""},
		{"lookalike in front", "evilgithub.com", 443, ""},
		{"lookalike of a wildcard", "evilexample.com", 443, ""},
		{"suffix behind", "github.com.evil.test", 443, ""},
		{"below an exact name", "x.github.com", 443, ""},
		{"other port", "github.com", 22, ""},
		{"plain HTTP not written", "github.com", 80, ""},
		{"plain HTTP written", "plain.test.org", 80, "plain"},
		{"HTTPS where only 80 is written", "plain.test.org", 443, ""},
		{"port zero", "github.com", 0, ""},
		{"the pattern itself", "*.example.com", 443, ""},
		{"NUL", "evil.test\x00.example.com", 443, ""},
		{"zone", "::ffff:127.0.0.1%x.example.com", 443, ""},
		{"empty", "", 443, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Match(hosts, tt.host, tt.port)
			if got.Reason != tt.want || ok != (tt.want != "") {
				t.Errorf("Match(%q, %d) = %+v, %v; want reason %q", tt.host, tt.port, got, ok, tt.want)
			}
		})
	}
	if h, ok := Match(nil, "github.com", 443); ok {
		t.Errorf("an empty list allowed %+v", h)
	}
}

// FuzzCanonicalHost checks what the rest relies on: the result is canonical
// already, holds only the bytes of names, and is no address in any spelling;
// and a name that matches a wildcard ends in it at a dot.
func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"GitHub.com.", "127.1", "0x7f.1", "::1", "[::1%x.example.com]", "evil\x00.example.com",
		"a..b", "*.example.com", "bücher.example", "a@b", "xn--a.example.com", ".example.com", "example.com.."} {
		f.Add(s)
	}
	hosts := []Host{{Pattern: "*.example.com", Port: 443, Reason: "wild"}, {Pattern: "github.com", Port: 443, Reason: "exact"}}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := CanonicalHost(s)
		match, ok := Match(hosts, s, 443)
		if err != nil {
			if got != "" || ok {
				t.Fatalf("%q is refused, yet gives %q and matches %+v", s, got, match)
			}
			return
		}
		if again, err := CanonicalHost(got); err != nil || again != got {
			t.Fatalf("CanonicalHost(%q) = %q, and of that %q, %v", s, got, again, err)
		}
		if strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(got) > maxHostName {
			t.Fatalf("CanonicalHost(%q) = %q", s, got)
		}
		if !strings.EqualFold(strings.TrimSuffix(s, "."), got) {
			t.Fatalf("CanonicalHost(%q) = %q is another name", s, got)
		}
		if ok && got != "github.com" && !strings.HasSuffix(got, ".example.com") {
			t.Fatalf("%q matches %+v", s, match)
		}
	})
}
