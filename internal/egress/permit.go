package egress

import (
	"errors"
	"fmt"

	"nanoclaw/internal/grant"
)

// overrides are fields by which some servers let a request be another one than
// its first line says. Where a rule judged the first line, they are refused.
func overrides() []string {
	return []string{"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"}
}

// permit judges a request that can be seen, by the rules of its host.
func (x *exchange) permit(req *request) *refusal {
	if req.webSocket && !x.rule.WebSocket {
		return &refusal{status: 403, text: fmt.Sprintf("%s may not be spoken to by WebSocket: the owner has not granted it", req.host)}
	}
	if len(x.rule.Rules) == 0 {
		return nil
	}
	for _, name := range overrides() {
		if _, there := req.header[name]; there {
			return bad("the field %s would make another request of this one", name)
		}
	}
	rule, err := x.rule.Permits(req.method, req.target.EscapedPath())
	switch {
	case errors.Is(err, grant.ErrAmbiguous):
		return bad("%s has rules for its paths, and %s", req.host, clean(err.Error()))
	case err != nil:
		return &refusal{status: 403, text: fmt.Sprintf("%s %s is not let through to %s: %s",
			clean(req.method), clean(req.target.EscapedPath()), req.host, err)}
	}
	x.event.Rule += " " + rule
	return nil
}
