package daemon

import (
	"fmt"
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

// The daemon is killed after the agent called a tool of an MCP server. The host cannot
// tell what came of that; the agent that takes the work up is told of the call, without
// the credential in it, and looks before it makes it again.
func TestCallsOfServersSurviveKills(t *testing.T) {
	init := filepath.Join(t.TempDir(), "nanoclaw-init")
	must(t, os.WriteFile(init, boundarytest.Init(t), 0o755))
	web := newWebServer(t)
	i, m := serverInstall(t, fmt.Sprintf(`"my.web": {"url": %q, "headers": {"Authorization": "Bearer ${WEB_TOKEN}"}, "modes": ["host"]}`, web.url))
	buy := agenttest.ToolUse{Name: "mcp__my_web__echo", Input: map[string]string{"text": "buy one", "token": "sk-ant-api03-canarycanarycanarycanary"}}
	hold, bought := make(chan struct{}), make(chan struct{}, 10)
	m.Use(func(r agenttest.Request) agenttest.Step {
		if strings.Contains(strings.Join(r.ToolResults, ""), "web echo of") {
			bought <- struct{}{}
			return agenttest.Step{Until: hold}
		}
		return agenttest.Step{Tools: []agenttest.ToolUse{buy}}
	})
	cmd, _ := start(t, victim{Paths: i.paths, Env: i.env, Init: init, Say: "buy one for me"})
	<-bought
	must(t, cmd.Process.Kill())
	cmd.Wait()

	m.Use(func(agenttest.Request) agenttest.Step { return agenttest.Step{Text: "I looked: it was bought"} })
	close(hold)
	seen := len(m.Requests())
	d, _ := i.run()
	if heard := hear(t, d, chat.Main); heard != "I looked: it was bought" {
		t.Errorf("heard %q", heard)
	}
	told := ""
	for _, r := range m.Requests()[seen:] {
		if _, note, ok := strings.Cut(string(r.Body), "these calls of MCP tools were begun"); ok {
			told, _, _ = strings.Cut(note, "host>")
		}
	}
	if !strings.Contains(told, "mcp__my_web__echo at ") || !strings.Contains(told, "buy one") || strings.Contains(told, "canary") {
		t.Errorf("the agent was told %q", told)
	}
}
