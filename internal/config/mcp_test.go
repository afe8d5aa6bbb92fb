package config

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestServers(t *testing.T) {
	env := fakeEnv(map[string]string{"TOKEN": "canary-of-a-server", "BAD": "two\nlines", "HOST": "mcp.example.org"})
	tests := []struct{ name, servers, want string }{
		{"http", `"a": {"url": "https://${HOST}/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}, "modes": ["host"]}`, ""},
		{"as in .mcp.json", `"a": {"type": "stdio", "command": "npx", "args": ["-y", "x"], "env": {"LEVEL": "info"}, "modes": ["host", "container"]}`, ""},
		{"own with a secret", `"a": {"command": "npx", "own": true, "env": {"X": "${TOKEN}"}, "egress": ["example.org"], "workspace": "read", "tools": ["t"], "modes": ["host"], "groups": ["main"]}`, ""},
		{"accepted inside", `"a": {"command": "npx", "secretsInside": true, "env": {"X": "${TOKEN}"}, "modes": ["host"], "groups": ["*"]}`, ""},
		{"local http with headers", `"a": {"url": "http://127.0.0.1:8/mcp", "headers": {"X-Key": "k"}, "modes": ["host"]}`, ""},

		{"no modes", `"a": {"command": "npx"}`, "there is no default"},
		{"empty modes", `"a": {"command": "npx", "modes": []}`, "there is no default"},
		{"unknown mode", `"a": {"command": "npx", "modes": ["hots"]}`, `"hots"`},
		{"both", `"a": {"command": "npx", "url": "https://x.example", "modes": ["host"]}`, "either command or url"},
		{"neither", `"a": {"modes": ["host"]}`, "command or url"},
		{"type against kind", `"a": {"type": "http", "command": "npx", "modes": ["host"]}`, "may be left out"},
		{"sse", `"a": {"type": "sse", "url": "https://x.example", "modes": ["host"]}`, "streamable HTTP"},
		{"secret inside by variable", `"a": {"command": "npx", "env": {"X": "${TOKEN}"}, "modes": ["host"]}`, "found env.X"},
		{"secret inside by name", `"a": {"command": "npx", "env": {"GITHUB_TOKEN": "x"}, "modes": ["host"]}`, "found env.GITHUB_TOKEN"},
		{"secret among arguments", `"a": {"command": "npx", "args": ["-t", "${TOKEN}"], "modes": ["host"]}`, "found args[1]"},
		{"no such group", `"a": {"command": "npx", "modes": ["host"], "groups": ["fmaily"]}`, `"fmaily"`},
		{"tools that nobody could hold", `"a": {"command": "npx", "modes": ["host"], "tools": ["x"]}`, "where the host sees the calls"},
		{"egress without own", `"a": {"command": "npx", "modes": ["host"], "egress": ["x.example"]}`, "egress with own"},
		{"header over plain http", `"a": {"url": "http://x.example", "headers": {"X-Key": "k"}, "modes": ["host"]}`, "anybody between"},
		{"header of two lines", `"a": {"url": "https://x.example", "headers": {"X-Key": "${BAD}"}, "modes": ["host"]}`, "on one line"},
		{"header of ours", `"a": {"url": "https://x.example", "headers": {"Host": "y"}, "modes": ["host"]}`, "sets it itself"},
		{"user in the address", `"a": {"url": "https://u:${TOKEN}@x.example", "modes": ["host"]}`, "without user"},
		{"variable that is not set", `"a": {"url": "https://x.example/${NOPE}", "modes": ["host"]}`, "NOPE"},
		{"name of ours", `"NanoClaw": {"command": "npx", "modes": ["host"]}`, "the host's own tools"},
		{"name without letters", `"...": {"command": "npx", "modes": ["host"]}`, "letters"},
		{"name that could be a tool's", `"a..b": {"command": "npx", "modes": ["host"]}`, "two _ separate"},
		{"names that become one", `"a.b": {"command": "npx", "modes": ["host"]}, "a_b": {"command": "npx", "modes": ["host"]}`, `agents see "a_b", as that of "a.b"`},
		{"options for a program", `"a": {"command": "npx -y x", "modes": ["host"]}`, ""},
		{"dangerous", `"a": {"command": "npx", "modes": ["host"], "dangerous": true}, "b": {"command": "npx", "modes": ["host"], "dangerousTools": ["send"]}`, ""},
		{"dangerous twice", `"a": {"command": "npx", "modes": ["host"], "dangerous": true, "dangerousTools": ["send"]}`, "either dangerous"},
		{"a dangerous tool without a name", `"a": {"command": "npx", "modes": ["host"], "dangerousTools": [""]}`, "the name of a tool"},
		{"a file of our own", `"a": {"command": "npx", "modes": ["host"], "From": "~/.claude.json"}`, `"From"`},
		{"names that become one by case", `"a-b": {"command": "npx", "modes": ["host"]}, "A-B": {"command": "npx", "modes": ["host"]}`, `as that of "A-B"`},
		{"unknown key", `"a": {"command": "npx", "modes": ["host"], "trust": true}`, `"trust"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := Decode("c.jsonc", []byte(`{"mcpServers": {`+test.servers+`}}`), Options{Getenv: env})
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the secret: %v", err)
			}
			if c != nil {
				var b strings.Builder
				slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "c", *c)
				if text := fmt.Sprintf("%v %+v %#v %s", *c, *c, c.MCPServers, b.String()); strings.Contains(text, "canary") {
					t.Errorf("a print shows the secret: %s", text)
				}
			}
		})
	}
}

// Encode is for files: what it writes reads back to the same servers.
func TestServersAreEncoded(t *testing.T) {
	c, err := Decode("c", []byte(`{"mcpServers": {"a": {"command": "x", "own": true, "env": {"K": "$${X}${V}"}, "modes": ["host"]}}}`),
		Options{Getenv: fakeEnv(map[string]string{"V": "v${W}"})})
	if err != nil {
		t.Fatal(err)
	}
	text, err := Encode(*c)
	if err != nil {
		t.Fatal(err)
	}
	again := mustDecode(t, text)
	if got := again.MCPServers["a"].Env["K"].Reveal(); got != "${X}v${W}" {
		t.Errorf("got %q", got)
	}
}

// A server without groups is main's alone.
func TestServerFor(t *testing.T) {
	for _, test := range []struct {
		groups []string
		group  string
		want   bool
	}{
		{nil, "main", true}, {nil, "family", false},
		{[]string{"family"}, "main", false}, {[]string{"family"}, "family", true}, {[]string{"*"}, "work", true},
	} {
		if got := (MCPServer{Groups: test.groups}).For(test.group); got != test.want {
			t.Errorf("%v for %s: %t", test.groups, test.group, got)
		}
	}
}
