package grant

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nanoclaw/internal/config"
)

// Terms say how a granted host is treated. The zero value is the usual: HTTPS
// for exactly this name, not looked into, at a public address that DNS gives.
type Terms struct {
	// Address is dialled, and DNS is not asked.
	Address string `json:"address,omitempty"`
	// Private accepts private addresses.
	Private bool `json:"private,omitempty"`
	// Raw lets a tunnel carry anything in place of TLS for the name.
	Raw bool `json:"raw,omitempty"`
	// ECH accepts a TLS tunnel whose real name is encrypted.
	ECH bool `json:"ech,omitempty"`
	// Inspect looks into TLS.
	Inspect bool `json:"inspect,omitempty"`
	// Rules are the only requests that pass, if there are any. See ParseRule.
	Rules []string `json:"rules,omitempty"`
	// WebSocket lets a request become a WebSocket.
	WebSocket bool `json:"web_socket,omitempty"`
	// Budget of the session with this host; zero is no limit but the session's.
	Budget Budget `json:"budget,omitzero"`
}

// Budget is what may be used up. Zero is no limit.
type Budget struct {
	Upload      int64 `json:"upload,omitempty"`   // bytes
	Download    int64 `json:"download,omitempty"` // bytes
	Connections int   `json:"connections,omitempty"`
}

