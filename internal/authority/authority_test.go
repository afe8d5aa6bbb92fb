package authority

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
)

// actors are one of each kind that there is, with a name.
func actors() map[string]Actor {
	return map[string]Actor{
		"the terminal":                {Surface: CLI, Role: Owner},
		"the web":                     {Surface: Web, Role: Owner},
		"the owner in main's chat":    {Surface: Chat, Role: Owner, Group: chat.Main},
		"the owner in a group's chat": {Surface: Chat, Role: Owner, Group: "family"},
		"an admin":                    {Surface: Chat, Role: Admin, Group: "family"},
		"a member":                    {Surface: Chat, Role: Member, Group: "family"},
		"a stranger":                  {Surface: Chat, Group: "family"},
		"main's agent":                Agent(chat.Main),
		"a group's agent":             Agent("family"),
	}
}

// TestEveryActHasARule reads the constants from the source, so that an act
// without a rule is found, and one that is there twice.
func TestEveryActHasARule(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "table.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Act" {
				declared += len(v.Names)
			}
		}
	}
	acts := Acts()
	if declared == 0 || len(acts) != declared {
		t.Errorf("%d acts are declared, %d have a rule", declared, len(acts))
	}
	slices.Sort(acts)
	if n := len(slices.Compact(acts)); n != declared {
		t.Errorf("of %d rules %d are for an act of their own", declared, n)
	}
}

// TestEveryVerdictHasAReason goes through every act of every actor.
func TestEveryVerdictHasAReason(t *testing.T) {
	seen := map[Surface]int{}
	for _, act := range Acts() {
		if act.Words() == "" {
			t.Errorf("%s has no words", act)
		}
		for name, who := range actors() {
			seen[who.Surface]++
			v := Decide(act, who)
			if v.Outcome != Allow && v.Outcome != Hold && v.Outcome != Deny {
				t.Errorf("%s, %s: %q is no outcome", act, name, v.Outcome)
			}
			if !strings.Contains(v.Reason, act.Words()) {
				t.Errorf("%s, %s: the reason %q does not say what it is about", act, name, v.Reason)
			}
		}
	}
	for _, s := range Surfaces() {
		if seen[s] == 0 {
			t.Errorf("no actor asked from %q", s)
		}
	}
}

// growing are the acts by which agents or people lastingly may do more.
var growing = []Act{
	GroupRegister, GroupMode, MountChange, EgressChange, MCPChange, FolderTrust, RoleGrant, SenderAllow, SenderPair,
	LimitChange, ConfigChange, ConfigReload, ApproveGrowing, ScheduleHostMode,
}

func TestRightsNeverGrowByAMessage(t *testing.T) {
	for _, act := range growing {
		for name, who := range actors() {
			v := Decide(act, who)
			if (who.Surface == Chat || who.Surface == HostTool) && v.Outcome == Allow {
				t.Errorf("%s may %s at once: %s", name, act.Words(), v.Reason)
			}
			if (who.Surface == CLI || who.Surface == Web) && v.Outcome != Allow {
				t.Errorf("%s may not %s: %s", name, act.Words(), v.Reason)
			}
		}
	}
}

// Who has less of a role never may more, and a stranger nothing at all.
func TestRolesAreInOrder(t *testing.T) {
	weight := map[Outcome]int{Deny: 0, Hold: 1, Allow: 2}
	ranks := []string{"the terminal", "the owner in a group's chat", "an admin", "a member", "a stranger"}
	for _, act := range Acts() {
		for i := 1; i < len(ranks); i++ {
			more, less := Decide(act, actors()[ranks[i-1]]), Decide(act, actors()[ranks[i]])
			if weight[less.Outcome] > weight[more.Outcome] {
				t.Errorf("%s: %s gets %s, and %s only %s", act, ranks[i], less.Outcome, ranks[i-1], more.Outcome)
			}
		}
		if weight[Decide(act, Agent("family")).Outcome] > weight[Decide(act, Agent(chat.Main)).Outcome] {
			t.Errorf("%s: a group's agent may more than main's", act)
		}
		if v := Decide(act, actors()["a stranger"]); v.Outcome != Deny {
			t.Errorf("a stranger: %s %s", act, v.Outcome)
		}
	}
}

func TestWhatTheTableDoesNotHaveIsDenied(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  Act
		who  Actor
	}{
		{"an act without a rule", "fly", Terminal()},
		{"no act", "", Terminal()},
		{"an act that has no form for other groups", GroupRegister.Toward(Agent(chat.Main), "family"), Agent(chat.Main)},
		{"a surface that is none", Status, Actor{Surface: "telnet", Role: Owner, Group: chat.Main}},
		{"no surface", Status, Actor{Role: Owner, Group: chat.Main}},
		{"a role that is none", Status, Actor{Surface: Chat, Role: "root", Group: "family"}},
		{"an admin in the terminal", Status, Actor{Surface: CLI, Role: Admin, Group: "family"}},
		{"an admin on the web", Status, Actor{Surface: Web, Role: Admin, Group: "family"}},
		{"an agent on no wire", Send, Actor{Surface: HostTool, Role: Owner}},
		{"an admin of main", Status, Actor{Surface: Chat, Role: Admin, Group: chat.Main}},
		{"a member of main", Speak, Actor{Surface: Chat, Role: Member, Group: chat.Main}},
		{"an admin of no group", Status, Actor{Surface: Chat, Role: Admin}},
		{"an agent that calls itself the owner", RoleGrant, Actor{Surface: HostTool, Role: Owner, Group: "family"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v := Decide(tt.act, tt.who); v.Outcome != Deny || v.Reason == "" {
				t.Errorf("got %s (%s)", v.Outcome, v.Reason)
			}
		})
	}
}

func TestToward(t *testing.T) {
	who := Agent("family")
	for _, tt := range []struct {
		target chat.Group
		want   Act
	}{{"family", Send}, {"work", SendOther}, {chat.Main, SendOther}, {"", SendOther}, {"Family", SendOther}} {
		if got := Send.Toward(who, tt.target); got != tt.want {
			t.Errorf("toward %q: %s, want %s", tt.target, got, tt.want)
		}
	}
	if got := Send.Toward(Actor{}, ""); got != SendOther {
		t.Errorf("an actor of no group has own acts: %s", got)
	}
	if Stop.ToAll() != StopAll {
		t.Error("all is another act")
	}
}

// A decision costs a look at a table, and allocates its words alone.
func BenchmarkDecide(b *testing.B) {
	who := Agent("family")
	for b.Loop() {
		Decide(Examine, who)
	}
}
