package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
)

func TestClaudeBadPeers(t *testing.T) {
	tests := []struct {
		name  string
		play  func(p *agenttest.Peer) int
		class agent.Class
		text  string
	}{
		{"dies", func(p *agenttest.Peer) int { p.Cry("out of luck\n"); return 3 }, agent.ClassEnded, "exit code 3: out of luck"},
		{"a line without end", func(p *agenttest.Peer) int {
			for {
				if p.Say(strings.Repeat(" ", 8<<20)) != nil {
					return 0
				}
				chunk := strings.Repeat("x", 40<<20)
				if p.Say(chunk) != nil {
					return 0
				}
			}
		}, agent.ClassProtocol, "longer than 32 MiB"},
		{"asks and does not listen", func(p *agenttest.Peer) int {
			for i := 0; ; i++ {
				if p.Say(ask(fmt.Sprint(i), obj{"subtype": "unknown"})) != nil {
					return 0
				}
			}
		}, agent.ClassProtocol, "does not read its input"},
		{"refuses the message", func(p *agenttest.Peer) int {
			p.Say(obj{"type": "result", "subtype": "error_during_execution", "is_error": true, "errors": []string{"No conversation found with session ID: x"}})
			return 1
		}, agent.ClassSession, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, agent.Options{}, func(p *agenttest.Peer) int { p.Hear(); return tt.play(p) })
			r, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, nil)
			if !r.Failed || r.Class != tt.class {
				t.Errorf("result = %+v, want class %q", r, tt.class)
			}
			if tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("error = %v, want %q in it", err, tt.text)
			}
		})
	}
}

// TestClaudeRequestsAreBounded: of many slow requests at once only so many are
// worked on, and the others are refused at once.
func TestClaudeRequestsAreBounded(t *testing.T) {
	const many = 100
	working := make(chan struct{}, many)
	o := agent.Options{MCP: func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
		working <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	refused := make(chan int, 1)
	c := open(t, o, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		go func() {
			for i := range many {
				p.Say(ask(fmt.Sprint(i), mcpMessage("nanoclaw")))
			}
		}()
		n := 0
		for ; n < many-32; n++ {
			if answer, err := p.Hear(); err != nil || !strings.Contains(answer.Get("response", "error"), "at once") {
				break
			}
		}
		refused <- n
		p.Say(result(l.Get("uuid"), "done"))
		return rest(p)
	})
	if r, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, nil); err != nil || r.Text != "done" {
		t.Errorf("turn = %+v, %v", r, err)
	}
	if n := <-refused; n != many-32 || len(working) != 32 {
		t.Errorf("%d refused, %d worked on", n, len(working))
	}
}

func TestClaudeAnswerIsBounded(t *testing.T) {
	long := strings.Repeat("é", 1000)
	c := open(t, agent.Options{MaxOutput: 101}, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		for range 50 {
			p.Say(delta(long))
		}
		p.Say(result(l.Get("uuid"), long))
		return rest(p)
	})
	var streamed strings.Builder
	r, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, func(e agent.Event) { streamed.WriteString(e.Text) })
	if err != nil || r.Text != strings.Repeat("é", 50) || !r.Truncated || streamed.String() != r.Text {
		t.Errorf("turn = %+v, %v; streamed %q", r, err, streamed.String())
	}
}

func TestClaudeOneTurnAtATime(t *testing.T) {
	c := open(t, agent.Options{}, func(p *agenttest.Peer) int {
		l, _ := p.Hear()
		p.Say(delta("x"))
		p.Hear() // the interrupt
		p.Say(obj{"type": "command_lifecycle", "command_uuid": l.Get("uuid"), "state": "cancelled"})
		return rest(p)
	})
	r, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, func(agent.Event) {
		if _, err := c.Turn(t.Context(), agent.Prompt{Text: "me too"}, nil); !errors.Is(err, agent.ErrBusy) {
			t.Errorf("a second turn = %v", err)
		}
		if err := c.Interrupt(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if err != nil || !r.Interrupted {
		t.Errorf("turn = %+v, %v", r, err)
	}
	c.Close()
	if _, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, nil); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("a turn after Close = %v", err)
	}
}

