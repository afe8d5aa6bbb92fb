package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/wire"
)

// In these tests the test itself plays Claude Code, well or badly.

type obj = map[string]any

// welcome answers the host's initialize request.
func welcome(p *agenttest.Peer) {
	l, err := p.Hear()
	if err != nil || l.Get("request", "subtype") != "initialize" {
		return
	}
	p.Say(obj{"type": "control_response", "response": obj{"subtype": "success", "request_id": l.Get("request_id"), "response": obj{}}})
}

func result(uuid, text string) obj {
	return obj{"type": "result", "subtype": "success", "result": text, "user_message_uuids": []string{uuid}, "session_id": "forged",
		"model_usage_since_last_result": obj{"m": obj{"inputTokens": 5, "outputTokens": 2, "costUSD": 0.25}}}
}

func delta(text string) obj {
	return obj{"type": "stream_event", "event": obj{"type": "content_block_delta", "delta": obj{"type": "text_delta", "text": text}}}
}

func ask(id string, request obj) obj {
	return obj{"type": "control_request", "request_id": id, "request": request}
}

func mcpMessage(server string) obj {
	return obj{"subtype": "mcp_message", "server_name": server, "message": obj{"jsonrpc": "2.0", "id": 1, "method": "ping"}}
}

func open(t *testing.T, o agent.Options, play func(p *agenttest.Peer) int) agent.Conversation {
	t.Helper()
	c, err := agent.Claude{}.Open(t.Context(), agenttest.Act(func(p *agenttest.Peer) int {
		welcome(p)
		return play(p)
	}), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// rest reads what the host still says, until it closes.
func rest(p *agenttest.Peer) int {
	for {
		if _, err := p.Hear(); err != nil {
			return 0
		}
	}
}

func TestClaudeStart(t *testing.T) {
	var exec wire.Exec
	init := make(chan agenttest.Line, 1)
	o := agent.Options{Env: []string{"A=b"}, Dir: "/workspace/group", Model: "sonnet", SystemPrompt: "be kind", Disallow: []string{"WebFetch"},
		MCP: func(context.Context, string, json.RawMessage) (json.RawMessage, error) { return nil, nil }}
	c, err := agent.Claude{}.Open(t.Context(), agenttest.Act(func(p *agenttest.Peer) int {
		exec = p.Exec
		l, _ := p.Hear()
		init <- l
		p.Say(obj{"type": "control_response", "response": obj{"subtype": "success", "request_id": l.Get("request_id")}})
		return rest(p)
	}), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if exec.Stdio != wire.Socketpair || exec.Dir != o.Dir || !slices.Equal(exec.Env, o.Env) || exec.Argv[0] != "/opt/claude/claude" {
		t.Errorf("started as %+v", exec)
	}
	for _, want := range []string{"bypassPermissions", "--strict-mcp-config", "--await-initialize", "--model=sonnet"} {
		if !slices.Contains(exec.Argv, want) {
			t.Errorf("the command line lacks %s: %q", want, exec.Argv)
		}
	}
	if i := slices.Index(exec.Argv, "--setting-sources"); i < 0 || exec.Argv[i+1] != "user" {
		t.Errorf("the workspace's settings would be read: %q", exec.Argv)
	}
	if i := slices.Index(exec.Argv, "--disallowedTools"); i < 0 || !strings.Contains(exec.Argv[i+1], "WebSearch") || !strings.HasSuffix(exec.Argv[i+1], ",WebFetch") {
		t.Errorf("disallowed tools: %q", exec.Argv)
	}
	l := <-init
	for _, tt := range []struct{ got, want string }{
		{l.Get("request", "sdkMcpServers"), "[nanoclaw]"},
		{l.Get("request", "appendSystemPrompt"), "be kind"},
		{l.Get("request", "managedSettings", "sandbox", "allowUnsandboxedCommands"), "false"},
		{l.Get("request", "managedSettings", "allowManagedHooksOnly"), "true"},
	} {
		if tt.got != tt.want {
			t.Errorf("initialize holds %q, want %q", tt.got, tt.want)
		}
	}
	if hooks := l.Get("request", "hooks", "PreToolUse"); !strings.Contains(hooks, "onFailure:block") {
		t.Errorf("hooks = %s", hooks)
	}
}

// TestClaudeOnlyItsOwnResultEndsATurn: results of other prompts and of turns
// that nobody asked for cost money and answer nothing, and a session id in a
// line is not believed.
func TestClaudeOnlyItsOwnResultEndsATurn(t *testing.T) {
	c := open(t, agent.Options{}, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		if l.Get("client_composed") != "true" || l.Get("message", "content") != "/clear" {
			return 9
		}
		p.Say(result("another", "not this"))
		unasked := result("", "nor this")
		delete(unasked, "user_message_uuids")
		unasked["origin"] = obj{"kind": "task-notification"}
		p.Say(unasked)
		delete(unasked, "origin")
		p.Say(unasked)
		p.Say(result(l.Get("uuid"), "this"))
		l, _ = p.Hear()
		p.Say(result(l.Get("uuid"), "and this"))
		return rest(p)
	})
	r, err := c.Turn(t.Context(), agent.Prompt{UUID: "u-1", Text: "/clear"}, nil)
	if err != nil || r.Text != "this" || r.CostUSD != 1.0 || r.InputTokens != 20 || r.OutputTokens != 8 {
		t.Errorf("turn = %+v, %v", r, err)
	}
	if r.SessionID == "forged" || len(r.SessionID) != 36 {
		t.Errorf("session = %q", r.SessionID)
	}
	second, err := c.Turn(t.Context(), agent.Prompt{Text: "next"}, nil)
	if err != nil || second.Text != "and this" || second.CostUSD != 0.25 || second.SessionID != r.SessionID {
		t.Errorf("second turn = %+v, %v", second, err)
	}
}

// TestClaudeForgedRequestsGainNothing says what a process inside might say in
// Claude Code's place.
func TestClaudeForgedRequestsGainNothing(t *testing.T) {
	tests := []struct {
		name    string
		request obj
		want    string // in the host's answer
	}{
		{"a question", obj{"subtype": "can_use_tool", "tool_name": "Bash", "input": obj{}}, `"behavior":"deny"`},
		{"another MCP server", mcpMessage("files"), `"subtype":"error"`},
		{"our MCP server", mcpMessage("nanoclaw"), `"pong"`},
		{"a server that was announced", mcpMessage("box"), `"pong"`},
		{"one that is spelled like it", mcpMessage("Box"), `"subtype":"error"`},
		{"one that is not named", mcpMessage(""), `"subtype":"error"`},
		{"an MCP call that panics", obj{"subtype": "mcp_message", "server_name": "nanoclaw", "message": obj{"method": "panic"}}, "the host failed to answer"},
		{"a hook that we did not ask for", obj{"subtype": "hook_callback", "callback_id": "other", "input": obj{"hook_event_name": "PreToolUse"}}, `"permissionDecision":"deny"`},
		{"another hook event", obj{"subtype": "hook_callback", "callback_id": "pre-tool-use", "input": obj{"hook_event_name": "Stop"}}, `"permissionDecision":"deny"`},
		{"a refused tool", obj{"subtype": "hook_callback", "callback_id": "pre-tool-use", "input": obj{"hook_event_name": "PreToolUse", "tool_name": "Evil"}}, `"permissionDecisionReason":"no"`},
		{"an allowed tool", obj{"subtype": "hook_callback", "callback_id": "pre-tool-use", "input": obj{"hook_event_name": "PreToolUse", "tool_name": "Bash"}}, `"response":{}`},
		{"something new", obj{"subtype": "read_host_file", "path": "/etc/shadow"}, `"subtype":"error"`},
		{"a dialogue", obj{"subtype": "elicitation"}, `"subtype":"error"`},
		{"no request", nil, `"subtype":"error"`},
	}
	o := agent.Options{
		HostServers: []string{"box"},
		MCP: func(_ context.Context, _ string, msg json.RawMessage) (json.RawMessage, error) {
			if strings.Contains(string(msg), "panic") {
				panic("a bug")
			}
			return json.RawMessage(`"pong"`), nil
		},
		Tool: agenttest.Tool(func(call agent.ToolCall) string {
			if call.Name == "Evil" {
				return "no"
			}
			return ""
		}),
	}
	heard := make(chan string, 1)
	say := make(chan obj)
	c := open(t, o, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		for request := range say {
			for _, noise := range []string{"not JSON", "", "null", "[1,2]", `{"type":7}`, `{"type":"control_response","response":{"request_id":"host-99"}}`, `{"type":"control_cancel_request"}`, `{"type":"brand_new"}`} {
				p.Say(noise)
			}
			p.Say(ask("q", request))
			answer, _ := p.Hear()
			b, _ := json.Marshal(answer)
			heard <- string(b)
		}
		p.Say(result(l.Get("uuid"), "done"))
		return rest(p)
	})
	finished := make(chan agent.Result, 1)
	go func() {
		r, _ := c.Turn(context.Background(), agent.Prompt{Text: "go"}, nil)
		finished <- r
	}()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			say <- tt.request
			if got := <-heard; !strings.Contains(got, tt.want) || !strings.Contains(got, `"request_id":"q"`) {
				t.Errorf("the host answered %s, want %s", got, tt.want)
			}
		})
	}
	close(say)
	if r := <-finished; r.Text != "done" || r.ToolCalls != 2 {
		t.Errorf("the turn ended as %+v", r)
	}
}

