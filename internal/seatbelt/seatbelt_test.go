package seatbelt_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/delayed"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/sbpl"
	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/seatbelt/seatbelttest"
)

const (
	ws = "/Users/owner/nanoclaw/groups/family/workspace"
	rw = "/Users/owner/src/site"
	ro = "/Users/owner/src/notes"
)

// family is a grant with something of everything, as it would be on a Mac.
func family() grant.Grant {
	return grant.Grant{
		Group: "family", Mode: grant.HostMode, Agent: grant.Claude,
		Mounts: []grant.Mount{
			{Target: "/usr", Source: "/usr", Exec: true, Optional: true, Reason: "the system"},
			{Target: "/bin", Source: "/bin", Exec: true, Optional: true, Reason: "the system"},
			{Target: "/etc/ssl/certs", Source: "/etc/ssl/certs", Optional: true, Reason: "the system"},
			{Target: grant.Workspace, Source: ws, Write: true, Exec: true, Reason: "the group's workspace"},
			{Target: grant.Home, Source: "/Users/owner/nanoclaw/groups/family/home", Write: true, Exec: true, Reason: "the group's own home"},
			{Target: grant.Global, Source: "/Users/owner/nanoclaw/global", Reason: "memory of all groups"},
			{Target: grant.ClaudeDir + "/claude", Source: "/Users/owner/nanoclaw/claude", Exec: true, File: true, Reason: "the agent program"},
			{Target: grant.ClaudeConfig, Source: "/Users/owner/nanoclaw/agents/claude", Reason: "settings"},
			{Target: grant.ClaudeConfig + "/projects", Source: "/Users/owner/nanoclaw/groups/family/claude/projects", Write: true, Reason: "conversations"},
			{Target: grant.Extra + "/site", Source: rw, Write: true, Exec: true, Foreign: true, Reason: "groups.family.mounts"},
			{Target: grant.Extra + "/notes", Source: ro, Exec: true, Foreign: true, Reason: "groups.family.mounts"},
			{Target: grant.Extra + "/vendor", Source: rw + "/vendor/pinned", Foreign: true, Reason: "groups.family.mounts\n(allow default)"},
		},
		Env: []grant.Var{
			{Name: "HOME", Value: grant.Home}, {Name: "PATH", Value: "/opt/tools:/usr/bin:" + grant.Workspace + "/bin"}, {Name: "TMPDIR", Value: "/tmp"},
			{Name: "HTTPS_PROXY", Value: "http://127.0.0.1:3128"}, {Name: "ANTHROPIC_BASE_URL", Value: "http://127.0.0.1:8480"},
			{Name: "ANTHROPIC_API_KEY", Value: "placeholder"}, {Name: "CLAUDE_CONFIG_DIR", Value: grant.ClaudeConfig}, {Name: "LANG", Value: "C.UTF-8"},
		},
		Endpoints: []grant.Endpoint{
			{Name: "proxy", Port: grant.ProxyPort, Reason: "the egress proxy"}, {Name: "tools", Port: grant.ToolsPort, Reason: "host tools"},
			{Name: "model", Port: grant.ModelPort, Reason: "the model"},
		},
	}
}

func params() seatbelt.Params {
	return seatbelt.Params{
		Init: "/Users/owner/nanoclaw/nanoclaw-init", Tmp: "/private/var/folders/zz/T/nanoclaw-s1",
		Views:     map[string]string{grant.ClaudeConfig: "/private/var/folders/zz/T/nanoclaw-view"},
		Ports:     map[string]int{"proxy": 50001, "tools": 50002, "model": 50003},
		Terminal:  "/dev/ttys012",
		Protected: []string{".git/hooks", ".git/config", ".git/modules/*/hooks", ".claude", ".envrc", "*.code-workspace", ".vscode/tasks.json"},
		Pinned:    []string{rw + "/tree/.git"},
	}
}

