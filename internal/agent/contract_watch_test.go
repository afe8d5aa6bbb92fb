package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/wire"
)

// Whatever happens to the check of a call, the tool does not run unless the check
// let it pass.
func TestContractCheckFailsClosed(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for _, p := range []agent.Permission{agent.Bypass, agent.AskFirst} {
		o := agenttest.ClaudeOptions(t, m)
		o.ToolTime, o.Permission = 3*time.Second, p
		o.Tool = func(_ context.Context, c agent.ToolCall) agent.ToolVerdict {
			switch in := string(c.Input); {
			case strings.Contains(in, "panic"):
				panic("a bug")
			case strings.Contains(in, "slow"):
				<-over // it does not even heed that nobody waits any more
			case strings.Contains(in, "refuse"):
				return agent.ToolVerdict{Deny: "not today"}
			}
			return agent.ToolVerdict{}
		}
		c := openClaude(t, o)
		for name, want := range map[string]string{"panic": "the host failed to check", "slow": "not check this call in time", "refuse": "not today"} {
			t.Run(name+" "+string(p), func(t *testing.T) {
				r, _ := take(t, c, "bash: touch "+name)
				// On a machine that is too busy Claude Code's own clock is first.
				if !strings.Contains(r.Text, want) && !strings.Contains(r.Text, "did not respond before its timeout") {
					t.Errorf("result = %+v, want %q", r, want)
				}
				if _, err := os.Lstat(filepath.Join(o.Dir, name)); err == nil {
					t.Error("the tool ran")
				}
			})
		}
	}
}

// deaf is a box whose process never hears our answers about tools.
type deaf struct{ agent.Box }

func (d deaf) Exec(ctx context.Context, e wire.Exec) (agent.Process, error) {
	p, err := d.Box.Exec(ctx, e)
	return deafProcess{p}, err
}

type deafProcess struct{ agent.Process }

func (p deafProcess) Stdin() io.WriteCloser { return deafStdin{p.Process.Stdin()} }

type deafStdin struct{ io.WriteCloser }

func (w deafStdin) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(`"hookEventName"`)) || bytes.Contains(line, []byte(`"response":{}`)) {
		return len(line), nil
	}
	return w.WriteCloser.Write(line)
}

// An answer that never arrives refuses the call, by Claude Code's own clock.
func TestContractLostAnswerRefuses(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	o.ToolTime = 100 * time.Millisecond
	o.Tool = agenttest.Tool(func(agent.ToolCall) string { return "" })
	c, err := agent.Claude{}.Open(t.Context(), deaf{agenttest.Local{}}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, _ := take(t, c, "bash: touch made")
	if _, err := os.Lstat(filepath.Join(o.Dir, "made")); err == nil {
		t.Errorf("the tool ran: %+v", r)
	}
}

// In the mode AskFirst Claude Code holds calls back by itself too, an approved
// call runs with the arguments that were approved, and a refusal may end the turn.
func TestContractAskFirst(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	o.Permission = agent.AskFirst
	o.Tool = func(_ context.Context, c agent.ToolCall) agent.ToolVerdict {
		switch {
		case strings.Contains(string(c.Input), "stop"):
			return agent.ToolVerdict{Deny: "this is the end", Stop: true}
		case strings.Contains(string(c.Input), "swapped"):
			return agent.ToolVerdict{Input: json.RawMessage(`{"command":"touch approved; rm -rf approved2"}`)}
		}
		return agent.ToolVerdict{}
	}
	c := openClaude(t, o)
	for _, text := range []string{
		"bash: touch made; cat /etc/hostname > made2", `tool: Write {"file_path":"` + o.Dir + `/written","content":"x"}`, "bash: touch swapped",
	} {
		if r, _ := take(t, c, text); r.Failed {
			t.Errorf("%s = %+v", text, r)
		}
	}
	for _, name := range []string{"made", "made2", "written", "approved"} {
		if _, err := os.Lstat(filepath.Join(o.Dir, name)); err != nil {
			t.Errorf("the approved call did not make %s", name)
		}
	}
	if _, err := os.Lstat(filepath.Join(o.Dir, "swapped")); err == nil {
		t.Error("a call ran with other arguments than those approved")
	}
	before := len(m.Requests())
	if r, _ := take(t, c, "bash: touch stop"); r.Failed || r.ToolCalls != 1 || len(m.Requests())-before != 1 {
		t.Errorf("after the end the model was asked once more: %+v", r)
	}
	if r, _ := take(t, c, "still there?"); r.Failed || r.Text == "" {
		t.Errorf("the turn after = %+v", r)
	}
}

// Without a hook that lets it pass, a call in the mode AskFirst does not run.
func TestContractAskFirstWithoutAHook(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	o.Permission = agent.AskFirst
	c, err := agent.Claude{}.Open(t.Context(), unhooked{agenttest.Local{}}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, _ := take(t, c, "bash: touch made")
	if _, err := os.Lstat(filepath.Join(o.Dir, "made")); err == nil || !strings.Contains(r.Text, "person's consent") {
		t.Errorf("result = %+v, made: %v", r, err == nil)
	}
}

// unhooked is a box in which our hook is lost on the way.
type unhooked struct{ agent.Box }

func (d unhooked) Exec(ctx context.Context, e wire.Exec) (agent.Process, error) {
	p, err := d.Box.Exec(ctx, e)
	return unhookedProcess{p}, err
}

type unhookedProcess struct{ agent.Process }

func (p unhookedProcess) Stdin() io.WriteCloser { return unhookedStdin{p.Process.Stdin()} }

type unhookedStdin struct{ io.WriteCloser }

func (w unhookedStdin) Write(line []byte) (int, error) {
	_, err := w.WriteCloser.Write(bytes.Replace(line, []byte(`"PreToolUse":`), []byte(`"PostToolUse":`), 1))
	return len(line), err
}

// A question that an interrupt makes pointless is withdrawn at once.
func TestContractInterruptWithdraws(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	asked, withdrawn := make(chan struct{}), make(chan struct{})
	o.ToolTime = time.Hour
	o.Tool = func(ctx context.Context, _ agent.ToolCall) agent.ToolVerdict {
		close(asked)
		<-ctx.Done()
		close(withdrawn)
		return agent.ToolVerdict{}
	}
	c := openClaude(t, o)
	go func() { <-asked; c.Interrupt(context.Background()) }()
	r, _ := take(t, c, "bash: touch made")
	if !r.Interrupted {
		t.Errorf("result = %+v", r)
	}
	<-withdrawn
	if _, err := os.Lstat(filepath.Join(o.Dir, "made")); err == nil {
		t.Error("the tool ran")
	}
}

// An agent that works without asking does not start where nothing proves the
// boundary; one that asks does.
func TestUnprovenBox(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	var e *agent.Error
	if c, err := (agent.Claude{}).Open(t.Context(), agenttest.Local{Unproven: true}, o); !errors.As(err, &e) || e.Class != agent.ClassStart || !strings.Contains(e.Text, "nothing proves") {
		t.Errorf("open = %v, %v", c, err)
	}
	o.Permission = agent.AskFirst
	c, err := agent.Claude{}.Open(t.Context(), agenttest.Local{Unproven: true}, o)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
