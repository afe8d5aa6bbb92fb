package watch

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// The strictest rule that matches decides, wherever it stands.
func TestDecide(t *testing.T) {
	rules := []Rule{
		rule(t, Allow, "Bash"), rule(t, Allow, "mcp__files"), rule(t, Ask, "Bash(git*)"), rule(t, Deny, "Bash(git push*)"), rule(t, Ask, "mcp__files__delete"),
	}
	bash := func(s string) Call { return call("Bash", "command", s) }
	tests := []struct {
		name   string
		call   Call
		bypass Level
		ask    Level
	}{
		{"denied before asked before allowed", bash("git push"), Deny, Deny},
		{"asked before allowed", bash("git fetch"), Ask, Ask},
		{"allowed", bash("ls"), Allow, Allow},
		{"one tool of an allowed server", Call{Tool: "mcp__files__delete"}, Ask, Ask},
		{"another tool of it", Call{Tool: "mcp__files__list"}, Allow, Allow},
		{"no rule, read-only", call("Read", "file_path", "x"), Allow, Allow},
		{"no rule, and it changes something", call("Write", "file_path", "x"), Allow, Ask},
		{"a tool nobody knows", Call{Tool: "New"}, Allow, Ask},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, m := range []struct {
				ask  bool
				want Level
			}{{false, tt.bypass}, {true, tt.ask}} {
				v := New(Policy{Rules: rules, AskAll: m.ask}).Judge("r1", tt.call)
				if v.Level != m.want || (v.Level == Deny) != (v.Reason != "") {
					t.Errorf("with ask=%v: %+v, want %s", m.ask, v, m.want)
				}
			}
		})
	}
}

// Each fuse blows at its number, says so, and is whole again in the next run.
func TestFuses(t *testing.T) {
	a, b := call("Bash", "command", "a"), call("Bash", "command", "b")
	described := Call{Tool: "Bash", Input: []byte(`{ "description":"in other words", "command":"a" }`)}
	inRow := []Call{a, a, a}
	var same, many []Call
	for i := range 30 {
		same = append(same, a, call("Bash", "command", fmt.Sprint(i)))
		many = append(many, call("Bash", "command", fmt.Sprint(i)))
	}
	tests := []struct {
		name  string
		calls []Call
		last  Call
		rule  string
	}{
		{"below", []Call{a, a}, a, ""},
		{"in a row", inRow, a, "limits.sameCallsInARow"},
		{"in a row, in other words", inRow, described, "limits.sameCallsInARow"},
		{"another call in between", append(inRow[:3:3], b), a, ""},
		{"another call of a subagent in between", append(inRow[:3:3], Call{Tool: "Bash", Input: b.Input, Subagent: "s"}), a, "limits.sameCallsInARow"},
		{"in one run", same[:20], a, "limits.sameCalls"},
		{"all together", many, call("Read", "file_path", "x"), "limits.toolCalls"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := New(Policy{Calls: 30, Same: 10, InARow: 3})
			for _, c := range tt.calls {
				if v := j.Judge("r1", c); v.Level != Allow {
					t.Fatalf("%s is %+v", c.Input, v)
				}
			}
			v := j.Judge("r1", tt.last)
			if v.Rule != tt.rule || (tt.rule != "") != (v.Level == Deny) || (tt.rule != "") != (v.Reason != "") || v.Stop {
				t.Errorf("got %+v, want %q", v, tt.rule)
			}
			if n := j.Calls("r1"); n != len(tt.calls)+1 {
				t.Errorf("%d calls are counted", n)
			}
			if v := j.Judge("r2", tt.last); v.Level != Allow || j.Calls("r2") != 1 {
				t.Errorf("in the next run: %+v", v)
			}
		})
	}
}

// Who does not heed the fuse is stopped; a rule that denies stops nobody.
func TestHeedless(t *testing.T) {
	j := New(Policy{InARow: 1, Rules: []Rule{rule(t, Deny, "WebFetch")}})
	for i := range 100 {
		if v := j.Judge("r1", call("WebFetch", "url", fmt.Sprint(i))); v.Level != Deny || v.Stop {
			t.Fatalf("denied by a rule: %+v", v)
		}
	}
	for i := range 1 + heedless + 1 {
		v := j.Judge("r1", Call{Tool: "Read"})
		if want := i > heedless; v.Stop != want {
			t.Fatalf("call %d: %+v", i+1, v)
		}
	}
}

// What is remembered is bounded, and calls may come from everywhere at once.
func TestJudgeIsBounded(t *testing.T) {
	j := New(Policy{InARow: 5})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range maxSeen / 2 {
				j.Judge("r1", Call{Tool: "x", Input: fmt.Append(nil, n), Subagent: fmt.Sprint(i, n)})
			}
		})
	}
	all.Wait()
	if len(j.seen) > maxSeen || len(j.streaks) > maxStreaks+1 {
		t.Errorf("%d calls and %d subagents are remembered", len(j.seen), len(j.streaks))
	}
	if n := j.Calls("r1"); n != 2*maxSeen {
		t.Errorf("%d calls are counted", n)
	}
}

// What stands for a text is said in the reason, whatever the text is.
func TestReasonNamesTheRule(t *testing.T) {
	v := New(Policy{Rules: []Rule{rule(t, Deny, "Bash(git push*)")}}).Judge("r", call("Bash", "command", "git push"))
	if v.Rule != "Bash(git push*)" || !strings.Contains(v.Reason, `"Bash(git push*)"`) {
		t.Errorf("got %+v", v)
	}
}
