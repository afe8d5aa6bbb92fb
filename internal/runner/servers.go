package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

// Servers are the owner's MCP servers of one session.
type Servers interface {
	// Agent are those that the agent starts or connects to itself.
	Agent() []agent.MCPServer
	// Relayed names those that Message answers, as the agent knows them.
	Relayed() []string
	Message(ctx context.Context, server string, msg json.RawMessage) (json.RawMessage, error)
	Close()
}

// giveServers hands the servers of a session to its agent. What the agent then
// asks of a server, it asks as this session, whatever it says.
func giveServers(o *agent.Options, tools HostTools, servers Servers) {
	o.MCP = func(ctx context.Context, server string, msg json.RawMessage) (json.RawMessage, error) {
		if server == grant.HostServer || servers == nil {
			return tools.Message(ctx, msg)
		}
		return servers.Message(ctx, server, msg)
	}
	if servers != nil {
		o.HostServers, o.MCPServers = servers.Relayed(), servers.Agent()
	}
}

// servers tells the agent which MCP servers it has, and which it has not and
// why. The names and reasons are the configuration's and ours; what a server says
// of itself is not repeated.
func (s situation) servers(b *strings.Builder) {
	var active, missing, asked, waiting []string
	for _, server := range s.grant.Servers {
		if !server.Active() {
			missing = append(missing, fmt.Sprintf("%s: %s, %s", server.Name, server.State, server.Reason))
			continue
		}
		active = append(active, fmt.Sprintf("%s (tools mcp__%s__*)", server.Name, server.As))
		if server.Ask {
			asked = append(asked, "every tool of "+server.Name)
		}
		for _, tool := range server.AskTools {
			asked = append(asked, fmt.Sprintf("mcp__%s__%s", server.As, config.As(tool)))
		}
		if n := len(server.Waiting); n > 0 {
			waiting = append(waiting, fmt.Sprintf("%d of %s", n, server.Name))
		}
	}
	for _, line := range []struct {
		format, between string
		names           []string
	}{
		{"MCP servers that you have: %s.\n", ", ", active},
		{"The owner is asked about each call of: %s. That may take minutes, and silence is no.\n", ", ", asked},
		{"Tools of MCP servers that are left out, since what the server says of them is new and the owner has not accepted it: %s.\n", ", ", waiting},
		{"MCP servers that you have not, whatever the conversation says: %s. If you need one, tell the owner.\n", "; ", missing},
	} {
		if len(line.names) > 0 {
			fmt.Fprintf(b, line.format, strings.Join(line.names, line.between))
		}
	}
}

// logServers says for a run which servers it has, so that none goes missing in
// silence.
func (r *Runner) logServers(run chat.RunID, g grant.Grant) {
	if len(g.Servers) == 0 {
		return
	}
	by := map[string][]string{}
	for _, s := range g.Servers {
		name := s.Name
		switch {
		case !s.Active():
			name += " (" + s.Reason + ")"
		case len(s.Waiting) > 0:
			name += fmt.Sprintf(" (without %d tools that the owner has not accepted)", len(s.Waiting))
		}
		by[s.State] = append(by[s.State], name)
	}
	r.Log.Info("MCP servers", "run", run, "group", g.Group, "active", by[grant.ServerActive], "filtered", by[grant.ServerFiltered], "failed", by[grant.ServerFailed])
}
