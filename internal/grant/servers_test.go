package grant

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// serversRequest asks for a group that runs Claude Code in host mode, with the
// servers of text.
func serversRequest(t *testing.T, group chat.Group, text string) Request {
	t.Helper()
	c, err := config.Decode("c", []byte(`{"hostMode": {"enabled": true}, "tools": ["/opt/node"],
		"egress": {"hosts": {"nas.lan:5000": {"private": true}}},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true}, "family": {"mode": "host", "hostModeAllowed": true}},
		"mcpServers": {`+text+`}}`), config.Options{Getenv: func(string) string { return "canary" }})
	if err != nil {
		t.Fatal(err)
	}
	return Request{Config: c, Group: group, Trigger: Trigger{Kind: "message", Owner: true},
		Machine: Machine{OwnerHome: "/home/ann", GroupsDir: "/data/groups", GlobalDir: "/data/global", Claude: "/opt/c/claude", HasModel: true}}
}

const someServers = `
	"tracker": {"url": "https://mcp.example.org/s/${PART}?k=${K}", "headers": {"Authorization": "Bearer ${TOK}"}, "modes": ["host"], "groups": ["*"], "tools": ["search"]},
	"my.files": {"command": "npx", "args": ["${X}"], "env": {"K": "${K}"}, "secretsInside": true, "modes": ["host", "container"]},
	"mail": {"command": "mail", "env": {"PASSWORD": "${P}"}, "own": true, "egress": ["imap.example.org:993"], "modes": ["host"]},
	"boxed": {"command": "x", "modes": ["container"], "groups": ["family", "main"]},
	"nas": {"url": "http://nas.lan:5000/mcp", "modes": ["host"]},
	"here": {"url": "http://localhost:7/mcp", "modes": ["host"]},
	"cloud": {"url": "http://169.254.169.254/mcp", "modes": ["host"]}`

func TestServersOfAGrant(t *testing.T) {
	tests := []struct {
		group chat.Group
		want  []string
	}{
		{"main", []string{
			`mcp FILTERED boxed stdio x  # mcpServers.boxed.modes has no "host"`,
			`mcp FAILED cloud http http://169.254.169.254:80/…  # mcpServers.cloud.url: an address of this kind (cloud metadata) is never reached`,
			`mcp here http http://localhost:7/… (at 127.0.0.1)  # mcpServers.here`,
			`mcp mail own mail  # mcpServers.mail`,
			`mcp my.files stdio npx as my_files  # mcpServers.my.files; SECRETS INSIDE: the agent can read env.K, args[0]`,
			`mcp nas http http://nas.lan:5000/… (private addresses)  # mcpServers.nas`,
			`mcp tracker http https://mcp.example.org:443/…, only search  # mcpServers.tracker`,
		}},
		{"family", []string{
			`mcp FILTERED boxed stdio x  # mcpServers.boxed.modes has no "host"`,
			`mcp tracker http https://mcp.example.org:443/…, only search  # mcpServers.tracker`,
		}},
	}
	for _, test := range tests {
		t.Run(string(test.group), func(t *testing.T) {
			g, err := Decide(serversRequest(t, test.group, someServers))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range g.Lines() {
				if strings.HasPrefix(l, "mcp ") {
					got = append(got, l)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			text, err := json.Marshal(g)
			if err != nil || strings.Contains(string(text)+g.String(), "canary") {
				t.Errorf("the grant holds a secret: %v", err)
			}
		})
	}
}

// What a server needs beside itself does not change when one fails, so that
// boundaries which stand ready keep their shape.
func TestServerParts(t *testing.T) {
	has := func(g Grant) (endpoint bool, timeout string) {
		for _, v := range g.Env {
			if v.Name == "MCP_TIMEOUT" {
				timeout = v.Value
			}
		}
		return slices.ContainsFunc(g.Endpoints, func(e Endpoint) bool { return e.Port == MCPPort }), timeout
	}
	tests := []struct {
		name, servers string
		endpoint      bool
		timeout       string
	}{
		{"none", "", false, ""},
		{"another mode's", `"a": {"url": "https://x.example/", "modes": ["container"]}`, false, ""},
		{"a program", `"a": {"command": "x", "modes": ["host"], "startTime": "20s"}`, false, "20000"},
		{"http", `"a": {"url": "https://x.example/", "modes": ["host"]}`, true, "3000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g, err := Decide(serversRequest(t, chat.Main, test.servers))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if e, timeout := has(g); e != test.endpoint || timeout != test.timeout {
					t.Errorf("endpoint %t, timeout %q", e, timeout)
				}
				g.Fail("a", "it is down", "")
			}
			if _, ok := g.Server("a"); ok {
				t.Error("a server that failed is there")
			}
		})
	}
}

