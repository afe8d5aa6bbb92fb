package grant

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Ports of the egress list: HTTPS is meant where an entry names none.
const (
	HTTPSPort = 443
	HTTPPort  = 80
)

// ErrIPLiteral is in the error of CanonicalHost for anything that some program
// would read as an IP address. Addresses cannot be granted: what stands behind
// one cannot be told, and the ones worth reaching have names.
var ErrIPLiteral = errors.New("an IP address in place of a name")

// maxHostName is the longest name that DNS carries, as text without the final
// dot (RFC 1035 section 2.3.4 counts 255 bytes on the wire).
const maxHostName = 253

// CanonicalHost gives the one spelling of a host name that is compared,
// resolved, dialled and logged: lower case, without the final dot, ASCII.
//
// The input may come from the agent. Every part of this program that handles a
// host name works on the result, because a name that is judged in one spelling
// and used in another is how allow-lists are passed by. So what has two
// readings is refused and not repaired: control characters, NUL, percent signs,
// user names, ports, international names that are not yet punycode, empty or
// oversized labels, and every spelling of an IP address that inet_aton(3) or a
// browser knows (the error is then ErrIPLiteral).
func CanonicalHost(s string) (string, error) {
	if s == "" {
		return "", errors.New("the host name is empty")
	}
	if len(s) > maxHostName+1 {
		return "", fmt.Errorf("the host name is longer than %d characters", maxHostName)
	}
	if strings.ContainsAny(s, ":[]") {
		return "", hostWithColon(s)
	}
	if err := checkHostBytes(s); err != nil {
		return "", err
	}
	name := strings.TrimSuffix(lowerASCII(s), ".")
	if len(name) > maxHostName {
		return "", fmt.Errorf("the host name is longer than %d characters", maxHostName)
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if err := checkLabel(l); err != nil {
			return "", err
		}
	}
	if isNumber(labels[len(labels)-1]) {
		return "", fmt.Errorf("%q is %w: use the host's name", name, ErrIPLiteral)
	}
	return name, nil
}

// hostWithColon tells an IPv6 address from a name with a port.
func hostWithColon(s string) error {
	bare := strings.Trim(s, "[]")
	if i := strings.IndexByte(bare, '%'); i >= 0 {
		bare = bare[:i]
	}
	if a, err := netip.ParseAddr(bare); err == nil {
		return fmt.Errorf("%q is %w: use the host's name", a.String(), ErrIPLiteral)
	}
	return fmt.Errorf("the host name %q holds ':' or brackets, which no name has", printable(s))
}

// checkHostBytes refuses bytes that no host name has, each with its own words.
func checkHostBytes(s string) error {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c < 0x20 || c == 0x7f:
			return fmt.Errorf("the host name holds the control character 0x%02x", c)
		case c >= 0x80:
			return fmt.Errorf("the host name %q is not ASCII: write it in punycode (xn--...)", printable(s))
		case c == '%':
			return errors.New("the host name holds '%': escapes and zones are not accepted")
		case c == '@':
			return errors.New("the host name holds '@': user names are not accepted")
		case !isHostByte(c) && c != '.' && (c < 'A' || c > 'Z'):
			return fmt.Errorf("the host name %q holds %q, which no name has", printable(s), string(rune(c)))
		}
	}
	return nil
}

// checkLabel checks the part between two dots: 1 to 63 letters, digits, '-' and
// '_' (as in _dmarc), no hyphen at either end (RFC 1123 section 2.1).
func checkLabel(l string) error {
	switch {
	case l == "":
		return errors.New("the host name has an empty part: two dots side by side, or one at the start")
	case len(l) > 63:
		return errors.New("the host name has a part of more than 63 characters")
	case l[0] == '-' || l[len(l)-1] == '-':
		return fmt.Errorf("the part %q of the host name begins or ends with a hyphen", l)
	}
	return nil
}

func isHostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// isNumber says whether the last part of a name makes the whole name an IPv4
// address to a URL parser or inet_aton: all digits, or 0x and hexadecimal
// digits (WHATWG URL, "ends in a number"). No top-level domain looks so.
func isNumber(l string) bool {
	hex, isHex := strings.CutPrefix(l, "0x")
	if isHex {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(l, "0123456789") == ""
}

// lowerASCII lowers A to Z and nothing else: no other letter may turn into one
// of these by a rule of Unicode.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

// printable shortens s for an error.
func printable(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// preset is a name for several hosts that belong together.
type preset struct {
	name  string
	what  string
	hosts []string
}

// hostPresets are exact names only. Stores where anybody can keep anything
// (storage.googleapis.com, to which the Go proxy may redirect) are left out on
// purpose: the owner can add them by name.
func hostPresets() []preset {
	return []preset{
		{"@git", "git over HTTPS", []string{"github.com", "codeload.github.com", "raw.githubusercontent.com",
			"objects.githubusercontent.com", "release-assets.githubusercontent.com", "gitlab.com", "bitbucket.org"}},
		{"@go", "Go modules", []string{"proxy.golang.org", "sum.golang.org"}},
		{"@npm", "npm packages", []string{"registry.npmjs.org"}},
		{"@pypi", "Python packages", []string{"pypi.org", "files.pythonhosted.org"}},
	}
}

// ParseHost reads one entry of an egress list and gives the lines of the grant
// that it stands for:
//
//	example.com          HTTPS (port 443) to exactly this host
//	example.com:8443     another port; :80 is plain HTTP
//	*.example.com        any host below example.com, but not example.com itself
//	@git @go @npm @pypi  the usual hosts of these tools
//
// The reason of each line names the entry. Errors say what to write instead.
func ParseHost(entry string) ([]Host, error) {
	if strings.HasPrefix(entry, "@") {
		return parsePreset(entry)
	}
	if strings.Contains(entry, "://") || strings.ContainsAny(entry, "/?#") {
		return nil, fmt.Errorf("egress entry %q looks like a URL: write only the host, such as example.com or example.com:8443", printable(entry))
	}
	pattern, port, err := splitPort(entry)
	if err != nil {
		return nil, fmt.Errorf("egress entry %q: %w", printable(entry), err)
	}
	pattern, err = canonicalPattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("egress entry %q: %w", printable(entry), err)
	}
	return []Host{{Pattern: pattern, Port: port, Reason: "egress entry " + entry}}, nil
}

func parsePreset(entry string) ([]Host, error) {
	all := hostPresets()
	i := slices.IndexFunc(all, func(p preset) bool { return p.name == entry })
	if i < 0 {
		names := make([]string, len(all))
		for i, p := range all {
			names[i] = p.name
		}
		return nil, fmt.Errorf("egress entry %q is no preset: there are %s", printable(entry), strings.Join(names, ", "))
	}
	hosts := make([]Host, len(all[i].hosts))
	for j, h := range all[i].hosts {
		hosts[j] = Host{Pattern: h, Port: HTTPSPort, Reason: "egress entry " + entry + " (" + all[i].what + ")"}
	}
	return hosts, nil
}

// splitPort cuts HOST:PORT. More than one colon is an IPv6 address, which
// CanonicalHost names better.
func splitPort(s string) (host string, port int, err error) {
	host, p, found := strings.Cut(s, ":")
	if !found || strings.Contains(p, ":") {
		return s, HTTPSPort, nil
	}
	port, err = ParsePort(p)
	return host, port, err
}

// ParsePort reads a TCP port as plain digits, 1 to 65535: no sign, no leading
// zero, no name of a service.
func ParsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] < '1' || s[0] > '9' {
		return 0, fmt.Errorf("the port %q is not a number from 1 to 65535", printable(s))
	}
	return int(n), nil
}

// canonicalPattern checks a name or a wildcard of an entry.
func canonicalPattern(s string) (string, error) {
	suffix, wild := strings.CutPrefix(s, "*.")
	if strings.Contains(suffix, "*") {
		if s == "*" {
			return "", errors.New("a bare * would let everything out: name the hosts, or *.example.com")
		}
		return "", errors.New("* may stand only for whole names at the front: write *.example.com")
	}
	name, err := CanonicalHost(suffix)
	if err != nil {
		return "", err
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return "", errors.New("localhost is inside the boundary already; services of this machine cannot be reached")
	}
	if !strings.Contains(name, ".") {
		if wild {
			return "", fmt.Errorf("*.%s is too wide: write at least two parts after *., such as *.example.%s", name, name)
		}
		return "", fmt.Errorf("%q has no dot: write the full name, such as %s.example.com", name, name)
	}
	if !wild {
		return name, nil
	}
	if public, icann := publicsuffix.PublicSuffix(name); icann && public == name {
		return "", fmt.Errorf("*.%s is too wide, since anybody can have a name below %s: write *.example.%s", name, name, name)
	}
	return "*." + name, nil
}

// Match finds the line that allows host and port. It canonicalises host itself,
// so that no caller can match one spelling and use another; a host without a
// canonical form matches nothing. An exact line is preferred to a wildcard, and a
// longer wildcard to a shorter one, since each may have terms of its own. A
// wildcard matches names below its suffix, at any depth, never the suffix itself
// and never a name that only ends in the same letters.
//
// What is denied is not its matter: see Denies.
func Match(hosts []Host, host string, port int) (Host, bool) {
	name, err := CanonicalHost(host)
	if err != nil {
		return Host{}, false
	}
	return match(hosts, name, port)
}

// match takes a canonical name.
func match(hosts []Host, name string, port int) (Host, bool) {
	var wild *Host
	for i, h := range hosts {
		if h.Port != port {
			continue
		}
		if h.Pattern == name {
			return h, true
		}
		if (wild == nil || len(h.Pattern) > len(wild.Pattern)) && matchesWildcard(h.Pattern, name) {
			wild = &hosts[i]
		}
	}
	if wild == nil {
		return Host{}, false
	}
	return *wild, true
}

// matchesWildcard requires a dot before and inside the suffix, so that a
// pattern which did not come from ParseHost, such as "*." or "*.com", matches
// nothing.
func matchesWildcard(pattern, name string) bool {
	suffix, ok := strings.CutPrefix(pattern, "*")
	if !ok || len(suffix) < 2 || suffix[0] != '.' || !strings.Contains(suffix[1:], ".") {
		return false
	}
	return strings.HasSuffix(name, suffix)
}
