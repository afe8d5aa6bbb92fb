package watch

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func rule(t testing.TB, level Level, text string) Rule {
	t.Helper()
	r, err := Parse(level, text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func call(tool, key, value string) Call {
	b, err := json.Marshal(map[string]string{key: value})
	if err != nil {
		panic(err)
	}
	return Call{Tool: tool, Input: b}
}

// A rule that cannot be read says where.
func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, level, text string
		at                int
		want              string
	}{
		{"nothing", "deny", "", 1, "name of a tool"},
		{"no name", "deny", "(git push)", 1, "name of a tool"},
		{"an open bracket", "deny", "Bash(git push", 14, "character 5 is not closed"},
		{"a space", "deny", "Web Fetch", 4, "letters, digits"},
		{"a comma", "deny", "WebFetch,Bash", 9, "letters, digits"},
		{"words after it", "deny", "Bash(x) y", 10, "not closed"},
		{"empty brackets", "deny", "Bash()", 6, "empty"},
		{"a line break", "deny", "Bash(git\npush)", 9, "control character"},
		{"brackets for a tool without", "deny", "WebSearch(x)", 10, "takes nothing in brackets"},
		{"brackets for MCP", "ask", "mcp__github__push(x)", 18, "takes nothing in brackets"},
		{"a star in a name", "deny", "Web*", 4, "a star is for MCP"},
		{"a server without a name", "deny", "mcp__", 6, "name of a server"},
		{"another spelling", "deny", "webfetch", 1, "write WebFetch"},
		{"a host without its word", "deny", "WebFetch(example.com)", 10, "domain:"},
		{"text that lowers", "allow", "Bash(git status)", 5, "only make the answer stricter"},
		{"a path that lowers", "allow", "Read(./src/**)", 5, "only make the answer stricter"},
		{"too long", "deny", "Bash(" + strings.Repeat("x", 1000) + ")", 1001, "at most 1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(Level(tt.level), tt.text)
			var e *SyntaxError
			if !errors.As(err, &e) || e.At != tt.at || !strings.Contains(e.What, tt.want) {
				t.Errorf("got %v, want character %d: %s", err, tt.at, tt.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	bash := func(s string) Call { return call("Bash", "command", s) }
	tests := []struct {
		rule string
		call Call
		want bool
	}{
		{"WebFetch", call("WebFetch", "url", "https://example.com"), true},
		{"WebFetch", call("WebSearch", "query", "x"), false},
		{"*", call("Anything", "a", "b"), true},
		{"Bash(*)", bash("ls"), true},
		{"Edit", call("Write", "file_path", "x"), true},
		{"Write", call("Edit", "file_path", "x"), false},
		{"Read", call("Grep", "path", "x"), true},
		{"mcp__github", Call{Tool: "mcp__github__push"}, true},
		{"mcp__github", Call{Tool: "mcp__github2__push"}, false},
		{"mcp__github__*", Call{Tool: "mcp__github__push"}, true},
		{"mcp__*__delete_*", Call{Tool: "mcp__files__delete_all"}, true},
		{"mcp__github__push", Call{Tool: "mcp__github__pull"}, false},

		{"Bash(git push*)", bash("git push origin main"), true},
		{"Bash(git push*)", bash("git status"), false},
		{"Bash(git push*)", bash("cd x && git push"), true},
		{"Bash(git push*)", bash("true; GIT_DIR=x /usr/bin/git push"), true},
		{"Bash(git push*)", bash("timeout -k 5 10 git push"), true},
		{"Bash(git push*)", bash("g'i't \"push\" x"), true},
		{"Bash(git push*)", bash("git \\\n push"), true},
		{"Bash(git push*)", bash(`sh -c "cd x; git push"`), true},
		{"Bash(git push*)", bash(`bash -lc 'sh -c "git push x"'`), true},
		{"Bash(git push*)", bash(`echo "$(git push)"`), true},
		{"Bash(git push*)", bash("echo `git push`"), true},
		{"Bash(git push*)", bash(">/dev/null 2>&1 git push"), true},
		{"Bash(git push*)", bash("bash <<EOF\ngit push\nEOF"), true},
		{"Bash(git push*)", bash("if true; then git push; fi"), true},
		{"Bash(git push*)", bash(`echo "git push is not run"`), false},
		{"Bash(git push*)", bash(`git commit -m "then git push"`), false},
		{"Bash(git push*)", bash("grep 'git push' README"), false},
		{"Bash(npm run:*)", bash("npm run test"), true},
		{"Bash(npm run:*)", bash("npm runner"), false},
		{"Bash(rm *)", bash(strings.Repeat("a=b ", 100) + "ls"), true}, // too long to be sure
		{"Bash(rm *)", bash(strings.Repeat(" ", 70_000)), true},
		{"Bash(rm *)", Call{Tool: "Bash", Input: json.RawMessage(`{"command":["rm","x"]}`)}, true},
		{"Bash(rm *)", Call{Tool: "Bash", Input: json.RawMessage(`nonsense`)}, true},
		{"Bash(rm *)", Call{Tool: "Bash", Input: json.RawMessage(`{"command":"rm x","Command":"ls"}`)}, true},

		{"Read(//etc/passwd)", call("Read", "file_path", "/etc/passwd"), true},
		{"Read(//etc/passwd)", call("Read", "file_path", "../../etc/../etc/passwd"), true},
		{"Read(//etc/**)", call("Read", "file_path", "/etc/ssl/x"), true},
		{"Read(./secrets/**)", call("Read", "file_path", "/workspace/group/secrets/a/b"), true},
		{"Read(secrets/)", call("Read", "file_path", "/workspace/group/x/secrets/a"), true},
		{"Read(/secrets/a)", call("Read", "file_path", "secrets/a/b"), true},
		{"Read(/secrets)", call("Read", "file_path", "/secrets"), false},
		{"Read(.env*)", call("Read", "file_path", "/x/.env.local"), true},
		{"Read(*.key)", call("Read", "file_path", "a.keys"), false},
		{"Read(~/.ssh/**)", call("Grep", "path", "~/.ssh/id"), true},
		{"Read(~/.ssh/**)", call("Read", "file_path", "/home/agent/.ssh/id"), true},
		{"Edit(docs/*.md)", call("NotebookEdit", "notebook_path", "docs/a.md"), true},
		{"Edit(docs/*.md)", call("Edit", "file_path", "docs/a/b.md"), false},

		{"WebFetch(domain:example.com)", call("WebFetch", "url", "https://EXAMPLE.com:8443/x"), true},
		{"WebFetch(domain:example.com)", call("WebFetch", "url", "https://example.com.evil.org/"), false},
		{"WebFetch(domain:*.example.com)", call("WebFetch", "url", "https://a.example.com/"), true},
		{"WebFetch(domain:*.example.com)", call("WebFetch", "url", "https://example.com/"), false},
		{"WebFetch(domain:example.com)", call("WebFetch", "url", "example.com"), true}, // no address: matched
		{"Agent(Explore)", call("Task", "subagent_type", "Explore"), true},
		{"Skill(deploy*)", call("Skill", "skill", "deploy-site"), true},
	}
	for _, tt := range tests {
		t.Run(tt.rule+" "+clip(string(tt.call.Input), 40), func(t *testing.T) {
			if got := rule(t, Deny, tt.rule).matches(tt.call, "/workspace/group", "/home/agent"); got != tt.want {
				t.Errorf("%s on %s %.80s: %v", tt.rule, tt.call.Tool, tt.call.Input, got)
			}
		})
	}
}

// A whole tool can be taken away from the agent; a part of one cannot.
func TestWhole(t *testing.T) {
	for text, want := range map[string]string{"WebFetch": "WebFetch", "Bash(*)": "Bash", "mcp__a__*": "mcp__a__*", "*": "", "Bash(git*)": ""} {
		if got, ok := rule(t, Deny, text).Whole(); ok != (want != "") || ok && got != want {
			t.Errorf("%s is wholly about %q, %v", text, got, ok)
		}
	}
}

// FuzzParse: what is read prints as it was written, and whatever it is asked
// about, an answer comes, and an allow rule never depends on the call's text.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"Bash(git push*)", "mcp__a__*", "Read(//etc/**)", "*", "WebFetch(domain:*.x.org)", "Edit(", "Bash(npm:*)"} {
		f.Add(s, "Bash", "sh -c 'git push' | \"$(x)\" `y` <<EOF", "/etc/x")
	}
	f.Fuzz(func(t *testing.T, text, tool, command, file string) {
		in, err := json.Marshal(map[string]string{"command": command, "file_path": file, "url": file})
		if err != nil {
			t.Fatal(err)
		}
		for _, level := range []Level{Deny, Ask, Allow} {
			r, err := Parse(level, text)
			if err != nil {
				var e *SyntaxError
				if !errors.As(err, &e) || e.At < 1 || e.At > len(text)+1 {
					t.Fatalf("error %v", err)
				}
				continue
			}
			if again, err := Parse(level, r.String()); err != nil || again != r {
				t.Fatalf("%q reads as %+v, then as %+v, %v", text, r, again, err)
			}
			got := r.matches(Call{Tool: tool, Input: in}, "/w", "/h")
			if level == Allow && got != r.matches(Call{Tool: tool}, "/w", "/h") {
				t.Fatalf("the allow rule %q looks at the text of a call", text)
			}
		}
	})
}
