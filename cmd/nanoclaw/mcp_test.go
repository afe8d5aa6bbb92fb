package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/control"
)

func TestMCPVerbs(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	list := []control.ServerInfo{
		{Name: "tracker", Group: "main", As: "tracker", Transport: "http", State: "active", Reason: "mcpServers.tracker", Checked: at, Says: "Tracker\x1b[2J 1", Hash: "h",
			Tools: map[string]string{"search": "0123456789abcdef", "evil\nname": "f"}, Since: at},
		{Name: "far", Group: "main", As: "far", Transport: "stdio", State: "failed", Reason: "its program /x/far is not in the grant", Fix: `add "tools": ["/x"] to the configuration`},
		{Name: "loose", Group: "family", As: "loose", Transport: "stdio", State: "active", Secrets: []string{"env.TOKEN"}},
	}
	b := newBench(t, nil)
	var asked control.ServersQuery
	b.host.OnServers = func(_ context.Context, q control.ServersQuery) ([]control.ServerInfo, error) {
		asked = q
		switch q.Name {
		case "":
			return list, nil
		case "tracker":
			return list[:1], nil
		case "far":
			return list[1:2], nil
		}
		return nil, &control.Error{Code: control.CodeNotFound, Message: "there is no MCP server " + q.Name}
	}
	list[2].Waiting, list[0].Pin, list[0].By, list[0].Asks = []string{"a", "b"}, "3f7a9c21d04bff", "first use", true
	tests := []struct {
		args string
		code int
		want []string
		ask  control.ServersQuery
	}{
		{"mcp list", 0, []string{"3f7a9c21d04b (first use)", "2 wait for you", "you are asked about calls"}, control.ServersQuery{}},
		{"mcp list", 0, []string{"tracker", "failed", `add "tools": ["/x"]`, "SECRETS INSIDE: the agent can read env.TOKEN"}, control.ServersQuery{}},
		{"mcp list --group family --json", 0, []string{`"secrets": [`}, control.ServersQuery{Group: "family"}},
		{"mcp test tracker", 0, []string{"tracker for main: active", "0123456789ab  mcp__tracker__search"}, control.ServersQuery{Name: "tracker", Test: true}},
		{"mcp test far", 1, []string{"far for main: failed, its program /x/far is not in the grant", `  add "tools"`}, control.ServersQuery{Name: "far", Test: true}},
		{"mcp test nope", 1, []string{"there is no MCP server nope"}, control.ServersQuery{Name: "nope", Test: true}},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			got := b.run("", strings.Fields(test.args)...)
			all := got.out + got.errOut
			for _, want := range test.want {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in\n%s", want, all)
				}
			}
			if got.code != test.code || asked != test.ask {
				t.Errorf("exit %d, asked %+v", got.code, asked)
			}
			if strings.ContainsAny(all, "\x1b") || strings.Contains(all, "evil\nname") {
				t.Errorf("what a server said reached the terminal as it was: %q", all)
			}
		})
	}
}

// What waits of a server is accepted under the hash that it was shown with.
func TestMCPPin(t *testing.T) {
	const hash = "0123456789abcdef"
	tests := []struct {
		args, want string
		code       int
		accepts    bool
	}{
		{"mcp pin mail", "to accept exactly this: nanoclaw mcp pin mail --hash 0123456789ab\n", 0, false},
		{"mcp pin mail --hash 0123456789ab", "accepted: mail with 0123456789ab\n", 0, true},
		{"mcp pin mail --hash 0123456789abcdef", "accepted: mail", 0, true},
		{"mcp pin mail --hash 0123", "another hash", 3, false},
		{"mcp pin mail --hash ffff56789abc", "another hash", 3, false},
		{"mcp pin fine", "nothing waits: fine is pinned to 0123456789ab\n", 0, false},
		{"mcp pin fine --hash 0123456789ab", "nothing waits", 0, false},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			b := newBench(t, nil)
			accepted := ""
			b.host.OnPin = func(_ context.Context, r control.PinRequest) (control.Pin, error) {
				if r.Hash != "" {
					accepted = r.Hash
				}
				return control.Pin{Server: r.Name, Hash: hash, Text: "send\n  is: {\"x\":\"\x1b[2J\"}\n", Done: r.Name == "fine" || r.Hash != ""}, nil
			}
			got := b.run("", strings.Fields(test.args)...)
			all := got.out + got.errOut
			if got.code != test.code || !strings.Contains(all, test.want) || strings.Contains(all, "\x1b") || (accepted == hash) != test.accepts {
				t.Errorf("exit %d, accepted %q:\n%s", got.code, accepted, all)
			}
		})
	}
}
