package grant

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// parseURL reads "https://host/path", with a method before it or GET without.
// The query is left away: no rule looks at it.
func parseURL(s string) (Question, bool) {
	method, rest, ok := strings.Cut(s, " ")
	if !ok {
		method, rest = http.MethodGet, s
	}
	scheme, rest, ok := strings.Cut(rest, "://")
	if !ok || scheme != "http" && scheme != "https" || method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return Question{}, false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	host, path, _ := strings.Cut(rest, "/")
	q := Question{Kind: AboutHost, Scheme: scheme, Method: method, Path: "/" + path}
	q.Name, q.Port = splitQuestion(host)
	return q, q.Name != ""
}

func (g Grant) explainHost(q Question) Answer {
	port := HTTPSPort
	if q.Scheme == "http" {
		port = HTTPPort
	}
	if q.Port != "" {
		p, err := ParsePort(q.Port)
		if err != nil {
			return Answer{Why: err.Error()}
		}
		port = p
	}
	if own, exact := loopback(q.Name); own {
		return g.explainLoopback(exact, port)
	}
	name, err := CanonicalHost(q.Name)
	if err != nil {
		return Answer{Why: err.Error()}
	}
	if d, ok := Denies(g.Denied, name, port); ok {
		return Answer{Line: d.line(), Why: "the owner denied it, which goes before everything that allows"}
	}
	if h, ok := Match(g.Egress, name, port); ok {
		return h.explain(q)
	}
	a := Answer{Why: fmt.Sprintf("no line of the grant names %s with port %d, and there is no other way out", name, port)}
	entry := name
	if port != HTTPSPort {
		entry = fmt.Sprintf("%s:%d", name, port)
	}
	if _, err := ParseHost(entry); err == nil {
		a.Allow = fmt.Sprintf("nanoclaw group egress add %s %s", g.Group, entry)
	} else {
		a.Why += "; it cannot be granted: " + err.Error()
	}
	return a
}

// explain answers about a host that may be reached: for the host alone, or for
// one request to it.
func (h Host) explain(q Question) Answer {
	a := Answer{Allowed: true, Line: h.line()}
	switch {
	case q.Scheme == "":
		return a
	case q.Scheme == "http" && h.Port == HTTPSPort:
		return Answer{Line: h.line(), Why: "port 443 speaks TLS, and what comes as plain HTTP is refused"}
	case q.Scheme == "https" && !h.Inspect && len(h.Rules) > 0:
		return Answer{Line: h.line(), Why: "the host has rules and is not inspected, so requests inside TLS could not be judged: TLS to it is refused"}
	case q.Scheme == "https" && !h.Inspect:
		a.Why = "the host is not inspected: the proxy sees its name and no request"
		return a
	}
	rule, err := h.Permits(q.Method, q.Path)
	switch {
	case err != nil:
		return Answer{Line: h.line(), Why: err.Error()}
	case rule != "":
		a.Why = "the rule " + rule
	default:
		a.Why = "the host has no rules, so every request passes"
	}
	return a
}

// loopback says whether a host is the machine itself as seen from inside, and
// whether it is the address at which the endpoints listen.
func loopback(host string) (own, exact bool) {
	name := strings.TrimSuffix(lowerASCII(host), ".")
	if name == "localhost" {
		return true, true
	}
	a, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && a.IsLoopback(), err == nil && a == netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func (g Grant) explainLoopback(exact bool, port int) Answer {
	for _, e := range g.Endpoints {
		if exact && e.Port == port {
			return Answer{Allowed: true, Line: e.line()}
		}
	}
	return Answer{Why: "inside, this address is the session's own, and only its endpoints and the agent's programs listen there: services of this machine cannot be reached"}
}
