package agent_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
)

var update = flag.Bool("update", false, "record testdata/*.transcript anew from the real Claude Code")

// story is a conversation that was recorded once and is replayed ever after:
// what the driver makes of the real program's lines stays as it was.
type story struct {
	name  string
	turns []string
	tool  func(agent.ToolCall) string
	step  agenttest.Script
	// stop interrupts the turn at its first event of this kind.
	stop agent.EventKind
	// follow is sent at the first use of a tool.
	follow string
	want   []agent.Result
}

func stories() []story {
	refuse := func(c agent.ToolCall) string {
		if strings.Contains(string(c.Input), "forbidden") {
			return "not allowed here"
		}
		return ""
	}
	return []story{
		{name: "turns", turns: []string{"hello", "bash: echo $((6*7))", "bash: touch forbidden"}, tool: refuse, step: agenttest.Puppet, want: []agent.Result{
			{Text: "You said: hello", CostUSD: 0.0006, InputTokens: 100, OutputTokens: 10},
			{Text: "The tools said:\n42", CostUSD: 0.0012, InputTokens: 200, OutputTokens: 20, ToolCalls: 1},
			{Text: "The tools said:\nPreToolUse:Bash hook error: not allowed here", CostUSD: 0.0012, InputTokens: 200, OutputTokens: 20, ToolCalls: 1},
		}},
		{name: "interrupt", turns: []string{"bash: sleep 55"}, step: agenttest.Puppet, stop: agent.ToolEvent, want: []agent.Result{
			{Interrupted: true, ToolCalls: 1, CostUSD: 0.0006, InputTokens: 100, OutputTokens: 10},
		}},
		{name: "follow", turns: []string{"bash: sleep 1"}, step: agenttest.Puppet, follow: "and one thing more", want: []agent.Result{
			{Text: "The tools said:\n(Bash completed with no output)", ToolCalls: 1, CostUSD: 0.0012, InputTokens: 200, OutputTokens: 20},
		}},
		{name: "overloaded", turns: []string{"hello"},
			step: func(agenttest.Request) agenttest.Step {
				return agenttest.Step{Status: 529, Type: "overloaded_error", Message: "Overloaded"}
			},
			want: []agent.Result{{Failed: true, Class: agent.ClassOverloaded}}},
	}
}

func TestReplay(t *testing.T) {
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			file := filepath.Join("testdata", s.name+".transcript")
			if *update {
				record(t, s, file)
			}
			transcript, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := s.play(t, agenttest.Replay(transcript), agent.Options{})
			if d := cmp.Diff(s.want, got, cmp.FilterPath(func(p cmp.Path) bool {
				f := p.Last().String()
				return f == ".SessionID" || f == ".Error" || f == ".Raw"
			}, cmp.Ignore()), cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })); d != "" {
				t.Errorf("results (-want +got):\n%s", d)
			}
		})
	}
}

// play goes through the story in a box.
func (s story) play(t *testing.T, box agent.Box, o agent.Options) []agent.Result {
	t.Helper()
	if s.tool != nil {
		o.Tool = agenttest.Tool(s.tool)
	}
	o.MCP = func(_ context.Context, _ string, msg json.RawMessage) (json.RawMessage, error) {
		var in struct{ ID json.RawMessage }
		if json.Unmarshal(msg, &in) != nil || in.ID == nil {
			return nil, nil
		}
		return json.Marshal(map[string]any{"jsonrpc": "2.0", "id": in.ID, "error": map[string]any{"code": -32601, "message": "method not found"}})
	}
	c, err := agent.Claude{}.Open(t.Context(), box, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out []agent.Result
	for i, text := range s.turns {
		stopped := false
		r, err := c.Turn(t.Context(), agent.Prompt{UUID: agent.UUID(s.name, text, string(rune('a'+i))), Text: text}, func(e agent.Event) {
			if e.Kind == s.stop && !stopped {
				stopped = true
				if err := c.Interrupt(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if s.follow != "" && e.Kind == agent.ToolEvent {
				if err := c.(agent.Follower).Follow(agent.Prompt{UUID: agent.UUID(s.name, s.follow), Text: s.follow}); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// record plays the story with the real program.
func record(t *testing.T, s story, file string) {
	m := newModel(t, s.step)
	o := agenttest.ClaudeOptions(t, m)
	r := &agenttest.Recorder{Box: agenttest.Local{}}
	s.play(t, r, o)
	transcript := r.Transcript(o.Dir, "/workspace/group", home(o), "/home/agent", m.URL, "http://127.0.0.1:8480")
	transcript = regexp.MustCompile(`(/tmp|/var)/[^" ]*`).ReplaceAll(transcript, []byte("/tmp/x"))
	transcript = regexp.MustCompile(`/projects/[^"/]*/`).ReplaceAll(transcript, []byte("/projects/-workspace-group/"))
	transcript = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAll(transcript, []byte("127.0.0.1:8480"))
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, transcript, 0o644); err != nil {
		t.Fatal(err)
	}
}
