package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustDecode(t *testing.T, text []byte) Config {
	t.Helper()
	c, err := Decode("c.jsonc", text, Options{})
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	return *c
}

func TestExampleIsTheDefaults(t *testing.T) {
	if diff := cmp.Diff(Default(), mustDecode(t, []byte(example)), cmp.Comparer(sameModel)); diff != "" {
		t.Errorf("defaults -, example +:\n%s", diff)
	}
	if got := string(Template(Facts{})); got != example {
		t.Errorf("without facts the template is not the example:\n%s", got)
	}
}

func TestDefaultIsValidAndGrantsNothing(t *testing.T) {
	c := Default()
	if ps := c.Validate(Options{}); len(ps) > 0 {
		t.Error(ps)
	}
	if c.HostMode.Enabled || c.ExecutionMode != modeContainer || !reflect.DeepEqual(c.Groups, map[string]Group{"main": {}}) {
		t.Errorf("the defaults grant something: %+v", c)
	}
}

// Where the boundary holds, the first file differs from the defaults in these
// values and no others.
func TestTemplateWithHostMode(t *testing.T) {
	want := Default()
	want.HostMode.Enabled = true
	want.Groups["main"] = Group{Mode: "host", HostModeAllowed: true}
	got := mustDecode(t, Template(Facts{HostMode: true, Reason: "unused"}))
	if diff := cmp.Diff(want, got, cmp.Comparer(sameModel)); diff != "" {
		t.Errorf("want -, template +:\n%s", diff)
	}
}

// A reason becomes one comment line, whatever it holds.
func TestTemplateWithReason(t *testing.T) {
	for _, reason := range []string{
		"user namespaces are off",
		"two\nlines",
		"a break-out\n\"main\": {\"mode\": \"host\", \"hostModeAllowed\": true}, //",
		"*/ \u2028 \r \x00 \xff //",
		`"enabled": false and "main": {}, twice`,
	} {
		text := Template(Facts{Reason: reason})
		if diff := cmp.Diff(Default(), mustDecode(t, text), cmp.Comparer(sameModel)); diff != "" {
			t.Errorf("%q changed the values:\n%s", reason, diff)
		}
		if words := strings.Fields(reason)[0]; !strings.Contains(string(text), "// Host mode cannot be had on this machine: "+words) {
			t.Errorf("%q is not in the file", reason)
		}
	}
}

// TestExampleMentionsEveryField reads the struct, so a new field fails here
// until the example explains it.
func TestExampleMentionsEveryField(t *testing.T) {
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		if typ == reflect.TypeFor[Text]() {
			return
		}
		switch typ.Kind() {
		case reflect.Map, reflect.Slice:
			visit(typ.Elem())
		case reflect.Struct:
			for i, f := range fieldsOf(typ) {
				if f.key == "" {
					t.Errorf("%s.%s has no key", typ, typ.Field(i).Name)
				}
				if !strings.Contains(example, `"`+f.key+`":`) {
					t.Errorf("the example says nothing of %s.%s (%q)", typ, typ.Field(i).Name, f.key)
				}
				visit(typ.Field(i).Type)
			}
		}
	}
	visit(reflect.TypeFor[Config]())
}

// The group that the example shows in a comment is a valid one.
func TestExampleGroupIsValid(t *testing.T) {
	var lines []string
	inside := false
	for line := range strings.Lines(example) {
		inside = inside || strings.Contains(line, `// "family"`)
		if inside {
			lines = append(lines, strings.Replace(line, "// ", "", 1))
		}
		if inside && strings.HasPrefix(strings.TrimSpace(line), "// },") {
			break
		}
	}
	c := mustDecode(t, []byte(`{"groups": {`+strings.Join(lines, "")+"}}"))
	if g := c.Groups["family"]; len(g.Egress) != 4 || len(g.Mounts) != 1 || g.Mode != "container" {
		t.Errorf("got %+v", g)
	}
}

func TestEncodeKeepsReferencesLiteral(t *testing.T) {
	want := Default()
	want.Model.APIKey = "a${HOME}$${x}"
	want.Groups["a"] = Group{Mounts: []Mount{{Path: "/x<&>${"}}}
	text, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, mustDecode(t, text), cmp.Comparer(sameModel)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if text, err = Encode(Config{Version: 1}); err != nil || strings.Contains(string(text), "null") {
		t.Errorf("%s, %v", text, err)
	}
}

// FuzzDecode: never panics, and what loads can be written and loads as the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(example))
	f.Add(Template(Facts{HostMode: true}))
	for _, s := range []string{
		`{"groups":{"a":{"mounts":[{"path":"~/x","write":true}],"egress":["$${X}"],"chats":["a:b"]}}}`,
		"\ufeff{\r\n}", `{"model":{"apiKey":"${K}"}}`, `{"version":1,"version":1}`, `[[[[`, "/*", `{"limits":{"runTime":"1h1h"}}`,
		`{"tools":["/\ud800","/\ufffd"]}`, `{"\u0076ersion":1,}//`, `{"limits":{"processes":-0}}`, "{}\u2028",
	} {
		f.Add([]byte(s))
	}
	o := Options{Getenv: fakeEnv(map[string]string{"K": "v"})}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Decode("c.jsonc", text, o)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Errorf("a broken file gave %v and %q", c, err)
			}
			return
		}
		again, err := Encode(*c)
		if err != nil {
			t.Fatal(err)
		}
		c2, err := Decode("c.jsonc", again, Options{})
		if err != nil {
			t.Fatalf("%v\nin %s\nfrom %s", err, again, text)
		}
		// Lists that are empty and lists that are not there say the same.
		for name, g := range c.Groups {
			for _, list := range []*[]string{&g.Chats, &g.Senders, &g.Egress} {
				if len(*list) == 0 {
					*list = nil
				}
			}
			if len(g.Mounts) == 0 {
				g.Mounts = nil
			}
			c.Groups[name] = g
		}
		if diff := cmp.Diff(c, c2, cmp.Comparer(sameModel)); diff != "" {
			t.Errorf("first -, second +:\n%s", diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	text := Template(Facts{HostMode: true})
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Decode("c.jsonc", text, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
