package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// records is a store that only records.
type records struct {
	Store
	err  error
	data []audit.ToolCalledData
	told []string // of calls that a run that takes up this one's messages hears of
}

func (r *records) RecordCall(ctx context.Context, e audit.Entry, tool, brief string) error {
	r.told = append(r.told, tool+" "+brief)
	return r.Record(ctx, e)
}

func (r *records) Record(_ context.Context, e audit.Entry) error {
	if r.err != nil {
		return r.err
	}
	r.data = append(r.data, e.Data.(audit.ToolCalledData))
	return nil
}

// watched is a session with rules, of a run that goes on, and what watches it.
func watched(t *testing.T, o Options, g grant.Grant) agent.Options {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	r := New(o)
	r.live["r1"] = &live{to: chat.Address{Channel: "console", Chat: "family"}}
	s := &session{id: "s1", grant: g}
	s.serve("r1")
	var a agent.Options
	if err := r.watch(s, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func bash(command string) agent.ToolCall {
	b, _ := json.Marshal(map[string]string{"command": command})
	return agent.ToolCall{Name: "Bash", Input: b}
}

var ruled = grant.Grant{Group: "family", Rules: []grant.ToolRule{
	{Level: "deny", Rule: "Bash(rm *)"}, {Level: "ask", Rule: "Bash(git *)"}, {Level: "deny", Rule: "WebFetch"}, {Level: "deny", Rule: "mcp__x"},
}}

// What a call comes to, and what is written down about it, is one decision.
func TestToolVerdicts(t *testing.T) {
	tests := []struct {
		name    string
		call    agent.ToolCall
		answer  approval.State
		deny    string
		verdict string
		rule    string
	}{
		{"no rule", bash("ls"), "", "", "allowed", ""},
		{"denied", bash("rm x"), "", `"Bash(rm *)" refuses`, "denied", "Bash(rm *)"},
		{"asked, yes", bash("git push"), approval.Approved, "", "allowed", "Bash(git *)"},
		{"asked, no", bash("git push"), approval.Denied, "there is none: because", "denied", "Bash(git *)"},
		{"asked, silence", bash("git push"), approval.Expired, "there is none: because", "denied", "Bash(git *)"},
		{"asked, and something new", bash("git push"), "maybe", "there is none", "denied", "Bash(git *)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := &records{}
			var asked []approval.Effect
			a := watched(t, Options{Store: store, Consent: func(_ context.Context, e approval.Effect, _ time.Duration, to chat.Address) (approval.State, string) {
				asked = append(asked, e)
				if to.Chat != "family" {
					t.Errorf("asked in %v", to)
				}
				return tt.answer, "because"
			}}, ruled)
			v := a.Tool(t.Context(), tt.call)
			if (v.Deny != "") != (tt.deny != "") || !strings.Contains(v.Deny, tt.deny) || (len(asked) == 1) != (tt.answer != "") {
				t.Errorf("got %+v, asked %d times", v, len(asked))
			}
			if tt.answer == approval.Approved && string(v.Input) != `{"command":"git push"}` {
				t.Errorf("what runs is %s", v.Input)
			}
			want := []audit.ToolCalledData{{
				Tool: "Bash", Input: map[string]any{"command": commandOf(tt.call)}, Verdict: tt.verdict, Rule: tt.rule, Reason: v.Deny, Count: 1,
			}}
			if d := cmp.Diff(want, store.data); d != "" {
				t.Error(d)
			}
		})
	}
}

func commandOf(c agent.ToolCall) string {
	var in struct{ Command string }
	json.Unmarshal(c.Input, &in)
	return in.Command
}

// What an agent was let begin through an MCP server is kept for a run that takes its
// messages up, bounded and without credentials; nothing else is.
func TestCallsOfServersAreKept(t *testing.T) {
	store := &records{}
	a := watched(t, Options{Store: store}, ruled)
	for _, c := range []agent.ToolCall{
		bash("ls"),
		{Name: "mcp__shop__buy", Input: json.RawMessage(`{"n":1,"token":"sk-ant-api03-canarycanarycanarycanary"}`)},
		{Name: "mcp__shop__say", Input: json.RawMessage(`{"text":"` + strings.Repeat("ü", 1000) + `"}`)},
		{Name: "mcp__nanoclaw__send_message", Input: json.RawMessage(`{"text":"hi"}`)},
		{Name: "mcp__x", Input: json.RawMessage(`{}`)},
	} {
		a.Tool(t.Context(), c)
	}
	if len(store.told) != 2 || len(store.data) != 5 {
		t.Fatalf("kept %q of %d", store.told, len(store.data))
	}
	if got := store.told[0]; !strings.HasPrefix(got, "mcp__shop__buy {") || strings.Contains(got, "canary") {
		t.Errorf("kept %s", got)
	}
	if got := store.told[1]; len(got) > 350 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("kept %s", got)
	}
}

