package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// load decodes a text for a comparison.
func load(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Decode("c.jsonc", []byte(text), Options{Getenv: func(name string) string { return "value-of-" + name }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// canonical is the form that is compared.
func canonical(t testing.TB, c *Config) *Config {
	t.Helper()
	text, err := Canonical(c, []byte("salt"))
	if err != nil {
		t.Fatal(err)
	}
	back, err := FromCanonical(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return back
}

const before = `{"version": 1,
	"hostMode": {"enabled": true}, "model": {"apiKey": "sk-secret-1", "baseURL": "https://old.example/path-secret"},
	"permissionMode": "ask", "egress": {"deny": ["bad.example"], "hosts": {"h.example": {"inspect": true, "rules": ["GET /a"]}}},
	"mcpServers": {"git": {"command": "git-mcp", "modes": ["host"], "groups": ["family"], "own": true, "env": {"TOKEN": "${TOKEN}"}, "tools": ["read"]}},
	"groups": {"main": {}, "family": {"mode": "host", "hostModeAllowed": true, "senders": ["wa:1", "wa:2"], "egress": ["a.example"],
		"mounts": [{"path": "/srv/x"}], "model": "sonnet", "permissions": {"deny": ["WebFetch"]}}}}`

func TestChanges(t *testing.T) {
	tests := []struct {
		name     string
		from, to string // a part of before, and what takes its place
		want     string
		sense    Sense
		security bool
	}{
		{"sender added", `"wa:2"]`, `"wa:2", "wa:3"]`, `groups.family.senders: added "wa:3"`, Grows, true},
		{"sender removed", `"wa:1", `, ``, `groups.family.senders: removed "wa:1"`, Shrinks, true},
		{"order of senders", `"wa:1", "wa:2"`, `"wa:2", "wa:1"`, `groups.family.senders: ["wa:1","wa:2"] → ["wa:2","wa:1"]`, Turns, true},
		{"mount becomes writable", `{"path": "/srv/x"}`, `{"path": "/srv/x", "write": true}`, `groups.family.mounts: added {"path":"/srv/x","write":true}`, Grows, true},
		{"mode of a group", `"mode": "host"`, `"mode": "container"`, `groups.family.mode: "host" → "container"`, Shrinks, true},
		{"opt-in", `"hostModeAllowed": true, `, ``, `groups.family.hostModeAllowed: true → false`, Shrinks, true},
		{"host mode", `{"enabled": true}`, `{"enabled": true, "runsPerHour": 20}`, `hostMode.runsPerHour: 10 → 20`, Grows, true},
		{"ask no more", `"permissionMode": "ask"`, `"permissionMode": "bypass"`, `permissionMode: "ask" → "bypass"`, Grows, true},
		{"deny no more", `["bad.example"]`, `[]`, `egress.deny: removed "bad.example"`, Grows, true},
		{"denied rule", `"deny": ["WebFetch"]`, `"deny": ["WebFetch", "Bash"]`, `groups.family.permissions.deny: added "Bash"`, Shrinks, true},
		{"rule more", `["GET /a"]`, `["GET /a", "GET /b"]`, `egress.hosts["h.example"].rules: added "GET /b"`, Grows, true},
		{"all requests", `, "rules": ["GET /a"]`, ``, `egress.hosts["h.example"].rules: ["GET /a"] → []`, Grows, true},
		{"inspect no more", `{"inspect": true, "rules": ["GET /a"]}`, `{}`, `egress.hosts["h.example"].inspect: true → false`, Grows, true},
		{"all tools of a server", `, "tools": ["read"]`, ``, `mcpServers.git.tools: ["read"] → []`, Grows, true},
		{"new server", `"mcpServers": {`, `"mcpServers": {"w": {"url": "https://u.example/k", "modes": ["host"]}, `,
			`mcpServers.w: added {"modes":["host"],"url":"https://u.example/…"}`, Grows, true},
		{"secret", `sk-secret-1`, `sk-secret-2`, `model.apiKey: another value, which is secret`, Turns, true},
		{"secret in a path", `path-secret`, `path-other`, `model.baseURL: another value, which is secret`, Turns, true},
		{"another host for the credential", `https://old.example/path-secret`, `https://new.example/path-secret`, `model.baseURL: "https://old.example/…" → "https://new.example/…"`, Turns, true},
		{"new person", `"version": 1,`, `"version": 1, "people": {"wa:1": {"role": "admin", "groups": ["family"]}},`, `people["wa:1"]: added {"groups":["family"],"role":"admin"}`, Grows, true},
		{"new group", `"main": {},`, `"main": {}, "work": {"senders": ["wa:9"]},`, `groups.work: added {"senders":["wa:9"]}`, Grows, true},
		{"limit", `"version": 1,`, `"version": 1, "limits": {"memory": "8GB"},`, `limits.memory: "4GB" → "8GB"`, Grows, true},
		{"limit to none", `"version": 1,`, `"version": 1, "limits": {"toolCalls": 0},`, `limits.toolCalls: 1000 → 0`, Grows, true},
		{"landlock floor", `"version": 1,`, `"version": 1, "boundary": {"landlockFloor": 3},`, `boundary.landlockFloor: 0 → 3`, Shrinks, true},
		{"engine", `"version": 1,`, `"version": 1, "boundary": {"engine": "srt"},`, `boundary.engine: "auto" → "srt"`, Turns, true},
		{"model of a group", `"sonnet"`, `"opus"`, `groups.family.model: "sonnet" → "opus"`, Turns, false},
		{"name", `"version": 1,`, `"version": 1, "assistant": {"name": "Eve"},`, `assistant.name: "Andy" → "Eve"`, Turns, false},
		{"prompt", `"model": "sonnet"`, `"model": "sonnet", "prompt": "be kind"`, `groups.family.prompt: "" → "be kind"`, Turns, false},
		{"idle time", `"version": 1,`, `"version": 1, "limits": {"idleTime": "5m"},`, `limits.idleTime: "10m" → "5m"`, Shrinks, false},
	}
	was := load(t, before)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(before, tt.from) == 0 {
				t.Fatal("the case changes nothing")
			}
			is := load(t, strings.Replace(before, tt.from, tt.to, 1))
			got := Changes(canonical(t, was), canonical(t, is))
			i := slices.IndexFunc(got, func(c Change) bool { return c.String() == tt.want })
			if i < 0 {
				t.Fatalf("want %s, got %v", tt.want, got)
			}
			if c := got[i]; c.Sense != tt.sense || c.Security != tt.security {
				t.Errorf("%s: %s, security %v", c, c.Sense, c.Security)
			}
			if text, _ := json.Marshal(got); strings.Contains(string(text), "secret-") || strings.Contains(string(text), "path-") || strings.Contains(string(text), "sealed-") {
				t.Errorf("a secret is told: %s", text)
			}
		})
	}
}

// Who a change is about: the group, the groups that have the server, or all.
func TestChangesNameTheirGroups(t *testing.T) {
	is := load(t, strings.NewReplacer(`"wa:2"]`, `"wa:3"]`, `"modes": ["host"]`, `"modes": ["container"]`, `"permissionMode": "ask",`, ``).Replace(before))
	want := map[string][]string{"groups": {"family"}, "mcpServers": {"family"}, "permissionMode": nil}
	for _, c := range Changes(canonical(t, load(t, before)), canonical(t, is)) {
		if got := c.Groups; !slices.Equal(got, want[c.Field[0].(string)]) {
			t.Errorf("%s is about %v", c, got)
		}
	}
}

func TestCanonical(t *testing.T) {
	c := load(t, before)
	one, err := Canonical(c, []byte("salt"))
	must(t, err)
	again, err := Canonical(canonical(t, c), []byte("salt"))
	must(t, err)
	other, err := Canonical(c, []byte("other"))
	must(t, err)
	for _, secret := range []string{"sk-secret-1", "path-secret", "value-of-TOKEN"} {
		if strings.Contains(string(one), secret) {
			t.Errorf("it holds %s", secret)
		}
	}
	if string(one) == string(other) || string(one) == string(again) {
		t.Error("what stands for a secret does not depend on the key and the secret")
	}
	if len(Changes(canonical(t, c), canonical(t, load(t, "\uFEFF// a comment\n"+before)))) != 0 {
		t.Error("a comment is a change")
	}
	if _, err := FromCanonical([]byte(`{"version": 1, "unknown": 1}`)); err == nil {
		t.Error("a value that this version does not know is dropped in silence")
	}
}

// Each field of the file is told if it changes, and all but the closed list count
// as security. A field that is added counts as security until somebody lists it here
// and in WithRest.
func TestEveryFieldIsTold(t *testing.T) {
	rest := map[string]bool{
		"$schema": true, "assistant.name": true, "agent.claude.model": true, "agent.claude.fallbackModel": true, "agent.claude.effort": true,
		"limits.idleTime": true, "groups.*.model": true, "groups.*.fallbackModel": true, "groups.*.effort": true, "groups.*.prompt": true, "groups.*.promptFile": true,
	}
	full := func() *Config { // one element in each list and dictionary, so that all fields are there
		c := Default()
		fill(reflect.ValueOf(&c).Elem(), "*")
		return &c
	}
	seen := map[string]bool{}
	mutate(reflect.TypeFor[Config](), nil, func(place []string) {
		name := strings.Join(place, ".")
		c := full()
		v := reflect.ValueOf(c).Elem()
		if !turn(v, place) {
			t.Fatalf("%s cannot be changed", name)
		}
		got := Changes(full(), c)
		if len(got) != 1 && len(got) != 2 { // an element of a list is removed and added
			t.Errorf("%s: %v", name, got)
			return
		}
		if got[0].Security == rest[name] {
			t.Errorf("%s counts as security: %v", name, got[0].Security)
		}
		seen[name] = true
	})
	for name := range rest {
		if !seen[name] {
			t.Errorf("there is no field %s", name)
		}
	}
	for _, f := range fieldsOf(reflect.TypeFor[MountAllowlist]()) {
		seen[mountAllowlist+"."+f.key] = true // a file of its own, told alike
	}
	for name := range rules() {
		within := func(s string) bool {
			return s == name || strings.HasPrefix(s, name+".") || strings.TrimSuffix(name, ".*") == s
		}
		found := false
		for s := range seen {
			found = found || within(s)
		}
		if !found {
			t.Errorf("a rule is for %s, which is no field", name)
		}
	}
}

// fill puts one element, by that key, into each list and dictionary.
func fill(v reflect.Value, key string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), key)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e, key)
		v.SetMapIndex(reflect.ValueOf(key), e)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), key)
	}
}