func profile(t *testing.T, g grant.Grant, p seatbelt.Params) (string, *sbpl.Profile) {
	t.Helper()
	text, err := seatbelt.Profile(g, p)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := sbpl.Parse(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return text, parsed
}

// The whole text, for people to read.
func TestProfileGolden(t *testing.T) {
	text, _ := profile(t, family(), params())
	file := filepath.Join("testdata", "family.sb")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%s is no longer what Profile gives; UPDATE_GOLDEN=1 rewrites it:\n%s", file, text)
	}
}

// A Scheme that somebody else wrote reads as many forms as we wrote.
func TestGuileReadsTheProfile(t *testing.T) {
	text, p := profile(t, family(), params())
	cmd := exec.Command("guile", "--no-auto-compile", "-c", `(set-port-encoding! (current-input-port) "UTF-8")
(let loop ((n 0)) (let ((x (read))) (if (eof-object? x) (display n) (if (pair? x) (loop (+ n 1)) (exit 1)))))`)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != fmt.Sprint(p.Forms()) {
		t.Errorf("guile reads %s forms, %v; we read %d", out, err, p.Forms())
	}
}

func TestPaths(t *testing.T) {
	_, p := profile(t, family(), params())
	for _, c := range []struct {
		path string
		ops  string // that are allowed, of all
	}{
		{ws + "/a", "read write exec list create remove rename"},
		{ws, "read write exec list"},
		{"/private/var/folders/zz/T/nanoclaw-s1/x", "read write exec list create remove rename"},
		{"/private/var/folders/zz/T/nanoclaw-s2/x", ""},
		{"/private/tmp/x", ""},
		{"/private/tmp", ""},
		{"/usr/bin/env", "read exec list"},
		{"/private/etc/ssl/certs/x.pem", "read list"},
		{"/private/etc/passwd", ""},
		{"/private/etc/master.passwd", ""},
		{"/Users/owner/nanoclaw/global/CLAUDE.md", "read list"},
		{"/private/var/folders/zz/T/nanoclaw-view/projects", "read list"},
		{"/Users/owner/nanoclaw/agents/claude/settings.json", "read list"},
		{"/Users/owner/nanoclaw/groups/family/claude/projects/x", "read write list create remove rename"},
		{"/Users/owner/nanoclaw/groups/family/claude/other", ""},
		{"/Users/owner/nanoclaw/claude", "read exec list"},
		{"/Users/owner/nanoclaw/claude2", ""},
		{"/Users/owner/nanoclaw/claude/x", ""},
		{"/Users/owner/nanoclaw/nanoclaw-init", "read exec list"},
		{"/Users/owner/nanoclaw", ""},
		{"/Users/owner/nanoclaw/store.db", ""},
		{"/Users/owner/nanoclaw/groups/other/workspace/x", ""},
		{"/Users/owner/.ssh/id_ed25519", ""},
		{"/Users/owner", ""},
		{"/Users", ""},
		{"/Library/Keychains/System.keychain", ""},
		{"/Users/owner/Library/Keychains/login.keychain-db", ""},
		{"/System/Volumes/Data/Users/owner/.ssh/id_ed25519", ""},
		{"/System/Library/x", "read list"},
		{rw + "/main.go", "read write exec list create remove rename"},
		{rw, "read write exec list"},
		{ro + "/main.go", "read exec list"},
		{rw + "/vendor/pinned/x", "read list"},
		{rw + "/vendor/pinned", "read list"},
		{rw + "/vendor", "read write exec list"}, // leads to a folder that is fixed
		{rw + "/vendored", "read write exec list create remove rename"},
		{rw + "/tree/.git", "read exec list"}, // pinned
		{rw + "/tree", "read write exec list"},
		{"/dev/null", "read write list"},
		{"/dev/ttys012", "read write list"},
		{"/dev/ttys000", ""},
		{"/dev/ptmx", ""},
		{"/dev/disk0", ""},
		{"/dev/bpf0", ""},
	} {
		allowed := []string{}
		for _, op := range []grant.Op{grant.OpRead, grant.OpWrite, grant.OpExec, grant.OpList, grant.OpCreate, grant.OpRemove, grant.OpRename, grant.OpLink} {
			if seatbelttest.Path(p, op, c.path) {
				allowed = append(allowed, string(op))
			}
		}
		if got := strings.Join(allowed, " "); got != c.ops {
			t.Errorf("%s: %q, want %q", c.path, got, c.ops)
		}
	}
}

