package daemon

import (
	"fmt"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/chat"
)

// BenchmarkWarmContainer is the time from a message to the first text of its answer in
// a session that is warm: in a container, and beside it in host mode. The agent
// does nothing but ask the model.
func BenchmarkWarmContainer(b *testing.B) {
	m := agenttest.NewModel(flood)
	b.Cleanup(m.Close)
	i := benchInstall(b, "{}")
	i.env["ANTHROPIC_BASE_URL"], i.env["ANTHROPIC_API_KEY"] = m.URL, modelKey
	i.configure(fmt.Sprintf(`{"version": 1, "hostMode": {"enabled": true, "runsPerHour": 100000}, "agent": {"claude": {"path": %q}}, %s
		"groups": {"main": {"mode": "host", "hostModeAllowed": true}, "family": {"mode": "container", "trigger": "always"}}}`,
		built(b, standIn), claudeImage(b, i)))
	d, stop := i.run()
	b.Cleanup(stop)
	host, container := newViewer(b, d, chat.Main), newViewer(b, d, "family")
	host.ask(b, "ask", nil)
	container.ask(b, "ask", nil)
	times := newTimes("container", "host")
	for b.Loop() {
		for round := range 40 {
			time.Sleep(100 * time.Millisecond) // so that the model is not asked faster than a session may
			times.inTurn(round,
				func() { times.add("container", toFirst(b, time.Now(), container)) },
				func() { times.add("host", toFirst(b, time.Now(), host)) })
		}
	}
	times.report(b, "container", "as fast as host")
}
