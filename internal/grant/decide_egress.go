package grant

import (
	"fmt"
	"slices"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// egressHosts are the hosts of a group, each with how it is treated.
func egressHosts(name chat.Group, g config.Group, common config.Egress) ([]Host, error) {
	var out []Host
	seen := map[string]bool{}
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
	terms, err := termsOf(common.Hosts, g.EgressHosts)
	if err != nil {
		return nil, &Refusal{"egress.entry", err.Error(), ""}
	}
	return applyTerms(out, terms), nil
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
