package router

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
)

var update = flag.Bool("update", false, "write the table of commands into docs/people.md")

// The table in the guide is made of the one that /help is made of.
func TestCommandsAreDocumented(t *testing.T) {
	const guide, from, to = "../../docs/people.md", "| command | who | does |\n|---|---|---|\n", "\n\n"
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), from)
	is, after, ends := strings.Cut(rest, to)
	if !found || !ends {
		t.Fatal("the table is not where it was")
	}
	var rows []string
	for _, u := range usages {
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", u, whoMay(u.Act), u.Does))
	}
	want := strings.Join(rows, "\n")
	if is == want {
		return
	}
	if !*update {
		t.Fatalf("docs/people.md differs: go test ./internal/router -run Documented -update\n%s", want)
	}
	if err := os.WriteFile(guide, []byte(before+from+want+to+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// whoMay puts in words who may do an act in a chat.
func whoMay(a authority.Act) string {
	may := func(r authority.Role) authority.Outcome {
		return authority.Decide(a, authority.Actor{Surface: authority.Chat, Role: r, Group: "family"}).Outcome
	}
	switch {
	case may(authority.Member) == authority.Allow:
		return "who may speak"
	case may(authority.Admin) == authority.Allow:
		return "owner, admins"
	case may(authority.Owner) == authority.Hold:
		return "owner, confirmed"
	}
	return "owner"
}

// Somebody is told of what they may say, and of nothing else.
func TestHelp(t *testing.T) {
	for _, tt := range []struct {
		role authority.Role
		want string
	}{
		{authority.Owner, "help status stop pause resume new mode tasks cost why approve deny register"},
		{authority.Admin, "help status stop pause resume tasks"},
		{authority.Member, "help tasks"},
		{authority.Nobody, ""},
	} {
		var got []string
		who := authority.Actor{Surface: authority.Chat, Role: tt.role, Group: "family"}
		for _, u := range Usages(who) {
			got = append(got, string(u.Verb))
			if !strings.Contains(HelpText(who), "/"+string(u.Verb)) {
				t.Errorf("%s is not told of %s", tt.role, u)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q is told of %v, want %s", tt.role, got, tt.want)
		}
	}
	if usages[0].Verb != Help {
		t.Error("the list was changed")
	}
}

// Only the owner registers a chat of no group, and nothing else of such a chat is
// heard.
func TestRegister(t *testing.T) {
	r := rules(t)
	r.people.Give("slack:me", authority.Owner, "")
	for _, tt := range []struct {
		name, sender, text string
		want               Action
	}{
		{"the owner", "me", "@Andy /register club", Do},
		{"somebody who speaks elsewhere", "bob", "/register club", Ignore},
		{"an admin elsewhere", "ann", "/register club", Ignore},
		{"another command", "me", "/status all", Ignore},
		{"a message", "me", "@Andy register club", Ignore},
		{"a code", "me", "approve k4m2-9x7a", Ignore},
	} {
		v := r.Decide(from("slack:C99", tt.sender, tt.text))
		if v.Action != tt.want || v.Group != chat.Group("") {
			t.Errorf("%s: %+v, want %s", tt.name, v, tt.want)
		}
	}
}
