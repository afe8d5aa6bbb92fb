package agent_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
)

// MCP servers go in by the first request, in the form of .mcp.json, and nothing
// of them is on the command line, which everybody inside can read.
func TestClaudeMCPServers(t *testing.T) {
	heard := make(chan agenttest.Line, 1)
	var argv string
	box := agenttest.Act(func(p *agenttest.Peer) int {
		argv = strings.Join(p.Exec.Argv, " ")
		l, _ := p.Hear()
		heard <- l
		p.Say(obj{"type": "control_response", "response": obj{"subtype": "success", "request_id": l.Get("request_id"), "response": obj{}}})
		return rest(p)
	})
	c, err := agent.Claude{}.Open(t.Context(), box, agent.Options{
		MCP:         func(context.Context, string, json.RawMessage) (json.RawMessage, error) { return nil, nil },
		HostServers: []string{"box"},
		MCPServers: []agent.MCPServer{
			{Name: "files", Command: "files-mcp", Args: []string{"-x"}, Env: map[string]string{"K": "canary"}, Timeout: time.Minute, AlwaysLoad: true},
			{Name: "web", URL: "${U}/mcp/web", Headers: map[string]string{"X": "y"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := <-heard
	for _, want := range []struct{ path, value string }{
		{"files.command", "files-mcp"}, {"files.args", "[-x]"}, {"files.env", "map[K:canary]"}, {"files.timeout", "60000"}, {"files.alwaysLoad", "true"},
		{"web.type", "http"}, {"web.url", "${U}/mcp/web"}, {"web.headers", "map[X:y]"},
	} {
		if got := l.Get(append([]string{"request", "mcpServers"}, strings.Split(want.path, ".")...)...); got != want.value {
			t.Errorf("%s is %q, want %q", want.path, got, want.value)
		}
	}
	if got := l.Get("request", "sdkMcpServers"); got != "[nanoclaw box]" {
		t.Errorf("the host's servers are %s", got)
	}
	for _, word := range []string{"canary", "files", "web"} {
		if strings.Contains(argv, word) {
			t.Errorf("%q is on the command line: %s", word, argv)
		}
	}
}
