package attack

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/attack/inside"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/boundarytest"
)

// Every line of the catalogue comes out as it says, on every engine.
func TestCatalogue(t *testing.T) {
	for _, engine := range boundary.Engines() {
		t.Run(engine, func(t *testing.T) {
			tryCatalogue(t, options(t, engine, boundarytest.Init(t)))
		})
	}
}

// tryCatalogue runs the whole catalogue, and fails for what did not come out as it
// says.
func tryCatalogue(t *testing.T, o Options) {
	t.Helper()
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range report.Outcomes {
		t.Logf("%s %s: %s", o.Line, o.State, o.Detail)
	}
	for _, o := range report.Bad() {
		t.Errorf("%s (%s) %s: %s", o.Line, catalogued()[o.Line].Tries, o.State, o.Detail)
	}
	if len(report.Outcomes) != len(Catalogue()) {
		t.Errorf("%d lines of %d came to an end", len(report.Outcomes), len(Catalogue()))
	}
	keep(t, report)
}

// keep adds a report to the file that the table is made from.
func keep(t *testing.T, report Report) {
	path := os.Getenv(tableVar)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := json.NewEncoder(f).Encode(report); err != nil {
		t.Fatal(err)
	}
}

// The attacks work where no boundary is, so that a boundary that holds against
// them has done something. What is left out says why.
func TestControlArm(t *testing.T) {
	made := make(map[string]bool)
	results := controlled(t)
	keep(t, controlReport(results))
	for _, r := range results {
		made[r.Line+r.Name] = true
		switch {
		case r.Left != "":
			t.Logf("%s %s is left out: %s", r.Line, r.Name, r.Left)
		case !r.Broke:
			t.Errorf("%s %s failed without a boundary: %s", r.Line, r.Name, r.Detail)
		default:
			t.Logf("%s %s: %s", r.Line, r.Name, r.Detail)
		}
	}
	for line, names := range inside.Attempts() {
		for _, name := range names {
			if !made[line+name] {
				t.Errorf("%s %s was not tried", line, name)
			}
		}
	}
}

