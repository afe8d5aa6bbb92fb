package nanoclaw_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/install"
)

// reference is how docs name code: a package below internal, a command or an adapter, and
// a function, a method or a type in it.
var reference = regexp.MustCompile("`((?:cmd/)?[a-z/-]+)` · `([A-Za-z]+(?:\\.[A-Za-z]+)?)`")

// Documents that name code by reference.
var guided = []string{
	"docs/flow.md", "docs/hacking.md", "docs/threat-model.md", "docs/egress.md", "docs/mcp.md", "docs/approvals.md",
	"docs/people.md", "docs/config.md", "docs/limits.md", "docs/channels.md", "docs/adapters.md", "docs/whatsapp.md", "docs/state-machine.md", "docs/containers.md", "docs/tasks.md", "docs/chaos.md",
	"docs/modes.md", "docs/dashboard.md", "docs/nodes.md", "docs/api.md", "docs/import.md", "docs/engines.md", "docs/releases.md", "docs/setup.md",
}

func TestDocumentsNameWhatExists(t *testing.T) {
	names := declared(t)
	total := 0
	for _, doc := range guided {
		data, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reference.FindAllStringSubmatch(string(data), -1) {
			total++
			dir := m[1]
			if !strings.HasPrefix(dir, "cmd/") && !strings.HasPrefix(dir, "adapters/") {
				dir = "internal/" + dir
			}
			if !names[dir][m[2]] {
				t.Errorf("%s names %s in %s, which does not exist", doc, m[2], dir)
			}
		}
	}
	if total < 20 {
		t.Errorf("only %d references found: their form has changed", total)
	}
}

// declared lists functions, methods ("Type.Method") and types by folder. Tests
// count: a document may name the test that shows something.
func declared(t *testing.T) map[string]map[string]bool {
	t.Helper()
	names := make(map[string]map[string]bool)
	for dir, files := range parsed(t, "cmd", "internal", "adapters") {
		names[dir] = make(map[string]bool)
		for _, s := range files {
			for _, d := range s.AST.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					name := d.Name.Name
					if d.Recv != nil {
						name = receiver(d.Recv.List[0].Type) + "." + name
					}
					names[dir][name] = true
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						if ts, ok := spec.(*ast.TypeSpec); ok {
							names[dir][ts.Name.Name] = true
							if i, ok := ts.Type.(*ast.InterfaceType); ok {
								for _, m := range i.Methods.List {
									for _, n := range m.Names {
										names[dir][ts.Name.Name+"."+n.Name] = true
									}
								}
							}
						}
					}
				}
			}
		}
	}
	return names
}

// receiver gives the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// A decision is a page with these parts, so that a reader finds the reason and
// what would change it.
func TestDecisionsHaveTheirParts(t *testing.T) {
	pages, err := filepath.Glob("docs/decisions/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no decisions found: %v", err)
	}
	slices.Sort(pages)
	for i, page := range pages {
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(filepath.Base(page), want) {
			t.Errorf("%s: the next number is %s", page, want)
		}
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"## Context", "## Choice", "## What else was weighed", "## What would change our mind"} {
			if !strings.Contains(string(data), "\n"+part+"\n") {
				t.Errorf("%s has no part %q", page, part)
			}
		}
	}
}

// The version that the adapter was written for is the one that the tests fetch.
func TestClaudeCodeIsPinnedOnce(t *testing.T) {
	data, err := os.ReadFile("tools/claude/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		OptionalDependencies map[string]string `json:"optionalDependencies"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	if len(p.OptionalDependencies) == 0 {
		t.Error("tools/claude/package.json pins nothing")
	}
	if install.Version != agent.ClaudeVersion {
		t.Errorf("nanoclaw installs %s, and internal/agent says that it was written for %s", install.Version, agent.ClaudeVersion)
	}
	for name, version := range p.OptionalDependencies {
		if version != agent.ClaudeVersion {
			t.Errorf("tests fetch %s %s, and internal/agent says that it was written for %s", name, version, agent.ClaudeVersion)
		}
	}
}

// link finds links to files in a page.
var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	for _, name := range files(t) {
		if filepath.Ext(name) != ".md" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}
