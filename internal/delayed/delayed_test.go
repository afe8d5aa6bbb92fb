package delayed

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes files in a new folder: "dir/" is a folder, "name -> text" a link,
// "name" a file that holds its own name.
func tree(t testing.TB, entries ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "project")
	must(t, os.Mkdir(dir, 0o755))
	grow(t, dir, entries...)
	return dir
}

func grow(t testing.TB, dir string, entries ...string) {
	t.Helper()
	for _, e := range entries {
		name, text, link := strings.Cut(e, " -> ")
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case link:
			must(t, os.Symlink(text, p))
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		default:
			must(t, os.WriteFile(p, []byte(name), 0o644))
		}
	}
}

func open(t testing.TB, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func scanOf(t testing.TB, dir string, b Bounds) Scanned {
	t.Helper()
	real, err := filepath.EvalSymlinks(dir)
	must(t, err)
	s, err := Scan(open(t, dir), real, b)
	must(t, err)
	return s
}

// held are the places of a scan as "path what", and what is pinned as "path".
func held(t testing.TB, s Scanned) []string {
	t.Helper()
	holds, err := s.Holds()
	must(t, err)
	var out []string
	for _, h := range holds {
		out = append(out, strings.TrimSpace(h.Path+" "+h.What))
	}
	slices.Sort(out)
	return out
}

// What exists is found wherever it lies, by name, by shape or by what it leads
// to; what only looks like it is not.
func TestScanFindsPlaces(t *testing.T) {
	repo := []string{".git/HEAD", ".git/config", ".git/objects/", ".git/refs/", ".git/hooks/pre-commit", ".git/index", "main.go"}
	tests := []struct {
		name string
		tree []string
		want []string
	}{
		{"a repository", repo, []string{".git", ".git/config git settings", ".git/hooks git hooks"}},
		{"all that git obeys in it", []string{".git/config.worktree", ".git/commondir", ".git/info/attributes", ".git/info/exclude", ".git/modules/a/b/HEAD",
			".git/modules/a/b/objects/", ".git/modules/a/b/refs/", ".git/modules/a/b/config", ".git/modules/a/b/hooks/", ".git/worktrees/w/HEAD",
			".git/worktrees/w/commondir", ".git/worktrees/w/gitdir", ".git/worktrees/w/config.worktree", ".git/rebase-merge/git-rebase-todo", ".git/refs/heads/config"},
			[]string{".git", ".git/commondir git pointer", ".git/config.worktree git settings", ".git/info", ".git/info/attributes git settings", ".git/modules",
				".git/modules/a", ".git/modules/a/b", ".git/modules/a/b/config git settings", ".git/modules/a/b/hooks git hooks", ".git/rebase-merge",
				".git/rebase-merge/git-rebase-todo commands of a rebase", ".git/worktrees", ".git/worktrees/w", ".git/worktrees/w/commondir git pointer",
				".git/worktrees/w/config.worktree git settings", ".git/worktrees/w/gitdir git pointer"}},
		{"a work tree, a submodule", []string{".git", "sub/.git", ".gitmodules"}, []string{".git git pointer", ".gitmodules git settings", "sub", "sub/.git git pointer"}},
		{"a bare repository", []string{"b/HEAD", "b/objects/", "b/refs/", "b/config", "b/hooks/x", "b/description"}, []string{"b", "b/config git settings", "b/hooks git hooks"}},
		{"no repository", []string{"src/hooks/useState.ts", "src/config/x", "src/refs/", "src/HEAD"}, nil},
		{"other capitals", []string{".GIT/Config", ".VSCode/tasks.json", ".Claude/x", ".ıdea/x", ".vſcode/x", ".g\u200cit/config"},
			[]string{".Claude agent settings", ".GIT", ".GIT/Config git settings", ".VSCode editor settings", ".g\u200cit", ".g\u200cit/config git settings", ".vſcode editor settings"}},
		{"settings in a deep folder", []string{"a/b/c/.envrc", "a/b/.github/workflows/ci.yml", "a/.github/CODEOWNERS"},
			[]string{"a", "a/b", "a/b/.github", "a/b/.github/workflows CI", "a/b/c", "a/b/c/.envrc environment of a folder"}},
		{"in node_modules only git's", []string{"node_modules/x/.travis.yml", "node_modules/x/.git/config", "node_modules/x/.npmrc"},
			[]string{"node_modules", "node_modules/x", "node_modules/x/.git", "node_modules/x/.git/config git settings"}},
		{"what hooks lead to", []string{".git/hooks/pre-commit -> ../../scripts/check", "scripts/check", "scripts/other"},
			[]string{".git", ".git/hooks git hooks", "scripts", "scripts/check git hooks"}},
		{"what links lead to, by links", []string{".vscode -> cfg/vs", "cfg -> real", "real/vs/tasks.json"}, []string{"real", "real/vs editor settings"}},
		{"links to elsewhere, to nothing, in a circle", []string{".vscode -> /etc", ".idea -> ../..", ".envrc -> gone", ".mcp.json -> .mcp.json", ".npmrc -> .yarnrc", ".yarnrc -> .npmrc"}, nil},
		{"instructions are not held", []string{"CLAUDE.md", "AGENTS.md", ".gitattributes"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scanOf(t, tree(t, tt.tree...), Before)
			if s.Short != "" {
				t.Errorf("it is short: %s", s.Short)
			}
			if d := cmp.Diff(tt.want, held(t, s)); d != "" {
				t.Error(d)
			}
		})
	}
}

// Git runs what its settings name, so that is held as well.
func TestScanReadsGitSettings(t *testing.T) {
	dir := tree(t, ".git/HEAD", "githooks/pre-push", "more/gitconfig", "tools/clean.sh", "tools/other.sh", "master", "origin/x", "sub/x")
	must(t, os.WriteFile(filepath.Join(dir, ".git/config"), []byte(`[core]
	hooksPath = githooks
	fsmonitor = "./tools/clean.sh --x"
[include] path = ../more/gitconfig
[branch "master"]
	remote = origin
	merge = refs/heads/master
[submodule "sub"]
	path = sub
[alias]
	x = !sh tools/none.sh
`), 0o644))
	want := []string{".git", ".git/config git settings", "githooks what git settings name", "more", "more/gitconfig what git settings name", "tools", "tools/clean.sh what git settings name"}
	if d := cmp.Diff(want, held(t, scanOf(t, dir, Before))); d != "" {
		t.Error(d)
	}
}

// The other names of what is held are held too; a file outside is only told.
func TestScanHoldsOtherNames(t *testing.T) {
	dir := tree(t, ".git/hooks/pre-commit", ".envrc", "tools/", "plain", "CLAUDE.md")
	for name, other := range map[string]string{".git/hooks/pre-commit": "tools/check", ".envrc": "env", "plain": "plain2", "CLAUDE.md": "words"} {
		must(t, os.Link(filepath.Join(dir, name), filepath.Join(dir, other)))
	}
	s := scanOf(t, dir, Before)
	want := []string{".envrc environment of a folder", ".git", ".git/hooks git hooks", "env environment of a folder", "tools", "tools/check git hooks"}
	if d := cmp.Diff(want, held(t, s)); d != "" || s.Odd.Nlinked != 0 {
		t.Errorf("%s\nodd: %+v", d, s.Odd)
	}
	// A new place does not make an owner's file one by being its second name.
	before := scanOf(t, dir, Before)
	must(t, os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, ".mcp.json")))
	got := moves(Compare(before, scanOf(t, dir, After)))
	if len(got) != 1 || got[0].Path != ".mcp.json" {
		t.Errorf("to be moved: %v", got)
	}
}

