package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// With real Claude Code: hooks and servers that lie in a workspace do nothing, until
// the owner trusts them by their hash. Then they work, the agent cannot change them
// by any name, and once they are not what the owner saw they do nothing again.
func TestTrustedWorkspace(t *testing.T) {
	i, _ := claudeInstall(t)
	i.configure(fmt.Sprintf(`{
		"version": 1,
		"hostMode": {"enabled": true},
		"agent": {"claude": {"path": %q}},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true}},
	}`, agenttest.Claude(t)))
	d, _ := i.run()
	main := listening(t, d, chat.Main)
	dir := filepath.Join(i.paths.DataDir, "groups", "main", "workspace")
	say := func(lines ...string) string {
		t.Helper()
		id := main.says(strings.Join(lines, "\n"))
		a, err := d.Wait(t.Context(), chat.Main, id)
		if must(t, err); a.State != control.Succeeded {
			t.Fatalf("%+v", a)
		}
		return main.hears(chat.Reply).Text
	}
	look := control.TrustRequest{Group: chat.Main}
	if _, err := d.Trust(t.Context(), look); err == nil || !strings.Contains(err.Error(), "has no .claude and no .mcp.json") {
		t.Errorf("an empty workspace: %v", err)
	}
	say("bash: echo hello") // which makes the workspace

	settings := filepath.Join(dir, ".claude", "settings.json")
	write := func(name, text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(text), 0o755))
	}
	const hook = `{"enableAllProjectMcpServers": true, "hooks": {"UserPromptSubmit": [{"hooks": [{"type": "command", "command": "echo x >> /workspace/group/hooked"}]}]}}`
	write(settings, hook)
	program, err := json.Marshal(readTest(t, "testdata/server.py"))
	must(t, err)
	write(filepath.Join(dir, ".mcp.json"), fmt.Sprintf(`{"mcpServers": {"proj": {"command": "/usr/bin/python3", "args": ["-I", "-c", %s]}}}`, program))
	hooked := func() int {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "hooked"))
		if errors.Is(err, fs.ErrNotExist) {
			return 0
		}
		must(t, err)
		return strings.Count(string(text), "x")
	}
	restart := func() { // what is obeyed is decided at the start of a session
		t.Helper()
		_, err := d.runner.Stop(t.Context(), "", chat.Main)
		must(t, err)
	}

	restart()
	if text := say(call("mcp__proj__echo", "one")); hooked() != 0 || !strings.Contains(text, "No such tool available") {
		t.Errorf("before it is trusted, %d hooks and %s", hooked(), text)
	}
	seen, err := d.Trust(t.Context(), look)
	if must(t, err); seen.Done || !strings.Contains(seen.Text, `".claude/settings.json" program`) || !strings.Contains(seen.Text, `".mcp.json"`) {
		t.Errorf("shown: %+v", seen)
	}
	write(settings, hook+"\n")
	if _, err := d.Trust(t.Context(), control.TrustRequest{Group: chat.Main, Hash: seen.Hash}); err == nil || !strings.Contains(err.Error(), "another hash") {
		t.Errorf("what changed after it was shown: %v", err)
	}
	write(settings, hook)
	got, err := d.Trust(t.Context(), control.TrustRequest{Group: chat.Main, Hash: seen.Hash})
	if must(t, err); !got.Done {
		t.Errorf("trusted: %+v", got)
	}

	text := say(call("mcp__proj__echo", "two"),
		"bash: for f in .claude/settings.json .mcp.json .claude/skills/new; do echo '{}' > $f; done; mv .claude old; rm -r .claude .mcp.json; ln -sf /tmp .claude; chmod 777 .claude/settings.json; echo done")
	if hooked() != 1 || !strings.Contains(text, "echo of two") || !strings.Contains(text, "done") {
		t.Errorf("while it is trusted, %d hooks and %s", hooked(), text)
	}
	if now, err := d.Trust(t.Context(), look); err != nil || !now.Done {
		t.Errorf("an agent changed what its owner trusted: %+v, %v", now, err)
	}

	write(settings, strings.Replace(hook, "echo x", "echo xx", 1))
	main.says(call("mcp__proj__echo", "three"))
	if text := main.hears(chat.Notice).Text; !strings.Contains(text, "is not what you saw any more") {
		t.Errorf("the owner is told %q", text)
	}
	if text := main.hears(chat.Reply).Text; hooked() != 1 || !strings.Contains(text, "No such tool available") {
		t.Errorf("after it changed, %d hooks and %s", hooked(), text)
	}
	must(t, os.Rename(filepath.Join(dir, ".claude"), filepath.Join(dir, "real")))
	must(t, os.Symlink("real", filepath.Join(dir, ".claude")))
	write(filepath.Join(dir, "real", "settings.json"), hook)
	if say("bash: echo a link"); hooked() != 1 {
		t.Error("a link to what was trusted is obeyed")
	}
}