func TestProtectedNames(t *testing.T) {
	_, p := profile(t, family(), params())
	for _, c := range []struct {
		name   string
		create bool
		remove bool
	}{
		{"file", true, true},
		{".git/hooks/post-checkout", false, false},
		{".git/hooks", false, false},
		{".git", false, false}, // leads to hooks
		{".git/objects/ab", true, true},
		{".git/config", false, false},
		{".git/config.lock", true, true},
		{"sub/deep/.git/hooks/x", false, false},
		{"sub/.git", false, false},
		{".GIT/Hooks/x", false, false},
		{".gIt", false, false},
		{".git/modules/lib/hooks/x", false, false},
		{".git/modules/lib/x", true, true},
		{".git/modules/lib", false, false},
		{".claude/settings.json", false, false},
		{".claude", false, false},
		{"claude", true, true},
		{"x.claude", true, true},
		{"my.code-workspace", false, false},
		{"a/.ENVRC", false, false},
		{".envrc2", true, true},
		{".vscode/tasks.json", false, false},
		{".vscode/x", true, true},
		{".vscode", false, false},
		{".v\u017fcode/tasks.json", false, false},
		{".git/hoo\u212as/x", false, false},
		{".g\u200cit/hooks/x", false, false},
		{"d\u00e9j\u00e0", true, true},
	} {
		if got := seatbelttest.Path(p, grant.OpCreate, rw+"/"+c.name); got != c.create {
			t.Errorf("create %q: %t", c.name, got)
		}
		if got := seatbelttest.Path(p, grant.OpRemove, rw+"/"+c.name); got != c.remove {
			t.Errorf("remove %q: %t", c.name, got)
		}
		if got := seatbelttest.Path(p, grant.OpWrite, rw+"/"+c.name); got != c.create {
			t.Errorf("write %q: %t", c.name, got)
		}
		// The group's own workspace is its own.
		if !seatbelttest.Path(p, grant.OpCreate, ws+"/"+c.name) {
			t.Errorf("create %q in the workspace: refused", c.name)
		}
	}
}

// What the catalogue of delayed escapes names is refused by name, at any depth and
// in any spelling, and a project around it can be worked in.
func TestCatalogueOfNames(t *testing.T) {
	p := params()
	p.Protected = delayed.Names()
	text, parsed := profile(t, family(), p)
	if len(p.Protected) < 200 {
		t.Errorf("only %d names", len(p.Protected))
	}
	for _, name := range p.Protected {
		name = strings.ReplaceAll(name, "*", "some")
		// Repositories in a repository are found by what is in them, not by name.
		many := strings.HasPrefix(name, ".git/modules/") || strings.HasPrefix(name, ".git/worktrees/")
		if _, deed := delayed.Name("/project/" + name); deed != delayed.Hold && !many {
			t.Errorf("%s is %q to the catalogue", name, deed)
		}
		for _, at := range []string{rw + "/" + name, rw + "/a/b/" + strings.ToUpper(name)} {
			for _, op := range []grant.Op{grant.OpWrite, grant.OpCreate, grant.OpRemove} {
				if seatbelttest.Path(parsed, op, at) {
					t.Errorf("%s %s", op, at)
				}
			}
			for dir := filepath.Dir(at); len(dir) > len(rw) && filepath.Base(dir) != "b"; dir = filepath.Dir(dir) {
				if seatbelttest.Path(parsed, grant.OpRename, dir) || seatbelttest.Path(parsed, grant.OpCreate, dir) {
					t.Errorf("%s, which leads to %s, can be moved or made", dir, name)
				}
			}
		}
	}
	for _, name := range []string{
		"main.go", "src/lib/x", "library/x", "library", ".git/index", ".git/objects/ab/cd", ".git/refs/heads/x", ".git/COMMIT_EDITMSG", ".gitignore",
		"README.md", ".github/ISSUE_TEMPLATE.md", "config", "hooks/x", "Makefile", "node_modules/x/package.json", "run", "docs/.keep",
	} {
		if !seatbelttest.Path(parsed, grant.OpCreate, rw+"/"+name) || !seatbelttest.Path(parsed, grant.OpWrite, rw+"/"+name) {
			t.Errorf("%s cannot be written", name)
		}
	}
	t.Logf("%d names, %d bytes", len(p.Protected), len(text))
}

