package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// The daemon is killed after the agent sent a message through a host tool. The agent
// that takes the work up is told of it; one that sends it once more all the same does
// not send it twice.
func TestEffectsSurviveKills(t *testing.T) {
	init := filepath.Join(t.TempDir(), "nanoclaw-init")
	must(t, os.WriteFile(init, boundarytest.Init(t), 0o755))
	i, m := claudeInstall(t)
	send := agenttest.ToolUse{Name: "mcp__nanoclaw__send_message", Input: map[string]string{"text": "half-way there"}}
	hold, sent := make(chan struct{}), make(chan struct{}, 10)
	m.Use(func(r agenttest.Request) agenttest.Step {
		if strings.Contains(strings.Join(r.ToolResults, ""), "Sent to main") {
			sent <- struct{}{}
			return agenttest.Step{Until: hold}
		}
		return agenttest.Step{Tools: []agenttest.ToolUse{send}}
	})
	cmd, _ := start(t, victim{Paths: i.paths, Env: i.env, Init: init, Say: "tell me when you are half-way"})
	<-sent
	must(t, cmd.Process.Kill())
	cmd.Wait()

	var stubborn atomic.Bool
	m.Use(func(r agenttest.Request) agenttest.Step {
		results := strings.Join(r.ToolResults, "\n")
		if strings.Contains(results, "is not done twice") {
			return agenttest.Step{Text: "it was sent before"}
		}
		if stubborn.Swap(true) {
			return agenttest.Step{Text: "the second said " + results}
		}
		return agenttest.Step{Tools: []agenttest.ToolUse{send}}
	})
	close(hold)
	d, _ := i.run()
	heard := hear(t, d, chat.Main)
	for heard == "half-way there" { // the message of the killed run, which nobody had heard
		heard = hear(t, d, chat.Main)
	}
	if heard != "it was sent before" {
		t.Errorf("the agent was told %q", heard)
	}
	told := false
	for _, r := range m.Requests() {
		told = told || strings.Contains(string(r.Body), "was done through the host's tools")
	}
	if !told {
		t.Error("the agent was not told what had been done")
	}
	runs, err := d.Runs(t.Context(), control.RunsQuery{})
	must(t, err)
	times := 0
	for _, r := range runs {
		said, err := d.store.RunReplies(t.Context(), r.ID)
		must(t, err)
		for _, s := range said {
			if s.Text == "half-way there" {
				times++
			}
		}
	}
	if len(runs) != 2 || times != 1 {
		t.Errorf("it was sent %d times in %d runs", times, len(runs))
	}
}
