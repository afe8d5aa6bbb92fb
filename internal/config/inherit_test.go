package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What is taken of the owner's own Claude Code, in which form, and what is left
// out and why. No word about it shows what could be a secret.
func TestInherit(t *testing.T) {
	env := fakeEnv(map[string]string{"TOKEN": "canary-of-a-server"})
	const inside, own, http = "inside", "own", "http"
	tests := []struct{ name, server, kind, left string }{
		{"a plain program", `{"command": "npx", "args": ["-y", "@playwright/mcp@latest"]}`, inside, ""},
		{"a folder as argument", `{"type": "stdio", "command": "files-mcp", "args": ["/home/ann/projects-of-2024-and-later"]}`, inside, ""},
		{"any variable", `{"command": "npx", "env": {"LEVEL": "canary"}}`, own, ""},
		{"an option that names a secret", `{"command": "npx", "args": ["--api-key", "canary"]}`, own, ""},
		{"the same in one word", `{"command": "npx", "args": ["--api-key=canary"]}`, own, ""},
		{"what looks like a token", `{"command": "npx", "args": ["canary0123456789abcdef"]}`, own, ""},
		{"a credential in an address", `{"command": "npx", "args": ["postgres://me:canary@db/x"]}`, own, ""},
		{"an argument from a variable", `{"command": "npx", "args": ["${TOKEN}"]}`, own, ""},
		{"an address", `{"type": "http", "url": "https://mcp.example.org/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}`, http, ""},
		{"its other name", `{"type": "streamable-http", "url": "https://mcp.example.org/mcp"}`, http, ""},
		{"what we do not know", `{"command": "npx", "trust": true}`, inside, ""},

		{"sse", `{"type": "sse", "url": "https://canary.example"}`, "", "streamable HTTP"},
		{"made headers", `{"url": "https://mcp.example.org", "headersHelper": "/bin/canary"}`, "", "headersHelper"},
		{"a variable that is not set", `{"command": "npx", "args": ["${NOPE}"]}`, "", "NOPE to be set"},
		{"plain http with a header", `{"url": "http://mcp.example.org", "headers": {"X-Key": "canary"}}`, "", "anybody between"},
		{"a credential in the url", `{"url": "https://me:canary@mcp.example.org"}`, "", "without user"},
		{"an option for a program", `{"command": "-x"}`, "", "the name or path of a program"},
		{"nothing", `{}`, "", "command or url"},
		{"another form", `"canary"`, "", "not in the form"},
		{"null", `null`, "", "command or url"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			left := c.Inherit("~/.claude.json", map[string]json.RawMessage{"theirs": json.RawMessage(test.server)}, Options{Getenv: env})
			s, ok := c.MCPServers["theirs"]
			kind := ""
			switch {
			case ok && s.Command == "":
				kind = http
			case ok && s.Own:
				kind = own
			case ok:
				kind = inside
			}
			if kind != test.kind || (len(left) == 0) != (test.left == "") || !strings.Contains(strings.Join(left, "\n"), test.left) {
				t.Errorf("became %q, left out %q", kind, left)
			}
			if text := fmt.Sprintf("%v %+v %#v", left, c, c.MCPServers); strings.Contains(text, "canary") {
				t.Errorf("a print shows the secret: %s", text)
			}
			if ok && (len(s.Inside()) > 0 || s.Where("theirs") != "~/.claude.json: mcpServers.theirs") {
				t.Errorf("inside: %v, from %s", s.Inside(), s.Where("theirs"))
			}
			if ps := c.Validate(Options{}); len(ps) > 0 {
				t.Errorf("it is not valid: %v", ps)
			}
		})
	}
}

// Servers of this file go before inherited ones, whose names agents must be able
// to tell from them; and who has them is globalMcpInheritance's to say.
func TestInheritNamesAndGroups(t *testing.T) {
	text := `{"globalMcpInheritance": %q, "groups": {"family": {}}, "mcpServers": {"my.mail": {"command": "mail", "modes": ["host"]}}}`
	theirs := map[string]json.RawMessage{}
	for _, name := range []string{"My_Mail", "nanoclaw", "a__b", "x", "X"} {
		theirs[name] = json.RawMessage(`{"command": "npx"}`)
	}
	for inheritance, groups := range map[string]string{InheritMain: "main", InheritAll: "main family"} {
		c := mustDecode(t, fmt.Appendf(nil, text, inheritance))
		left := strings.Join(c.Inherit("~/.claude.json", theirs, Options{}), "\n")
		for _, want := range []string{"My_Mail is left out, since mcpServers.my.mail goes before it", "nanoclaw is left out", "a__b is left out", "mcpServers.x is left out, since ~/.claude.json: mcpServers.X"} {
			if !strings.Contains(left, want) {
				t.Errorf("no %q in %s", want, left)
			}
		}
		if len(c.MCPServers) != 2 || len(c.MCPServers["X"].Modes) != 1 || c.MCPServers["X"].Modes[0] != "host" {
			t.Errorf("got %+v", c.MCPServers)
		}
		var have []string
		for _, g := range []string{"main", "family"} {
			if c.MCPServers["X"].For(g) != c.Inherits(g) {
				t.Errorf("%s: has it %t, inherits %t", g, c.MCPServers["X"].For(g), c.Inherits(g))
			}
			if c.Inherits(g) {
				have = append(have, g)
			}
		}
		if strings.Join(have, " ") != groups {
			t.Errorf("%s: %v", inheritance, have)
		}
	}
	c := mustDecode(t, fmt.Appendf(nil, text, InheritNone))
	if c.Inherits("main") {
		t.Error("main inherits what nobody shall")
	}
	if _, err := Decode("c", []byte(`{"globalMcpInheritance": "all"}`), Options{}); err == nil || !strings.Contains(err.Error(), "all-groups") {
		t.Errorf("got %v", err)
	}
}

// The first mistake about modes is told with its line.
func TestServerWithoutModes(t *testing.T) {
	_, err := Decode("c.jsonc", []byte("{\n\"mcpServers\": {\n\n \"mail\": {\"command\": \"mail\"}}}"), Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "c.jsonc:4:") || !strings.Contains(err.Error(), "mcpServers.mail.modes: expected the modes in which agents have it") {
		t.Errorf("got %v", err)
	}
}