// An own server gets nothing of the group, nor Claude Code's, nor the extra
// folders; the workspace only if it was asked for.
func TestServerGrant(t *testing.T) {
	r := serversRequest(t, chat.Main, someServers+`, "work": {"command": "w", "own": true, "workspace": "read", "modes": ["host"]}`)
	r.Config.Groups["main"] = config.Group{Mode: "host", HostModeAllowed: true, Mounts: []config.Mount{{Path: "/srv/secret"}}, Egress: []string{"forge.example"}}
	agents, err := Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, workspace := range map[string]string{"mail": "/data/groups/main/mcp/mail/workspace", "work": "/data/groups/main/workspace"} {
		g, err := ServerGrant(r, agents, name)
		if err != nil {
			t.Fatal(err)
		}
		var targets []string
		for _, m := range g.Mounts {
			if !m.Optional {
				targets = append(targets, m.Target)
			}
			if m.Target == Workspace && (m.Source != workspace || m.Write != (name == "mail")) || m.Target == Home && m.Source != "/data/groups/main/mcp/"+name+"/home" {
				t.Errorf("%s: %+v", name, m)
			}
		}
		if diff := cmp.Diff([]string{Workspace, Home, "/opt/node"}, targets); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", name, diff)
		}
		if name == "mail" && (len(g.Egress) != 1 || g.Egress[0].Pattern != "imap.example.org") || name == "work" && len(g.Egress) != 0 {
			t.Errorf("%s may reach %v", name, g.Egress)
		}
		if len(g.Tools) > 0 || len(g.Servers) > 0 || len(g.Endpoints) != 1 || strings.Contains(g.String(), "canary") {
			t.Errorf("%s has more than it should:\n%s", name, g)
		}
	}
	for _, name := range []string{"tracker", "my.files", "nope"} {
		if _, err := ServerGrant(r, agents, name); err == nil {
			t.Errorf("%s got a boundary of its own", name)
		}
	}
	r.Group = "family"
	if _, err := ServerGrant(r, agents, "mail"); err == nil {
		t.Error("family got main's server")
	}
}

