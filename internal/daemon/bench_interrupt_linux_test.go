package daemon

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// BenchmarkInterrupt is the time from the owner's Ctrl-C to the moment when real
// Claude Code has stopped a command in its tracks, and to the end of the run with
// its notice in the outbox. The peer is the same program driven by hand, without
// boundary, wire and store.
func BenchmarkInterrupt(b *testing.B) {
	i, m := claudeInstall(b)
	d, stop := i.run()
	defer stop()
	m.Use(func(r agenttest.Request) agenttest.Step {
		r.ToolResults = nil // what was interrupted comes along with the next message
		return agenttest.Puppet(r)
	})
	hand, o := interruptible(b, m)
	const work = "bash: echo x > begun; sleep 300"
	times := newTimes("heard", "run over", "by hand, heard", "by hand, over")
	for round := 0; b.Loop(); round++ {
		times.inTurn(round,
			func() {
				begun := filepath.Join(d.machine.GroupDir(chat.Main), "workspace", "begun")
				id, err := d.Say(b.Context(), control.SayRequest{Group: chat.Main, Text: work})
				must(b, err)
				gone(b, begun)
				began := time.Now()
				must(b, d.Interrupt(b.Context(), chat.Main))
				times.add("heard", time.Since(began))
				a, err := d.Wait(b.Context(), chat.Main, id)
				must(b, err)
				times.add("run over", time.Since(began))
				if a.State != "cancelled" {
					b.Fatalf("the run ended as %+v", a)
				}
			},
			func() {
				over := make(chan struct{})
				go func() {
					defer close(over)
					hand.Turn(context.Background(), agent.Prompt{Text: work}, nil)
				}()
				gone(b, filepath.Join(o.Dir, "begun"))
				began := time.Now()
				must(b, hand.Interrupt(b.Context()))
				times.add("by hand, heard", time.Since(began))
				<-over
				times.add("by hand, over", time.Since(began))
			},
		)
	}
	times.report(b, "heard", "100 ms until it is heard")
}

// interruptible is a conversation with Claude Code as a plain child.
func interruptible(b *testing.B, m *agenttest.Model) (agent.Conversation, agent.Options) {
	b.Helper()
	o := agenttest.ClaudeOptions(b, m)
	c, err := agent.Claude{}.Open(b.Context(), agenttest.Local{}, o)
	must(b, err)
	b.Cleanup(func() { c.Close() })
	return c, o
}

// gone waits for a file and takes it away.
func gone(b *testing.B, path string) {
	b.Helper()
	for os.Remove(path) != nil {
		time.Sleep(2 * time.Millisecond)
	}
}
