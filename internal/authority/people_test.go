package authority

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
)

func TestPeople(t *testing.T) {
	var p People
	p.Give("slack:me", Owner, "")
	p.Give("slack:ann", Member, "family")
	p.Give("slack:ann", Admin, "family")
	p.Give("slack:ann", Member, "family") // listed as a sender too
	p.Give("slack:ann", Member, "work")
	p.Give("slack:ann", Admin, chat.Main)
	p.Give("slack:ann", "root", "lab")
	p.Give("", Member, "family")
	p.Give("slack:eve", Member, "family")
	p.Deny("slack:eve", "family")
	p.Give("slack:eve", Admin, "family")
	p.Give("slack:eve", Member, "work")
	p.Deny("slack:me", "family")
	for _, tt := range []struct {
		id   string
		g    chat.Group
		want Role
	}{
		{"slack:me", chat.Main, Owner}, {"slack:me", "family", Owner}, {"slack:me", "nowhere", Owner},
		{"slack:ann", "family", Admin}, {"slack:ann", "work", Member},
		{"slack:ann", chat.Main, Nobody}, {"slack:ann", "lab", Nobody}, {"slack:ann", "", Nobody},
		{"whatsapp:ann", "family", Nobody}, {"slack:Ann", "family", Nobody}, {"slack:ann ", "family", Nobody},
		{"slack:eve", "family", Nobody}, {"slack:eve", "work", Member},
		{"", "family", Nobody},
	} {
		if got := p.RoleIn(tt.id, tt.g); got != tt.want {
			t.Errorf("%q in %q is %q, want %q", tt.id, tt.g, got, tt.want)
		}
	}
	if !p.Denied("slack:eve", "family") || p.Denied("slack:eve", "work") || p.Denied("slack:me", "family") {
		t.Error("who was denied, and where")
	}
	if d := cmp.Diff([]string{"slack:me"}, p.Owners()); d != "" {
		t.Error(d)
	}
	if got := (People{}).RoleIn("slack:me", "family"); got != Nobody {
		t.Errorf("nobody was given a role, and somebody has %q", got)
	}
}

// A program's secret can be copied, so whoever has it is a member at most, whatever
// was written about it.
func TestProgramsAreMembersAtMost(t *testing.T) {
	var p People
	for _, id := range []string{"webhook:ci", "api:bot"} {
		p.Give(id, Owner, "")
		p.Give(id, Admin, "family")
		if got := p.RoleIn(id, "family"); got != Nobody {
			t.Errorf("%s is %q", id, got)
		}
		p.Give(id, Member, "family")
		p.Give(id, Member, chat.Main)
		if got := p.RoleIn(id, "family"); got != Member {
			t.Errorf("%s is %q", id, got)
		}
		if got := p.RoleIn(id, chat.Main); got != Nobody {
			t.Errorf("%s is %q in main", id, got)
		}
	}
}
