package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
)

// What we rely on of the real Claude Code where messages follow each other.

func prompt(t *testing.T, text string) agent.Prompt {
	return agent.Prompt{UUID: agent.UUID(t.Name(), text), Text: text}
}

// fifo makes a named pipe. A command that writes to it waits for who reads, so
// that the test knows when it runs and says how long.
func fifo(t *testing.T, o agent.Options, name string) string {
	t.Helper()
	path := filepath.Join(o.Dir, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A message that comes while a tool runs is folded into the turn, one result
// lists both, and that it is completed is said before the result.
func TestContractFollowIsFolded(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	runs, end := fifo(t, o, "runs"), fifo(t, o, "end")
	c := openClaude(t, o)
	r, err := c.Turn(t.Context(), prompt(t, "bash: echo now > runs; cat end"), func(e agent.Event) {
		if e.Kind != agent.ToolEvent {
			return
		}
		if _, err := os.ReadFile(runs); err != nil {
			t.Error(err)
		}
		if err := c.(agent.Follower).Follow(prompt(t, "and bring a banana")); err != nil {
			t.Error(err)
		}
		time.AfterFunc(300*time.Millisecond, func() { os.WriteFile(end, nil, 0) }) // by then it was read, or it waits: both must be right
	})
	if err != nil || r.Failed || r.Interrupted || len(r.Done)+len(r.Unread) != 0 || !strings.Contains(r.Text, "The tools said") {
		t.Errorf("turn = %+v, %v", r, err)
	}
	last := m.Requests()[len(m.Requests())-1]
	if !strings.Contains(string(last.Body), "bring a banana") {
		t.Error("the message did not reach the model in this turn")
	}
	if err := c.(agent.Follower).Follow(prompt(t, "too late")); err != agent.ErrIdle {
		t.Errorf("following nothing = %v", err)
	}
	if next, _ := take(t, c, "next"); next.Text != "You said: next" {
		t.Errorf("the turn after = %+v", next)
	}
}

// A message that comes while the last answer is made has a turn of its own, and
// ours goes on until that is answered too.
func TestContractFollowIsQueued(t *testing.T) {
	release := make(chan struct{})
	m := newModel(t, func(r agenttest.Request) agenttest.Step {
		if strings.Contains(r.UserText, "first") {
			return agenttest.Step{Text: "the first answer", Until: release}
		}
		return agenttest.Puppet(r)
	})
	c := openClaude(t, agenttest.ClaudeOptions(t, m))
	type end struct {
		r   agent.Result
		err error
	}
	ended := make(chan end, 1)
	go func() {
		r, err := c.Turn(t.Context(), prompt(t, "first"), nil)
		ended <- end{r, err}
	}()
	for len(m.Requests()) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	if err := c.(agent.Follower).Follow(prompt(t, "second")); err != nil {
		t.Fatal(err)
	}
	close(release)
	e := <-ended
	if e.err != nil || e.r.Text != "the first answer\n\nYou said: second" || e.r.InputTokens != 200 {
		t.Errorf("turn = %+v, %v", e.r, e.err)
	}
}

// An interrupt drops what waits. That was never read; under another name it is
// answered, and under its own a live process would ignore it.
func TestContractInterruptDropsWhatWaits(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	runs := fifo(t, o, "runs")
	c := openClaude(t, o)
	waits := prompt(t, "what waits")
	r, err := c.Turn(t.Context(), prompt(t, "bash: echo now > runs; sleep 55"), func(e agent.Event) {
		if e.Kind != agent.ToolEvent {
			return
		}
		if _, err := os.ReadFile(runs); err != nil {
			t.Error(err)
		}
		if err := c.(agent.Follower).Follow(waits); err != nil {
			t.Error(err)
		}
		if err := c.Interrupt(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.(agent.Follower).Follow(prompt(t, "after the interrupt")); err != agent.ErrIdle {
			t.Errorf("following an interrupted turn = %v", err)
		}
	})
	if err != nil || !r.Interrupted || len(r.Unread) != 1 || r.Unread[0] != waits.UUID {
		t.Fatalf("turn = %+v, %v", r, err)
	}
	if same, err := c.Turn(t.Context(), waits, nil); err != nil || same.Class != agent.ClassDone {
		t.Errorf("the same name again = %+v, %v", same, err)
	}
	waits.UUID = agent.UUID(waits.UUID, "again")
	asked := len(m.Requests())
	if again, err := c.Turn(t.Context(), waits, nil); err != nil || again.Failed || len(m.Requests()) != asked+1 || !strings.Contains(m.Requests()[asked].UserText, waits.Text) {
		t.Errorf("another name = %+v, %v", again, err)
	}
}

// Several messages are answered in one turn, in their order. After a crash a
// message whose turn came to a tool is not done again: the conversation says that
// the tool's outcome is unknown, and a question gets an answer.
func TestContractCrash(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	o := agenttest.ClaudeOptions(t, m)
	o.Session = "12121212-3434-4565-8787-909090909090"
	c := openClaude(t, o)
	p := prompt(t, "bash: echo x >> made; "+agenttest.Written("made")+"; kill -9 $PPID")
	p.Before = []agent.Prompt{prompt(t, "before that"), prompt(t, "and that")}
	if r, err := c.Turn(t.Context(), p, nil); err == nil || r.SessionID != o.Session {
		t.Fatalf("the turn of a killed process = %+v, %v", r, err)
	}
	if q := m.Requests(); len(q) != 1 || !strings.HasPrefix(q[0].UserText, "before that\nand that\n") {
		t.Errorf("the model was asked %d times, with %q", len(q), q[0].UserText)
	}
	o.Resume = o.Session
	c = openClaude(t, o)
	r, err := c.Turn(t.Context(), p, nil)
	if err != nil || r.Class != agent.ClassDone || len(r.Done) == 0 || r.Done[len(r.Done)-1] != p.UUID {
		t.Errorf("the same again = %+v, %v", r, err)
	}
	if again, _ := take(t, c, "what came of it?"); again.Failed {
		t.Errorf("the question = %+v", again)
	}
	last := string(m.Requests()[len(m.Requests())-1].Body)
	for _, want := range []string{"before that", "echo x", "outcome is unknown", "what came of it?"} {
		if !strings.Contains(last, want) {
			t.Errorf("the conversation does not hold %q", want)
		}
	}
	if made, err := os.ReadFile(filepath.Join(o.Dir, "made")); string(made) != "x\n" {
		t.Errorf("the tool's effect: %q, %v", made, err)
	}
}

// A command is one only where it is marked. That a message is text, TestContractTurns
// shows.
func TestContractCommands(t *testing.T) {
	m := newModel(t, agenttest.Puppet)
	c := openClaude(t, agenttest.ClaudeOptions(t, m))
	take(t, c, "hello")
	for command, want := range map[string]string{"/cost": "cost", "/context": "Context Usage", "/compact": ""} {
		r, err := c.Turn(t.Context(), agent.Prompt{Text: command, Command: true}, nil)
		if err != nil || r.Failed || !strings.Contains(r.Text, want) || strings.Contains(r.Text, "You said") {
			t.Errorf("%s = %+v, %v", command, r, err)
		}
	}
	if r, _ := take(t, c, "still there?"); r.Failed || !strings.HasSuffix(r.Text, "still there?") {
		t.Errorf("the turn after = %+v", r)
	}
}