// The attacker does nothing in the namespaces of whoever starts it.
func TestRefusesOutside(t *testing.T) {
	dir := openDir(t)
	p, err := Plant(PlantOptions{Dir: dir, Program: attacker(t), Session: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	}()
	task := p.Task
	for _, l := range Catalogue() {
		task.Lines = append(task.Lines, l.ID)
	}
	text, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	outside, err := inside.Outside()
	if err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]string{
		"nobody said where it is":       nil,
		"it is in our namespaces":       {outside},
		"only one of them is another's": {inside.OutsideVar + "=user=user:[1] mnt=mnt:[1]"},
		"one of them is ours":           {inside.OutsideVar + "=user=user:[1] mnt=mnt:[1] " + strings.Fields(outside)[2]},
		"nothing is named":              {inside.OutsideVar + "=user= mnt= pid="},
	} {
		for _, args := range [][]string{{inside.Verb}, {inside.Verb, "orphan"}, {"stage"}} {
			cmd := exec.Command(attacker(t), args...)
			cmd.Env, cmd.Stdin = env, strings.NewReader(string(text))
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Errorf("%s: %v ran: %s", name, args, out)
			}
		}
		for _, f := range append(p.changed(), p.appeared()...) {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// A layer that is left out is found by the attacks that it stops. Without this
// a line could hold because its attack does not work inside.
func TestEachLayerIsMissed(t *testing.T) {
	if os.Getenv(boundarytest.EnvInit) != "" {
		return // an ordinary user cannot build; the layers are the same for all
	}
	for _, c := range []struct {
		skip string
		want []string // lines that break
	}{
		{"seccomp", []string{"F-13", "F-17", "K-01", "K-02", "K-06", "K-07", "K-09", "K-12", "K-14", "K-20", "K-24", "K-29"}},
		{"root,landlock", []string{"F-01", "F-02", "F-04", "F-05", "F-06", "F-07", "F-19", "F-20", "F-21", "F-26", "K-11"}},
		{"limits", []string{"F-17", "F-30", "R-03"}},
		{"privileges,seccomp", []string{"F-15", "F-28", "K-20", "N-30", "K-28"}},
		{"listeners", []string{"N-27"}},
	} {
		t.Run(c.skip, func(t *testing.T) {
			program, err := boundarytest.Without(strings.Split(c.skip, ",")...)
			if err != nil {
				t.Fatal(err)
			}
			o := options(t, boundary.NativeEngine, program)
			o.Lines, o.rootless = c.want, strings.HasPrefix(c.skip, "root")
			report, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, out := range report.Outcomes {
				t.Logf("%s %s: %s", out.Line, out.State, out.Detail)
				if out.State != Broke || strings.HasPrefix(out.Detail, "afterwards") {
					t.Errorf("%s without %s: %s (%s)", out.Line, c.skip, out.State, out.Detail)
				}
			}
		})
	}
}

// Lines that name tests name such as exist.
func TestNamedTestsExist(t *testing.T) {
	reference := regexp.MustCompile(`^([a-z/.]+) · (Test[A-Za-z0-9]+)$`)
	for _, l := range slices.Concat(Catalogue(), macLines()) {
		for _, shown := range l.Shown {
			m := reference.FindStringSubmatch(shown)
			if m == nil {
				t.Errorf("%s: %q is not PACKAGE · TEST", l.ID, shown)
				continue
			}
			dir := filepath.Join("..", m[1])
			if m[1] == "." {
				dir = filepath.Join("..", "..")
			}
			if !declares(t, dir, m[2]) {
				t.Errorf("%s: %s has no %s", l.ID, dir, m[2])
			}
		}
	}
}

func declares(t *testing.T, dir, test string) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(names, func(name string) bool {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(b), "\nfunc "+test+"(t *testing.T)")
	})
}

// The catalogue is whole: every line says what it is about, every line is tried
// or names what holds it, and no attempt belongs to no line.
func TestCatalogueIsWhole(t *testing.T) {
	chapters := map[string]int{"F": 30, "G": 22, "N": 32, "K": 30, "R": 6}
	seen := make(map[string]int)
	for _, l := range Catalogue() {
		seen[l.ID]++
		if l.Tries == "" || l.Want == "" {
			t.Errorf("%s does not say what it is about", l.ID)
		}
		if !l.tried() && len(l.Shown) == 0 {
			t.Errorf("%s is neither tried nor held by a test", l.ID)
		}
		if l.Open != "" && !l.tried() {
			t.Errorf("%s is not stopped, and that is not tried", l.ID)
		}
	}
	for chapter, count := range chapters {
		for i := 1; i <= count; i++ {
			id := fmt.Sprintf("%s-%02d", chapter, i)
			if seen[id] != 1 {
				t.Errorf("%s is in the catalogue %d times", id, seen[id])
			}
			delete(seen, id)
		}
	}
	for id := range seen {
		t.Errorf("%s belongs to no chapter", id)
	}
	known := catalogued()
	for line, names := range inside.Attempts() {
		if _, ok := known[line]; !ok {
			t.Errorf("attempts of %s, which is no line", line)
		}
		if sorted := slices.Sorted(slices.Values(names)); len(slices.Compact(sorted)) != len(names) {
			t.Errorf("two attempts of %s have one name", line)
		}
	}
}

// The lines of macOS are there for a Mac, each once, and name who asks them of
// the profile here.
func TestMacLines(t *testing.T) {
	seen := make(map[string]bool)
	for _, l := range macLines() {
		if seen[l.ID] || l.Tries == "" || l.Want == "" || len(l.Shown) == 0 {
			t.Errorf("%+v", l)
		}
		seen[l.ID] = true
	}
	for i := 1; i <= 14; i++ {
		if id := fmt.Sprintf("M-%02d", i); !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
}
