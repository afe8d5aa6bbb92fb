package agent

import (
	"slices"
	"time"

	"nanoclaw/internal/grant"
)

// MCPServer is an MCP server that Claude Code starts, or connects to, inside the
// boundary. It is handed over by the first control request and never on the
// command line; whatever it holds is inside nevertheless.
type MCPServer struct {
	// Name is made of A-Z a-z 0-9 _ and -, so that Claude Code does not change it.
	Name string
	// Command, Args and Env start a program that speaks over its stdio. It has
	// Claude Code's own environment beside Env.
	Command string
	Args    []string
	Env     map[string]string
	// URL is where a server listens, if there is no Command. SSE says that it
	// speaks the older transport (HTTP with SSE, MCP of 2024-11-05).
	URL     string
	Headers map[string]string
	SSE     bool
	// Timeout bounds one call of a tool. 0 is Claude Code's own, which is long.
	Timeout time.Duration
	// AlwaysLoad shows the tools to the model from the beginning; else it has to
	// look for them by their names.
	AlwaysLoad bool
}

// config is the server in the form of .mcp.json.
func (s MCPServer) config() map[string]any {
	c := map[string]any{}
	if s.Command != "" {
		c["type"], c["command"] = "stdio", s.Command
		c["args"] = append([]string{}, s.Args...)
		if len(s.Env) > 0 {
			c["env"] = s.Env
		}
	} else {
		c["type"], c["url"] = "http", s.URL
		if s.SSE {
			c["type"] = "sse"
		}
		if len(s.Headers) > 0 {
			c["headers"] = s.Headers
		}
	}
	if s.Timeout > 0 {
		c["timeout"] = s.Timeout.Milliseconds()
	}
	if s.AlwaysLoad {
		c["alwaysLoad"] = true
	}
	return c
}

// mcpServers are the servers for the first control request.
func mcpServers(list []MCPServer) map[string]any {
	out := map[string]any{}
	for _, s := range list {
		out[s.Name] = s.config()
	}
	return out
}

// hostServers names the servers that Options.MCP answers.
func hostServers(o Options) []string {
	if o.MCP == nil {
		return nil
	}
	return append([]string{grant.HostServer}, o.HostServers...)
}

// answers says whether a server of that name is the host's. The name comes from
// inside: one that was not announced reaches nothing.
func (o Options) answers(server string) bool { return slices.Contains(hostServers(o), server) }
