package grant

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
)

// Whose model a group asks, and what that may do for it, stand in the grant with
// their lines of the configuration; without them it is nothing beyond the model.
func TestModel(t *testing.T) {
	plain, err := Decide(request(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Model{Reason: "model"}, plain.Model); d != "" || plain.ServerTools() == nil || len(plain.ServerTools()) != 0 {
		t.Errorf("plain: -want +got:\n%s", d)
	}
	g, err := Decide(request(func(r *Request) {
		edit(r, "main", func(g *config.Group) { g.Provider, g.ServerTools = "work", []string{"web_search"} })
		r.Machine.HasModel, r.Machine.Providers = false, []string{"other", "work"}
	}))
	if err != nil || g.Agent != Claude || g.Model.Provider != "work" || !slices.Equal(g.ServerTools(), []string{"web_search"}) {
		t.Fatalf("got %+v, %v", g.Model, err)
	}
	text := g.String()
	for _, want := range []string{
		"model of provider work  # groups.main.provider\n",
		"server tool web_search  # groups.main.serverTools; the provider does it for the agent, past every egress rule\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for name, want := range map[string]Answer{
		"web_search": {Allowed: true, Line: "server tool web_search  # groups.main.serverTools; the provider does it for the agent, past every egress rule"},
		"web_fetch":  {Why: "the model's provider would do it, past every egress rule", Allow: "nanoclaw group set main --server-tools web_search,web_fetch"},
	} {
		want.Question = "tool:" + name
		if d := cmp.Diff(want, Explain(g, Machine{}, Question{Kind: AboutTool, Name: name})); d != "" {
			t.Errorf("%s: -want +got:\n%s", name, d)
		}
	}
	shell, err := Decide(request(func(r *Request) {
		edit(r, "main", func(g *config.Group) { g.Agent, g.ServerTools = Shell, []string{"web_search"} })
	}))
	if err != nil || shell.Model != nil || shell.ServerTools() != nil {
		t.Errorf("a shell has a model: %+v, %v", shell.Model, err)
	}
	_, err = Decide(request(func(r *Request) {
		edit(r, "main", func(g *config.Group) { g.Agent, g.Provider = Claude, "work" })
	}))
	if err == nil || !strings.Contains(err.Error(), "no credential for the provider work\nnanoclaw login claude --provider work") {
		t.Errorf("without its credential: %v", err)
	}
}