// Parts of a folder that the grant holds stay as and where they are, and the names
// that the host gives are refused wherever they would be made.
func TestHeldParts(t *testing.T) {
	g := family()
	for _, m := range g.Lent() {
		if m.Source == rw {
			g = g.Hold(m.Target, 1, 2, []grant.Part{{Path: "lib"}, {Path: "lib/tool", File: true, What: "git hooks"}, {Path: "odd", What: "what git settings name"}})
		}
	}
	q := params()
	q.Protected = delayed.Names()
	_, p := profile(t, g, q)
	for _, c := range []struct {
		op      grant.Op
		name    string
		allowed bool
	}{
		{grant.OpWrite, "lib/other", true}, {grant.OpCreate, "lib/other", true}, {grant.OpRead, "lib/tool", true}, {grant.OpExec, "lib/tool", true},
		{grant.OpWrite, "lib/tool", false}, {grant.OpRemove, "lib/tool", false}, {grant.OpRename, "lib/tool", false}, {grant.OpRename, "lib", false},
		{grant.OpRemove, "lib", false}, {grant.OpCreate, "odd/x", false}, {grant.OpRemove, "odd", false},
		{grant.OpCreate, ".mcp.json", false}, {grant.OpCreate, "a/.GitHub/Workflows/x.yml", false}, {grant.OpCreate, "a/x.go", true},
		{grant.OpCreate, "CLAUDE.md", true}, {grant.OpCreate, ".git/info/attributes", false}, {grant.OpWrite, ".git/index", true},
	} {
		if got := seatbelttest.Path(p, c.op, rw+"/"+c.name); got != c.allowed {
			t.Errorf("%s %s: %t", c.op, c.name, got)
		}
	}
}

// However many names there are, no expression is longer than Seatbelt takes.
func TestLongListsAreCut(t *testing.T) {
	g, p := family(), params()
	p.Protected = nil
	roots := []string{rw}
	for i := range 9 {
		roots = append(roots, fmt.Sprintf("/Users/owner/src/x%s/site-%d", strings.Repeat("x", 30*i), i))
		g.Mounts = append(g.Mounts, grant.Mount{Target: fmt.Sprintf("/workspace/extra/%d", i), Source: roots[i+1], Write: true, Foreign: true})
	}
	for i := range 200 {
		p.Protected = append(p.Protected, fmt.Sprintf(".tool%d/settings/hooks-%d.json", i, i))
	}
	text, parsed := profile(t, g, p)
	for i, name := range p.Protected {
		root := roots[i%len(roots)]
		if seatbelttest.Path(parsed, grant.OpWrite, root+"/x/"+strings.ToUpper(name)) || !seatbelttest.Path(parsed, grant.OpWrite, root+"/x/y"+name) {
			t.Errorf("%s in %s can be written, or what is not it cannot", name, root)
		}
	}
	for line := range strings.Lines(text) {
		if _, expr, ok := strings.Cut(line, `(regex "`); ok && len(expr) > 900+len("\")\n") {
			t.Errorf("%d bytes: %s", len(expr), expr)
		}
	}
}

