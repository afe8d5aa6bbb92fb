package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const owned = `// mine
{
    "version": 1, // one

    /* groups */
    "groups": {
        // the owner
        "main": {"mode": "container"}, // never host
        // friends
        "friends": {
            "egress": [
                "@git", // to clone
                // "example.org",
            ],
            "mounts": [{"path": "/srv/a", "write": true}] // theirs
            // end of friends
        }
    } // all
}
// bye
`

func TestEdit(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Document) error
		from string // "" is owned
		// want is what becomes of the lines; "" is the whole file as it was
		old, new string
	}{
		{"value", func(d *Document) error { return d.SetGroupField("main", "mode", "host") }, "",
			`"mode": "container"`, `"mode": "host"`},
		{"same value", func(d *Document) error { return d.SetGroupField("main", "mode", "container") }, "", "", ""},
		{"field in a short group", func(d *Document) error { return d.SetGroupField("main", "trigger", "mention") }, "",
			`{"mode": "container"}`, `{"mode": "container", "trigger": "mention"}`},
		{"field after a last comment", func(d *Document) error { return d.SetGroupField("friends", "agent", "shell") }, "",
			"true}] // theirs\n            // end of friends\n",
			"true}], // theirs\n            // end of friends\n            \"agent\": \"shell\"\n"},
		{"remove a field", func(d *Document) error { return d.UnsetGroupField("main", "mode") }, "",
			`{"mode": "container"}`, `{}`},
		{"remove a field that is not there", func(d *Document) error { return d.UnsetGroupField("main", "agent") }, "", "", ""},
		{"new object at the end", func(d *Document) error { return d.Set("/hostMode/enabled", true) }, "",
			"    } // all\n}", "    }, // all\n    \"hostMode\": { \"enabled\": true }\n}"},
		{"egress", func(d *Document) error { return d.AddEgress("friends", "*.example.org") }, "",
			"                // \"example.org\",\n", "                // \"example.org\",\n                \"*.example.org\",\n"},
		{"egress that is there", func(d *Document) error { return d.AddEgress("friends", "@git") }, "", "", ""},
		{"first egress", func(d *Document) error { return d.AddEgress("main", "@git") }, "",
			`{"mode": "container"}`, `{"mode": "container", "egress": ["@git"]}`},
		{"remove egress", func(d *Document) error { return d.RemoveEgress("friends", "@git") }, "",
			"\n                \"@git\", // to clone\n", "\n"},
		{"mount", func(d *Document) error { return d.AddMount("friends", Mount{Path: "~/b", Name: "b2"}) }, "",
			`"write": true}]`, `"write": true}, { "path": "~/b", "name": "b2" }]`},
		{"mount again, read-only", func(d *Document) error { return d.AddMount("friends", Mount{Path: "/srv/a"}) }, "",
			`"write": true`, `"write": false`},
		{"remove a mount", func(d *Document) error { return d.RemoveMount("friends", "a") }, "",
			`[{"path": "/srv/a", "write": true}]`, `[]`},
		{"chat and sender", func(d *Document) error {
			return errors.Join(d.AddChat("main", "slack:C1"), d.AddSender("main", "slack:U1"), d.RemoveChat("main", "slack:C1"))
		}, "", `"container"}`, `"container", "chats": [], "senders": ["slack:U1"]}`},
		{"group", func(d *Document) error {
			return d.AddGroup("new", Group{Chats: []string{"slack:${C}"}, Mounts: []Mount{{Path: "/srv/b"}}})
		}, "",
			"        }\n    } // all",
			"        },\n        \"new\": {\n            \"chats\": [\"slack:$${C}\"],\n            \"mounts\": [\n                { \"path\": \"/srv/b\" },\n            ],\n        }\n    } // all"},
		{"remove a group", func(d *Document) error { return d.RemoveGroup("friends") }, "",
			owned[strings.Index(owned, ", // never host"):strings.Index(owned, "    } // all")], " // never host\n"},
		{"host mode", func(d *Document) error { return d.AllowHostMode("main") }, "{\"hostMode\": {\"enabled\": false}}\n",
			"{\"hostMode\": {\"enabled\": false}}", "{\"hostMode\": {\"enabled\": true}, \"groups\": { \"main\": { \"mode\": \"host\", \"hostModeAllowed\": true } }}"},
		{"empty file", func(d *Document) error { return d.AddGroup("a", Group{Mode: "host"}) }, "{}",
			"{}", "{\n  \"groups\": {\n    \"a\": { \"mode\": \"host\" },\n  },\n}\n"},
		{"CRLF, byte order mark and tabs", func(d *Document) error { return d.AddEgress("main", "@go") },
			"\ufeff{\r\n\t// x\r\n\t\"groups\": {},\r\n}\r\n",
			"{}", "{\r\n\t\t\"main\": {\r\n\t\t\t\"egress\": [\"@go\"],\r\n\t\t},\r\n\t}"},
		{"only a comment inside", func(d *Document) error { return d.Append("/tools", "/opt/a") }, "{\"tools\": [ /* none */ ]}\n",
			"none */ ]", "none */ \"/opt/a\" ]"},
		{"line comment inside", func(d *Document) error { return d.Append("/tools", "/opt/a") }, "{\"tools\": [ // none\n]}\n",
			"none\n]", "none\n  \"/opt/a\"\n]"},
		{"key that needs escaping", func(d *Document) error { return d.Set(Pointer("groups", "main")+"/mode", "host") }, "{\"groups\": {\"m\\u0061in\": {}}}\n",
			"{}", "{\n  \"mode\": \"host\",\n}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from := test.from
			if from == "" {
				from = owned
			}
			got, err := EditBytes("c.jsonc", []byte(from), Options{}, test.edit)
			if err != nil {
				t.Fatal(err)
			}
			if test.old != "" && strings.Count(from, test.old) != 1 {
				t.Fatalf("%q is not once in the text", test.old)
			}
			if diff := cmp.Diff(strings.Replace(from, test.old, test.new, 1), string(got)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestEditRefuses(t *testing.T) {
	tests := []struct {
		name string
		text string
		edit func(*Document) error
		want string
	}{
		{"broken file", `{"version": }`, func(d *Document) error { return nil }, "c.jsonc:1:13"},
		{"bad value", owned, func(d *Document) error { return d.SetGroupField("main", "mode", "hots") },
			"c.jsonc:8:26: groups.main.mode: expected \"container\" or \"host\", found \"hots\" (did you mean \"host\"?)\nthe file was not changed"},
		{"bad type", owned, func(d *Document) error { return d.SetGroupField("main", "mounts", "x") }, "groups.main.mounts: expected a list"},
		{"bad key", owned, func(d *Document) error { return d.SetGroupField("main", "mod", "host") }, `a group has no "mod" (did you mean "mode"?)`},
		{"bad group name", owned, func(d *Document) error { return d.AddGroup("../x", Group{}) }, `groups["../x"]: expected the name of a group`},
		{"bad mount", owned, func(d *Document) error { return d.AddMount("main", Mount{Path: "x"}) }, "groups.main.mounts[0].path: expected a path"},
		{"no such group", owned, func(d *Document) error { return d.AddEgress("nobody", "@git") }, "group \"nobody\": there is no such group\nfix: nanoclaw group add nobody"},
		{"group twice", owned, func(d *Document) error { return d.AddGroup("friends", Group{}) }, "is there already"},
		{"removing main", owned, func(d *Document) error { return d.RemoveGroup("main") }, "main is your own group"},
		{"removing what is not there", owned, func(d *Document) error { return d.RemoveEgress("friends", "@npm") }, `no "@npm" in its egress`},
		{"no such mount", owned, func(d *Document) error { return d.RemoveMount("friends", "b") }, `no mount "b"`},
		{"into a text", owned, func(d *Document) error { return d.Set("/groups/main/mode/x", 1) }, "/groups/main/mode is not an object"},
		{"append to an object", owned, func(d *Document) error { return d.Append("/groups", 1) }, "/groups is not a list"},
		{"no pointer", owned, func(d *Document) error { return d.Set("groups", 1) }, "is not a pointer"},
		{"other mistakes in the file", `{"x": 1}`, func(d *Document) error { return d.Set("/version", 1) }, "x: expected a known key"},
		{"caller's error", owned, func(d *Document) error { return errors.Join(d.Set("/version", 1), errors.New("stop")) }, "stop"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := EditBytes("c.jsonc", []byte(test.text), Options{}, test.edit)
			wantError(t, err, test.want)
			if got != nil {
				t.Errorf("gave %s", got)
			}
		})
	}
}

// The shell that edits need not have the daemon's variables.
func TestEditToleratesUnsetVariables(t *testing.T) {
	const text = `{"model": {"apiKey": "${KEY}"}, "groups": {"main": {"mounts": [{"path": "${DIR}"}]}}}`
	got, err := EditBytes("c.jsonc", []byte(text), Options{}, func(d *Document) error { return d.AddEgress("main", "@git") })
	if err != nil || !strings.Contains(string(got), `"apiKey": "${KEY}"`) || !strings.Contains(string(got), `"egress": ["@git"]`) {
		t.Errorf("%s, %v", got, err)
	}
}

// Every edit that the commands offer, on the file that a first start writes.
func TestEditTemplate(t *testing.T) {
	before := string(Template(Facts{HostMode: true}))
	got, err := EditBytes("c.jsonc", []byte(before), Options{}, func(d *Document) error {
		return errors.Join(
			d.AddGroup("team", Group{Chats: []string{"slack:C1"}}),
			d.AddMount("team", Mount{Path: "~/projects/site", Write: true}),
			d.AddEgress("team", "@git"),
			d.AllowHostMode("team"),
			d.AddMount("main", Mount{Path: "/srv/data"}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	c := mustDecode(t, got)
	want := map[string]Group{
		"main": {Mode: "host", HostModeAllowed: true, Mounts: []Mount{{Path: "/srv/data"}}},
		"team": {Mode: "host", HostModeAllowed: true, Chats: []string{"slack:C1"}, Egress: []string{"@git"},
			Mounts: []Mount{{Path: "~/projects/site", Write: true}}},
	}
	if diff := cmp.Diff(want, c.Groups); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	for line := range strings.Lines(before) {
		if _, comment, ok := strings.Cut(line, "// "); ok && !strings.Contains(string(got), "// "+comment) {
			t.Errorf("lost the comment %q", comment)
		}
	}
}

func TestEditFile(t *testing.T) {
	file := newFile(t)
	must(t, os.Chmod(file, 0o400))
	must(t, Edit(file, Options{}, func(d *Document) error { return d.SetGroupField("main", "trigger", "mention") }))
	c, _, err := Load(file, Options{})
	must(t, err)
	info, err := os.Stat(file)
	must(t, err)
	if c.Groups["main"].Trigger != "mention" || info.Mode() != 0o400 {
		t.Errorf("%+v, mode %v", c.Groups, info.Mode())
	}
	wantAlone(t, file)

	// A refused edit leaves the same file.
	before, err := os.Stat(file)
	must(t, err)
	if err := Edit(file, Options{}, func(d *Document) error { return d.Set("/version", 2) }); err == nil {
		t.Error("accepted")
	}
	after, err := os.Stat(file)
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the file was replaced")
	}

	// A change from elsewhere in the middle of an edit is not overwritten.
	err = Edit(file, Options{}, func(d *Document) error {
		must(t, os.Remove(file))
		must(t, WriteDefault(file, []byte("{}")))
		return d.SetGroupField("main", "agent", "claude")
	})
	wantError(t, err, "was changed by somebody else")
	if text, err := os.ReadFile(file); err != nil || string(text) != "{}" {
		t.Errorf("%q, %v", text, err)
	}
	wantAlone(t, file)

	must(t, os.Remove(file))
	if err := Edit(file, Options{}, func(*Document) error { return nil }); !errors.Is(err, ErrNoConfig) {
		t.Errorf("without a file: %v", err)
	}
}

func TestEditFileAtOnce(t *testing.T) {
	file := newFile(t)
	const edits = 12
	var wg sync.WaitGroup
	for i := range edits {
		wg.Go(func() {
			err := Edit(file, Options{}, func(d *Document) error { return d.AddGroup(fmt.Sprintf("g%d", i), Group{}) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c, _, err := Load(file, Options{})
	must(t, err)
	if len(c.Groups) != edits+1 {
		t.Errorf("%d groups", len(c.Groups))
	}
	wantAlone(t, file)
}

// FuzzEdit: on any file that loads, adding and removing a group changes that
// and nothing else, and keeps every byte in its place when adding.
func FuzzEdit(f *testing.F) {
	for _, s := range []string{owned, example, "{}", "{//\n}", `{"groups":{}}`, "{\"groups\":{/*x*/}//\n,}", "{\"groups\":{\"a\":{}//x\n,//y\n}\r\n}",
		"{\"groups\":{\"a\":{}/**/,\"b\":{}/**/}}", `{"groups":{"main":{},},"version":1,}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before, err := Decode("c.jsonc", text, Options{})
		if err != nil || before.Groups["fuzz"].Mode != "" || len(before.Groups["fuzz"].Mounts) > 0 {
			return
		}
		if _, there := before.Groups["fuzz"]; there {
			return
		}
		added, err := EditBytes("c.jsonc", text, Options{}, func(d *Document) error {
			return errors.Join(d.AddGroup("fuzz", Group{Mode: "host"}), d.AddMount("fuzz", Mount{Path: "/f"}))
		})
		if errors.As(err, &Problems{}) && len(text) > maxFile-1000 {
			return
		}
		if err != nil {
			t.Fatalf("%v\nin %q", err, text)
		}
		if !isSubsequence(text, added) {
			t.Errorf("%q\nlost something in\n%q", text, added)
		}
		during, err := Decode("c.jsonc", added, Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := Group{Mode: "host", Mounts: []Mount{{Path: "/f"}}}
		if diff := cmp.Diff(want, during.Groups["fuzz"]); diff != "" {
			t.Error(diff)
		}
		removed, err := EditBytes("c.jsonc", added, Options{}, func(d *Document) error { return d.RemoveGroup("fuzz") })
		if err != nil {
			t.Fatalf("%v\nin %q", err, added)
		}
		after, err := Decode("c.jsonc", removed, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, after, cmp.Comparer(sameModel)); diff != "" {
			t.Errorf("before -, after +:\n%s\nin %q", diff, removed)
		}
	})
}

// isSubsequence says whether all of part is in whole, in order.
func isSubsequence(part, whole []byte) bool {
	for _, b := range whole {
		if len(part) > 0 && part[0] == b {
			part = part[1:]
		}
	}
	return len(part) == 0
}
