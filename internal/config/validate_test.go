package config

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidate(t *testing.T) {
	group := func(name string, g Group) func(*Config) {
		return func(c *Config) { c.Groups[name] = g }
	}
	mounts := func(ms ...Mount) func(*Config) { return group("a", Group{Mounts: ms}) }
	model := func(m Model) func(*Config) { return func(c *Config) { c.Model = m } }
	tests := []struct {
		name   string
		change func(*Config)
		want   string // "" for valid
	}{
		{"version", func(c *Config) { c.Version = 0 }, "version: expected 1, found 0"},
		{"no name", func(c *Config) { c.Assistant.Name = "" }, "assistant.name: expected a name of 1 to 40 characters"},
		{"name of two lines", func(c *Config) { c.Assistant.Name = "A\nB" }, "assistant.name: expected"},
		{"name in other letters", func(c *Config) { c.Assistant.Name = "Анна-Мария!" }, ""},
		{"name with @", func(c *Config) { c.Assistant.Name = "@Andy" }, `assistant.name: expected a name without @, found "@Andy" (write "Andy")`},
		{"kind", func(c *Config) { c.Agent.Kind = "cluade" }, `agent.kind: expected "auto", "claude" or "shell", found "cluade" (did you mean "claude"?)`},
		{"program", func(c *Config) { c.Agent.Claude.Path = "claude" }, "agent.claude.path: expected a path that begins"},
		{"program at home", func(c *Config) { c.Agent.Claude.Path = "~/bin/claude" }, ""},
		{"model that is an option", func(c *Config) { c.Agent.Claude.Model = "--allowedTools" }, "agent.claude.model: expected the name of a model"},
		{"execution mode", func(c *Config) { c.ExecutionMode = "" }, `executionMode: expected "container" or "host", found ""`},

		{"one credential", model(Model{OAuthToken: "x", BaseURL: "http://127.0.0.1:1/v1"}), ""},
		{"two credentials", model(Model{APIKey: "x", OAuthToken: "y"}), "model.oauthToken: expected at most one credential, found apiKey and oauthToken"},
		{"credential of two lines", model(Model{APIKey: "x\r\nX-Evil: 1"}), "model.apiKey: expected printable ASCII"},
		{"a header of ours", model(Model{Headers: map[string]string{"authorization": "Bearer x"}}), "model.headers.authorization: expected a header field that nanoclaw does not set itself"},
		{"a header that is none", model(Model{Headers: map[string]string{"X Team": "x"}}), `model.headers["X Team"]: expected the name of a header field`},
		{"a header of two lines", model(Model{Headers: map[string]string{"X-Team": "a\r\nX-Evil: 1"}}), "model.headers.X-Team: expected printable ASCII on one line, found other characters"},
		{"a client without a token endpoint", model(Model{OAuth: OAuth{ClientID: "c"}}), "model.oauth.tokenURL: expected the token endpoint"},
		{"a token endpoint without a client", model(Model{OAuth: OAuth{TokenURL: "https://t.example"}}), "model.oauth.clientID: expected"},
		{"a token endpoint that anybody between could read", model(Model{OAuth: OAuth{TokenURL: "http://t.example", ClientID: "c"}}), "model.oauth.tokenURL: expected an address that begins with https://"},
		{"a provider's address", func(c *Config) { c.Providers["work"] = Model{BaseURL: "localhost:1"} }, "providers.work.baseURL: expected an address"},
		{"a provider's credentials", func(c *Config) { c.Providers["work"] = Model{APIKey: "x", AuthToken: "y"} }, "providers.work.authToken: expected at most one credential"},
		{"the name of no provider", func(c *Config) { c.Providers["../x"] = Model{} }, `providers["../x"]: expected a name of 1 to 40 letters`},
		{"the name of the nameless", func(c *Config) { c.Providers["model"] = Model{} }, "providers.model: expected a name of 1 to 40 letters, digits, - and _, other than model"},
		{"a provider that is not there", func(c *Config) { c.Providers["work"] = Model{}; c.Groups["main"] = Group{Provider: "wrok"} }, `groups.main.provider: expected one of providers, found "wrok" (did you mean "work"?)`},
		{"a server tool that is none", func(c *Config) { c.Groups["main"] = Group{ServerTools: []string{"web_serach"}} }, `groups.main.serverTools[0]: expected "web_search", "web_fetch" or "code_execution"`},
		{"a server tool twice", func(c *Config) { c.Groups["main"] = Group{ServerTools: []string{"web_fetch", "web_fetch"}} }, "groups.main.serverTools[1]: expected each tool once"},
		{"address without scheme", model(Model{BaseURL: "localhost:8080"}), "model.baseURL: expected an address that begins with https:// or http://"},
		{"address of a file", model(Model{BaseURL: "file:///etc/passwd"}), "model.baseURL: expected"},
		{"address with user", model(Model{BaseURL: "https://u:p@example.org"}), "model.baseURL: expected an address without user"},
		{"address with query", model(Model{BaseURL: "https://example.org/?key=1"}), "model.baseURL: expected an address without user"},

		{"run time", func(c *Config) { c.Limits.RunTime = 0 }, "limits.runTime: expected 1s to 7d, found 0s"},
		{"idle time", func(c *Config) { c.Limits.IdleTime = 0 }, ""},
		{"concurrency", func(c *Config) { c.Limits.ConcurrentRuns = 0 }, "limits.concurrentRuns: expected 1 to 1000, found 0"},
		{"runs per hour", func(c *Config) { c.HostMode.RunsPerHour = -1 }, "hostMode.runsPerHour: expected 0 to 100000, found -1"},
		{"message size", func(c *Config) { c.Limits.MessageSize = 1 << 20 }, "limits.messageSize: expected 1KB to 512KB, found 1MB"},

		{"tools", func(c *Config) { c.Tools = []string{"/opt/node", "~/.cargo/bin"} }, ""},
		{"tools with a colon", func(c *Config) { c.Tools = []string{"/opt/a:/"} }, "tools[0]: expected a path without colon"},
		{"everything as tools", func(c *Config) { c.Tools = []string{"/"} }, "tools[0]: expected one folder"},
		{"home as tools", func(c *Config) { c.Tools = []string{"~"} }, "tools[0]: expected one folder"},
		{"tools twice", func(c *Config) { c.Tools = []string{"/a", "/a"} }, "tools[1]: expected each folder once"},

		{"group named in capitals", group("Main", Group{}), `groups.Main: expected the name of a group, found "Main" (use a-z`},
		{"group named as a path", group("../main", Group{}), `groups["../main"]: expected the name of a group`},
		{"group with a reserved name", group("global", Group{}), "groups.global: expected the name of a group"},
		{"group mode", group("a", Group{Mode: "native"}), `groups.a.mode: expected "container" or "host"`},
		{"group agent", group("a", Group{Agent: "claud"}), `groups.a.agent: expected "auto", "claude" or "shell", found "claud"`},
		{"group trigger", group("a", Group{Trigger: "mentions"}), `groups.a.trigger: expected "mention" or "always"`},
		{"group model", group("a", Group{Model: "-x"}), "groups.a.model: expected"},

		{"chats", group("a", Group{Chats: []string{"slack:C1", "console:a"}}), ""},
		{"chat without channel", group("a", Group{Chats: []string{"C1"}}), `groups.a.chats[0]: expected CHANNEL:CHAT, found "C1"`},
		{"chat twice", group("a", Group{Chats: []string{"slack:C1", "slack:C1"}}), "groups.a.chats[1]: expected each chat once"},
		{"main's terminal", group("a", Group{Chats: []string{"console:main"}}), `groups.a.chats[0]: expected a chat of no other group, found "console:main", which belongs to "main"`},
		{"nobody's terminal", group("a", Group{Chats: []string{"console:b"}}), `groups.a.chats[0]: expected the terminal of this group, "console:a"`},
		{"sender", group("a", Group{Senders: []string{"slack"}}), "groups.a.senders[0]: expected CHANNEL:SENDER"},
		{"sender with a line", group("a", Group{Senders: []string{"slack:U1\nslack:U2"}}), "groups.a.senders[0]: expected CHANNEL:SENDER"},
		{"an admin", func(c *Config) {
			c.Groups["a"] = Group{}
			c.People["slack:U1"] = Person{Name: "Bob", Role: "admin", Groups: []string{"a"}}
		}, ""},
		{"webhooks", func(c *Config) {
			c.Groups["a"] = Group{}
			c.Channels.Webhook = Webhook{Listen: "127.0.0.1:8377", Hosts: []string{"hooks.example.com:8443"}, API: true, Hooks: map[string]Hook{
				"ci": {Group: "a", Form: "github", Answer: "https://example.com/x"}, "local": {Group: "a", Answer: "http://127.0.0.1:5678/hook"},
			}}
		}, ""},
		{"a webhook into main", hook(Hook{Group: "main"}), `channels.webhook.hooks.ci.group: expected a group other than main`},
		{"a webhook into nowhere", hook(Hook{Group: "famly"}), `channels.webhook.hooks.ci.group: expected one of groups, found "famly"`},
		{"a webhook of another form", hook(Hook{Group: "a", Form: "stripe"}), `channels.webhook.hooks.ci.form: expected "standard" or "github"`},
		{"an answer in the clear", hook(Hook{Group: "a", Answer: "http://example.com"}), `channels.webhook.hooks.ci.answer: expected an address that begins with https://`},
		{"an answer to a name that begins like loopback", hook(Hook{Group: "a", Answer: "http://127.0.0.1.example.com"}), `channels.webhook.hooks.ci.answer: expected an address`},
		{"an answer with a password", hook(Hook{Group: "a", Answer: "https://u:p@example.com"}), `channels.webhook.hooks.ci.answer: expected an address`},
		{"webhooks without a listener", func(c *Config) { c.Channels.Webhook.API = true }, `channels.webhook.listen: expected an address and a port`},
		{"metrics for other machines", func(c *Config) { c.Observe.Metrics = "0.0.0.0:9464" }, `observe.metrics: expected an address of loopback and a port`},
		{"metrics at a name", func(c *Config) { c.Observe.Metrics = "localhost:9464" }, `observe.metrics: expected an address of loopback and a port`},
		{"metrics at no port", func(c *Config) { c.Observe.Metrics = "127.0.0.1:0" }, `observe.metrics: expected an address of loopback and a port`},
		{"traces in the clear to elsewhere", func(c *Config) { c.Observe.Traces = "http://collector.example:4318" }, `observe.traces: expected the address of a collector`},
		{"traces with a password", func(c *Config) { c.Observe.Traces = "https://a:b@collector.example" }, `observe.traces: expected the address of a collector`},
		{"traces to no address", func(c *Config) { c.Observe.Traces = "127.0.0.1:4318" }, `observe.traces: expected the address of a collector`},
		{"a listener without a port", func(c *Config) { c.Channels.Webhook.Listen = "localhost" }, `channels.webhook.listen: expected an address and a port`},
		{"any host", func(c *Config) { c.Channels.Webhook.Hosts = []string{"*"} }, `channels.webhook.hosts[0]: expected the name of a host`},
		{"a program's chat", group("a", Group{Chats: []string{"webhook:ci"}}), `groups.a.chats[0]: expected a chat of people`},
		{"a program as the owner", func(c *Config) { c.People["webhook:ci"] = Person{Role: "owner"} }, `people["webhook:ci"].role: expected no role but that of a member`},
		{"a program as an admin", func(c *Config) {
			c.Groups["a"] = Group{}
			c.People["api:bot"] = Person{Role: "admin", Groups: []string{"a"}}
		}, `people["api:bot"].role: expected no role but that of a member`},
		{"an owner", func(c *Config) { c.People["slack:U1"] = Person{Role: "owner"} }, ""},
		{"an owner of some groups", func(c *Config) {
			c.Groups["a"] = Group{}
			c.People["slack:U1"] = Person{Role: "owner", Groups: []string{"a"}}
		}, `people["slack:U1"].groups: expected no groups, found some (an owner has all)`},
		{"an admin of nothing", func(c *Config) { c.People["slack:U1"] = Person{Role: "admin"} }, `people["slack:U1"].groups: expected the groups that the role is about, found none`},
		{"a member of nothing", func(c *Config) { c.People["slack:U1"] = Person{Name: "Bob"} }, `people["slack:U1"].groups: expected the groups`},
		{"an admin of main", func(c *Config) { c.People["slack:U1"] = Person{Role: "admin", Groups: []string{"main"}} }, `people["slack:U1"].groups[0]: expected a group other than main`},
		{"an admin of no group that there is", func(c *Config) {
			c.People["slack:U1"] = Person{Role: "admin", Groups: []string{"famly"}}
			c.Groups["family"] = Group{}
		}, `people["slack:U1"].groups[0]: expected one of groups, found "famly" (did you mean "family"?)`},
		{"an admin of a group twice", func(c *Config) {
			c.Groups["a"] = Group{}
			c.People["slack:U1"] = Person{Role: "admin", Groups: []string{"a", "a"}}
		}, `people["slack:U1"].groups[1]: expected each group once`},
		{"a role that is none", func(c *Config) {
			c.Groups["a"] = Group{}
			c.People["slack:U1"] = Person{Role: "root", Groups: []string{"a"}}
		}, `people["slack:U1"].role: expected "owner", "admin" or "member", found "root"`},
		{"a person without a channel", func(c *Config) { c.People["U1"] = Person{Role: "owner"} }, "people.U1: expected an identity, as CHANNEL:SENDER"},
		{"a person of two lines", func(c *Config) { c.People["slack:U1\nx"] = Person{Role: "owner"} }, `people["slack:U1\nx"]: expected an identity, as CHANNEL:SENDER`},
		{"a person at the terminal", func(c *Config) { c.People["console:owner"] = Person{Role: "owner"} }, `people["console:owner"]: expected somebody on a chat network`},
		{"a name of two lines", func(c *Config) { c.People["slack:U1"] = Person{Name: "a\nb", Role: "owner"} }, `people["slack:U1"].name: expected a name`},
		{"chat of two groups", func(c *Config) {
			c.Groups["a"] = Group{Chats: []string{"slack:C1"}}
			c.Groups["b"] = Group{Chats: []string{"slack:C1"}}
		}, `groups.b.chats[0]: expected a chat of no other group, found "slack:C1", which belongs to "a"`},

		{"mounts", mounts(Mount{Path: "~/a"}, Mount{Path: "/srv/a", Name: "a2", Write: true}), ""},
		{"relative mount", mounts(Mount{Path: "a"}), `groups.a.mounts[0].path: expected a path that begins with "/" or "~/", found "a"`},
		{"somebody's home", mounts(Mount{Path: "~root/a"}), "groups.a.mounts[0].path: expected a path that begins"},
		{"no path", mounts(Mount{Name: "a"}), "groups.a.mounts[0].path: expected the path of a folder"},
		{"dots", mounts(Mount{Path: "/srv/../etc"}), `groups.a.mounts[0].path: expected a path without ".."`},
		{"out of home", mounts(Mount{Path: "~/../x"}), `groups.a.mounts[0].path: expected a path without ".."`},
		{"slash at the end", mounts(Mount{Path: "/srv/a/"}), "groups.a.mounts[0].path: expected a path without"},
		{"comma", mounts(Mount{Path: "/srv/a,suid"}), "groups.a.mounts[0].path: expected a path without colon, comma"},
		{"backslash", mounts(Mount{Path: `/srv/a\040`, Name: "a"}), "groups.a.mounts[0].path: expected a path without colon"},
		{"newline", mounts(Mount{Path: "/srv/a\n"}), "groups.a.mounts[0].path: expected a path without colon, comma, backslash and control"},
		{"right to left", mounts(Mount{Path: "/srv/\u202ea"}), "groups.a.mounts[0].path: expected a path without"},
		{"name with slash", mounts(Mount{Path: "/srv/a", Name: "a/b"}), "groups.a.mounts[0].name: expected a name for one folder"},
		{"name that climbs", mounts(Mount{Path: "/srv/a", Name: ".."}), "groups.a.mounts[0].name: expected a name"},
		{"name that is an option", mounts(Mount{Path: "/srv/-rf"}), "groups.a.mounts[0].name: expected a name"},
		{"names alike", mounts(Mount{Path: "/srv/a"}, Mount{Path: "/opt/a"}), "groups.a.mounts[1].name: expected each name once in a group"},

		{"host", group("a", Group{Egress: []string{"@git", "example.org"}}), ""},
		{"host refused", group("a", Group{Egress: []string{"10.0.0.1"}}), `groups.a.egress[0]: expected HOST, *.SUFFIX, HOST:PORT or a preset, found "10.0.0.1" (an address is not a name)`},
		{"empty host", group("a", Group{Egress: []string{""}}), "groups.a.egress[0]: expected HOST"},
	}
	o := Options{CheckHost: func(entry string) error {
		if strings.HasPrefix(entry, "10.") {
			return errors.New("an address\nis not a name")
		}
		return nil
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			test.change(&c)
			ps := c.Validate(o)
			if test.want == "" {
				if len(ps) > 0 {
					t.Errorf("problems:\n%v", ps)
				}
				return
			}
			if len(ps) != 1 || !strings.HasPrefix(ps[0].Error(), test.want) {
				t.Errorf("got  %v\nwant %s…", ps, test.want)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"mode", "mode", 0}, {"mdoe", "mode", 1},
		{"host", "hots", 1}, {"kitten", "sitting", 3}, {"ä", "a", 1},
	}
	for _, test := range tests {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: got %d, want %d", test.a, test.b, got, test.want)
		}
		if got := distance(test.b, test.a); got != test.want {
			t.Errorf("%q to %q: got %d, want %d", test.b, test.a, got, test.want)
		}
	}
}

