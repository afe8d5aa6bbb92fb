package runner

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// A message joins a run only if alone it would have come with the same rights
// and been granted the same.
func TestFits(t *testing.T) {
	run := grant.Trigger{Kind: "message", Owner: true}
	granted := grant.Grant{Group: "family", Mode: grant.HostMode, Agent: grant.Claude, Mounts: []grant.Mount{{Target: "/a"}}}
	tests := []struct {
		name string
		edit func(t *grant.Trigger, g *grant.Grant)
		want bool
	}{
		{"the same", func(*grant.Trigger, *grant.Grant) {}, true},
		{"another sender's rights", func(t *grant.Trigger, _ *grant.Grant) { t.Owner = false }, false},
		{"the owner's terminal", func(t *grant.Trigger, _ *grant.Grant) { t.Terminal = true }, false},
		{"a task", func(t *grant.Trigger, _ *grant.Grant) { t.Kind = "task" }, false},
		{"folders", func(t *grant.Trigger, _ *grant.Grant) { t.Mounts = []string{"/b"} }, false},
		{"another mode", func(_ *grant.Trigger, g *grant.Grant) { g.Mode = grant.ContainerMode }, false},
		{"another agent", func(_ *grant.Trigger, g *grant.Grant) { g.Agent = grant.Shell }, false},
		{"one mount more", func(_ *grant.Trigger, g *grant.Grant) { g.Mounts = append(g.Mounts[:1:1], grant.Mount{Target: "/b"}) }, false},
		{"another limit", func(_ *grant.Trigger, g *grant.Grant) { g.Limits.Memory = 1 }, false},
		{"a tool less", func(_ *grant.Trigger, g *grant.Grant) { g.Tools = []grant.Tool{{Name: "x"}} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trigger, wanted := run, granted
			tt.edit(&trigger, &wanted)
			if got := fits(run, trigger, granted, wanted); got != tt.want {
				t.Errorf("fits = %v", got)
			}
		})
	}
}

// While a group rests nothing joins its run either.
func TestNothingJoinsAGroupThatRests(t *testing.T) {
	r := New(Options{Rests: func(chat.Group) string { return "paused" }}) // there is no store to ask
	if err := r.takeIn(t.Context(), &session{}, &live{}, nil, nil); err != nil {
		t.Error(err)
	}
}

// A tool that is used between runs is refused before anything is recorded.
func TestNoToolBetweenRuns(t *testing.T) {
	s := &session{}
	s.serve("")
	if v := New(Options{}).toolUsed(t.Context(), s, nil, agent.ToolCall{Name: "Bash"}); v.Deny == "" {
		t.Error("a tool was allowed while no run goes on")
	}
}

// recorder is a store that keeps entries.
type recorder struct {
	Store
	entries []audit.Entry
}

func (s *recorder) Record(_ context.Context, e audit.Entry) error {
	s.entries = append(s.entries, e)
	return nil
}

// What an agent says without being asked is written down, and goes nowhere else.
func TestUnasked(t *testing.T) {
	store := &recorder{}
	r := New(Options{Store: store})
	s := &session{id: "s1", grant: grant.Grant{Group: "family"}}
	r.unasked(s, agent.Unasked{Origin: "task-notification", Text: "done", More: true})
	want := audit.AgentUnaskedData{Origin: "task-notification", Text: "done", More: true}
	if len(store.entries) != 1 || store.entries[0].Kind != audit.AgentUnasked || store.entries[0].Group != "family" || store.entries[0].Session != "s1" || store.entries[0].Data != want {
		t.Errorf("recorded %+v", store.entries)
	}
}

func owners(row int64, text string, cut chat.RunID) queue.Message {
	return queue.Message{Row: row, Cut: cut, Trigger: true, Inbound: chat.Inbound{From: chat.Address{Channel: chat.Console, Chat: "main"}, Sender: chat.Sender{ID: "owner", Owner: true}, Text: text}}
}

