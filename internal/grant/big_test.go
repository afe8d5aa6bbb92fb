package grant

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// big is a request by the configuration of an owner with much of everything: groups,
// folders, hosts with terms, servers, rules. Nothing that it names exists.
func big(group chat.Group) Request {
	r := request(nil)
	c := r.Config
	c.Limits = config.Default().Limits
	c.Tools = []string{"/opt/nowhere/node", "~/nowhere/bin"}
	c.Egress.Hosts, c.MCPServers = map[string]config.EgressHost{}, map[string]config.MCPServer{}
	for i := range 10 {
		c.Egress.Deny = append(c.Egress.Deny, fmt.Sprintf("*.bad%d.example", i))
		c.Egress.Hosts[fmt.Sprintf("api%d.example", i)] = config.EgressHost{Inspect: true, Rules: []string{"GET /repos/**", "POST /v1/*"}, Upload: 1 << 20}
		c.Permissions.Deny = append(c.Permissions.Deny, fmt.Sprintf("Bash(rm%d *)", i))
		c.MCPServers[fmt.Sprintf("server%d", i)] = config.MCPServer{Command: fmt.Sprintf("mcp-%d", i), Own: i%2 == 0, Modes: []string{"host"}, Groups: []string{"*"},
			Env: map[string]config.Text{"NAME": config.NewText("x")}}
		c.MCPServers[fmt.Sprintf("web%d", i)] = config.MCPServer{URL: config.NewText(fmt.Sprintf("https://mcp%d.example/x", i)), Modes: []string{"host"}, Groups: []string{"*"}}
	}
	for i := range 50 {
		g := config.Group{Mode: "host", HostModeAllowed: true, Senders: []string{"wa:1", "wa:2"}, Egress: []string{"@git", "@npm", "*.api.example"}, Model: "sonnet"}
		for k := range 10 {
			g.Egress = append(g.Egress, fmt.Sprintf("api%d.example", k))
			g.Mounts = append(g.Mounts, config.Mount{Path: fmt.Sprintf("/nowhere/project-%d/part-%d", i, k), Write: k%2 == 0})
			g.Permissions.Ask = append(g.Permissions.Ask, fmt.Sprintf("Edit(docs%d/**)", k))
		}
		c.Groups[fmt.Sprintf("group-%d", i)] = g
	}
	r.Group = group
	return r
}

// BenchmarkDecideBig decides for one of fifty groups of a large configuration.
func BenchmarkDecideBig(b *testing.B) {
	r := big("group-25")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decide(r); err != nil {
			b.Fatal(err)
		}
	}
}

// A decision asks nobody: no file, no network, no clock, no environment. Nothing
// that could is imported, and of package time only what needs no clock is called.
// Under a configuration of which nothing exists it decides all the same.
func TestDecisionsDoNoIO(t *testing.T) {
	pure := []string{"cmp", "errors", "fmt", "maps", "math", "math/bits", "net", "net/http", "net/netip", "net/url", "path", "path/filepath", "reflect", "slices", "sort",
		"strconv", "strings", "time", "unicode", "unicode/utf8", "golang.org/x/net/publicsuffix"}
	// Of packages that can do I/O, the names that do none.
	harmless := map[string][]string{
		"time":     {"Duration", "Minute", "Second", "Hour", "Time"},
		"net":      {"JoinHostPort"},
		"http":     {"MethodConnect", "MethodGet"},
		"filepath": {"Base", "Clean", "IsAbs", "Join", "Dir"},
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tree.Imports {
			p := strings.Trim(i.Path.Value, `"`)
			if !strings.HasPrefix(p, "nanoclaw/") && !slices.Contains(pure, p) {
				t.Errorf("%s imports %s", f.Name(), p)
			}
		}
		for _, use := range uses(tree) {
			if names, ok := harmless[use[0]]; ok && !slices.Contains(names, use[1]) {
				t.Errorf("%s uses %s.%s", f.Name(), use[0], use[1])
			}
		}
	}
	for _, name := range []chat.Group{"group-0", "group-49", "main"} {
		g, err := Decide(big(name))
		if err != nil || name != "main" && len(g.Lent()) != 5 {
			t.Errorf("%s: %v, %d folders", name, err, len(g.Lent()))
		}
	}
}

// uses are the names of other packages that a file uses.
func uses(tree *ast.File) (out [][2]string) {
	ast.Inspect(tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Obj == nil {
				out = append(out, [2]string{x.Name, s.Sel.Name})
			}
		}
		return true
	})
	return out
}
