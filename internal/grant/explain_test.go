package grant

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
)

func TestParseQuestion(t *testing.T) {
	tests := map[string]Question{
		"/etc/shadow":                  {Kind: AboutPath, Op: OpRead, Name: "/etc/shadow"},
		"write:/tmp/x":                 {Kind: AboutPath, Op: OpWrite, Name: "/tmp/x"},
		"/odd:name":                    {Kind: AboutPath, Op: OpRead, Name: "/odd:name"},
		"github.com":                   {Kind: AboutHost, Name: "github.com"},
		"github.com:80":                {Kind: AboutHost, Name: "github.com", Port: "80"},
		"localhost":                    {Kind: AboutHost, Name: "localhost"},
		"localhost:22":                 {Kind: AboutHost, Name: "localhost", Port: "22"},
		"::1":                          {Kind: AboutHost, Name: "::1"},
		"[::1]:80":                     {Kind: AboutHost, Name: "[::1]", Port: "80"},
		"https://example.com":          {Kind: AboutHost, Name: "example.com", Scheme: "https", Method: "GET", Path: "/"},
		"POST http://a.b:81/c/d?e=f#g": {Kind: AboutHost, Name: "a.b", Port: "81", Scheme: "http", Method: "POST", Path: "/c/d"},
		"$home":                        {Kind: AboutVar, Name: "home"},
		"HOME":                         {Kind: AboutVar, Name: "HOME"},
		"http_proxy":                   {Kind: AboutVar, Name: "http_proxy"},
		"tool:list_groups":             {Kind: AboutTool, Name: "list_groups"},
		"call:socket(1,0x1, 0)":        {Kind: AboutCall, Name: "socket(1,0x1, 0)"},
	}
	for text, want := range tests {
		got, err := ParseQuestion(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	for _, text := range []string{"", "photos", "$", "$1", "photos/x", "https:///x", "get https://example.com/", "ftp://example.com/", "tool:", "9LIVES"} {
		if q, err := ParseQuestion(text); !errors.Is(err, ErrQuestion) {
			t.Errorf("%q: %+v, %v", text, q, err)
		}
	}
}

// explained is what the family's grant says to a question.
func explained(t *testing.T, text string) Answer {
	t.Helper()
	r := request(func(r *Request) {
		r.Group = "family"
		edit(r, "family", func(g *config.Group) {
			g.Mounts = []config.Mount{{Path: "/data/photos"}, {Path: "/data/site", Name: "web", Write: true}, {Path: "/data/site/old", Name: "old"}, {Path: "/data/notes", Name: "n"}}
			g.Egress = []string{"example.com", "*.example.org:8443"}
		})
	})
	g, err := Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParseQuestion(text)
	if err != nil {
		t.Fatal(err)
	}
	return Explain(g, r.Machine, q)
}

func TestExplain(t *testing.T) {
	tests := []struct {
		question string
		want     Answer // Why is compared as a part
	}{
		{"/usr/bin/env", Answer{Allowed: true, Line: "mount rx /usr  # the system, read-only, where it is there", Why: "where this machine has it"}},
		{"write:/usr/x", Answer{Line: "mount rx /usr  # the system, read-only, where it is there", Why: "read-only"}},
		{"/usr/../etc/passwd", Answer{Allowed: true, Why: "generated"}},
		{"/etc/shadow", Answer{Why: "nothing of that name"}},
		{"list:/etc/passwd", Answer{Why: "it is a file"}},
		{"/etc/passwd/x", Answer{Why: "nothing of that name"}},
		{"list:/workspace", Answer{Allowed: true, Why: "the root"}},
		{"list:/", Answer{Allowed: true, Why: "the root"}},
		{"create:/x", Answer{Why: "the root is made", Allow: "nanoclaw group mount add family /x:rw"}},
		{"create:/tmp/x", Answer{Allowed: true, Why: "gone after"}},
		{"exec:/dev/shm/x", Answer{Why: "running programs is not permitted"}},
		{"/proc/kcore", Answer{Why: "masked"}},
		{"remove:/workspace/group", Answer{Line: "mount rw /workspace/group = /home/ann/.local/share/nanoclaw/groups/family/workspace  # the group's workspace", Why: "neither replaced nor moved"}},
		{"remove:/workspace/group/x", Answer{Allowed: true, Line: "mount rw /workspace/group = /home/ann/.local/share/nanoclaw/groups/family/workspace  # the group's workspace"}},
		{"exec:/workspace/global/x", Answer{Line: "mount r  /workspace/global = /home/ann/.local/share/nanoclaw/global  # memory of all groups", Why: "cannot be run"}},
		// Paths of the host.
		{"/data/photos/a", Answer{Allowed: true, As: "/workspace/extra/photos/a", Line: "mount rx /workspace/extra/photos = /data/photos  # groups.family.mounts"}},
		{"write:/data/photos/a", Answer{As: "/workspace/extra/photos/a", Why: "read-only", Line: "mount rx /workspace/extra/photos = /data/photos  # groups.family.mounts", Allow: "nanoclaw group mount add family /data/photos:rw"}},
		{"write:/data/notes/a", Answer{As: "/workspace/extra/n/a", Why: "read-only", Line: "mount rx /workspace/extra/n = /data/notes  # groups.family.mounts", Allow: "nanoclaw group mount add family /data/notes:rw --name n"}},
		{"write:/data/site/a", Answer{Allowed: true, As: "/workspace/extra/web/a", Line: "mount rw /workspace/extra/web = /data/site  # groups.family.mounts"}},
		{"/data/site2", Answer{Why: "nothing of that name", Allow: "nanoclaw group mount add family /data/site2"}},
		{"create:/data/other", Answer{Why: "nothing of that name", Allow: "nanoclaw group mount add family /data/other:rw"}},
		{"/home/ann/.ssh/id_rsa", Answer{Why: "a place for credentials"}},
		{"/home/ann/.config/nanoclaw/config.jsonc", Answer{Why: "nanoclaw keeps"}},
		// The rest.
		{"example.com", Answer{Allowed: true, Line: "egress example.com:443  # groups.family.egress example.com"}},
		{"EXAMPLE.com.:443", Answer{Allowed: true, Line: "egress example.com:443  # groups.family.egress example.com"}},
		{"a.example.org:8443", Answer{Allowed: true, Line: "egress *.example.org:8443  # groups.family.egress *.example.org:8443"}},
		{"a.example.org", Answer{Why: "no line", Allow: "nanoclaw group egress add family a.example.org"}},
		{"a.example.net:80", Answer{Why: "no line", Allow: "nanoclaw group egress add family a.example.net:80"}},
		{"10.0.0.1", Answer{Why: "IP address"}},
		{"0x7f.1:80", Answer{Why: "IP address"}},
		{"example.com:0", Answer{Why: "not a number from 1"}},
		{"localhost:3128", Answer{Allowed: true, Line: "endpoint 127.0.0.1:3128 proxy  # the egress proxy"}},
		{"[::1]:3128", Answer{Why: "services of this machine"}},
		{"127.0.0.1:22", Answer{Why: "services of this machine"}},
		{"HOME", Answer{Allowed: true, Line: "env HOME=/home/agent  # every session"}},
		{"SSH_AUTH_SOCK", Answer{Why: "made from the grant"}},
		{"tool:send_message", Answer{Allowed: true, Line: "tool send_message  # every group, to its own chat; main to any group"}},
		{"tool:list_groups", Answer{Why: "no such host tool"}},
		{"call:mount", Answer{Why: "no lines about this"}},
	}
	for _, c := range tests {
		got := explained(t, c.question)
		if !strings.Contains(got.Why, c.want.Why) || got.Why == "" && got.Line == "" {
			t.Errorf("%s: why %q, want %q in it", c.question, got.Why, c.want.Why)
		}
		got.Why, got.Question, c.want.Why = "", "", ""
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.question, diff)
		}
	}
}

