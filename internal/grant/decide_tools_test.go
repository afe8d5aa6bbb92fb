package grant

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
)

// The rules of all groups and of the group's own are in its grant, each with the
// line it comes from; one that cannot be read refuses the run.
func TestToolRules(t *testing.T) {
	r := request(func(r *Request) {
		r.Config.PermissionMode = "bypass"
		r.Config.Permissions = config.Permissions{Deny: []string{"WebFetch"}, Allow: []string{"Read"}}
		edit(r, "main", func(g *config.Group) { g.Permissions = config.Permissions{Ask: []string{"Bash(git push*)"}} })
	})
	g, err := Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	want := []ToolRule{
		{"deny", "WebFetch", "permissions.deny"}, {"allow", "Read", "permissions.allow"}, {"ask", "Bash(git push*)", "groups.main.permissions.ask"},
	}
	if d := cmp.Diff(want, g.Rules); d != "" || g.Ask {
		t.Errorf("ask %v: %s", g.Ask, d)
	}
	if text := g.String(); !strings.Contains(text, "rule ask Bash(git push*)  # groups.main.permissions.ask\n") || !strings.Contains(text, "limit any number of tool calls") {
		t.Errorf("printed as\n%s", text)
	}
	edit(&r, "main", func(g *config.Group) { g.Permissions.Allow = []string{"Bash(ls)"} })
	var no *Refusal
	if _, err := Decide(r); !errors.As(err, &no) || no.Rule != "permissions.rule" || !strings.Contains(no.Text, "groups.main.permissions.allow") {
		t.Errorf("a rule that lowers by text: %v", err)
	}
}

// Only the word bypass lets tools pass unasked, and the group's own word counts.
func TestAsks(t *testing.T) {
	tests := []struct {
		common, own string
		ask         bool
		reason      string
	}{
		{"bypass", "", false, "permissionMode"},
		{"ask", "", true, "permissionMode"},
		{"bypass", "ask", true, "groups.main.permissionMode"},
		{"ask", "bypass", false, "groups.main.permissionMode"},
		{"", "", true, "permissionMode"},
		{"bypass", "Bypass", true, "groups.main.permissionMode"},
	}
	for _, tt := range tests {
		g, err := Decide(request(func(r *Request) {
			r.Config.PermissionMode, r.Config.Limits.AskTime = tt.common, config.Duration(time.Minute)
			edit(r, "main", func(g *config.Group) { g.PermissionMode = tt.own })
		}))
		if err != nil || g.Ask != tt.ask || g.AskReason != tt.reason || g.Limits.AskTime != time.Minute {
			t.Errorf("%q and %q: %v, %q, %v, %v", tt.common, tt.own, g.Ask, g.AskReason, g.Limits.AskTime, err)
		}
		if asks := strings.Contains(g.String(), "ask the owner before tools, for 1m0s  # "+tt.reason); asks != tt.ask {
			t.Errorf("printed as\n%s", g)
		}
	}
}