// moves are the findings that are to be moved.
func moves(all []Finding) []Finding {
	return slices.DeleteFunc(all, func(f Finding) bool { return !f.Move })
}

// A scan that cannot see everything says so, and goes from the top down.
func TestScanIsBounded(t *testing.T) {
	flood := []string{".git/config"}
	for i := range 300 {
		flood = append(flood, fmt.Sprintf("deep/er/%d/.envrc", i))
	}
	tests := []struct {
		name   string
		tree   []string
		bounds Bounds
		want   string
	}{
		{"entries", flood, Bounds{Entries: 100, Places: 1000, Time: time.Minute}, "more than 100 files"},
		{"places", flood, Bounds{Entries: 10000, Places: 100, Time: time.Minute}, "more than 100 places"},
		{"time", flood, Bounds{Entries: 10000, Places: 1000, Time: -1}, "longer than"},
		{"a link around itself", []string{"a/.vscode -> ../../project/a"}, Before, "around itself"},
		{"a link out and back", []string{"a/.vscode -> ../../project/b", "b/x"}, Before, ""},
		{"a link to the folder above", []string{"a/.vscode -> .."}, Before, "around itself"},
		{"a deep folder", []string{strings.Repeat("x/", 300) + ".envrc"}, Before, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scanOf(t, tree(t, tt.tree...), tt.bounds)
			if !strings.Contains(s.Short, tt.want) || (tt.want == "") != (s.Short == "") {
				t.Errorf("short: %q", s.Short)
			}
			if tt.name == "places" && s.Places[0].Path != ".git/config" && !slices.ContainsFunc(s.Places, func(p Place) bool { return p.Path == ".git/config" }) {
				t.Errorf("the flood below hid what is above it: %v", s.Places[0])
			}
		})
	}
}