// A session without a terminal, and without endpoints, has neither.
func TestNothingByDefault(t *testing.T) {
	g, p := family(), params()
	g.Endpoints, p.Terminal = nil, ""
	text, parsed := profile(t, g, p)
	for _, word := range []string{"network", "/dev/tty", "pseudo-tty", "no-sandbox", "import", "allow default"} {
		if strings.Contains(strings.ReplaceAll(text, "; groups.family.mounts (allow default)", ""), "("+word) || word == "/dev/tty" && strings.Contains(text, word) {
			t.Errorf("the profile holds %q", word)
		}
	}
	for _, q := range []sbpl.Query{
		{Op: "network-outbound", Addr: "127.0.0.1:50001"}, {Op: "network-outbound", Addr: "192.0.2.1:443"}, {Op: "network-bind", Addr: "127.0.0.1:0"},
		{Op: "network-outbound", Addr: "/private/var/run/mDNSResponder"}, {Op: "pseudo-tty"}, {Op: "file-read-data", Path: "/dev/ttys012"},
		{Op: "mach-lookup", Name: "com.apple.windowserver.active"}, {Op: "mach-register", Name: "x"}, {Op: "mach-priv-task-port", Target: "same-sandbox"},
		{Op: "iokit-open", Name: "IOSurfaceRootUserClient"}, {Op: "sysctl-write", Name: "kern.tcsm_enable"}, {Op: "user-preference-read"},
		{Op: "process-info-pidinfo", Target: "others"}, {Op: "sysctl-read", Name: "kern.procargs2"}, {Op: "sysctl-read", Name: "kern.proc.all"},
		{Op: "system-socket", Name: "AF_SYSTEM"}, {Op: "ipc-posix-shm-read-data", Name: "other"}, {Op: "ipc-posix-sem-open", Name: "other"},
		{Op: "nvram-get"}, {Op: "iokit-get-properties"}, {Op: "file-map-executable", Path: "/Users/owner/Downloads/x.dylib"},
		{Op: "file-write-setugid", Path: ws + "/x"}, {Op: "file-mknod", Path: ws + "/x"}, {Op: "device-microphone"},
	} {
		if parsed.Allows(q) {
			t.Errorf("%+v is allowed", q)
		}
	}
}

// The lines of the catalogue for macOS, as the profile answers them.
func TestCatalogue(t *testing.T) {
	_, p := profile(t, family(), params())
	seen := map[string]bool{}
	for _, a := range seatbelt.Attacks(seatbelt.Places{WS: ws, RW: rw, Secret: "/Users/owner/.ssh/id_ed25519"}) {
		seen[a.ID[:4]] = true
		allowed := true
		for _, q := range a.Asked {
			answer, err := p.Ask(q)
			if err != nil {
				t.Errorf("%s: %v", a.ID, err)
			}
			allowed = allowed && answer.Allowed
		}
		if allowed || len(a.Asked) == 0 {
			t.Errorf("%s: nothing refuses to %s", a.ID, a.What)
		}
		if a.Expected == "" || a.What == "" {
			t.Errorf("%s says too little", a.ID)
		}
	}
	for i := 1; i <= 14; i++ {
		if id := fmt.Sprintf("M-%02d", i); !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
	// The control arm: the same questions to a profile that opens everything.
	open, err := sbpl.Parse("(version 1)(allow default)", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range seatbelt.Attacks(seatbelt.Places{WS: ws, RW: rw, Secret: "/s"}) {
		for _, q := range a.Asked {
			if !open.Allows(q) {
				t.Errorf("%s is refused without a profile: it proves nothing", a.ID)
			}
		}
	}
}

func TestProfileRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*grant.Grant, *seatbelt.Params)
		want string
	}{
		{"the root", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[3].Source = "/" }, "cannot be granted|can be granted"},
		{"a relative path", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[3].Source = "ws" }, "can be granted"},
		{"a path with ..", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[3].Source = "/a/../b" }, "can be granted"},
		{"a newline", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[3].Source = "/a\nb" }, "control character"},
		{"NUL", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[3].Source = "/a\x00b" }, "control character"},
		{"not UTF-8", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[3].Source = "/a\xff" }, "UTF-8"},
		{"an endpoint without a port", func(_ *grant.Grant, p *seatbelt.Params) { p.Ports = nil }, "no port"},
		{"a port that is none", func(_ *grant.Grant, p *seatbelt.Params) { p.Ports["proxy"] = 70000 }, "no port"},
		{"no view of a mount in a mount", func(_ *grant.Grant, p *seatbelt.Params) { p.Views = nil }, "can be granted"},
		{"a mount deep in a mount", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[8].Target = grant.ClaudeConfig + "/a/b" }, "deep"},
		{"a mount in one that can be written", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[7].Write = true }, "can be written"},
		{"no init", func(_ *grant.Grant, p *seatbelt.Params) { p.Init = "" }, "can be granted"},
		{"no folder for temporary files", func(_ *grant.Grant, p *seatbelt.Params) { p.Tmp = "" }, "can be granted"},
		{"a protected name that leads out", func(_ *grant.Grant, p *seatbelt.Params) { p.Protected = []string{"../x"} }, "no name"},
		{"a pinned path that is relative", func(_ *grant.Grant, p *seatbelt.Params) { p.Pinned = []string{"x"} }, "no path"},
		{"a terminal that is a sentence", func(_ *grant.Grant, p *seatbelt.Params) { p.Terminal = "/dev/x\n" }, "control character"},
		{"a path too long for a rule", func(g *grant.Grant, _ *seatbelt.Params) { g.Mounts[9].Source = "/" + strings.Repeat("a", 900) }, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, p := family(), params()
			c.edit(&g, &p)
			text, err := seatbelt.Profile(g, p)
			if err == nil || text != "" {
				t.Fatalf("%v\n%s", err, text)
			}
			for want := range strings.SplitSeq(c.want, "|") {
				if strings.Contains(err.Error(), want) {
					return
				}
			}
			t.Errorf("%v, want %q", err, c.want)
		})
	}
}

