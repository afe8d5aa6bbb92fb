package grant

import "testing"

func TestJudged(t *testing.T) {
	rules := func(level string, texts ...string) []ToolRule {
		var out []ToolRule
		for _, text := range texts {
			out = append(out, ToolRule{Level: level, Rule: text})
		}
		return out
	}
	servers := []Server{{Name: "my.mail", As: "my_mail", State: ServerActive, AskTools: []string{"send.all"}}}
	tests := []struct {
		name, tool string
		g          Grant
		want       bool
	}{
		{"nothing is said", "mcp__nanoclaw__send_message", Grant{}, false},
		{"ask mode", "mcp__nanoclaw__send_message", Grant{Ask: true}, true},
		{"ask mode, and a rule that allows it", "mcp__nanoclaw__send_message", Grant{Ask: true, Rules: rules("allow", "mcp__nanoclaw")}, true},
		{"allowed by a rule", "mcp__nanoclaw__send_message", Grant{Rules: rules("allow", "mcp__nanoclaw")}, false},
		{"its server is asked about", "mcp__nanoclaw__send_message", Grant{Rules: rules("ask", "mcp__nanoclaw")}, true},
		{"denied", "mcp__nanoclaw__send_message", Grant{Rules: rules("deny", "mcp__nanoclaw__send_*")}, true},
		{"every tool is asked about", "mcp__nanoclaw__send_message", Grant{Rules: rules("ask", "*")}, true},
		{"another tool is asked about", "mcp__nanoclaw__send_message", Grant{Rules: rules("ask", "Bash", "mcp__nanoclaw__list_groups")}, false},
		{"a rule that nobody can read", "mcp__nanoclaw__send_message", Grant{Rules: rules("ask", "mcp__(")}, true},
		{"a dangerous tool of a server", "mcp__my_mail__send_all", Grant{Servers: servers}, true},
		{"another tool of it", "mcp__my_mail__read", Grant{Servers: servers}, false},
		{"a tool that runs inside", "Bash", Grant{Ask: true, Rules: rules("ask", "Bash")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.g.Judged(tt.tool); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