// mutate calls f with the place of each single value; elements of lists have no
// place of their own.
func mutate(typ reflect.Type, place []string, f func([]string)) {
	switch {
	case typ == reflect.TypeFor[Text]():
		f(place)
	case typ.Kind() == reflect.Struct:
		for _, x := range fieldsOf(typ) {
			mutate(typ.Field(x.index).Type, append(slices.Clip(place), x.key), f)
		}
	case typ.Kind() == reflect.Map:
		mutate(typ.Elem(), append(slices.Clip(place), "*"), f)
	default:
		f(place)
	}
}

// turn changes the value at a place.
func turn(v reflect.Value, place []string) bool {
	if len(place) > 0 && v.Kind() == reflect.Map {
		e := reflect.New(v.Type().Elem()).Elem()
		e.Set(v.MapIndex(reflect.ValueOf("*")))
		ok := turn(e, place[1:])
		v.SetMapIndex(reflect.ValueOf("*"), e)
		return ok
	}
	if len(place) > 0 {
		for _, x := range fieldsOf(v.Type()) {
			if x.key == place[0] {
				return turn(v.Field(x.index), place[1:])
			}
		}
		return false
	}
	switch {
	case v.Type() == reflect.TypeFor[Text]():
		v.Set(reflect.ValueOf(NewText("other")))
	case v.Kind() == reflect.String:
		v.SetString(v.String() + "other")
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanInt():
		v.SetInt(v.Int() + 1)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	default:
		return false
	}
	return true
}
