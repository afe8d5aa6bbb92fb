package plan

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

func read(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Decode("c.jsonc", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := config.Canonical(c, []byte("salt"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err = config.FromCanonical(canonical); err != nil {
		t.Fatal(err)
	}
	return c
}

var machine = grant.Machine{OwnerHome: "/home/ann", GroupsDir: "/data/groups", GlobalDir: "/data/global", ClaudeState: []string{"projects"}}

const before = `{"version": 1, "hostMode": {"enabled": true}, "model": {"apiKey": "sk-1"},
	"groups": {"main": {"mode": "host", "hostModeAllowed": true},
		"family": {"mode": "host", "hostModeAllowed": true, "senders": ["wa:1"], "egress": ["a.example"]},
		"work": {}}}`

// The words of a plan, as an owner reads them.
func TestWords(t *testing.T) {
	is := strings.NewReplacer(
		`"work": {}`, `"work": {"mode": "host", "hostModeAllowed": true, "mounts": [{"path": "/srv/work", "write": true}]},
			"friends": {"mode": "host", "hostModeAllowed": true, "senders": ["wa:7"], "egress": ["b.example"]}`,
		`["wa:1"]`, `["wa:1", "wa:2"], "prompt": "Be kind.\nRights of main that grow:\n  all of them \u202e"`, `"egress": ["a.example"]`, `"model": "opus", "trigger": "always"`, `sk-1`, `sk-2`,
		`"version": 1,`, `"version": 1, "limits": {"memory": "2GB", "runTime": "1h"}, "assistant": {"name": "Eve"},
			"mcpServers": {"git": {"command": "git-mcp", "modes": ["host"], "groups": ["work"], "own": true, "env": {"TOKEN": "hidden"}}},`,
	).Replace(before)
	got := Make(read(t, before), read(t, is), machine, machine).String()
	golden := filepath.Join("testdata", "plan.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	for _, secret := range []string{"sk-1", "sk-2", "hidden", "sealed-"} {
		if strings.Contains(got, secret) {
			t.Errorf("it tells the secret %s", secret)
		}
	}
}

func TestWhatKeepsAGroupFromRunning(t *testing.T) {
	tests := []struct{ name, from, to, want string }{
		{"it runs now", `"work": {}`, `"work": {"mode": "host", "hostModeAllowed": true}`, "mode container → host"},
		{"it does not any more", `"main": {"mode": "host", "hostModeAllowed": true}`, `"main": {"mode": "host"}`, "it does not run any more: group main has not opted in"},
		{"a folder that nobody may have", `"egress": ["a.example"]`, `"egress": ["a.example"], "mounts": [{"path": "/etc/apt"}]`, "it does not run any more: groups.family.mounts"},
		{"it is gone", `"work": {}`, ``, "it does not run any more: there is no such group"},
		{"a mount of a group that cannot run", `"work": {}`, `"work": {"mounts": [{"path": "/srv/x"}]}`, "mount rx /workspace/extra/x = /srv/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Make(read(t, before), read(t, strings.Replace(before, tt.from, tt.to, 1)), machine, machine)
			if !strings.Contains(p.String(), tt.want) || !p.Security {
				t.Errorf("%v\n%s", p.Security, p)
			}
		})
	}
}

// A role is a right of the groups that it is about, and the owner's one of all.
func TestRoles(t *testing.T) {
	const person = `"version": 1, "people": {"wa:5": {"role": "admin", "groups": ["family"]}},`
	with := strings.Replace(before, `"version": 1,`, person, 1)
	got := Make(read(t, before), read(t, with), machine, machine)
	if len(got.Groups) != 1 || got.Groups[0].Name != "family" || !strings.Contains(got.String(), "Rights of family that grow:\n  role of wa:5 as admin\n") || !got.Security {
		t.Errorf("an admin:\n%s", got)
	}
	owner := strings.Replace(with, `"role": "admin", "groups": ["family"]`, `"role": "owner"`, 1)
	if got := Make(read(t, with), read(t, owner), machine, machine); len(got.Groups) != 3 || !strings.Contains(got.String(), "Rights of family that shrink:\n  role of wa:5 as admin\n") {
		t.Errorf("an owner:\n%s", got)
	}
}

// What touches no right is told as such; nothing is told as nothing.
func TestRest(t *testing.T) {
	if p := Make(read(t, before), read(t, "// nothing\n"+before), machine, machine); !p.None() || p.Security || p.Groups != nil {
		t.Errorf("%+v", p)
	}
	p := Make(read(t, before), read(t, strings.Replace(before, `"senders"`, `"prompt": "Be kind.", "senders"`, 1)), machine, machine)
	if p.None() || p.Security || len(p.Groups) != 1 || len(p.Groups[0].Grows)+len(p.Groups[0].Shrinks) != 0 {
		t.Errorf("%+v", p)
	}
	if text, err := json.Marshal(p); err != nil || !strings.Contains(string(text), `"field":"groups.family.prompt"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// A file with very many changes stays readable, and nothing is lost in the value.
func TestLongPlan(t *testing.T) {
	var senders []string
	for i := range 300 {
		senders = append(senders, `"wa:`+strings.Repeat("1", 1+i)+`"`)
	}
	p := Make(read(t, before), read(t, strings.Replace(before, `["wa:1"]`, "["+strings.Join(senders, ",")+"]", 1)), machine, machine)
	if text := p.String(); len(text) > 100_000 || !strings.Contains(text, "and 259 more: nanoclaw config plan --json") || len(p.Changes) != 299 {
		t.Errorf("%d changes, %d bytes", len(p.Changes), len(text))
	}
}
