package steps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// constants are the names of the steps and their values, as the source has them.
func constants(t *testing.T) map[string]Step {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "steps.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Step{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out[spec.Names[0].Name] = Step(value)
		}
		return true
	})
	return out
}

func TestAllListsEveryStep(t *testing.T) {
	want := []Step{}
	for _, s := range constants(t) {
		want = append(want, s)
	}
	slices.Sort(want)
	got := All()
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Every step stands around something: it is named in the code both before and
// after, or handed on to a function that does so.
func TestEveryStepStandsInTheCode(t *testing.T) {
	used := map[string]map[string]bool{}
	for _, top := range []string{"../../cmd", ".."} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "test/") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for _, arg := range call.Args {
					if sel, ok := arg.(*ast.SelectorExpr); ok && isSteps(sel.X) {
						note(used, sel.Sel.Name, call.Fun)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range constants(t) {
		if !used[name]["Before"] || !used[name]["After"] {
			t.Errorf("%s does not stand around anything: %v", name, used[name])
		}
	}
}

func isSteps(e ast.Expr) bool {
	x, ok := e.(*ast.Ident)
	return ok && x.Name == "steps"
}

// note says on which side a step stands. A function of another package or a
// closure that is handed the step stands on both.
func note(used map[string]map[string]bool, name string, fun ast.Expr) {
	if used[name] == nil {
		used[name] = map[string]bool{}
	}
	if sel, ok := fun.(*ast.SelectorExpr); ok && isSteps(sel.X) {
		used[name][sel.Sel.Name] = true
		return
	}
	used[name]["Before"], used[name]["After"] = true, true
}

// What we ship is built without the hook, and with it only where it is asked for.
func TestShippedHasNoHook(t *testing.T) {
	for tags, want := range map[string]string{"": "[clock.go none.go steps.go]", "chaos": "[chaos.go clock_chaos.go steps.go]"} {
		out, err := exec.Command("go", "list", "-tags", tags, "-f", "{{.GoFiles}}", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("with the tags %q it is %s, want %s", tags, got, want)
		}
	}
}