// What cannot be recorded does not happen, approved or not.
func TestToolCallThatCannotBeRecorded(t *testing.T) {
	yes := func(context.Context, approval.Effect, time.Duration, chat.Address) (approval.State, string) {
		return approval.Approved, ""
	}
	a := watched(t, Options{Store: &records{err: errors.New("disk full")}, Consent: yes}, ruled)
	for _, command := range []string{"ls", "git push"} {
		if v := a.Tool(t.Context(), bash(command)); !strings.Contains(v.Deny, "cannot record") || v.Input != nil {
			t.Errorf("%s: %+v", command, v)
		}
	}
}

// The agent is started with what its grant says of tools.
func TestWatchOptions(t *testing.T) {
	a := watched(t, Options{}, ruled)
	if d := cmp.Diff([]string{"WebFetch", "mcp__x"}, a.Disallow); d != "" || a.Permission != agent.Bypass {
		t.Errorf("permission %q: %s", a.Permission, d)
	}
	quiet := watched(t, Options{}, grant.Grant{})
	g := grant.Grant{Ask: true}
	g.Limits.AskTime = time.Hour
	asking := watched(t, Options{}, g)
	if asking.Permission != agent.AskFirst || asking.ToolTime <= time.Hour || quiet.ToolTime > 5*time.Minute {
		t.Errorf("asking %q for %v, else %v", asking.Permission, asking.ToolTime, quiet.ToolTime)
	}
	r := New(Options{})
	if err := r.watch(&session{grant: grant.Grant{Rules: []grant.ToolRule{{Level: "deny", Rule: "Bash("}}}}, &agent.Options{}); err == nil {
		t.Error("a rule that cannot be read was left out")
	}
}

// Between runs no tool is used at all, and there would be nobody to ask.
func TestNobodyToAsk(t *testing.T) {
	r := New(Options{Store: &records{}})
	s := &session{id: "s1", grant: grant.Grant{Ask: true}}
	s.serve("")
	var a agent.Options
	if err := r.watch(s, &a); err != nil {
		t.Fatal(err)
	}
	if v := a.Tool(t.Context(), bash("ls")); !strings.Contains(v.Deny, "no message is being worked on") {
		t.Errorf("got %+v", v)
	}
	if v := r.ask(t.Context(), s, "", bash("ls")); !strings.Contains(v.Deny, "no message of theirs") {
		t.Errorf("asked, got %+v", v)
	}
}

// Of a field that is there twice the value that is shown is the one that runs.
func TestEffectIsWhatRuns(t *testing.T) {
	e, input := effectOf(grant.Grant{Group: "family"}, "s1", "r1", agent.ToolCall{Name: "Bash", Subagent: "x", Input: json.RawMessage(`{"command":"ls","n":1.0,"command":"rm x"}`)})
	if string(input) != `{"command":"rm x","n":1.0}` {
		t.Errorf("it runs %s", input)
	}
	want := []approval.Part{{Name: "tool", Value: "Bash"}, {Name: "subagent", Value: "x"}, {Name: "command", Value: "rm x"}, {Name: "n", Value: "1.0"}, {Name: "in the folder", Value: grant.Workspace}}
	if d := cmp.Diff(want, e.Parts); d != "" || !strings.HasPrefix(e.Title, "A subagent of group family") {
		t.Errorf("%q: %s", e.Title, d)
	}
}

