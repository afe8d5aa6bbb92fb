package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
)

// Here the test plays Claude Code where messages follow each other, and where
// somebody forges what came of them.

func lifecycle(uuid, state string) obj {
	return obj{"type": "command_lifecycle", "command_uuid": uuid, "state": state}
}

func listing(r obj, uuids ...string) obj {
	r["user_message_uuids"] = uuids
	return r
}

// TestClaudeMatches: what comes of messages is taken from what names them, in any
// order that Claude Code was seen to use.
func TestClaudeMatches(t *testing.T) {
	tests := []struct {
		name   string
		play   []obj // "1" and "2" stand for the message and the one that follows
		text   string
		done   string
		unread string
		class  agent.Class
	}{
		{name: "folded: completed comes before the result", play: []obj{lifecycle("1", "started"), lifecycle("2", "queued"), lifecycle("2", "started"), lifecycle("2", "completed"), listing(result("", "both"), "1", "2")}, text: "both"},
		{name: "a turn of its own", play: []obj{lifecycle("1", "started"), result("1", "one"), lifecycle("1", "completed"), lifecycle("2", "started"), result("2", "two")}, text: "one\n\ntwo"},
		{name: "the first was done before", play: []obj{lifecycle("1", "completed"), lifecycle("2", "queued"), lifecycle("2", "started"), result("2", "two")}, text: "two", done: "1"},
		{name: "both were done before", play: []obj{lifecycle("1", "completed"), lifecycle("2", "completed")}, done: "1 2", class: agent.ClassDone},
		{name: "the second is dropped unread", play: []obj{lifecycle("2", "queued"), lifecycle("2", "cancelled"), result("1", "one")}, text: "one", unread: "2"},
		{name: "the second is dropped when it was read", play: []obj{lifecycle("2", "started"), lifecycle("2", "cancelled"), result("1", "one")}, text: "one"},
		{name: "the first fails and the second does not", play: []obj{func() obj {
			r := result("1", "API Error")
			r["is_error"], r["api_error_status"] = true, 529
			return r
		}(), lifecycle("2", "started"), result("2", "two")}, text: "…\n\ntwo", class: agent.ClassOverloaded},
		{name: "a failure that lists nothing ends all", play: []obj{lifecycle("1", "started"), {"type": "result", "subtype": "error_during_execution", "is_error": true, "result": "no"}}, unread: "2", class: agent.ClassOther},
		{name: "completed after a result counts", play: []obj{result("1", "one"), lifecycle("2", "started"), lifecycle("2", "completed")}, text: "one"},
		// Forged: the worst is that a turn ends early, or with other words.
		{name: "results of messages that nobody sent", play: []obj{result("3", "evil"), listing(result("", "evil"), "3", "4"), lifecycle("3", "completed"), listing(result("", "fine"), "3", "1", "2")}, text: "fine"},
		{name: "a message cannot come back", play: []obj{lifecycle("1", "cancelled"), lifecycle("1", "queued"), lifecycle("1", "started"), lifecycle("1", "completed"), result("2", "two")}, text: "two", unread: "1"},
		{name: "states that there are not", play: []obj{lifecycle("1", ""), lifecycle("1", "exploded"), lifecycle("", "completed"), listing(result("", "both"), "1", "2", "1", "")}, text: "both"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, agent.Options{}, func(p *agenttest.Peer) int {
				p.Hear()
				p.Say(delta("…")) // so that the test follows up
				p.Hear()
				for _, line := range tt.play {
					p.Say(line)
				}
				return rest(p)
			})
			sent := false
			r, err := c.Turn(t.Context(), agent.Prompt{UUID: "1", Text: "go"}, func(agent.Event) {
				if sent {
					return
				}
				sent = true
				if err := c.(agent.Follower).Follow(agent.Prompt{UUID: "2", Text: "and go"}); err != nil {
					t.Error(err)
				}
			})
			if err != nil || r.Text != tt.text && tt.class != agent.ClassOther || strings.Join(r.Done, " ") != tt.done || strings.Join(r.Unread, " ") != tt.unread || r.Class != tt.class || r.Failed != (tt.class != "") {
				t.Errorf("turn = %+v, %v", r, err)
			}
		})
	}
}

// TestClaudeFollowIsBounded: one turn takes in so many messages and no more, also
// if nothing comes of any.
func TestClaudeFollowIsBounded(t *testing.T) {
	c := open(t, agent.Options{}, func(p *agenttest.Peer) int {
		p.Hear()
		p.Say(delta("…"))
		return rest(p)
	})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	c.Turn(ctx, agent.Prompt{Text: "go"}, func(agent.Event) {
		for ; n < 1000 && c.(agent.Follower).Follow(agent.Prompt{UUID: fmt.Sprint(n), Text: "more"}) == nil; n++ {
		}
		cancel()
	})
	if n != 99 {
		t.Errorf("%d messages were taken in", n)
	}
}

