package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
)

// The contract test: what we rely on of the real Claude Code, each claim tried
// with the pinned program against a scripted model. When the version is raised
// and one of these fails, the driver must be looked at before anything else.

func openClaude(t *testing.T, o agent.Options) agent.Conversation {
	t.Helper()
	c, err := agent.Claude{}.Open(t.Context(), agenttest.Local{}, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newModel(t *testing.T, s agenttest.Script) *agenttest.Model {
	t.Helper()
	m := agenttest.NewModel(s)
	t.Cleanup(m.Close)
	return m
}

// take runs a turn and keeps its events.
func take(t *testing.T, c agent.Conversation, text string) (agent.Result, []agent.Event) {
	t.Helper()
	var seen []agent.Event
	r, err := c.Turn(t.Context(), agent.Prompt{UUID: agent.UUID(t.Name(), text), Text: text}, func(e agent.Event) { seen = append(seen, e) })
	if err != nil {
		t.Fatalf("turn %q: %v", text, err)
	}
	return r, seen
}

func said(events []agent.Event, kind agent.EventKind) string {
	var b strings.Builder
	for _, e := range events {
		if e.Kind == kind {
			b.WriteString(e.Text + e.Tool + e.Input)
		}
	}
	return b.String()
}

func TestContractTurns(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	o.SystemPrompt = "You live in a test called zebra."
	c := openClaude(t, o)

	first, events := take(t, c, "hello <internal>hidden</internal> there")
	if first.Text != "You said: hello  there" || first.Failed || first.CostUSD <= 0 || first.InputTokens != 100 || first.OutputTokens != 10 {
		t.Errorf("first turn = %+v", first)
	}
	if got := said(events, agent.TextEvent); got != first.Text {
		t.Errorf("streamed %q, answered %q", got, first.Text)
	}
	if !strings.Contains(string(m.Requests()[0].Body), "called zebra") {
		t.Error("the added system prompt did not reach the model")
	}

	second, events := take(t, c, "bash: echo $((6*7)); pwd")
	if !strings.Contains(second.Text, "42\n"+o.Dir) || second.ToolCalls != 1 || second.SessionID != first.SessionID {
		t.Errorf("second turn = %+v", second)
	}
	if second.InputTokens != 200 || second.CostUSD > 3*first.CostUSD {
		t.Errorf("the second turn's cost is not its own: %+v after %+v", second, first)
	}
	if got := said(events, agent.ToolEvent); got != "Bash"+"echo $((6*7)); pwd" {
		t.Errorf("tool events = %q", got)
	}
	for _, name := range []string{"WebSearch", "CronCreate", "AskUserQuestion", "SendMessage"} {
		for _, r := range m.Requests() {
			for _, tool := range r.Tools {
				if tool == name {
					t.Errorf("the model was offered %s", name)
				}
			}
		}
	}

	// A message is text, whatever it looks like.
	slash, _ := take(t, c, "/clear @/etc/passwd")
	if slash.Text != "You said: /clear @/etc/passwd" {
		t.Errorf("a message that looks like a command = %+v", slash)
	}
}

func TestContractResume(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	c := openClaude(t, o)
	first, _ := take(t, c, "remember aardvark")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o.Resume = first.SessionID
	c = openClaude(t, o)
	second, _ := take(t, c, "what was it?")
	if second.SessionID != first.SessionID || second.Failed {
		t.Errorf("resumed turn = %+v", second)
	}
	if second.InputTokens != 100 || second.CostUSD > 1.5*first.CostUSD {
		t.Errorf("the resumed turn costs what the whole session did: %+v after %+v", second, first)
	}
	requests := m.Requests()
	if !strings.Contains(string(requests[len(requests)-1].Body), "aardvark") {
		t.Error("the resumed session does not hold what was said before")
	}
	again, _ := take(t, c, "remember aardvark") // the same prompt, by its uuid
	if !again.Failed || again.Class != agent.ClassDone {
		t.Errorf("a prompt that was done before = %+v", again)
	}
}

func TestContractUnknownSession(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	for _, id := range []string{"11111111-2222-4333-8444-555555555555", "--dangerous", "../../x"} {
		o.Resume = id
		if _, err := (agent.Claude{}).Open(t.Context(), agenttest.Local{}, o); !errors.Is(err, agent.ErrSession) {
			t.Errorf("resume of %q = %v, want ErrSession", id, err)
		}
	}
}

func TestContractStartFailure(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	o.Env = append(o.Env, "TMPDIR=/dev/null/x", "CLAUDE_CODE_TMPDIR=/dev/null/x") // the last ones count
	_, err := agent.Claude{}.Open(t.Context(), agenttest.Local{}, o)
	var e *agent.Error
	if !errors.As(err, &e) || e.Detail == "" {
		t.Errorf("error = %v, want one with what Claude Code wrote to stderr", err)
	}
}

func TestContractInterrupt(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	runs := filepath.Join(o.Dir, "runs")
	if err := syscall.Mkfifo(runs, 0o600); err != nil {
		t.Fatal(err)
	}
	c := openClaude(t, o)
	var took time.Duration
	r, err := c.Turn(t.Context(), agent.Prompt{Text: "bash: echo now > runs; sleep 55"}, func(e agent.Event) {
		if e.Kind != agent.ToolEvent {
			return
		}
		if _, err := os.ReadFile(runs); err != nil { // until the command runs
			t.Error(err)
		}
		start := time.Now()
		if err := c.Interrupt(t.Context()); err != nil {
			t.Error(err)
		}
		took = time.Since(start)
	})
	if err != nil || !r.Interrupted || r.Failed {
		t.Fatalf("interrupted turn = %+v, %v", r, err)
	}
	t.Logf("interrupt was answered after %v", took)
	if next, _ := take(t, c, "and now?"); next.Failed || next.Interrupted {
		t.Errorf("the turn after = %+v", next)
	}
	if err := c.Interrupt(t.Context()); err != nil {
		t.Errorf("interrupt between turns = %v", err)
	}
}

func TestContractInterruptWhileTheModelIsSilent(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	asked := make(chan struct{})
	m := newModel(t, func(agenttest.Request) agenttest.Step { close(asked); return agenttest.Step{Until: hold} })
	c := openClaude(t, agenttest.ClaudeOptions(t, m))
	go func() { <-asked; c.Interrupt(context.Background()) }()
	r, _ := take(t, c, "hello")
	if !r.Interrupted {
		t.Errorf("result = %+v", r)
	}
}

func TestContractErrors(t *testing.T) {
	tests := []struct {
		name  string
		step  agenttest.Step
		class agent.Class
	}{
		{"credential", agenttest.Step{Status: 401, Type: "authentication_error", Message: "invalid x-api-key"}, agent.ClassCredential},
		{"no permission", agenttest.Step{Status: 403, Type: "permission_error", Message: "Your API key does not have permission to use the specified resource"}, agent.ClassCredential},
		{"payment", agenttest.Step{Status: 402, Type: "billing_error", Message: "no money"}, agent.ClassBilling},
		{"unknown model", agenttest.Step{Status: 404, Type: "not_found_error", Message: "model: nothing"}, agent.ClassModel},
		{"too large", agenttest.Step{Status: 413, Type: "request_too_large", Message: "Request exceeds the maximum size"}, agent.ClassTooLong},
		{"server error", agenttest.Step{Status: 500, Type: "api_error", Message: "Internal server error"}, agent.ClassOverloaded},
		{"gateway refuses", agenttest.Step{Status: 403, Type: "permission_error", Message: "nanoclaw: the request names a server tool"}, agent.ClassAPI},
		{"gateway finds nobody", agenttest.Step{Status: 502, Type: "api_error", Message: "nanoclaw: the model endpoint could not be reached: no answer in time"}, agent.ClassUnreachable},
		{"billing", agenttest.Step{Status: 400, Type: "invalid_request_error", Message: "Your credit balance is too low to access the Anthropic API."}, agent.ClassBilling},
		{"too long", agenttest.Step{Status: 400, Type: "invalid_request_error", Message: "prompt is too long: 300000 tokens > 200000 maximum"}, agent.ClassTooLong},
		{"overloaded", agenttest.Step{Status: 529, Type: "overloaded_error", Message: "Overloaded"}, agent.ClassOverloaded},
		{"rate limit", agenttest.Step{Status: 429, Type: "rate_limit_error", Message: "slow down"}, agent.ClassRateLimit},
		{"bad request", agenttest.Step{Status: 400, Type: "invalid_request_error", Message: "no"}, agent.ClassAPI},
	}
	m := newModel(t, agenttest.Puppet)
	c := openClaude(t, agenttest.ClaudeOptions(t, m))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m.Use(func(agenttest.Request) agenttest.Step { return tt.step })
			r, events := take(t, c, "hello")
			if !r.Failed || r.Class != tt.class || r.Error == "" {
				t.Errorf("result = %+v, want class %q", r, tt.class)
			}
			t.Logf("%s; notes: %s", r.Error, said(events, agent.NoteEvent))
		})
	}
	m.Use(agenttest.Puppet)
	if r, _ := take(t, c, "better?"); r.Failed {
		t.Errorf("the turn after the errors = %+v", r)
	}
}