// TestClaudeSlowToolDelaysNoInterrupt holds a host tool up, and emit as well.
func TestClaudeSlowToolDelaysNoInterrupt(t *testing.T) {
	calling, emitting, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	o := agent.Options{MCP: func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
		close(calling)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	c := open(t, o, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		uuid := l.Get("uuid")
		p.Say(delta("working"))
		p.Say(ask("slow", mcpMessage("nanoclaw")))
		for {
			l, err := p.Hear()
			if err != nil {
				return 0
			}
			if l.Get("request", "subtype") == "interrupt" {
				p.Say(obj{"type": "control_cancel_request", "request_id": "slow"})
				p.Say(obj{"type": "control_response", "response": obj{"subtype": "success", "request_id": l.Get("request_id")}})
				p.Say(obj{"type": "result", "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools", "user_message_uuids": []string{uuid}})
			}
		}
	})
	finished := make(chan agent.Result, 1)
	go func() {
		r, err := c.Turn(context.Background(), agent.Prompt{Text: "go"}, func(agent.Event) { close(emitting); <-release })
		if err != nil {
			t.Error(err)
		}
		finished <- r
	}()
	<-calling
	<-emitting
	start := time.Now()
	if err := c.Interrupt(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the interrupt took %v", took)
	}
	close(release)
	if r := <-finished; !r.Interrupted || r.Text != "working" || r.Failed {
		t.Errorf("turn = %+v", r)
	}
}