func TestClaudeOpenFailures(t *testing.T) {
	tests := []struct {
		name  string
		play  func(p *agenttest.Peer) int
		class agent.Class
	}{
		{"never ready", func(p *agenttest.Peer) int { <-p.Killed(); return 0 }, agent.ClassStart},
		{"refuses", func(p *agenttest.Peer) int {
			l, _ := p.Hear()
			p.Say(obj{"type": "control_response", "response": obj{"subtype": "error", "request_id": l.Get("request_id"), "error": "no"}})
			return rest(p)
		}, agent.ClassStart},
		{"dies", func(p *agenttest.Peer) int { p.Cry("bad flag"); return 1 }, agent.ClassStart},
		{"unknown session", func(p *agenttest.Peer) int {
			p.Say(obj{"type": "result", "subtype": "error_during_execution", "is_error": true, "errors": []string{"No conversation found with session ID: y"}})
			return 1
		}, agent.ClassSession},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			c, err := agent.Claude{}.Open(ctx, agenttest.Act(tt.play), agent.Options{Resume: "11111111-2222-4333-8444-555555555555"})
			var e *agent.Error
			if c != nil || !errors.As(err, &e) || e.Class != tt.class {
				t.Errorf("open = %v, %v; want class %q", c, err, tt.class)
			}
			if errors.Is(err, agent.ErrSession) != (tt.class == agent.ClassSession) {
				t.Errorf("ErrSession matches %v", err)
			}
		})
	}
}

// TestClaudeDiesAtOnce: whether it ends before it is asked its first question or
// while it is, that is a start which failed.
func TestClaudeDiesAtOnce(t *testing.T) {
	for range 300 {
		_, err := agent.Claude{}.Open(t.Context(), agenttest.Act(func(*agenttest.Peer) int { return 1 }), agent.Options{})
		if e, ok := errors.AsType[*agent.Error](err); !ok || e.Class != agent.ClassStart {
			t.Fatalf("open = %v; want class %q", err, agent.ClassStart)
		}
	}
}

// FuzzClaudeLines: whatever a process writes, the host neither panics nor
// hangs, makes no tool call that its hook would refuse, and keeps its own
// session id.
func FuzzClaudeLines(f *testing.F) {
	f.Add([]byte(`{"type":"result","is_error":true}`))
	f.Add([]byte(`{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"<intern"}}}` + "\n" + `{"type":"assistant","message":{"content":[{"type":"text","text":"x"}]}}`))
	f.Add([]byte(`{"type":"control_request","request_id":"1","request":{"subtype":"mcp_message","server_name":"nanoclaw","message":{}}}`))
	f.Add([]byte(`{"type":"control_request","request_id":"1","request":{"subtype":"hook_callback","callback_id":"pre-tool-use","input":{"hook_event_name":"PreToolUse","tool_input":[]}}}`))
	f.Add([]byte(`{"type":"system","subtype":"api_retry","attempt":1,"retry_delay_ms":1e300}`))
	f.Add([]byte(`{"type":"command_lifecycle","command_uuid":"u","state":"completed"}` + "\n" + `{"type":"result","user_message_uuids":["u","v",""],"result":"x"}`))
	f.Add([]byte(`{"type":"tool_progress","tool_name":"x","elapsed_time_seconds":1e300}`))
	f.Fuzz(func(t *testing.T, lines []byte) {
		o := agent.Options{
			MCP:  func(context.Context, string, json.RawMessage) (json.RawMessage, error) { return nil, nil },
			Tool: agenttest.Tool(func(agent.ToolCall) string { return "" }),
		}
		c, err := agent.Claude{}.Open(t.Context(), agenttest.Act(func(p *agenttest.Peer) int {
			welcome(p)
			l, _ := p.Hear()
			p.Say(string(lines))
			p.Say(result(l.Get("uuid"), "the end"))
			return rest(p)
		}), o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r, err := c.Turn(t.Context(), agent.Prompt{Text: "go"}, func(agent.Event) {})
		if err != nil || len(r.SessionID) != 36 {
			t.Errorf("turn = %+v, %v", r, err)
		}
	})
}