// FuzzExplain checks what holds of every answer: it says why, a line it names
// is one of the grant, and what is read-only is never written.
func FuzzExplain(f *testing.F) {
	for _, s := range []string{"/x", "write:/etc/../usr/x", "create:/tmp", "a.example.org:8443", "$HOME", "tool:x", "list://", "rename:/proc/self/.."} {
		f.Add(s)
	}
	r := request(nil)
	edit(&r, "main", func(g *config.Group) { g.Mounts = []config.Mount{{Path: "/data/photos"}} })
	g, err := Decide(r)
	if err != nil {
		f.Fatal(err)
	}
	lines := map[string]bool{}
	for _, l := range g.Lines() {
		lines[l] = true
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := ParseQuestion(text)
		if err != nil {
			return
		}
		if again, err := ParseQuestion(q.String()); err != nil || again != q {
			t.Fatalf("%q is %+v, and %q is %+v, %v", text, q, q.String(), again, err)
		}
		a := Explain(g, r.Machine, q)
		switch {
		case a.Line == "" && a.Why == "":
			t.Fatalf("%q: %+v says no reason", text, a)
		case a.Line != "" && !lines[a.Line]:
			t.Fatalf("%q: %q is no line of the grant", text, a.Line)
		case a.Allowed && (q.Op == OpWrite || q.Op.names()) && strings.HasPrefix(a.Line, "mount r") && !strings.HasPrefix(a.Line, "mount rw"):
			t.Fatalf("%q: allowed by %q", text, a.Line)
		case a.Allowed && a.Allow != "":
			t.Fatalf("%q: allowed, and can be allowed: %+v", text, a)
		}
	})
}
