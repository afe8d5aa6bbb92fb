package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeEnv looks up variables in a map.
func fakeEnv(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestDecode(t *testing.T) {
	with := func(change func(*Config)) Config {
		c := Default()
		change(&c)
		return c
	}
	tests := []struct {
		name string
		text string
		want Config
	}{
		{"silent", `{}`, Default()},
		{"slashes in texts are no comments",
			"{\"model\": {\"baseURL\": \"http://127.0.0.1:8080/v1\"}, // \" begins no text here\n\"tools\": [\"/a/*b*\"]}",
			with(func(c *Config) {
				c.Model.BaseURL, c.Tools = "http://127.0.0.1:8080/v1", []string{"/a/*b*"}
			})},
		{"comment marks in comments", "/* // */ {} // /* not open\n/* /* once is enough */", Default()},
		{"trailing commas", `{"groups": {"a": {"egress": ["@git", "@npm",],},},}`,
			with(func(c *Config) { c.Groups["a"] = Group{Egress: []string{"@git", "@npm"}} })},
		{"escaped quotes", `{"groups": {"a": {"senders": ["x:\"//\\", "x:\u0041"]}}}`,
			with(func(c *Config) { c.Groups["a"] = Group{Senders: []string{`x:"//\`, "x:A"}} })},
		{"byte order mark", "\ufeff{\"version\": 1}", Default()},
		{"CRLF", "{\r\n// one\r\n\"executionMode\": \"host\", // two\r\n}\r\n",
			with(func(c *Config) { c.ExecutionMode = "host" })},
		{"comment without a newline at the end", "{} // end", Default()},
		{"units", `{"limits": {"runTime": "1h30m", "fileSize": "512KB"}}`, with(func(c *Config) {
			c.Limits.RunTime, c.Limits.FileSize = Duration(90*time.Minute), 512<<10
		})},
		{"main is there even if groups are given", `{"groups": {"a": {}}}`,
			with(func(c *Config) { c.Groups["a"] = Group{} })},
		{"schema for editors", `{"$schema": "./x.json"}`, with(func(c *Config) { c.Schema = "./x.json" })},
		{"variables", `{"model": {"apiKey": "${KEY}"}, "agent": {"claude": {"model": "${M:-sonnet}"}}, "limits": {"runTime": "${T}"}}`,
			with(func(c *Config) {
				c.Model.APIKey, c.Agent.Claude.Model, c.Limits.RunTime = "k${M}", "sonnet", Duration(time.Minute)
			})},
		{"no variables in comments and keys", "{ // ${NOPE\n}", Default()},
	}
	o := Options{Getenv: fakeEnv(map[string]string{"KEY": "k${M}", "T": "1m"})}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Decode("c.jsonc", []byte(test.text), o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, *got, cmp.Comparer(sameModel)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// sameModel keeps cmp from using the redacted text of a Model.
func sameModel(a, b Model) bool { return reflect.DeepEqual(a, b) }

func TestDecodeProblems(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string // the whole text of the error
	}{
		{"unknown key", "{\n  \"groups\": {\n    \"main\": { \"mod\": \"host\" }\n  }\n}",
			`c.jsonc:3:15: groups.main.mod: expected a known key, found "mod" (did you mean "mode"?)`},
		{"unknown key, other case", `{"model": {"BaseUrl": ""}}`,
			`c.jsonc:1:12: model.BaseUrl: expected a known key, found "BaseUrl" (did you mean "baseURL"?)`},
		{"unknown key, nothing near", `{"boundary": {"x": 1}}`,
			`c.jsonc:1:15: boundary.x: expected a known key, found "x" (known here: engine, landlockFloor, spares, srt)`},
		{"key that looks like a path", `{"a.b": 1}`,
			`c.jsonc:1:2: ["a.b"]: expected a known key, found "a.b" (known here: $schema, version, database, nodes, assistant, agent, model, providers, executionMode, hostMode, boundary, container, tools, permissionMode, permissions, approvals, limits, rates, budgets, quarantine, runLogs, retention, egress, audit, observe, upgrade, mcpServers, globalMcpInheritance, channels, people, groups)`},
		{"text for number", `{"version": "1"}`,
			`c.jsonc:1:13: version: expected a whole number, found the text "1"`},
		{"number for text", `{"assistant": {"name": 1e3}}`,
			`c.jsonc:1:24: assistant.name: expected a text, found the number 1e3`},
		{"null", `{"tools": null}`, `c.jsonc:1:11: tools: expected a list in [ ], found null`},
		{"text for true", `{"hostMode": {"enabled": "true"}}`,
			`c.jsonc:1:26: hostMode.enabled: expected true or false, found the text "true"`},
		{"list for object", `[]`, `c.jsonc:1:1: expected an object, found a list`},
		{"object for text", `{"groups": {"main": {"mounts": [{"path": {}}]}}}`,
			`c.jsonc:1:42: groups.main.mounts[0].path: expected a text, found an object`},
		{"fraction", `{"limits": {"processes": 100.5}}`,
			`c.jsonc:1:26: limits.processes: expected a whole number, found 100.5`},
		{"overflow", `{"limits": {"processes": 9223372036854775808}}`,
			`c.jsonc:1:26: limits.processes: expected a smaller number, found 9223372036854775808`},
		{"duration without unit", `{"limits": {"runTime": "30"}}`,
			`c.jsonc:1:24: limits.runTime: expected a duration such as "90s", "30m" or "2h", found "30" (the unit is missing: d, h, m, s, ms)`},
		{"duration as number", `{"limits": {"runTime": 30}}`,
			`c.jsonc:1:24: limits.runTime: expected a duration such as "90s", "30m" or "2h", found the number 30`},
		{"negative size", `{"limits": {"fileSize": "-1GB"}}`,
			`c.jsonc:1:25: limits.fileSize: expected a size such as "512KB", "10MB" or "2GB", found "-1GB" (write a whole number, then a unit)`},
		{"size in lower case", `{"limits": {"fileSize": "2gb"}}`,
			`c.jsonc:1:25: limits.fileSize: expected a size such as "512KB", "10MB" or "2GB", found "2gb" (unknown unit "gb": use TB, GB, MB, KB, B)`},
		{"key twice", "{\"version\": 1,\n \"hostMode\": {},\n \"version\": 1}",
			`c.jsonc:3:2: version: expected each key once, found "version" again (the first is at line 1, column 2: remove one)`},
		{"key twice, once escaped", `{"groups": {"a": {}, "\u0061": {"mode": "host"}}}`,
			`c.jsonc:1:22: groups.a: expected each key once, found "a" again (the first is at line 1, column 13: remove one)`},
		{"variable", "{\n\t\"model\": {\"apiKey\": \"${NOPE}\"}}",
			`c.jsonc:2:22: model.apiKey: expected the variable NOPE to be set, found it unset or empty (set NOPE where nanoclaw starts, or write ${NOPE:-default})`},
		{"columns are characters", `{"groups": {"main": {"egress": ["ä€😀"], "x": 1}}}`,
			`c.jsonc:1:41: groups.main.x: expected a known key, found "x" (known here: node, mode, image, hostModeAllowed, confirm, hostRunsPerHour, rates, budget, agent, chats, trigger, senders, mounts, egress, egressDeny, egressHosts, egressAsk, approvals, permissionMode, permissions, model, fallbackModel, effort, maxTurns, prompt, promptFile, provider, serverTools, prepared)`},
		{"column after a byte order mark", "\ufeff{\"x\": 1}",
			`c.jsonc:1:2: x: expected a known key, found "x" (known here: $schema, version, database, nodes, assistant, agent, model, providers, executionMode, hostMode, boundary, container, tools, permissionMode, permissions, approvals, limits, rates, budgets, quarantine, runLogs, retention, egress, audit, observe, upgrade, mcpServers, globalMcpInheritance, channels, people, groups)`},
		{"all at once, in the order of the file", "{\"version\": 2,\n\"executionMode\": \"hots\",\n\"hostMode\": {\"enabled\": 1}}",
			`c.jsonc:1:13: version: expected 1, found 2 (a newer nanoclaw may know this format)
c.jsonc:2:18: executionMode: expected "container" or "host", found "hots" (did you mean "host"?)
c.jsonc:3:25: hostMode.enabled: expected true or false, found the number 1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

func wantProblems(t *testing.T, text, want string) {
	t.Helper()
	c, err := Decode("c.jsonc", []byte(text), Options{})
	if err == nil {
		t.Fatalf("decoded to %+v", c)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if ps := (Problems{}); !errors.As(err, &ps) {
		t.Errorf("error is a %T", err)
	}
}

func TestSyntaxProblems(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string
	}{
		{"empty", "", `c.jsonc:1:1: expected an object, found an empty file (write {} for the defaults, or remove the file)`},
		{"only a comment", "// x", `c.jsonc:2:1: expected JSON with comments, found the end of the file`},
		{"not closed", "{\n  \"groups\": {\n    \"a\": {}\n}\n", `c.jsonc:1:1: expected a closing }, found a '{' that is never closed`},
		{"list not closed", `{"tools": ["/a"`, `c.jsonc:1:11: expected a closing ], found a '[' that is never closed`},
		{"closed twice", "{}\n}", `c.jsonc:2:1: expected the end of the file, found '}'`},
		{"closed wrongly", `{"tools": ["/a"}]}`, `c.jsonc:1:16: expected "," or "]", found '}' (is a comma missing before it?)`},
		{"comma missing", "{\n\"version\": 1\n\"tools\": []\n}", `c.jsonc:3:1: expected "," or "}", found '"' (is a comma missing before it?)`},
		{"two commas", `{"version": 1,, "tools": []}`, `c.jsonc:1:15: expected a value, found ',' (names and texts stand in double quotes)`},
		{"colon missing", `{"version" 1}`, `c.jsonc:1:12: expected ":" after the name, found '1'`},
		{"value missing", `{"version": }`, `c.jsonc:1:13: expected a value, found '}' (names and texts stand in double quotes)`},
		{"name without quotes", `{version: 1}`, `c.jsonc:1:2: expected a value, found version (names and texts stand in double quotes)`},
		{"single quotes", `{'version': 1}`, `c.jsonc:1:2: expected a value, found '\'' (names and texts stand in double quotes)`},
		{"number as name", `{1: 1}`, `c.jsonc:1:2: expected a name in double quotes, found '1'`},
		{"text not closed", "{\"assistant\": {\"name\": \"Andy}}\n", `c.jsonc:1:24: expected a closing " on the same line, found a string without end`},
		{"text over two lines", "{\"assistant\": {\"name\": \"An\\\ndy\"}}\n", `c.jsonc:1:24: expected a closing " on the same line, found a string without end`},
		{"comment not closed", "{}\n/* x", `c.jsonc:2:1: expected a closing */, found a comment without end`},
		{"comment closed twice", "/* /* x */ */ {}", `c.jsonc:1:12: expected a value, found '*' (names and texts stand in double quotes)`},
		{"bad escape", `{"tools": ["C:\Program"]}`, `c.jsonc:1:12: expected a value, found a string with an invalid escape or a control character (write \\ for a backslash)`},
		{"not UTF-8", "{\n // \xff\n}", `c.jsonc:2:5: expected UTF-8 text, found the byte 0xff`},
		{"UTF-16", "\xff\xfe{\x00}\x00", `c.jsonc:1:1: expected UTF-8, found UTF-16 (save the file as UTF-8)`},
		{"zero byte", "{}\x00", `c.jsonc:1:3: expected the end of the file, found '\u0000'`},
		{"two values", "{} {}", `c.jsonc:1:4: expected the end of the file, found '{'`},
		{"credential without quotes", `{"model": {"apiKey": sk-ant-0123456789}}`, `c.jsonc:1:22: expected a value, found a word without quotes (names and texts stand in double quotes)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

func TestDeepFile(t *testing.T) {
	const depth = 10_000
	for _, text := range []string{
		strings.Repeat("[", depth) + strings.Repeat("]", depth),
		strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth),
		`{"groups":` + strings.Repeat(`{"a":[`, depth),
	} {
		_, err := Decode("c.jsonc", []byte(text), Options{})
		if err == nil || !strings.Contains(err.Error(), "expected values at most 32 deep, found deeper ones") {
			t.Errorf("error %v", err)
		}
	}
	// As deep as allowed is another mistake, told as such.
	_, err := Decode("c.jsonc", []byte(strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)), Options{})
	if err == nil || !strings.Contains(err.Error(), "expected an object, found a list") {
		t.Errorf("error %v", err)
	}
	// Brackets in texts and comments do not count.
	deep := strings.Repeat("[", depth)
	if _, err := Decode("c.jsonc", []byte("/*"+deep+"*/ {\"$schema\": \""+deep+"\"}//"+deep), Options{}); err != nil {
		t.Error(err)
	}
}

func TestLargeFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("{\"groups\": {\n")
	groups := 0
	for ; b.Len() < 1_000_000; groups++ {
		fmt.Fprintf(&b, "  \"g%d\": { \"chats\": [\"slack:C%d\"], \"egress\": [\"@git\"] }, // number %d\n", groups, groups, groups)
	}
	b.WriteString("}}")
	start := time.Now()
	c, err := Decode("c.jsonc", []byte(b.String()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d groups in %v", b.Len(), groups, time.Since(start))
	if len(c.Groups) != groups+1 {
		t.Errorf("%d groups, want %d and main", len(c.Groups), groups)
	}

	_, err = Decode("c.jsonc", []byte(`{} //`+strings.Repeat("x", maxFile)), Options{})
	if err == nil || !strings.Contains(err.Error(), "expected at most 4MB, found a larger file") {
		t.Errorf("error %v", err)
	}
}

// A file full of mistakes is told in a few lines and in little time.
func TestManyProblems(t *testing.T) {
	for name, text := range map[string]string{
		"unknown keys": "{" + strings.Repeat(`"x":1,`, 20_000) + "}",
		"bad texts":    `{"tools": [` + strings.Repeat("1,", 20_000) + "]}",
		"bad values":   `{"tools": [` + strings.Repeat(`"x",`, 20_000) + "]}",
		"bad chats":    `{"groups": {"a": {"chats": [` + strings.Repeat(`"x:y",`, 20_000) + "]}}}",
		"bad mounts":   `{"groups": {"a": {"mounts": [` + strings.Repeat(`{},`, 20_000) + "]}}}",
	} {
		_, err := Decode("c.jsonc", []byte(text), Options{})
		if err == nil {
			t.Fatalf("%s: decoded", name)
		}
		if n := strings.Count(err.Error(), "\n"); n != maxProblems {
			t.Errorf("%s: %d lines", name, n+1)
		}
	}
}

func TestSecretsStayOutOfMessages(t *testing.T) {
	const secret = "sk-ant-very-secret"
	for _, text := range []string{
		`{"model": {"apiKey": ["` + secret + `"]}}`,
		`{"model": {"apiKey": "` + secret + ` "}}`,
		`{"model": {"apiKey": "${` + secret + `"}}`,
		`{"model": {"apiKey": "${` + secret + `}"}}`,
		`{"model": {"apiKey": "` + secret + `", "authToken": "` + secret + `"}}`,
		`{"model": {"baseURL": "https://x:` + secret + `@example.org"}}`,
		`{"model": {"baseURL": "` + secret + `"}}`,
		`{"model": "` + secret[:3] + `\` + secret + `"}`,
		`{"model": {"apiKey": ` + secret + `}}`,
		`{"model": {"apiKey": "` + secret + "\n" + `}}`,
	} {
		_, err := Decode("c.jsonc", []byte(text), Options{})
		if err == nil {
			t.Errorf("decoded %s", text)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("message shows the credential: %v", err)
		}
	}
	c := Default()
	c.Model.APIKey = secret
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, c); strings.Contains(s, secret) || !strings.Contains(s, "apiKey") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}
