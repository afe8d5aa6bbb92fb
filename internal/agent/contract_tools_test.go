package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hosttools"
)

// noTasks stands where these tests call nothing.
type noTasks = hosttools.Tasks

// hostOf is a host for the real host tools.
type hostOf struct {
	noTasks
	hosttools.Registrar
	mu   sync.Mutex
	sent []string
}

func (h *hostOf) Groups(context.Context) ([]hosttools.GroupInfo, error) {
	return []hosttools.GroupInfo{{Name: chat.Main}, {Name: "family"}}, nil
}

func (h *hostOf) Send(_ context.Context, from hosttools.Identity, to chat.Group, text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent = append(h.sent, fmt.Sprintf("%s->%s: %s", from.Group, to, text))
	return nil
}

func (h *hostOf) Begin(context.Context, hosttools.Identity, hosttools.Effect) (hosttools.Begun, error) {
	return hosttools.Begun{Key: "k", End: func(context.Context, bool, string) error { return nil }}, nil
}

func (h *hostOf) GroupOf(chat.Address) (chat.Group, error) { return "", nil }

func (h *hostOf) SendFile(_ context.Context, _ hosttools.Identity, f hosttools.OutFile) (string, error) {
	return "Sent " + f.Path + ".", nil
}

func (h *hostOf) React(context.Context, hosttools.Identity, string) (string, error) {
	return "Given.", nil
}

func (h *hostOf) AskToSend(context.Context, hosttools.Identity, chat.Address, string) (string, error) {
	return "The owner is asked.", nil
}

func (h *hostOf) Record(context.Context, audit.Entry) error { return nil }

// TestContractHostTool lets Claude Code use the host's own tools, as a group
// that is not main.
func TestContractHostTool(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	host := &hostOf{}
	server := hosttools.New(hosttools.Identity{Group: "family"}, []grant.Tool{{Name: "send_message"}, {Name: "list_groups"}}, host)
	defer server.Close()
	o.MCP = func(ctx context.Context, _ string, msg json.RawMessage) (json.RawMessage, error) {
		return server.Message(ctx, msg)
	}
	c := openClaude(t, o)
	tests := []struct{ name, ask, want string }{
		{"own group", `tool: mcp__nanoclaw__send_message {"text":"half done"}`, "Sent to family."},
		{"another group", `tool: mcp__nanoclaw__send_message {"text":"psst","group":"main"}`, "refused: only the agent of main may send to another group"},
		{"a tool of main", "tool: mcp__nanoclaw__list_groups {}", "No such tool available"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if r, _ := take(t, c, tt.ask); !strings.Contains(r.Text, tt.want) {
				t.Errorf("result = %+v, want %q", r, tt.want)
			}
		})
	}
	if want := []string{"family->family: half done"}; !slices.Equal(host.sent, want) {
		t.Errorf("sent = %q, want %q", host.sent, want)
	}
}

// TestContractSubagentIsAsked: what a subagent does is asked about too.
func TestContractSubagentIsAsked(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	var mu sync.Mutex
	var calls []agent.ToolCall
	o.Tool = agenttest.Tool(func(call agent.ToolCall) string {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call)
		if call.Name == "Bash" {
			return "not by a subagent"
		}
		return ""
	})
	c := openClaude(t, o)
	r, _ := take(t, c, `tool: Agent {"description":"a test","prompt":"bash: touch made","subagent_type":"general-purpose"}`)
	if r.Failed || !strings.Contains(r.Text, "not by a subagent") {
		t.Errorf("result = %+v", r)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(calls) != 2 || calls[0].Subagent != "" || calls[1].Name != "Bash" || calls[1].Subagent == "" {
		t.Errorf("calls = %+v", calls)
	}
	if r.ToolCalls != 2 || r.InputTokens != 400 {
		t.Errorf("the subagent is not counted: %+v", r)
	}
}

func TestContractToolIsRefused(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	var mu sync.Mutex
	var calls []agent.ToolCall
	o.Tool = agenttest.Tool(func(call agent.ToolCall) string {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call)
		switch {
		case strings.Contains(string(call.Input), "forbidden"):
			return "the owner does not allow this"
		case strings.Contains(string(call.Input), "panic"):
			panic("a callback that fails")
		}
		return ""
	})
	c := openClaude(t, o)
	r, _ := take(t, c, "bash: touch forbidden; echo made")
	if !strings.Contains(r.Text, "the owner does not allow this") || strings.Contains(r.Text, "made\n") {
		t.Errorf("refused call = %+v", r)
	}
	r, _ = take(t, c, "bash: touch panic; echo made")
	if strings.Contains(r.Text, "made\n") {
		t.Errorf("a call whose check failed was made: %+v", r)
	}
	for _, name := range []string{"forbidden", "panic"} {
		if _, err := os.Lstat(filepath.Join(o.Dir, name)); err == nil {
			t.Errorf("the refused call made the file %q", name)
		}
	}
	if r, _ = take(t, c, "bash: echo fine"); !strings.Contains(r.Text, "fine") {
		t.Errorf("allowed call = %+v", r)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(calls) != 3 || calls[0].Name != "Bash" || calls[0].ID == "" {
		t.Errorf("calls = %+v", calls)
	}
}

// TestContractWorkspaceIsNotObeyed plants what an agent could write to change
// its next start: nothing of it may run, and our own hook must not be silenced.
func TestContractWorkspaceIsNotObeyed(t *testing.T) {
	const hooks = `"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch RAN"}]}],"PreToolUse":[{"hooks":[{"type":"command","command":"touch RAN"}]}]}`
	const env = `"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:1"}`
	tests := []struct{ name, workspace, local, user string }{
		{"hooks", `{` + env + `,` + hooks + `}`, `{` + env + `,` + hooks + `}`, `{` + hooks + `}`},
		{"no hooks", `{"disableAllHooks":true}`, `{"disableAllHooks":true}`, `{"disableAllHooks":true}`},
		{"deny all", `{"permissions":{"deny":["Bash"]}}`, `{"permissions":{"deny":["Bash"]}}`, `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel(t, agenttest.Puppet)
			o := agenttest.ClaudeOptions(t, m)
			planted := filepath.Join(o.Dir, "ran")
			plant(t, filepath.Join(o.Dir, ".claude", "settings.json"), tt.workspace, planted)
			plant(t, filepath.Join(o.Dir, ".claude", "settings.local.json"), tt.local, planted)
			plant(t, filepath.Join(home(o), ".claude", "settings.json"), tt.user, planted)
			plant(t, filepath.Join(o.Dir, ".mcp.json"), `{"mcpServers":{"evil":{"command":"touch","args":["RAN"]}}}`, planted)
			var asked atomic.Int32
			o.Tool = agenttest.Tool(func(agent.ToolCall) string { asked.Add(1); return "" })
			c := openClaude(t, o)
			if r, _ := take(t, c, "bash: echo fine"); r.Failed || !strings.Contains(r.Text, "fine") {
				t.Errorf("result = %+v", r)
			}
			if _, err := os.Lstat(planted); err == nil {
				t.Error("something that was planted ran")
			}
			if asked.Load() != 1 {
				t.Errorf("the host was asked %d times, want once", asked.Load())
			}
		})
	}
}

func plant(t *testing.T, path, text, ran string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "RAN", ran)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func home(o agent.Options) string {
	for _, v := range o.Env {
		if h, ok := strings.CutPrefix(v, "HOME="); ok {
			return h
		}
	}
	return ""
}