// A session that is warm goes on without a server that failed since, and makes
// room for one that has it again; anything else is another grant.
func TestServes(t *testing.T) {
	decide := func() Grant {
		g, err := Decide(serversRequest(t, chat.Main, someServers))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	failed := decide()
	failed.Fail("mail", "it is down", "")
	other := decide()
	other.Servers[2].Tools = []string{"x"}
	wider := decide()
	wider.Egress = append(wider.Egress, Host{Pattern: "a.example", Port: 443})
	for _, test := range []struct {
		name       string
		have, want Grant
		serves     bool
	}{
		{"the same", decide(), decide(), true},
		{"failed since", decide(), failed, true},
		{"failed before", failed, failed, true},
		{"there again", failed, decide(), false},
		{"another server", decide(), other, false},
		{"another host", decide(), wider, false},
	} {
		if got := test.have.Serves(test.want); got != test.serves {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

// Other groups than main are asked about dangerous servers, and a question about a
// server or its tool is answered by its line.
func TestDangerousServers(t *testing.T) {
	const text = `
		"all": {"url": "https://mcp.example.org/", "dangerous": true, "modes": ["host"], "groups": ["*"], "tools": ["read", "send.all"]},
		"some": {"command": "x", "dangerousTools": ["send.all"], "modes": ["host"], "groups": ["*"]},
		"boxed": {"command": "x", "modes": ["container"], "groups": ["*"]},
		"mine": {"command": "x", "modes": ["host"]}`
	for group, want := range map[chat.Group]string{
		"main": "", "family": "mcp__all__read mcp__all__send_all mcp__some__send_all",
	} {
		g, err := Decide(serversRequest(t, group, text))
		if err != nil {
			t.Fatal(err)
		}
		var asked []string
		for _, name := range []string{"mcp__all__read", "mcp__all__send_all", "mcp__some__read", "mcp__some__send_all", "mcp__boxed__x", "mcp__mine__x", "mcp__nope__x", "mcp__all", "Bash"} {
			if _, _, ok := g.AskedOf(name); ok {
				asked = append(asked, name)
			}
		}
		if got := strings.Join(asked, " "); got != want {
			t.Errorf("%s is asked about %q, want %q", group, got, want)
		}
	}
	g, err := Decide(serversRequest(t, "family", text))
	if err != nil {
		t.Fatal(err)
	}
	g.Servers[2].Waiting = []string{"new\x1b"}
	tests := []struct {
		question  string
		allowed   bool
		line, why string
	}{
		{"mcp:all", true, "mcp all http https://mcp.example.org:443/…, only read, send.all, each call asked about  # mcpServers.all", "a call that you said yes to"},
		{"mcp:some", true, `mcp some stdio x, asked about: send.all  # mcpServers.some; left out until you accept them: "new\x1b"`, "no boundary"},
		{"mcp:boxed", false, `mcp FILTERED boxed stdio x  # mcpServers.boxed.modes has no "host"`, `modes has no "host"`},
		{"mcp:mine", false, "", "no MCP server of this name"},
		{"tool:mcp__all__read", true, "mcp all ", "a call that you said yes to"},
		{"tool:mcp__all__delete", false, "mcp all ", "the only ones"},
		{"tool:mcp__some__read", true, "mcp some ", "it runs inside"},
		{"tool:mcp__some__send_all", true, "mcp some ", "you are asked before"},
		{"tool:mcp__some__new_", false, "mcp some ", "nanoclaw mcp pin some"},
		{"tool:mcp__boxed__x", false, "mcp FILTERED boxed", "modes has no"},
		{"tool:mcp__nope__x", false, "", "no MCP server"},
	}
	for _, test := range tests {
		q, err := ParseQuestion(test.question)
		if err != nil || q.String() != test.question {
			t.Errorf("%s: read as %s, %v", test.question, q, err)
		}
		a := Explain(g, Machine{}, q)
		if a.Allowed != test.allowed || !strings.HasPrefix(a.Line, test.line) || test.line == "" && a.Line != "" || !strings.Contains(a.Why, test.why) {
			t.Errorf("%s: %+v", test.question, a)
		}
	}
}

// Servers of the owner's own Claude Code are named with their file, and are not
// there in container mode.
func TestInheritedServers(t *testing.T) {
	r := serversRequest(t, chat.Main, "")
	r.Config.Inherit("~/.claude.json", map[string]json.RawMessage{"theirs": json.RawMessage(`{"command": "x"}`)}, config.Options{})
	g, err := Decide(r)
	if err != nil || len(g.Servers) != 1 || g.Servers[0].line() != "mcp theirs stdio x  # ~/.claude.json: mcpServers.theirs" {
		t.Errorf("%v, %+v", err, g.Servers)
	}
	list := r.servers(ContainerMode, Claude, nil)
	if len(list) != 1 || list[0].State != ServerFiltered || !strings.Contains(list[0].Reason, `not there in mode "container"`) {
		t.Errorf("%+v", list)
	}
	r.Group = "family"
	if g, err = Decide(r); err != nil || len(g.Servers) != 0 {
		t.Errorf("family has %+v, %v", g.Servers, err)
	}
}

// A session is kept for a server that was looked at for the first time, and not
// for one whose tools became others or were accepted.
func TestServesAfterPins(t *testing.T) {
	g, err := Decide(serversRequest(t, chat.Main, `"a": {"command": "x", "modes": ["host"]}`))
	if err != nil {
		t.Fatal(err)
	}
	with := func(pin string, waiting ...string) Grant {
		other := g
		other.Servers = slices.Clone(g.Servers)
		other.Servers[0].Pin, other.Servers[0].Waiting = pin, waiting
		return other
	}
	tests := []struct {
		name       string
		have, want Grant
		serves     bool
	}{
		{"the same", with("1"), with("1"), true},
		{"the first look", with(""), with("1"), true},
		{"the first look finds what is not accepted", with(""), with("", "x"), false},
		{"a change", with("1"), with("1", "x"), false},
		{"accepted", with("1", "x"), with("2"), false},
		{"accepted by others", with("1"), with("2"), false},
	}
	for _, test := range tests {
		if test.have.Serves(test.want) != test.serves {
			t.Errorf("%s: serves %t", test.name, !test.serves)
		}
	}
}
