package daemon

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/runner"
)

// claudeWith is claudeInstall with further fields for the group family.
func claudeWith(t *testing.T, family string) (*install, *agenttest.Model) {
	t.Helper()
	i, m := claudeInstall(t)
	i.configure(fmt.Sprintf(`{
		"version": 1,
		"hostMode": {"enabled": true},
		"agent": {"claude": {"path": %q, "effort": "medium"}},
		"groups": {
			"main": {"mode": "host", "hostModeAllowed": true, "promptFile": "prompts/main.md"},
			"family": {"mode": "host", "hostModeAllowed": true%s},
		},
	}`, agenttest.Claude(t), family))
	write(t, filepath.Join(i.paths.ConfigDir, "prompts", "main.md"), "prompt-of-main")
	return i, m
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// leave writes a file into a group's folder as its agent would have.
func leave(t *testing.T, d *Daemon, g chat.Group, path, text string) {
	t.Helper()
	dir := d.machine.GroupDir(g)
	write(t, filepath.Join(dir, path), text)
	if os.Geteuid() != 0 {
		return
	}
	uid, err := d.uid(t.Context(), g)
	must(t, err)
	for p := filepath.Join(dir, path); p != dir; p = filepath.Dir(p) {
		must(t, os.Lchown(p, uid, uid))
	}
}

// bodies are the requests to the model since the n-th.
func bodies(m *agenttest.Model, n int) string {
	var b bytes.Buffer
	for _, r := range m.Requests()[n:] {
		b.Write(r.Body)
	}
	return b.String()
}

func skill(name, about string) string {
	return "---\nname: " + name + "\ndescription: " + about + "\n---\nDo it.\n"
}

// The model is told both memories, the owner's skills and prompt, and how the
// chat shows text; what the owner chose of model and effort is asked for. Agents
// find the memory of all groups above their workspace, where the first NanoClaw
// had it, and only main can change it. Skills that an agent wrote are none.
func TestMemorySkillsAndChoices(t *testing.T) {
	i, m := claudeWith(t, `, "model": "claude-haiku-4-5", "effort": "low", "prompt": "prompt-of-family", "maxTurns": 9`)
	write(t, filepath.Join(i.paths.ConfigDir, "skills", "zebra", "SKILL.md"), skill("zebra", "skill-for-all"))
	write(t, filepath.Join(i.paths.ConfigDir, "skills", "README.md"), "not a skill")
	write(t, filepath.Join(i.paths.ConfigDir, "groups", "family", "skills", "lion", "SKILL.md"), skill("lion", "skill-for-family"))
	d, _ := i.run()
	must(t, d.prepare(t.Context(), "family"))
	for path, want := range map[string]string{
		d.machine.GlobalDir + "/CLAUDE.md":                        FirstGlobal,
		d.machine.GroupDir("family") + "/workspace/" + memoryName: FirstMemory,
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s of a new group holds %q, %v", path, got, err)
		}
	}
	leave(t, d, "family", "workspace/CLAUDE.md", "memory-of-the-group")
	leave(t, d, "family", "workspace/.claude/skills/evil/SKILL.md", skill("evil", "planted-skill"))
	leave(t, d, "family", "home/.claude/skills/evil/SKILL.md", skill("evil", "planted-skill"))

	if a := ask(t, d, chat.Main, "bash: echo memory-of-all > ../CLAUDE.md; cat /workspace/global/CLAUDE.md"); !strings.Contains(a.text(), "memory-of-all") {
		t.Fatalf("main: %+v\n%s", a.Answer, a.text())
	}
	if told := bodies(m, 0); !strings.Contains(told, "prompt-of-main") || !strings.Contains(told, "skill-for-all") || strings.Contains(told, "skill-for-family") || !strings.Contains(told, `"effort":"medium"`) {
		t.Error("main was told not what is main's")
	}
	n := len(m.Requests())
	a := ask(t, d, "family", strings.Join([]string{
		"bash: cat ../CLAUDE.md; echo forged > ../CLAUDE.md; rm ../CLAUDE.md; echo forged > /workspace/global/CLAUDE.md; cat ../CLAUDE.md",
		"bash: cd $CLAUDE_CONFIG_DIR/skills; echo forged > zebra/SKILL.md; rm -r lion; mkdir evil; mv zebra x; ls",
	}, "\n"))
	if a.State != control.Succeeded || strings.Contains(a.text(), "forged\n") || strings.Count(a.text(), "memory-of-all") != 2 || !strings.Contains(a.text(), "lion\nzebra") {
		t.Errorf("family: %+v\n%s", a.Answer, a.text())
	}
	told := bodies(m, n)
	for _, want := range []string{"memory-of-all", "memory-of-the-group", "skill-for-all", "skill-for-family", "prompt-of-family", "shown in a terminal", `"model":"claude-haiku-4-5"`} {
		if !strings.Contains(told, want) {
			t.Errorf("the model was not told %q", want)
		}
	}
	for _, not := range []string{"planted-skill", "prompt-of-main"} {
		if strings.Contains(told, not) {
			t.Errorf("the model was told %q", not)
		}
	}
	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: "family"})
	must(t, err)
	for _, want := range []string{"setting model claude-haiku-4-5  # groups.family.model", "setting effort low", "setting max-turns 9", `setting prompt "prompt-of-family"`} {
		if !strings.Contains(p.Text, want) {
			t.Errorf("the policy does not say %q", want)
		}
	}
}

