package agent_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
)

func openShell(t *testing.T, o agent.Options) agent.Conversation {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Env = append(o.Env, "PATH=/usr/bin:/bin", "HOME="+o.Dir)
	c, err := agent.Shell{}.Open(t.Context(), agenttest.Local{}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestShellAnswers(t *testing.T) {
	tests := []struct {
		name, command, want string
		truncated           bool
		failed              bool
	}{
		{name: "output", command: "echo hello", want: "hello"},
		{name: "bash words", command: "a=(1 2 3); echo ${#a[@]}", want: "3"},
		{name: "both outputs in order", command: "echo a; echo b >&2; echo c; echo d >&2", want: "a\nb\nc\nd"},
		{name: "exit code", command: "echo no; exit 3", want: "no\nexit 3"},
		{name: "killed", command: "kill -9 $$", want: "killed by signal 9 (killed)"},
		{name: "nothing", command: "true", want: "(no output)"},
		{name: "no input to wait for", command: "cat", want: "(no output)"},
		{name: "quotes stay the command's own", command: `echo '"$1"' "$0"`, want: `"$1" bash`},
		{name: "not text", command: `printf 'a\xffb'`, want: "a\uFFFDb"},
		{name: "cut", command: "head -c 3000 /dev/zero | tr '\\0' x", want: strings.Repeat("x", 1000), truncated: true},
		{name: "zero byte", command: "echo a\x00b", failed: true},
		{name: "too long", command: strings.Repeat("x", 130<<10), failed: true},
		{name: "left in the background", command: "sleep 60 & echo done", want: "done"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := openShell(t, agent.Options{MaxOutput: 1000})
			var seen strings.Builder
			r, err := c.Turn(t.Context(), agent.Prompt{Text: tt.command}, func(e agent.Event) { seen.WriteString(e.Text) })
			if err != nil {
				t.Fatal(err)
			}
			if r.Failed != tt.failed || r.Failed != (r.Error != "") {
				t.Fatalf("failed = %v (%q), want %v", r.Failed, r.Error, tt.failed)
			}
			if r.Text != tt.want || r.Truncated != tt.truncated {
				t.Errorf("text = %q, truncated %v; want %q, %v", r.Text, r.Truncated, tt.want, tt.truncated)
			}
			if s := strings.TrimRight(seen.String(), "\n"); !strings.HasPrefix(r.Text, s) {
				t.Errorf("streamed %q, which is not how the answer %q begins", s, r.Text)
			}
		})
	}
}

func TestShellSeesOnlyTheGivenEnvironment(t *testing.T) {
	t.Setenv("NANOCLAW_TEST_SECRET", "hunter2")
	c := openShell(t, agent.Options{})
	r, err := c.Turn(t.Context(), agent.Prompt{Text: "env"}, func(agent.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.Text, "hunter2") || !strings.Contains(r.Text, "HOME=") {
		t.Errorf("environment of the command:\n%s", r.Text)
	}
}

func TestShellInterrupt(t *testing.T) {
	tests := []struct{ name, command string }{
		{"heeds", "echo ready; sleep 60"},
		{"does not heed", "trap '' INT; echo ready; while :; do sleep 1; done"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := openShell(t, agent.Options{})
			r, err := c.Turn(t.Context(), agent.Prompt{Text: tt.command}, func(e agent.Event) {
				if strings.Contains(e.Text, "ready") {
					if err := c.Interrupt(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if !r.Interrupted || r.Text != "ready" {
				t.Errorf("result = %+v", r)
			}
			r, err = c.Turn(t.Context(), agent.Prompt{Text: "echo again"}, func(agent.Event) {})
			if err != nil || r.Text != "again" || r.Interrupted {
				t.Errorf("next turn = %+v, %v", r, err)
			}
		})
	}
}

func TestShellIsKilledWithItsContext(t *testing.T) {
	c := openShell(t, agent.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the run took too long")
	_, err := c.Turn(ctx, agent.Prompt{Text: "echo $$ > pid; echo ready; trap '' INT TERM; sleep 60; sleep 60"}, func(agent.Event) { cancel(why) })
	if !errors.Is(err, why) {
		t.Errorf("error = %v, want it to hold %v", err, why)
	}
}

func TestShellCloseEndsTheTurn(t *testing.T) {
	c := openShell(t, agent.Options{})
	ready := make(chan struct{})
	closed := make(chan error, 1)
	go func() { <-ready; closed <- c.Close() }()
	r, err := c.Turn(t.Context(), agent.Prompt{Text: "echo ready; sleep 60"}, func(agent.Event) { close(ready) })
	if err != nil || !strings.Contains(r.Text, "killed") {
		t.Errorf("turn = %+v, %v", r, err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := c.Turn(t.Context(), agent.Prompt{Text: "true"}, nil); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("turn after close = %v", err)
	}
}

func TestShellStopsAFlood(t *testing.T) {
	c := openShell(t, agent.Options{MaxOutput: 100})
	start := time.Now()
	r, err := c.Turn(t.Context(), agent.Prompt{Text: "yes"}, func(agent.Event) {})
	if err != nil || !r.Truncated || !strings.Contains(r.Text, "stopped: it wrote more than") {
		t.Errorf("result = %+v, %v", r, err)
	}
	t.Logf("stopped after %v", time.Since(start))
}

func TestShellStartFailure(t *testing.T) {
	c, _ := agent.Shell{}.Open(t.Context(), agenttest.Local{}, agent.Options{Dir: "/nowhere"})
	_, err := c.Turn(t.Context(), agent.Prompt{Text: "true"}, func(agent.Event) {})
	var e *agent.Error
	if !errors.As(err, &e) || e.Class != agent.ClassStart {
		t.Errorf("error = %v, want class %q", err, agent.ClassStart)
	}
}

func TestGreetingSaysWhatItIs(t *testing.T) {
	for _, want := range []string{"shell", "no model", "id -u", "Claude"} {
		if !strings.Contains(agent.Greeting(), want) {
			t.Errorf("the greeting does not mention %q", want)
		}
	}
}
