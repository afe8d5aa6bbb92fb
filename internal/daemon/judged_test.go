package daemon

import (
	"fmt"
	"strings"
	"testing"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

// With real Claude Code: where a rule asks about one of the host's own tools, what
// the agent's shell sends to the endpoint passes neither before the owner's yes nor
// after it, with the very same arguments, while the call that was shown is done
// once. A tool without a rule needs nothing.
func TestNobodyCallsPastARule(t *testing.T) {
	i, _ := claudeInstall(t)
	i.configure(fmt.Sprintf(`{
		"version": 1,
		"hostMode": {"enabled": true},
		"agent": {"claude": {"path": %q}},
		"permissions": {"ask": ["mcp__nanoclaw__send_message"]},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true}},
	}`, agenttest.Claude(t)))
	d, _ := i.run()
	main := listening(t, d, chat.Main)
	past := func(tool, args string) string {
		return fmt.Sprintf(`bash: curl -sS -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' http://127.0.0.1:%d/mcp -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}'`, grant.ToolsPort, tool, args)
	}
	const words = `{"text":"the words that were shown"}`
	id := main.says(strings.Join([]string{
		past("send_message", words), "tool: mcp__nanoclaw__send_message " + words, past("send_message", words), past("list_groups", "{}"),
	}, "\n"))
	_, err := d.Approve(t.Context(), control.ApproveRequest{Code: main.code(main.hears(chat.Question)), Yes: true})
	must(t, err)
	a, err := d.Wait(t.Context(), chat.Main, id)
	must(t, err)
	main.hears(chat.Reply)
	all, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: string(audit.HostToolCalled)})
	must(t, err)
	var got []string
	for _, e := range all {
		for _, v := range []string{"refused", "allowed"} {
			if strings.Contains(string(e.Data), `"verdict":"`+v+`"`) {
				got = append(got, v)
			}
		}
	}
	if want := "[refused allowed refused allowed]"; fmt.Sprint(got) != want {
		t.Errorf("the calls were %v, want %s: %+v", got, want, all)
	}
	if !strings.Contains(string(all[0].Data), "nobody let this very call pass") {
		t.Errorf("the first refusal is %s", all[0].Data)
	}
}
