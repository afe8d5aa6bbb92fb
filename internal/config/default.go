package config

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/tailscale/hujson"
)

// mainGroup is the owner's own group. It exists even if the file is silent.
const mainGroup = "main"

// The modes, kinds of agent and triggers that the file may name.
const (
	modeHost      = "host"
	modeContainer = "container"

	permissionBypass = "bypass"
	permissionAsk    = "ask"
)

// DefaultImage is the image that "nanoclaw image build" makes. The name has a
// registry that no engine asks.
const DefaultImage = "localhost/nanoclaw-agent:latest"

// Default is what holds where the file is silent. It grants nothing: no group
// leaves its container, reaches a host or touches a folder of the owner.
func Default() Config {
	return Config{
		Version:       1,
		Assistant:     Assistant{Name: "Andy"},
		Agent:         Agent{Kind: "auto"},
		Providers:     map[string]Model{},
		People:        map[string]Person{},
		ExecutionMode: modeContainer,
		HostMode:      HostMode{RunsPerHour: 10, ConfirmTime: Duration(12 * time.Hour)},
		Boundary:      Boundary{Engine: "auto", Spares: 2},
		Container:     Container{Engine: "auto", Image: DefaultImage},
		Tools:         []string{},

		PermissionMode: permissionBypass,
		Permissions:    Permissions{Deny: []string{}, Ask: []string{}, Allow: []string{}},
		Approvals:      Approvals{Wait: Duration(24 * time.Hour)},
		Limits: Limits{
			RunTime:         Duration(30 * time.Minute),
			IdleTime:        Duration(10 * time.Minute),
			WarmSessions:    8,
			ConcurrentRuns:  5,
			Memory:          4 << 30,
			CPUTime:         Duration(8 * time.Hour),
			Processes:       1024,
			OpenFiles:       4096,
			FileSize:        2 << 30,
			TmpSize:         1 << 30,
			Disk:            20 << 30,
			Output:          256 << 10,
			ContextMessages: 50,
			MessageSize:     64 << 10,
			QueuedMessages:  100,
			Tasks:           50,
			TaskInterval:    Duration(time.Minute),
			ToolCalls:       1000,
			SameCalls:       50,
			SameCallsInARow: 10,
			AskTime:         Duration(5 * time.Minute),
		},
		Rates: Rates{
			Group:  Rate{MessagesPerMinute: 60, RunsPerDay: 1000},
			Sender: Rate{MessagesPerMinute: 20, RunsPerDay: 200},
			Owner:  Rate{MessagesPerMinute: 120, RunsPerDay: 5000},
		},
		Budgets: Budgets{
			Group: Budget{Tokens: 100_000_000}, Sender: Budget{Tokens: 50_000_000},
			Prices: map[string]Price{},
		},
		Quarantine: Quarantine{Keep: Duration(90 * 24 * time.Hour), Size: 2 << 30},
		RunLogs:    RunLogs{Keep: Duration(30 * 24 * time.Hour), Files: 1000, Size: 20 << 20},
		Retention: Retention{
			Messages: days(90), Runs: days(365), Costs: days(400), Words: days(365), Sessions: days(90),
		},
		Egress: Egress{
			Deny: []string{}, Hosts: map[string]EgressHost{},
			Upload: 2 << 30, Download: 20 << 30, Connections: 20_000,
		},
		MCPServers: map[string]MCPServer{},
		Channels:   Channels{External: map[string]External{}, Webhook: Webhook{Hosts: []string{}, Hooks: map[string]Hook{}}, Files: Files{Size: 25 << 20, Keep: 500 << 20, Types: []string{}, Transcribe: []string{}}},

		GlobalMcpInheritance: InheritMain,

		Groups: map[string]Group{mainGroup: {}},
	}
}

// Facts are what the first start found out about this machine.
type Facts struct {
	// HostMode says that the boundary holds here: the probe ran inside it and
	// did not get out.
	HostMode bool
	// Reason says why it does not. It is written into the file for the owner.
	Reason string
}

// example is the file that a first start writes on a machine where host mode
// is not to be had. Its values are those of Default.
//
//go:embed example.jsonc
var example string

// What Template changes in the example.
const (
	exampleEnabled = `"enabled": false`
	exampleMain    = `"main": {},`
)

// Template is the commented file that a first start writes. Where the boundary
// holds, main runs in host mode and nobody else does; where it does not, main
// stays in a container too and the file says why.
func Template(f Facts) []byte {
	enabled, main := exampleEnabled, "// Host mode cannot be had on this machine: "+oneLine(f.Reason)+"\n    "+exampleMain
	switch {
	case f.HostMode:
		enabled = `"enabled": true`
		main = "// On this machine the boundary holds, so your own chat runs natively inside it.\n    " +
			`"main": { "mode": "host", "hostModeAllowed": true },`
	case f.Reason == "":
		main = exampleMain
	}
	return []byte(strings.NewReplacer(exampleEnabled, enabled, exampleMain, main).Replace(example))
}

// oneLine keeps words inside the comment they are written into.
func oneLine(s string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(clean), " ")
}

// Encode writes a configuration as JSON that Decode reads back to the same
// values. It holds the credentials, so it is for files and not for logs.
func Encode(c Config) ([]byte, error) {
	if c.Tools == nil {
		c.Tools = []string{}
	}
	if c.Groups == nil {
		c.Groups = map[string]Group{}
	}
	if c.Providers == nil {
		c.Providers = map[string]Model{}
	}
	if c.People == nil {
		c.People = map[string]Person{}
	}
	if c.Channels.External == nil {
		c.Channels.External = map[string]External{}
	}
	if c.MCPServers == nil {
		c.MCPServers = map[string]MCPServer{}
	}
	if c.Budgets.Prices == nil {
		c.Budgets.Prices = map[string]Price{}
	}
	if c.Channels.Webhook.Hosts == nil {
		c.Channels.Webhook.Hosts = []string{}
	}
	if c.Channels.Webhook.Hooks == nil {
		c.Channels.Webhook.Hooks = map[string]Hook{}
	}
	if c.Channels.Files.Transcribe == nil {
		c.Channels.Files.Transcribe = []string{}
	}
	if c.Channels.Files.Types == nil {
		c.Channels.Files.Types = []string{}
	}
	if c.Egress.Deny == nil {
		c.Egress.Deny = []string{}
	}
	if c.Egress.Hosts == nil {
		c.Egress.Hosts = map[string]EgressHost{}
	}
	v, err := toTree(c)
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	v.Format()
	v.Standardize()
	return v.Pack(), nil
}

// toTree turns a Go value into a tree whose texts, expanded, are those of the
// value.
func toTree(value any) (hujson.Value, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return hujson.Value{}, err
	}
	v, err := hujson.Parse(bytes.TrimSpace(b.Bytes()))
	if err != nil {
		return hujson.Value{}, err
	}
	escapeTexts(&v)
	return v, nil
}

// escapeTexts protects every ${ in values; keys are never expanded.
func escapeTexts(v *hujson.Value) {
	switch t := v.Value.(type) {
	case *hujson.Object:
		for i := range t.Members {
			escapeTexts(&t.Members[i].Value)
		}
	case *hujson.Array:
		for i := range t.Elements {
			escapeTexts(&t.Elements[i])
		}
	case hujson.Literal:
		if s := t.String(); t.Kind() == '"' && strings.Contains(s, "${") {
			v.Value = hujson.String(escape(s))
		}
	}
}

func days(n int) Duration { return Duration(time.Duration(n) * 24 * time.Hour) }
