package grant

import (
	"fmt"
	"slices"

	"nanoclaw/internal/config"
)

// explainServer says whether the session has an MCP server.
func (g Grant) explainServer(name string) Answer {
	i := slices.IndexFunc(g.Servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		i = slices.IndexFunc(g.Servers, func(s Server) bool { return s.As == name })
	}
	if i < 0 {
		return Answer{Why: fmt.Sprintf("group %s has no MCP server of this name: mcpServers names those there are, and \"groups\" there who has them", g.Group)}
	}
	s := g.Servers[i]
	a := Answer{Allowed: s.Active(), Line: s.line()}
	switch {
	case !s.Active():
		a.Why = s.Reason
	case s.Transport == ServerInside && s.Dangerous():
		a.Why = "it runs inside: you are asked before its tools are used, which guides the agent and is no boundary"
	case s.Transport == ServerInside:
		a.Why = "it runs inside, where the agent starts it itself"
	case s.Ask:
		a.Why = "the host passes on a call that you said yes to, and no other"
	default:
		a.Why = "the host passes on what is asked of it"
	}
	return a
}

// explainServersTool says whether a tool of an MCP server may be called.
func (g Grant) explainServersTool(as, tool string) Answer {
	a := g.explainServer(as)
	s, ok := g.Server(as)
	if !ok {
		a.Allowed = false
		return a
	}
	same := func(t string) bool { return config.As(t) == config.As(tool) }
	switch {
	case len(s.Tools) > 0 && !slices.ContainsFunc(s.Tools, same):
		a.Allowed, a.Why = false, "its \"tools\" in the configuration are the only ones that may be called"
	case slices.ContainsFunc(s.Waiting, same):
		a.Allowed, a.Why = false, "what the server says of it is new, and you have not accepted it: nanoclaw mcp pin "+s.Name
	case s.Asks(tool) && s.Transport != ServerInside:
		a.Why = "the host passes on a call that you said yes to, and no other"
	case s.Asks(tool):
		a.Why = "you are asked before it is used, which guides the agent and is no boundary"
	}
	return a
}
