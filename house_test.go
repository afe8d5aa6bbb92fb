// Package nanoclaw_test holds the rules of this repository as tests. They look
// at the source and not at what it does: where process starts may stand, who
// imports whom, what is linked, how long things are. They need no tool but Go.
//
// A rule that is in the way can be changed here, with its reason, in the same
// commit as the code that needs it.
package nanoclaw_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite NOTICE and the files in testdata from what is true now")

// module is the path of our own module.
const module = "nanoclaw"

// source is one Go file of ours, parsed with its comments.
type source struct {
	Path string // from the root of the repository, with slashes
	Test bool
	Set  *token.FileSet
	AST  *ast.File
}

// imports lists what the file imports.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.AST.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

// lines is the number of lines from one position to another, both counted.
func (s source) lines(from, to token.Pos) int {
	return s.Set.Position(to).Line - s.Set.Position(from).Line + 1
}

// sources parses every Go file of ours, for whichever system it is meant, by
// folder such as "internal/wire". Parsing instead of asking go list makes a
// rule hold for the files of all systems at once.
func sources(t *testing.T) map[string][]source {
	t.Helper()
	return parsed(t, "cmd", "internal")
}

// parsed does that for everything beneath some folders.
func parsed(t *testing.T, tops ...string) map[string][]source {
	t.Helper()
	found := make(map[string][]source)
	set := token.NewFileSet()
	for _, top := range tops {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if d.IsDir() || filepath.Ext(path) != ".go" {
				return nil
			}
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			path = filepath.ToSlash(path)
			dir := path[:strings.LastIndex(path, "/")]
			found[dir] = append(found[dir], source{path, strings.HasSuffix(path, "_test.go"), set, file})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) == 0 {
		t.Fatal("no Go files found: the rules would hold of nothing")
	}
	return found
}

// folders gives the keys of sources in order.
func folders(all map[string][]source) []string { return slices.Sorted(maps.Keys(all)) }

// goTool runs the go command with further environment and gives its output in
// lines.
func goTool(t *testing.T, env []string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// golden compares got with a file, or writes the file if -update is given.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s no longer says what is true.\nIf the change is meant: go test . -update, and say why in the commit.\n%s",
			file, difference(string(want), got))
	}
}

// difference lists the lines that only one of two texts has.
func difference(want, got string) string {
	var b strings.Builder
	only := func(mark, in, other string) {
		have := make(map[string]bool)
		for line := range strings.Lines(other) {
			have[line] = true
		}
		for line := range strings.Lines(in) {
			if !have[line] {
				b.WriteString(mark + line)
			}
		}
	}
	only("- ", want, got)
	only("+ ", got, want)
	return b.String()
}

func TestEveryPackageSaysWhyItExists(t *testing.T) {
	all := sources(t)
	for _, dir := range folders(all) {
		var with []string
		var text string
		code := false
		for _, s := range all[dir] {
			if s.Test {
				continue
			}
			code = true
			if s.AST.Doc != nil {
				with = append(with, s.Path)
				text = s.AST.Doc.Text()
			}
		}
		switch {
		case !code:
			t.Errorf("%s holds tests and no code", dir)
		case len(with) != 1:
			t.Errorf("%s has %d package comments (%v): want exactly one", dir, len(with), with)
		case len(text) <= 40:
			t.Errorf("%s: its package comment %q does not say why it exists, what it promises, what it leaves to others", dir, text)
		}
	}
}

// Lengths that a reader meets without complaint. The test fails beyond the
// hard ones; the soft ones are reported with -v.
const (
	softFile, hardFile         = 450, 700
	softFunction, hardFunction = 100, 120
)

func TestNothingIsTooLong(t *testing.T) {
	all := sources(t)
	for _, dir := range folders(all) {
		for _, s := range all[dir] {
			if s.Test {
				continue
			}
			judge(t, s.Path, s.Set.File(s.AST.Pos()).LineCount(), softFile, hardFile)
			for _, d := range s.AST.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					judge(t, s.Path+": "+f.Name.Name, s.lines(f.Pos(), f.End()), softFunction, hardFunction)
				}
			}
		}
	}
}

func judge(t *testing.T, what string, lines, soft, hard int) {
	t.Helper()
	if lines > hard {
		t.Errorf("%s has %d lines; no more than %d", what, lines, hard)
	} else if lines > soft {
		t.Logf("%s has %d lines; most have fewer than %d", what, lines, soft)
	}
}

// The inside can be built so that it leaves out layers, for the tests that show
// that each is needed, or so that it lies to the host. Nothing that we ship is
// built like that.
func TestLayersAreInEveryBuild(t *testing.T) {
	files := goTool(t, []string{"GOOS=linux"}, "list", "-f", `{{join .GoFiles "\n"}}`, "./cmd/nanoclaw-init")
	for _, name := range []string{"skip_never_linux.go", "open_honest.go"} {
		if !slices.Contains(files, name) {
			t.Errorf("a plain build of the init has %v and not %s", files, name)
		}
	}
	for _, name := range []string{"skip_layertest_linux.go", "open_liartest_linux.go"} {
		if slices.Contains(files, name) {
			t.Errorf("a plain build of the init has %s", name)
		}
	}
	for _, name := range []string{"Makefile", ".ci/run"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range []string{"layertest", "liartest"} {
			if strings.Contains(string(text), tag) {
				t.Errorf("%s names the tag %s, which is for tests alone", name, tag)
			}
		}
	}
}

// The init that we ship is linked like the one that the tests attack.
func TestShippedInitIsTheTestedOne(t *testing.T) {
	const flags = "-s -w -E=main.entry"
	for _, name := range []string{"Makefile", "internal/boundary/boundarytest/boundarytest.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), flags) {
			t.Errorf("%s does not link the init with %q", name, flags)
		}
	}
}

// What an ordinary user need not repeat is named in the Makefile. A name that is no test's
// any more would hide that its follower is, and one that another package has, too, would
// leave that one out.
func TestWhatAUserLeavesOutExists(t *testing.T) {
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) string {
		_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
		line, _, _ := strings.Cut(rest, "\n")
		_, list, ok := strings.Cut(line, ":= ")
		if !ok || list == "" {
			t.Fatalf("the Makefile has no %s", name)
		}
		return list
	}
	same := regexp.MustCompile("^internal/(" + value("SAME") + ")(/|$)")
	names := declared(t)
	for name := range strings.SplitSeq(value("SAMETESTS"), "|") {
		if !names["internal/daemon"]["Test"+name] {
			t.Errorf("the daemon has no Test%s", name)
		}
		for dir, has := range names {
			if dir != "internal/daemon" && !strings.HasPrefix(dir, "adapters/") && has["Test"+name] && !same.MatchString(dir) {
				t.Errorf("%s has a Test%s, which an ordinary user is to run", dir, name)
			}
		}
	}
}
