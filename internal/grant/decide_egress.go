package grant

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// Reached is one host that the owner allowed a group when they were asked: the
// exact name and port, as HOST:PORT.
type Reached struct {
	Host   string
	Reason string
}

// terms are how hosts are treated for the group, all groups' and its own.
func (r Request) terms() ([]Host, error) {
	terms, err := termsOf(r.Config.Egress.Hosts, r.Config.Groups[string(r.Group)].EgressHosts)
	if err != nil {
		return nil, &Refusal{"egress.entry", err.Error(), ""}
	}
	return terms, nil
}

// egressHosts are the hosts of a group, each with how it is treated.
func egressHosts(name chat.Group, g config.Group, terms []Host, reached []Reached) ([]Host, error) {
	out := make([]Host, 0, 2*len(g.Egress)+len(reached))
	seen := make(map[string]bool, 2*len(g.Egress)+len(reached))
	for i, entry := range g.Egress {
		hosts, err := ParseHost(entry)
		if err != nil {
			return nil, &Refusal{"egress.entry", fmt.Sprintf("groups.%s.egress[%d]: %v", name, i, err), ""}
		}
		for _, h := range hosts {
			if !seen[h.key()] {
				seen[h.key()] = true
				h.Reason = fmt.Sprintf("groups.%s.egress %s", name, entry)
				out = append(out, h)
			}
		}
	}
	allowed := map[string]bool{}
	for _, a := range reached {
		// What an older program kept and this one reads in another way reaches nothing.
		if h, err := exactHost(a.Host); err == nil && !seen[h.key()] {
			seen[h.key()], allowed[h.key()] = true, true
			h.Reason = a.Reason
			out = append(out, h)
		}
	}
	out = applyTerms(out, terms)
	for i, h := range out {
		if allowed[h.key()] { // an answer to a question leads to public addresses alone
			out[i].Private, out[i].Address = false, ""
		}
	}
	return out, nil
}

// exactHost reads HOST:PORT, one name and no pattern.
func exactHost(entry string) (Host, error) {
	hosts, err := ParseHost(entry)
	switch {
	case err != nil:
		return Host{}, err
	case len(hosts) != 1 || strings.HasPrefix(hosts[0].Pattern, "*"):
		return Host{}, fmt.Errorf("%q is not one host", printable(entry))
	}
	return hosts[0], nil
}

// asksForHosts gives the line by which the owner is asked about hosts that the
// group may not reach, "" if they are not.
func asksForHosts(name chat.Group, g config.Group, common config.Egress) string {
	switch {
	case common.Ask:
		return "egress.ask"
	case g.EgressAsk:
		return fmt.Sprintf("groups.%s.egressAsk", name)
	}
	return ""
}

// MayAsk gives the line of a grant that a yes of the owner would add for a host:
// the narrowest there is. It fails, in words, if the owner is not asked: if they
// denied the host, if it is no name of another machine, or if the configuration
// treats it in a way of its own, which only its own entry may bring about.
func (g Grant) MayAsk(c *config.Config, host string, port int) (Host, error) {
	h, err := exactHost(fmt.Sprintf("%s:%d", host, port))
	if err != nil {
		return Host{}, err
	}
	if d, ok := Denies(g.Denied, host, port); ok {
		return Host{}, fmt.Errorf("the owner denied it (%s)", d.Reason)
	}
	terms, err := termsOf(c.Egress.Hosts, c.Groups[string(g.Group)].EgressHosts)
	if err != nil {
		return Host{}, err
	}
	bare := h.Terms
	if got := applyTerms([]Host{h}, terms); !reflect.DeepEqual(got[0].Terms, bare) {
		return Host{}, errors.New("the configuration has terms for it, so it must be granted there")
	}
	return h, nil
}

func budget(e config.Egress) Budget {
	return Budget{int64(e.Upload), int64(e.Download), e.Connections}
}

// Inspects says whether the session looks into the TLS of any host.
func (g Grant) Inspects() bool { return inspects(g.Egress) }

func inspects(hosts []Host) bool {
	return slices.ContainsFunc(hosts, func(h Host) bool { return h.Inspect })
}

// trust are the variables by which programs find certificate authorities, where
// the session has one of its own. Most replace the system's list, so they get a
// file with both; Node's adds to it.
func trust(hosts []Host) []Var {
	if !inspects(hosts) {
		return nil
	}
	const why = "hosts are inspected, so the session has an authority of its own beside the system's"
	out := []Var{{"NODE_EXTRA_CA_CERTS", Authority, why}}
	for _, name := range []string{
		"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
		"CARGO_HTTP_CAINFO", "DENO_CERT", "NIX_SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
		"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "HTTPLIB2_CA_CERTS", "BUNDLE_SSL_CA_CERT", "npm_config_cafile",
	} {
		out = append(out, Var{name, Roots, why})
	}
	return out
}