// A Claude Code that is installed while the daemon runs is used by the next run.
func TestInstalledMeanwhile(t *testing.T) {
	i, _ := claudeInstall(t)
	program := filepath.Join(t.TempDir(), "claude")
	i.configure(fmt.Sprintf(`{"version": 1, "hostMode": {"enabled": true}, "agent": {"claude": {"path": %q}}, "groups": {"main": {"mode": "host", "hostModeAllowed": true}}}`, program))
	d := i.open()
	defer d.Close()
	agentOf := func() string {
		t.Helper()
		p, err := d.Policy(t.Context(), control.PolicyQuery{Group: chat.Main})
		must(t, err)
		return strings.Split(p.Text, "\n")[2]
	}
	if got := agentOf(); got != "agent shell" {
		t.Errorf("without a program: %s", got)
	}
	must(t, os.Symlink(agenttest.Claude(t), program))
	if got := agentOf(); got != "agent claude" {
		t.Errorf("with one: %s", got)
	}
}

// archives are the pages in a group's conversations.
func archives(t *testing.T, d *Daemon, g chat.Group) (names []string, text string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(d.machine.GroupDir(g), "workspace", "conversations", "*.md"))
	must(t, err)
	for _, p := range names {
		b, err := os.ReadFile(p)
		must(t, err)
		text += string(b)
	}
	return names, text
}

// compactNext makes the next message of a conversation compact it first: the
// model claims that the one before filled its window.
func compactNext(m *agenttest.Model) {
	full := true
	m.Use(func(r agenttest.Request) agenttest.Step {
		switch {
		case strings.Contains(r.UserText, "Respond with TEXT ONLY"):
			return agenttest.Step{Text: "<summary>We spoke of colours, at a length that makes a summary worth having.</summary>"}
		case full:
			full = false
			return agenttest.Step{Text: "the window is full", InputTokens: 990_000}
		}
		return agenttest.Puppet(r)
	})
}