// Whatever a folder is called, the profile opens that folder and not its
// neighbour, and a name cannot add a rule.
func FuzzProfile(f *testing.F) {
	for _, s := range []string{"plain", `quote"`, `back\slash`, `")(allow default)("`, "new\nline", "a\x00", "; comment", "ünï", "[x]*.+(|)", "..", "a/../../b", "$HOME", "\u2028"} {
		f.Add(s, s)
	}
	_, base, err := fuzzed("folder", "reason")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, reason string) {
		text, p, err := fuzzed(name, reason)
		if err != nil {
			return
		}
		dir := "/Users/owner/" + name
		if !seatbelttest.Path(p, grant.OpWrite, dir+"/x") || !seatbelttest.Path(p, grant.OpRead, dir) {
			t.Errorf("%q is not open", dir)
		}
		for _, other := range []string{"/Users/owner/.ssh/id", dir + "x", dir + "x/y", "/Users/ownerx", "/private/etc/master.passwd", "/x"} {
			if seatbelttest.Path(p, grant.OpRead, other) && !strings.HasPrefix(other, dir+"/") {
				t.Errorf("with a folder %q, %q is open", dir, other)
			}
		}
		if seatbelttest.Path(p, grant.OpCreate, dir+"/.git/hooks/x") || !seatbelttest.Path(p, grant.OpCreate, dir+"/x") {
			t.Errorf("names in %q are not protected, or all are", dir)
		}
		if p.Forms() != base.Forms() {
			t.Errorf("%d forms, %d with a plain name:\n%s", p.Forms(), base.Forms(), text)
		}
	})
}

func fuzzed(name, reason string) (string, *sbpl.Profile, error) {
	g, p := family(), params()
	g.Mounts = append(g.Mounts[:3:3], grant.Mount{Target: "/x", Source: "/Users/owner/" + name, Write: true, Foreign: true, Reason: reason})
	p.Pinned = nil
	text, err := seatbelt.Profile(g, p)
	if err != nil {
		return "", nil, err
	}
	parsed, err := sbpl.Parse(text, nil)
	if err == nil && !bytes.HasPrefix([]byte(text), []byte("(version 1)\n")) {
		err = fmt.Errorf("another beginning")
	}
	return text, parsed, err
}