func TestPathString(t *testing.T) {
	got := []string{
		at("groups", "main", "mounts", 0, "path").String(),
		at("groups", "a.b]", "x\n").String(),
		at("tools", 3).String(),
		at().String(),
	}
	want := []string{"groups.main.mounts[0].path", `groups["a.b]"]["x\n"]`, "tools[3]", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestProblemAsJSON(t *testing.T) {
	_, err := Decode("c.jsonc", []byte(`{"groups": {"a": {"mod": 1}}}`), Options{})
	text, jsonErr := json.Marshal(err)
	const want = `[{"file":"c.jsonc","line":1,"column":19,"field":"groups.a.mod","expected":"a known key","found":"\"mod\"","hint":"did you mean \"mode\"?"}]`
	if jsonErr != nil || string(text) != want {
		t.Errorf("got  %s, %v\nwant %s", text, jsonErr, want)
	}
}

// Rules about tools are checked where they stand, by those who know their syntax.
func TestPermissions(t *testing.T) {
	o := Options{CheckRule: func(level, rule string) error {
		if rule == "Bash(x" {
			return errors.New("character 7: not closed")
		}
		if level == "allow" && strings.Contains(rule, "(") {
			return errors.New("only stricter")
		}
		return nil
	}}
	_, err := Decode("c.jsonc", []byte(`{
		"permissionMode": "bypas",
		"permissions": {"deny": ["WebFetch", "Bash(x"], "ask": ["Bash(git*)"], "allow": ["Bash(ls)"]},
		"limits": {"askTime": "1s", "toolCalls": -1},
		"groups": {"family": {"permissionMode": "never", "permissions": {"deny": [""]}}},
	}`), o)
	for _, want := range []string{
		`permissionMode: expected "bypass" or "ask", found "bypas"`, "permissions.deny[1]", "not closed", "permissions.allow[0]", "only stricter",
		"limits.askTime", "limits.toolCalls", "groups.family.permissionMode", "groups.family.permissions.deny[0]",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "permissions.ask") {
		t.Errorf("a good rule is refused:\n%v", err)
	}
}

// hook has one webhook, beside a group a.
func hook(h Hook) func(*Config) {
	return func(c *Config) {
		c.Groups["a"] = Group{}
		c.Channels.Webhook = Webhook{Listen: "127.0.0.1:8377", Hooks: map[string]Hook{"ci": h}}
	}
}