// Before a conversation is compacted its words go into conversations/, written
// inside: a folder of that name that leads elsewhere leads nowhere that the agent
// could not have written itself.
func TestCompactionIsArchived(t *testing.T) {
	i, m := claudeInstall(t)
	d, _ := i.run()
	say := func(text string) answer {
		t.Helper()
		a := ask(t, d, "family", text)
		if a.State != control.Succeeded {
			t.Fatalf("%s: %+v\n%s", text, a.Answer, a.text())
		}
		return a
	}
	say("my favourite colour is teal")
	compactNext(m)
	say("and of the sea?")
	if a := say("what next?"); !strings.Contains(a.text(), "what next?") {
		t.Errorf("after the compaction: %s", a.text())
	}
	names, text := archives(t, d, "family")
	if len(names) != 1 || !strings.Contains(text, "my favourite colour is teal") || !strings.Contains(text, "**Andy**: the window is full") || strings.Contains(text, "TEXT ONLY") {
		t.Fatalf("the archives are %q:\n%s", names, text)
	}
	if all := m.Requests(); bytes.Contains(all[len(all)-1].Body, []byte("colour is teal")) {
		t.Error("the conversation was not compacted")
	}
	say("bash: mv conversations old; ln -s /workspace/global conversations; ls -l")
	compactNext(m)
	say("and of the sky?")
	say("and then?")
	found, err := os.ReadDir(d.machine.GlobalDir)
	must(t, err)
	if len(found) != 1 || found[0].Name() != memoryName {
		t.Errorf("the memory of all groups holds %v", found)
	}
}

// A conversation that the model does not take any more is begun anew by the host,
// once: what was said is archived, the agent is told, and the message is answered.
func TestTooLongBeginsAnew(t *testing.T) {
	i, m := claudeInstall(t)
	d, _ := i.run()
	first := ask(t, d, "family", "remember aardvark")
	// What is told of the conversation before is short, and passes.
	m.Use(func(r agenttest.Request) agenttest.Step {
		if bytes.Contains(r.Body, []byte("aardvark")) && !bytes.Contains(r.Body, []byte(`<earlier>\n`)) || bytes.Contains(r.Body, []byte("aardvark again")) {
			return agenttest.Step{Status: 400, Type: "invalid_request_error", Message: "prompt is too long: 1100000 tokens > 1000000 maximum"}
		}
		return agenttest.Puppet(r)
	})
	a := ask(t, d, "family", "are you there?")
	if first.State != control.Succeeded || a.State != control.Succeeded || !strings.Contains(a.text(), "are you there?") {
		t.Fatalf("got %+v\n%s", a.Answer, a.text())
	}
	all := m.Requests()
	if !bytes.Contains(all[len(all)-1].Body, []byte("became too long for the model")) {
		t.Error("the agent was not told why it remembers nothing")
	}
	if body := all[len(all)-1].Body; !bytes.Contains(body, []byte(`<earlier>\n`)) || !bytes.Contains(body, []byte("remember aardvark")) {
		t.Error("the agent was not told what was said before")
	}
	if names, text := archives(t, d, "family"); len(names) != 1 || !strings.Contains(text, "remember aardvark") {
		t.Errorf("the archives are %q:\n%s", names, text)
	}
	// A message that never fits is told of, and not tried for ever.
	n := len(all)
	if a := ask(t, d, "family", "aardvark again"); a.State != string(runner.Failed) || !strings.Contains(a.text(), "send less at once") {
		t.Errorf("got %+v\n%s", a.Answer, a.text())
	}
	if tries := len(m.Requests()) - n; tries > 8 {
		t.Errorf("the model was asked %d times", tries)
	}
}