// An answer that is cut off is asked for again, by Claude Code itself.
func TestContractCutOff(t *testing.T) {
	cut := true
	m := newModel(t, func(r agenttest.Request) agenttest.Step {
		step := agenttest.Puppet(r)
		step.Cut, cut = cut, false
		return step
	})
	c := openClaude(t, agenttest.ClaudeOptions(t, m))
	if r, _ := take(t, c, "hello there, and a little more"); r.Failed || r.Text != "You said: hello there, and a little more" {
		t.Errorf("result = %+v", r)
	}
}

// Nobody listens where the model should be.
func TestContractNoConnection(t *testing.T) {
	m := agenttest.NewModel(agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	c := openClaude(t, o)
	m.Close()
	if r, _ := take(t, c, "hello"); !r.Failed || r.Class != agent.ClassUnreachable {
		t.Errorf("result = %+v", r)
	}
}

// What the owner chose reaches the model; a session that is resumed is told what
// holds now, not what held when it began; and rounds are bounded.
func TestContractChoices(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	o.Model, o.Effort, o.SystemPrompt, o.MaxTurns = "claude-haiku-4-5", "low", "You live in a test called zebra.", 2
	c := openClaude(t, o)
	first, _ := take(t, c, "hello")
	request := m.Requests()[0]
	if request.Model != "claude-haiku-4-5" || !strings.Contains(string(request.Body), "called zebra") {
		t.Errorf("asked %s", request.Model)
	}
	c.Close()
	o.Resume, o.SystemPrompt, o.Model, o.Effort = first.SessionID, "You live in a test called lion.", "claude-opus-5-5", "low"
	c = openClaude(t, o)
	if r, _ := take(t, c, "hello again"); r.Failed {
		t.Fatalf("resumed: %+v", r)
	}
	all := m.Requests()
	last := string(all[len(all)-1].Body)
	if strings.Contains(last, "called zebra") || !strings.Contains(last, "called lion") || !strings.Contains(last, `"effort":"low"`) {
		t.Error("the resumed session was told what does not hold any more")
	}
	m.Use(func(agenttest.Request) agenttest.Step {
		return agenttest.Step{Tools: []agenttest.ToolUse{agenttest.Bash("true")}}
	})
	if r, _ := take(t, c, "go on for ever"); !r.Failed || r.Class != agent.ClassLimit {
		t.Errorf("without end = %+v", r)
	}
	m.Use(agenttest.Puppet)
	if r, _ := take(t, c, "and now?"); r.Failed {
		t.Errorf("after the limit = %+v", r)
	}
}

// Another model answers while the one that was asked for is overloaded.
func TestContractFallback(t *testing.T) {
	m := newModel(t, func(r agenttest.Request) agenttest.Step {
		if r.Model != "claude-haiku-4-5" {
			return agenttest.Step{Status: 529, Type: "overloaded_error", Message: "Overloaded"}
		}
		return agenttest.Puppet(r)
	})
	o := agenttest.ClaudeOptions(t, m)
	o.Fallback = "claude-haiku-4-5"
	o.Env = append(o.Env, "CLAUDE_CODE_MAX_RETRIES=4") // it looks for another model after the third refusal; the last one counts
	if r, _ := take(t, openClaude(t, o), "hello"); r.Failed || r.Text != "You said: hello" {
		t.Errorf("result = %+v", r)
	}
}

// The host hears of a compaction before it happens, with the file that holds the
// words until then.
func TestContractCompaction(t *testing.T) {
	m := newModel(t, agenttest.Steps(agenttest.Step{Text: "the window is full", InputTokens: 990_000}))
	o := agenttest.ClaudeOptions(t, m)
	var heard []string
	o.Compacting = func(_ context.Context, path string) {
		words, err := os.ReadFile(path)
		heard = append(heard, fmt.Sprint(strings.Contains(string(words), "remember aardvark"), strings.Contains(string(words), "compact_boundary"), err))
	}
	c := openClaude(t, o)
	first, _ := take(t, c, "remember aardvark")
	m.Use(func(r agenttest.Request) agenttest.Step {
		if strings.Contains(r.UserText, "Respond with TEXT ONLY") {
			return agenttest.Step{Text: "<summary>Something was to be remembered, and this is long enough to say so.</summary>"}
		}
		return agenttest.Puppet(r)
	})
	r, events := take(t, c, "go on")
	if r.Failed || r.SessionID != first.SessionID || !strings.Contains(said(events, agent.NoteEvent), "summarised") {
		t.Errorf("result = %+v", r)
	}
	if len(heard) != 1 || heard[0] != "true false <nil>" {
		t.Errorf("the host heard %q", heard)
	}
}

func TestContractKilled(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	c := openClaude(t, agenttest.ClaudeOptions(t, m))
	r, err := c.Turn(t.Context(), agent.Prompt{Text: "bash: kill -9 $PPID"}, nil)
	var e *agent.Error
	if !errors.As(err, &e) || e.Class != agent.ClassEnded {
		t.Errorf("turn = %+v, %v; want class %q", r, err, agent.ClassEnded)
	}
	if _, err := c.Turn(t.Context(), agent.Prompt{Text: "still there?"}, nil); err == nil {
		t.Error("a dead conversation took a turn")
	}
}