// words of the terms, for a line of the grant.
func (t Terms) words() string {
	var out []string
	add := func(yes bool, word string) {
		if yes {
			out = append(out, word)
		}
	}
	add(t.Address != "", "at "+t.Address)
	add(t.Private, "private addresses")
	add(t.Raw, "raw")
	add(t.ECH, "encrypted names")
	add(t.Inspect, "inspected")
	add(len(t.Rules) > 0, "only "+strings.Join(t.Rules, "; "))
	add(t.WebSocket, "WebSocket")
	add(t.Budget != Budget{}, t.Budget.words())
	if out == nil {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

func (b Budget) words() string {
	var out []string
	if b.Upload > 0 {
		out = append(out, config.Size(b.Upload).String()+" up")
	}
	if b.Download > 0 {
		out = append(out, config.Size(b.Download).String()+" down")
	}
	if b.Connections > 0 {
		out = append(out, fmt.Sprintf("%d connections", b.Connections))
	}
	return "at most " + strings.Join(out, ", ")
}

// NeverAddress says in a word why no owner can grant an address, and "" for one
// that can be granted. What lies on this machine or in a private network can be
// meant. What hands out credentials, or is no single machine, never is.
func NeverAddress(a netip.Addr) string {
	a = a.Unmap()
	metadata := []string{"100.100.100.200", "168.63.129.16", "169.254.169.254", "fd00:ec2::254"}
	switch {
	case !a.IsValid() || a.Zone() != "":
		return "scoped"
	case slices.Contains(metadata, a.String()):
		return "cloud metadata"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "multicast"
	case a.IsUnspecified():
		return "unspecified"
	}
	return ""
}

// CheckTerms says what is wrong with how the configuration treats a host.
func CheckTerms(entry string, h config.EgressHost) error {
	_, _, err := parseTerms(entry, h)
	return err
}

// parseTerms reads one entry of a list of hosts: the host, as in an egress list
// but no preset, and its terms.
func parseTerms(entry string, h config.EgressHost) (Host, Terms, error) {
	t := Terms{
		Address: h.Address, Private: h.Private, Raw: h.Raw, ECH: h.ECH, Inspect: h.Inspect, WebSocket: h.WebSocket,
		Rules:  slices.Clone(h.Rules),
		Budget: Budget{int64(h.Upload), int64(h.Download), h.Connections},
	}
	hosts, err := ParseHost(entry)
	switch {
	case err != nil:
		return Host{}, t, err
	case len(hosts) != 1 || strings.HasPrefix(entry, "@"):
		return Host{}, t, errors.New("a preset cannot be treated as one host: name its hosts")
	}
	for _, text := range h.Rules {
		if _, err := ParseRule(text); err != nil {
			return Host{}, t, err
		}
	}
	if err := t.check(hosts[0]); err != nil {
		return Host{}, t, err
	}
	return hosts[0], t, nil
}

// check refuses terms that contradict each other.
func (t *Terms) check(h Host) error {
	if t.Address != "" {
		a, err := netip.ParseAddr(t.Address)
		if err != nil {
			return fmt.Errorf("%q is no IP address", printable(t.Address))
		}
		if why := NeverAddress(a); why != "" {
			return fmt.Errorf("the address %s cannot be granted (%s)", a, why)
		}
		t.Address = a.Unmap().String()
	}
	switch {
	case t.Raw && (t.Inspect || len(t.Rules) > 0):
		return errors.New("raw cannot stand beside inspect or rules: what is not looked into has no requests")
	case len(t.Rules) > 0 && !t.Inspect && h.Port == HTTPSPort:
		return errors.New("rules for https need \"inspect\": true, since the requests lie inside TLS")
	}
	return nil
}

// termsOf are the terms of a group: those of the configuration, and before them
// the group's own, as hosts in the order of PATTERN:PORT.
func termsOf(common, own map[string]config.EgressHost) ([]Host, error) {
	if len(common)+len(own) == 0 {
		return nil, nil
	}
	terms := make(map[string]Terms, len(common)+len(own))
	for _, from := range []map[string]config.EgressHost{common, own} {
		for entry, h := range from {
			host, t, err := parseTerms(entry, h)
			if err != nil {
				return nil, fmt.Errorf("egress host %q: %w", printable(entry), err)
			}
			terms[host.key()] = t
		}
	}
	treated := make([]Host, 0, len(terms))
	for _, key := range slices.Sorted(maps.Keys(terms)) {
		pattern, port, _ := strings.Cut(key, ":")
		n, _ := ParsePort(port)
		treated = append(treated, Host{Pattern: pattern, Port: n, Terms: terms[key]})
	}
	return treated, nil
}

// applyTerms gives each line the most specific terms that cover it, and adds a
// line for each host with terms of its own below a granted wildcard, so that the
// list says all by itself.
func applyTerms(hosts, treated []Host) []Host {
	for i := range treated {
		t := &treated[i]
		have := slices.ContainsFunc(hosts, func(h Host) bool { return h.Port == t.Port && h.Pattern == t.Pattern })
		if have {
			continue
		}
		if h, ok := match(hosts, sample(t.Pattern), t.Port); ok && covers(h.Pattern, t.Pattern) {
			hosts = append(hosts, Host{Pattern: t.Pattern, Port: t.Port, Reason: h.Reason})
		}
	}
	for i, h := range hosts {
		if t, ok := match(treated, sample(h.Pattern), h.Port); ok && covers(t.Pattern, h.Pattern) {
			hosts[i].Terms = t.Terms
		}
	}
	return hosts
}

// sample is a name that a pattern matches: the name itself, or one below.
func sample(pattern string) string {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return "x" + suffix
	}
	return pattern
}

// covers says whether every name that inner matches is matched by outer.
func covers(outer, inner string) bool {
	suffix, wild := strings.CutPrefix(outer, "*")
	return outer == inner || wild && strings.HasSuffix(strings.TrimPrefix(inner, "*"), suffix)
}

func (h Host) key() string { return h.Pattern + ":" + strconv.Itoa(h.Port) }

// Denied is one line of what is refused whatever else allows it.
type Denied struct {
	// Pattern is a name, "*." and a suffix, or "*" for everything.
	Pattern string `json:"pattern"`
	// Port is 0 for every port.
	Port   int    `json:"port,omitempty"`
	Reason string `json:"reason"`
}

// ParseDeny reads one entry of a deny list. Other than in an egress list, no
// port means every port, a wildcard may be as wide as one likes, and * is all.
func ParseDeny(entry string) ([]Denied, error) {
	if entry == "*" {
		return []Denied{{Pattern: "*"}}, nil
	}
	if strings.HasPrefix(entry, "@") {
		hosts, err := parsePreset(entry)
		out := make([]Denied, len(hosts))
		for i, h := range hosts {
			out[i] = Denied{Pattern: h.Pattern}
		}
		return out, err
	}
	host, port, err := splitPort(entry)
	if err == nil && !strings.Contains(entry, ":") {
		port = 0
	}
	suffix, wild := strings.CutPrefix(host, "*.")
	var name string
	if err == nil {
		name, err = CanonicalHost(suffix)
	}
	if err != nil {
		return nil, fmt.Errorf("deny entry %q: %w", printable(entry), err)
	}
	if wild {
		name = "*." + name
	}
	return []Denied{{Pattern: name, Port: port}}, nil
}

// CheckDeny is ParseDeny without its result.
func CheckDeny(entry string) error {
	_, err := ParseDeny(entry)
	return err
}

// Denies finds the line that refuses host and port. A host without a canonical
// form is no line's matter: Match refuses it.
func Denies(list []Denied, host string, port int) (Denied, bool) {
	name, err := CanonicalHost(host)
	if err != nil {
		return Denied{}, false
	}
	i := slices.IndexFunc(list, func(d Denied) bool {
		if d.Port != 0 && d.Port != port {
			return false
		}
		suffix, wild := strings.CutPrefix(d.Pattern, "*")
		return d.Pattern == name || wild && strings.HasSuffix(name, suffix)
	})
	if i < 0 {
		return Denied{}, false
	}
	return list[i], true
}

func denied(name string, lists ...[]string) ([]Denied, error) {
	var out []Denied
	for i, from := range []string{"egress.deny", "groups." + name + ".egressDeny"} {
		for _, entry := range lists[i] {
			list, err := ParseDeny(entry)
			if err != nil {
				return nil, &Refusal{"egress.entry", fmt.Sprintf("%s: %v", from, err), ""}
			}
			for _, d := range list {
				d.Reason = from + " " + entry
				out = append(out, d)
			}
		}
	}
	return out, nil
}