// A run that a fuse ended did not succeed, and says why.
func TestHalted(t *testing.T) {
	r := New(Options{})
	r.live["r1"] = &live{}
	if res := r.halted("r1", agent.Result{Text: "hi"}); res.Failed {
		t.Errorf("nothing halted it: %+v", res)
	}
	r.halt("r1", "enough")
	r.halt("r1", "later")
	if res := r.halted("r1", agent.Result{Text: "hi"}); !res.Failed || res.Class != agent.ClassLimit || !strings.Contains(res.Error, "enough") {
		t.Errorf("got %+v", res)
	}
}

// What is between people and the host is in no part of a prompt.
func TestPromptHides(t *testing.T) {
	r := New(Options{Hide: func(s string) string { return strings.ReplaceAll(s, "k4m2-9x7a", "…") }})
	said := func(text string, trigger bool) queue.Message {
		return queue.Message{Trigger: trigger, Inbound: chat.Inbound{
			From: chat.Address{Channel: "net", Chat: "family"}, Text: text + " k4m2-9x7a", Sender: chat.Sender{ID: "a", Name: "Ann k4m2-9x7a"},
			Quotes: []chat.Quote{{Author: "k4m2-9x7a", Text: "approve k4m2-9x7a"}},
		}}
	}
	p := r.prompt("family", []queue.Message{said("before", false), said("now", true)}, grant.Claude)
	if strings.Contains(p.Text, "k4m2") || strings.Count(p.Text, "…") < 8 || !strings.Contains(p.Text, "before") {
		t.Errorf("the prompt is %q", p.Text)
	}
}

// A call of a dangerous server's tool is asked about, with the server and what was
// accepted of it, and the host is told of a yes to exactly these arguments, and of
// no other call.
func TestDangerousCalls(t *testing.T) {
	g := grant.Grant{Group: "family", Servers: []grant.Server{
		{Name: "my.mail", As: "my_mail", Transport: grant.ServerHTTP, State: grant.ServerActive, Reason: "mcpServers.my.mail", AskTools: []string{"send.all"}, Pin: "abc"},
		{Name: "gone", As: "gone", State: grant.ServerFailed, Ask: true},
	}, Rules: []grant.ToolRule{{Level: "ask", Rule: "mcp__my_mail__list"}}}
	g.Limits.AskTime = time.Hour
	const args = `{"to":"ann","to":"bob"}`
	tests := []struct {
		tool      string
		answer    approval.State
		asked     bool
		permitted string
	}{
		{"mcp__my_mail__send_all", approval.Approved, true, `my_mail send_all {"to":"bob"}`},
		{"mcp__my_mail__send_all", approval.Denied, true, ""},
		{"mcp__my_mail__send_all", approval.Expired, true, ""},
		{"mcp__my_mail__list", approval.Approved, true, `my_mail list {"to":"bob"}`},
		{"mcp__my_mail__read", approval.Denied, false, ""},
		{"mcp__gone__x", approval.Denied, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.tool+" "+string(tt.answer), func(t *testing.T) {
			var asked []approval.Effect
			permitted := ""
			a := watched(t, Options{Store: &records{}, Consent: func(_ context.Context, e approval.Effect, _ time.Duration, _ chat.Address) (approval.State, string) {
				asked = append(asked, e)
				return tt.answer, "because"
			}, Permit: func(s chat.SessionID, server, tool string, args json.RawMessage) {
				permitted = fmt.Sprintf("%s %s %s", server, tool, args)
			}}, g)
			v := a.Tool(t.Context(), agent.ToolCall{Name: tt.tool, Input: json.RawMessage(args)})
			if (len(asked) == 1) != tt.asked || permitted != tt.permitted || (v.Deny != "") != (tt.asked && tt.answer != approval.Approved) {
				t.Errorf("%+v, asked %+v, permitted %q", v, asked, permitted)
			}
			if tt.asked && asked[0].Parts[1] != (approval.Part{Name: "MCP server", Value: "my.mail (mcpServers.my.mail, http)\ntools as accepted: abc"}) {
				t.Errorf("shown: %+v", asked[0].Parts)
			}
			if a.ToolTime <= time.Hour {
				t.Errorf("there is %v to answer", a.ToolTime)
			}
		})
	}
}