// TestClaudeInterruptInsists: one that answers nothing gets SIGINT, then
// SIGKILL.
func TestClaudeInterruptInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signals []syscall.Signal
		var second time.Duration
		c := open(t, agent.Options{}, func(p *agenttest.Peer) int {
			p.Hear()
			p.Say(delta("I will not stop"))
			start := time.Now()
			for {
				select {
				case s := <-p.Signals:
					signals = append(signals, s)
				case <-p.Killed():
					second = time.Since(start)
					return 0
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, func(agent.Event) {
			if err := c.Interrupt(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("interrupt = %v", err)
			}
		})
		var e *agent.Error
		if !errors.As(err, &e) || e.Class != agent.ClassEnded || !r.Interrupted || r.Text != "I will not stop" {
			t.Errorf("turn = %+v, %v", r, err)
		}
		synctest.Wait()
		if !slices.Equal(signals, []syscall.Signal{syscall.SIGINT}) || second > 5*time.Second {
			t.Errorf("signals %v, killed after %v", signals, second)
		}
	})
}

func TestClaudeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the run took too long")
	killed := make(chan struct{})
	c := open(t, agent.Options{}, func(p *agenttest.Peer) int {
		p.Hear()
		p.Say(delta("still at it"))
		<-p.Killed()
		close(killed)
		return 0
	})
	r, err := c.Turn(ctx, agent.Prompt{Text: "go"}, func(agent.Event) { cancel(why) })
	if !errors.Is(err, why) || r.Text != "still at it" || !r.Failed {
		t.Errorf("turn = %+v, %v", r, err)
	}
	<-killed
	if _, err := c.Turn(t.Context(), agent.Prompt{Text: "again"}, nil); !errors.Is(err, why) {
		t.Errorf("a turn after the end = %v", err)
	}
}