// What a cut off run had is given again as it was, under the same names, and what
// is new after it. A message that was put back unread has another name.
func TestPrompts(t *testing.T) {
	r := New(Options{Install: "here"})
	msgs := []queue.Message{owners(1, "one", "r0"), owners(2, "two", "r0"), owners(3, "three", "")}
	parts := batches(msgs, grant.Claude)
	if len(parts) != 2 || len(parts[0]) != 2 || len(parts[1]) != 1 {
		t.Fatalf("batches %+v", parts)
	}
	if shell := batches(msgs, grant.Shell); len(shell) != 1 {
		t.Errorf("a shell has no memory of what it was given: %+v", shell)
	}
	p := r.prompt("main", parts[0], grant.Claude)
	if len(p.Before) != 1 || !strings.Contains(p.Before[0].Text, "one") || !strings.Contains(p.Text, "two") || strings.Contains(p.Text, "one") {
		t.Errorf("prompt %+v", p)
	}
	uncut := msgs[1]
	uncut.Cut = ""
	again, elsewhere := msgs[1], New(Options{Install: "there"})
	again.Again = 1
	names := map[string]bool{p.UUID: true}
	if got := r.uuid("main", uncut); got != p.UUID {
		t.Error("a crash changes the name of a message")
	}
	for _, other := range []string{p.Before[0].UUID, r.uuid("main", again), r.uuid("work", msgs[1]), elsewhere.uuid("main", msgs[1])} {
		if names[other] {
			t.Errorf("two messages are called %s", other)
		}
		names[other] = true
	}
}

// Claude's own commands are for the owner alone, and only those of the list.
func TestCommands(t *testing.T) {
	r := New(Options{})
	stranger := owners(1, "/compact", "")
	stranger.Sender.Owner, stranger.From.Channel = false, "net"
	tests := []struct {
		m    queue.Message
		want bool
	}{
		{owners(1, "/compact", ""), true}, {owners(1, "/context", ""), true}, {owners(1, "/cost", ""), true},
		{stranger, false}, {owners(1, "/compact now", ""), false}, {owners(1, "/model", ""), false}, {owners(1, "/login", ""), false},
		{owners(1, "/clear", ""), false}, {owners(1, " /compact", ""), false}, {owners(1, "@/etc/passwd", ""), false},
	}
	for _, tt := range tests {
		p := r.prompt("main", []queue.Message{tt.m}, grant.Claude)
		if p.Command != tt.want || p.Command == strings.HasPrefix(p.Text, "<messages>") {
			t.Errorf("%q of owner %v: command %v, given %q", tt.m.Text, tt.m.Sender.Owner, p.Command, p.Text)
		}
	}
	said := owners(1, "by the way", "")
	said.Trigger = false
	p := r.prompt("main", []queue.Message{said, owners(2, "/compact", "")}, grant.Claude)
	if len(p.Before) != 1 || p.Text != "/compact" || !strings.Contains(p.Before[0].Text, "by the way") {
		t.Errorf("a command after context: %+v", p)
	}
	for text, want := range map[string]bool{"/clear": true, "/new": true, "/compact": false, "clear": false} {
		if got := clears(queue.Job{Messages: []queue.Message{owners(1, text, "")}}); got != want {
			t.Errorf("clears(%q) = %v", text, got)
		}
	}
	stranger.Text = "/clear"
	if clears(queue.Job{Messages: []queue.Message{stranger}}) {
		t.Error("a stranger cleared the conversation")
	}
}

func TestJoined(t *testing.T) {
	a := agent.Result{Text: "one", SessionID: "s", Failed: true, Class: agent.ClassOverloaded, Error: "busy", CostUSD: 1, ToolCalls: 1, InputTokens: 2, OutputTokens: 3}
	b := agent.Result{Text: "two", CostUSD: 2, ToolCalls: 2, InputTokens: 3, OutputTokens: 4, Truncated: true}
	want := agent.Result{Text: "one\n\ntwo", SessionID: "s", Failed: true, Class: agent.ClassOverloaded, Error: "busy", CostUSD: 3, ToolCalls: 3, InputTokens: 5, OutputTokens: 7, Truncated: true}
	if d := cmp.Diff(want, joined(a, b)); d != "" {
		t.Error(d)
	}
}
