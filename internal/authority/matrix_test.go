package authority

import (
	"slices"
	"testing"

	"nanoclaw/internal/chat"
)

// matrix is what the first NanoClaw let agents do over its files of requests, line
// by line, and what main's agent and any other get here. It differs where the
// reason is given: there main could do at once what would carry words to people
// whom the owner did not name, or lastingly grow rights.
var matrix = []struct {
	does        string
	act         Act
	main, group Outcome
	was         string // what it was there, if another
}{
	{"send to its own chat", Send, Allow, Allow, ""},
	{"send to another group's chat", SendOther, Allow, Deny, ""},
	{"send to a chat that is not registered", SendUnregistered, Hold, Deny, "main at once"},
	{"schedule for its own group", Schedule, Allow, Allow, ""},
	{"schedule for another group", ScheduleOther, Allow, Deny, ""},
	{"pause, resume, cancel its own tasks", TaskChange, Allow, Allow, ""},
	{"pause, resume, cancel tasks of another group", TaskChangeOther, Allow, Deny, ""},
	{"list its own tasks", TaskList, Allow, Allow, ""},
	{"list all tasks", TaskListOther, Allow, Deny, ""},
	// Refreshing the list needs no act: it is made when it is asked for.
	{"see the groups, refreshed", GroupList, Allow, Deny, "an empty list for the others"},
	{"register a group", GroupRegister, Hold, Deny, "main at once"},
	// Folders that may be written come from the configuration alone (grant).
	{"have a folder more, or be let write it", MountChange, Deny, Deny, "as far as the root allowed, and main as the rest"},

	// What was not there.
	{"schedule a task in host mode", ScheduleHostMode, Hold, Deny, "no such thing"},
}

// TestMatrix asks the table, of each act also by way of the group that is meant.
func TestMatrix(t *testing.T) {
	for _, m := range matrix {
		t.Run(m.does, func(t *testing.T) {
			for who, want := range map[chat.Group]Outcome{chat.Main: m.main, "family": m.group} {
				if v := Decide(m.act, Agent(who)); v.Outcome != want || v.Reason == "" {
					t.Errorf("%s: %s (%s), want %s", who, v.Outcome, v.Reason, want)
				}
				// A role is nobody's who comes over a wire.
				for _, role := range []Role{Owner, Admin, Member} {
					forged := Agent(who)
					forged.Role, forged.Sender = role, "console:owner"
					if v := Decide(m.act, forged); v.Outcome != want {
						t.Errorf("%s with the role %s: %s, want %s", who, role, v.Outcome, want)
					}
				}
			}
			if m.main == Allow && m.group == Deny && m.was == "" {
				own, isOther := cutOther(m.act)
				if !isOther {
					return
				}
				if got := own.Toward(Agent("family"), "work"); got != m.act {
					t.Errorf("toward another group it is %q", got)
				}
				if v := Decide(own.Toward(Agent("family"), "family"), Agent("family")); v.Outcome != Allow {
					t.Errorf("toward its own group: %s", v.Outcome)
				}
			}
		})
	}
}

func cutOther(a Act) (Act, bool) {
	if n := len(a) - len(other); n > 0 && a[n:] == other {
		return a[:n], true
	}
	return a, false
}

// TestMatrixIsComplete: whatever the table lets an agent do, or ask for, stands in
// the matrix.
func TestMatrixIsComplete(t *testing.T) {
	var known []Act
	for _, m := range matrix {
		known = append(known, m.act)
	}
	for _, a := range Acts() {
		for _, who := range []chat.Group{chat.Main, "family"} {
			if v := Decide(a, Agent(who)); v.Outcome != Deny && !slices.Contains(known, a) {
				t.Errorf("the agent of %s gets %s for %s, which is in no line of the matrix", who, v.Outcome, a)
			}
		}
	}
}