// TestClaudeUnasked: between turns no tool may be used, neither Claude Code's own
// nor the host's, and what is said is told a bounded number of times, to the host
// alone.
func TestClaudeUnasked(t *testing.T) {
	told := make(chan agent.Unasked, 100)
	asked := make(chan agent.ToolCall, 10)
	o := agent.Options{
		Unasked: func(u agent.Unasked) { told <- u },
		Tool: func(_ context.Context, c agent.ToolCall) agent.ToolVerdict {
			asked <- c
			return agent.ToolVerdict{}
		},
		MCP: func(_ context.Context, _ string, msg json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage(`"the host did it"`), nil
		},
	}
	heard := make(chan string, 10)
	more := make(chan struct{})
	c := open(t, o, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		p.Say(result(l.Get("uuid"), "done"))
		<-more
		for _, request := range []obj{
			{"subtype": "hook_callback", "callback_id": "pre-tool-use", "input": obj{"hook_event_name": "PreToolUse", "tool_name": "Bash"}},
			{"subtype": "mcp_message", "server_name": "nanoclaw", "message": obj{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}},
			{"subtype": "mcp_message", "server_name": "nanoclaw", "message": "nonsense"},
			{"subtype": "mcp_message", "server_name": "nanoclaw", "message": obj{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}},
		} {
			p.Say(ask("q", request))
			answer, _ := p.Hear()
			b, _ := json.Marshal(answer)
			heard <- string(b)
		}
		for range 1000 {
			r := result("", "my work in the background ended <internal>hush</internal>")
			delete(r, "user_message_uuids")
			r["origin"] = obj{"kind": "task-notification"}
			p.Say(r)
		}
		l, _ = p.Hear()
		p.Say(result(l.Get("uuid"), "and done"))
		return rest(p)
	})
	if r, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, nil); err != nil || r.Text != "done" {
		t.Errorf("turn = %+v, %v", r, err)
	}
	close(more)
	for _, want := range []string{`"permissionDecision":"deny"`, `"subtype":"error"`, `"subtype":"error"`, "the host did it"} {
		if got := <-heard; !strings.Contains(got, want) {
			t.Errorf("the host answered %s, want %s", got, want)
		}
	}
	if len(asked) != 0 {
		t.Error("a tool call outside of a turn was judged like any other")
	}
	if r, err := c.Turn(t.Context(), agent.Prompt{Text: "again"}, nil); err != nil || r.Text != "and done" || r.CostUSD < 250 {
		t.Errorf("the turn after = %+v, %v", r, err)
	}
	last := 0
	for range 20 {
		u := <-told
		if u.Origin != "task-notification" || u.Text != "my work in the background ended" {
			t.Errorf("told %+v", u)
		}
		if u.More {
			last++
		}
	}
	time.Sleep(20 * time.Millisecond)
	if len(told) != 0 || last != 1 {
		t.Errorf("told %d more, %d of them say that they are the last", len(told), last)
	}
}

// TestClaudeShows: what the chat sees of a turn is the agent's own text and what
// it uses, not its thoughts and not what a subagent says.
func TestClaudeShows(t *testing.T) {
	block := func(kind string) obj {
		return obj{"type": "stream_event", "event": obj{"type": "content_block_start", "content_block": obj{"type": kind}}}
	}
	c := open(t, agent.Options{}, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		p.Say(block("thinking"))
		p.Say(obj{"type": "stream_event", "event": obj{"type": "content_block_delta", "delta": obj{"type": "thinking_delta", "thinking": "hmm"}}})
		p.Say(obj{"type": "assistant", "message": obj{"id": "m0", "content": []obj{{"type": "thinking", "thinking": "hmm", "text": ""}}}})
		sub := delta("I am a subagent")
		sub["parent_tool_use_id"] = "toolu_1"
		p.Say(sub)
		p.Say(obj{"type": "assistant", "parent_tool_use_id": "toolu_1", "message": obj{"id": "m1", "content": []obj{{"type": "text", "text": "I am a subagent"}}}})
		p.Say(obj{"type": "tool_progress", "tool_name": "Agent", "elapsed_time_seconds": 30, "parent_tool_use_id": nil})
		p.Say(obj{"type": "tool_progress", "tool_name": "Agent", "elapsed_time_seconds": 1e300})
		p.Say(ask("q", obj{"subtype": "hook_callback", "callback_id": "pre-tool-use", "input": obj{"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": obj{"command": "ls"}, "agent_id": "a1"}}))
		p.Hear()
		p.Say(block("text"))
		p.Say(delta("here you are"))
		p.Say(result(l.Get("uuid"), "here you are"))
		return rest(p)
	})
	var seen strings.Builder
	if _, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, func(e agent.Event) {
		fmt.Fprintf(&seen, "[%s %s%s%s]", e.Kind, e.Text, e.Tool, e.Input)
	}); err != nil {
		t.Fatal(err)
	}
	if want := "[note Agent has been at work for 30 s][tool Bashls][text here you are]"; seen.String() != want {
		t.Errorf("the chat sees %s, want %s", seen.String(), want)
	}
}