// Each failure by its class: it reaches a person once, in words with what to do, is in
// the audit with the raw line and no secret, and is not repeated for minutes. What
// waits for its end goes on by itself then, in the same conversation, and the chat is
// told. What is no trouble is said and over.
func TestFailuresByClass(t *testing.T) {
	i, m := claudeInstall(t)
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(text), `{"enabled": true}`, `{"enabled": true, "runsPerHour": 1000}`, 1))
	d, stop := i.run()
	reset := time.Now().Add(3 * time.Hour)
	tests := []struct {
		name  string
		step  agenttest.Step
		class agent.Class
		want  string
		key   string // of the trouble, "" for none
		mend  func() // nil: its time comes
	}{
		{"credential", agenttest.Step{Status: 401, Type: "authentication_error", Message: "invalid x-api-key"}, agent.ClassCredential, "nanoclaw login claude", "model/",
			func() { _, err := d.Credentials(t.Context()); must(t, err) }},
		{"billing", agenttest.Step{Status: 402, Type: "billing_error", Message: "no money, sk-ant-0123456789abc"}, agent.ClassBilling, "check its balance", "model/", nil},
		{"rate limit", agenttest.Step{Status: 429, Type: "rate_limit_error", Message: "slow down", Header: http.Header{
			"Anthropic-Ratelimit-Unified-Status": {"rejected"}, "Anthropic-Ratelimit-Unified-Reset": {fmt.Sprint(reset.Unix())},
		}}, agent.ClassRateLimit, "It goes on by itself ", "model/", nil},
		{"overloaded", agenttest.Step{Status: 529, Type: "overloaded_error", Message: "busy", Header: http.Header{"X-Should-Retry": {"false"}}}, agent.ClassOverloaded, "It is tried again by itself", "group/family", nil},
		{"model", agenttest.Step{Status: 404, Type: "not_found_error", Message: "model: x"}, agent.ClassModel, "agent.claude.model", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := len(m.Requests())
			m.Use(func(agenttest.Request) agenttest.Step { return tt.step })
			a := ask(t, d, "family", "hello "+tt.name)
			state := string(runner.Failed)
			if tt.key != "" {
				state = "held"
			}
			if a.State != state || strings.Count(a.text(), tt.want) != 1 {
				t.Errorf("got %+v\n%s", a.Answer, a.text())
			}
			tries := 0 // main's message may be tried meanwhile
			for _, r := range m.Requests()[n:] {
				if strings.Contains(string(r.Body), "hello "+tt.name) {
					tries++
				}
			}
			if tries < 1 || tries > 2 { // Claude Code looks for another model by itself
				t.Errorf("the model was asked %d times", tries)
			}
			last := endOf(t, d, "family")
			if !strings.Contains(last, `"class":"`+string(tt.class)+`"`) || !strings.Contains(last, "api_error_status") || strings.Contains(last, "sk-ant") {
				t.Errorf("the audit says %s", last)
			}
			if tt.key == "" {
				return
			}
			if tt.class == agent.ClassRateLimit { // it is held for every group, and over a restart
				stop()
				d, stop = i.run()
				all, err := d.store.Troubles(t.Context())
				must(t, err)
				if len(all) != 1 || !all[0].Until.Equal(reset.Truncate(time.Second).UTC()) {
					t.Errorf("troubles %+v", all)
				}
				n = len(m.Requests())
				if b := ask(t, d, "main", "me too"); b.State != "held" || len(m.Requests()) != n {
					t.Errorf("another group: %+v", b.Answer)
				}
			} else if b := ask(t, d, "family", "a second"); b.State != "held" || b.text() != "" {
				t.Errorf("a second message: %+v\n%s", b.Answer, b.text())
			}
			m.Use(agenttest.Puppet)
			if tt.mend != nil {
				tt.mend()
			} else {
				_, err := d.store.TryNow(t.Context(), tt.key)
				must(t, err)
				d.queue.Wake()
			}
			if got := goesOn(t, d, "family", a.Message); got.State != control.Succeeded {
				t.Errorf("it went on with %+v", got)
			}
			if all, err := d.store.Troubles(t.Context()); err != nil || len(all) != 0 {
				t.Errorf("afterwards: %+v, %v", all, err)
			}
		})
	}
	m.Use(agenttest.Puppet)
	if a := ask(t, d, "family", "better?"); a.State != control.Succeeded || !strings.Contains(string(lastOf(m).Body), "hello credential") {
		t.Errorf("afterwards: %+v\n%s", a.Answer, a.text())
	}
	told := 0
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.Trouble)})
	must(t, err)
	for _, e := range entries {
		if strings.Contains(string(e.Data), `"state":"over"`) {
			told++
		}
	}
	if told != 4 {
		t.Errorf("%d troubles are over by the audit, want 4", told)
	}
}

func lastOf(m *agenttest.Model) agenttest.Request {
	all := m.Requests()
	return all[len(all)-1]
}

// endOf is the last end of a run of a group, as the audit has it.
func endOf(t *testing.T, d *Daemon, g chat.Group) string {
	t.Helper()
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Group: g, Kind: string(audit.RunEnded)})
	must(t, err)
	if len(entries) == 0 {
		t.Fatal("no run ended")
	}
	return string(entries[len(entries)-1].Data)
}