// A folder that is a place, or in one, is not searched: all of it would be held.
func TestScanRefusesPlaces(t *testing.T) {
	for name, refused := range map[string]bool{".git/hooks": true, ".vscode": true, ".github/workflows/sub": true, ".config/fish": true, ".git": false, "src": false} {
		dir := tree(t, name+"/")
		at := filepath.Join(dir, name)
		if _, err := Scan(open(t, at), at, Before); (err != nil) != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// After a session, what is new is found, and only that.
func TestCompare(t *testing.T) {
	repo := []string{".git/HEAD", ".git/config", ".git/objects/", ".git/refs/", ".git/hooks/pre-commit -> ../../scripts/check", "src/hooks/x.ts", "src/config/y", ".vscode -> cfg/vs", "cfg/vs/tasks.json", "other/vs/x"}
	sh := func(dir string) func(*testing.T, ...string) {
		return func(t *testing.T, entries ...string) { grow(t, dir, entries...) }
	}
	tests := []struct {
		name string
		do   func(t *testing.T, dir string)
		want []string
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"files of no place", func(t *testing.T, d string) { sh(d)(t, "README", "src/new/x", ".git/index", ".git/refs/heads/main") }, nil},
		{"new places", func(t *testing.T, d string) {
			sh(d)(t, ".envrc", "sub/.GIT/hooks/x", ".git/commondir", ".github/workflows/ci.yml", ".mcp.json/", ".npmrc -> /etc/passwd")
		}, []string{"move .envrc (environment of a folder)", "move .git/commondir (git pointer)", "move .github/workflows (CI)", "move .mcp.json (agent settings)",
			"move .npmrc (package manager settings)", "move sub/.GIT/hooks (git hooks)"}},
		{"the target of a hook that is no more nothing", func(t *testing.T, d string) { sh(d)(t, "scripts/check") }, []string{"move scripts/check (git hooks)"}},
		{"an owner's folder made to look like a repository", func(t *testing.T, d string) { sh(d)(t, "src/HEAD", "src/objects/", "src/refs/") },
			[]string{"move src/HEAD (git repository)"}},
		{"an owner's folder made the target of a new link", func(t *testing.T, d string) { sh(d)(t, ".idea -> src") }, []string{"move .idea (editor settings)"}},
		{"a link replaced", func(t *testing.T, d string) {
			must(t, os.Remove(filepath.Join(d, ".vscode")))
			sh(d)(t, ".vscode -> other/vs")
		}, []string{"move .vscode (editor settings): it replaced a link to cfg/vs"}},
		{"settings of git that name an owner's folder", func(t *testing.T, d string) {
			must(t, os.WriteFile(filepath.Join(d, ".git/config.new"), []byte("[core]\nhooksPath = src\n"), 0o644))
			must(t, os.Rename(filepath.Join(d, ".git/config.new"), filepath.Join(d, ".git/config")))
		}, []string{"tell .git/config (git settings): it was replaced on this machine while it was held, and could be changed from then on: look at it"}},
		{"a folder renamed by the owner", func(t *testing.T, d string) {
			must(t, os.Rename(filepath.Join(d, "cfg"), filepath.Join(d, "conf")))
		}, nil},
		{"instructions", func(t *testing.T, d string) { sh(d)(t, "docs/CLAUDE.md") }, []string{"tell docs/CLAUDE.md (instructions for agents): new"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, repo...)
			before := scanOf(t, dir, Before)
			tt.do(t, dir)
			var got []string
			for _, f := range Compare(before, scanOf(t, dir, After)) {
				verb := "tell "
				if f.Move {
					verb = "move "
				}
				got = append(got, verb+f.String())
			}
			slices.Sort(got)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Every name in the list is one that a scan finds.
func TestNames(t *testing.T) {
	names := Names()
	for _, n := range names {
		example := "/p/" + strings.ReplaceAll(strings.ReplaceAll(n, "rebase-*", "rebase-merge"), "*", "x")
		what, deed := Name(example)
		if below := strings.Contains(n, "modules/") || strings.Contains(n, "worktrees/"); what == "" && !below || what != "" && deed != Hold {
			t.Errorf("%s: %q, %s", example, what, deed)
		}
	}
	if len(names) < 200 || !slices.Contains(names, ".git/hooks") || slices.Contains(names, "claude.md") {
		t.Errorf("%d names", len(names))
	}
}

// A record that was stored compares like the scan it holds.
func TestRecord(t *testing.T) {
	dir, store := tree(t, ".git/hooks/x -> ../../a\xffb", "a\xffb", ".vscode -> y"), filepath.Join(t.TempDir(), "records")
	s := scanOf(t, dir, Before)
	r := Record{Source: Source{Session: "s1", Group: "g", At: time.Unix(5, 0).UTC()}, Folders: []Folder{{Path: dir, Before: s}}}
	must(t, r.Save(store))
	got, err := Left(store)
	must(t, err)
	s.Above, s.Odd, s.Entries = nil, Odd{}, 0
	want := r
	want.Folders = []Folder{{Path: dir, Before: s}}
	if d := cmp.Diff([]Record{want}, got); d != "" {
		t.Error(d)
	}
	must(t, os.WriteFile(filepath.Join(store, "s2.session.json"), []byte("{"), 0o600))
	if got, err := Left(store); len(got) != 1 || err == nil {
		t.Errorf("beside a broken one: %d, %v", len(got), err)
	}
	must(t, Forget(store, "s1"))
	must(t, Forget(store, "s1"))
	if got, _ := Left(store); len(got) != 0 {
		t.Error("it is not forgotten")
	}
}

// Names that a line cannot show are quoted, and long ones cut.
func TestPlain(t *testing.T) {
	for name, want := range map[string]string{
		"src/größe":  "src/größe",
		"a\nb":       `"a\nb"`,
		"\x1b[2Jx":   `"\x1b[2Jx"`,
		"a\u202eb":   `"a\u202eb"`,
		"a\xffb":     `"a\xffb"`,
		`say "hi"`:   `"say \"hi\""`,
		"":           `""`,
		"a\u00a0b":   `"a\u00a0b"`,
		"tab\tinner": `"tab\tinner"`,
	} {
		if got := Plain(name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
	if got := Plain(strings.Repeat("x", 4000)); len(got) > 200 {
		t.Errorf("%d bytes", len(got))
	}
}

// Oddities that were there before are told about.
func TestOddities(t *testing.T) {
	dir := tree(t, "a", "b", "c", ".git/hooks/x")
	must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "a2")))
	must(t, os.Link(filepath.Join(dir, "b"), filepath.Join(filepath.Dir(dir), "outside")))
	must(t, os.Link(filepath.Join(dir, ".git/hooks/x"), filepath.Join(filepath.Dir(dir), "hook")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	s := scanOf(t, dir, Before)
	slices.Sort(s.Odd.Linked)
	want := Odd{Linked: []string{".git/hooks/x", "b"}, Nlinked: 2, Special: []string{"fifo"}, Nspecial: 1}
	if d := cmp.Diff(want, s.Odd); d != "" {
		t.Error(d)
	}
}
