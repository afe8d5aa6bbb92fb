package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/runner"
)

// watchedInstall is an installation in which family has rules and fuses, and
// careful asks first.
func watchedInstall(t *testing.T) (*install, *agenttest.Model) {
	t.Helper()
	i, m := claudeInstall(t)
	i.configure(fmt.Sprintf(`{
		"version": 1,
		"hostMode": {"enabled": true},
		"agent": {"claude": {"path": %q}},
		"permissions": {"deny": ["Bash(touch denied*)"]},
		"limits": {"sameCallsInARow": 3, "toolCalls": 12, "askTime": "1h"},
		"groups": {
			"main": {"mode": "host", "hostModeAllowed": true},
			"family": {"mode": "host", "hostModeAllowed": true, "permissions": {"deny": ["WebFetch"]}},
			"careful": {"mode": "host", "hostModeAllowed": true, "permissionMode": "ask"},
		},
	}`, agenttest.Claude(t)))
	return i, m
}

// toolCalls are the tool calls of a run as they were recorded.
func toolCalls(t *testing.T, d *Daemon, run chat.RunID) []audit.ToolCalledData {
	t.Helper()
	var out []audit.ToolCalledData
	all, err := d.AuditList(t.Context(), control.AuditQuery{Run: run, Kind: string(audit.ToolCalled)})
	must(t, err)
	for _, e := range all {
		var data audit.ToolCalledData
		must(t, json.Unmarshal(e.Data, &data))
		out = append(out, data)
	}
	return out
}

// The rules and fuses of the configuration hold for real Claude Code and its
// subagents, and the record says what was decided and shows no credential.
func TestToolRules(t *testing.T) {
	i, m := watchedInstall(t)
	d, _ := i.run()
	key := strings.Join([]string{"gh", "p_", strings.Repeat("a1B2", 9)}, "")
	a := ask(t, d, "family", strings.Join([]string{
		"bash: echo " + key + " " + modelKey + " > noted",
		"bash: cd . && touch denied1",
		`tool: Agent {"description":"a test","prompt":"bash: touch denied2","subagent_type":"general-purpose"}`,
		"bash: ls denied* noted",
	}, "\n"))
	text := a.text()
	if a.State != control.Succeeded || strings.Count(text, `"Bash(touch denied*)" refuses this call`) != 2 {
		t.Fatalf("got %+v\n%s", a.Answer, text)
	}
	if files, err := filepath.Glob(filepath.Join(d.machine.GroupDir("family"), "workspace", "denied*")); err != nil || len(files) > 0 {
		t.Errorf("denied calls made %q, %v", files, err)
	}
	for _, r := range m.Requests() {
		if slices.Contains(r.Tools, "WebFetch") {
			t.Error("a tool that is denied wholly was offered to the model")
		}
	}
	calls := toolCalls(t, d, a.Run)
	verdicts := map[string]int{}
	for _, c := range calls {
		verdicts[strings.TrimSpace(c.Verdict+" "+c.Rule)]++
		b, _ := json.Marshal(c)
		if bytes.Contains(b, []byte(key)) || bytes.Contains(b, []byte(modelKey)) {
			t.Errorf("the record shows a credential: %s", b)
		}
		if inside := strings.Contains(string(b), "denied2") && c.Tool == "Bash"; inside != (c.Subagent != "") {
			t.Errorf("who asked is not recorded: %s", b)
		}
	}
	if len(calls) != 5 || verdicts["denied Bash(touch denied*)"] != 2 || verdicts["allowed"] != 3 {
		t.Errorf("recorded %+v", calls)
	}

	same := strings.Repeat("bash: echo again\n", 5)
	if a = ask(t, d, "family", same); strings.Count(a.text(), "You made this same call 3 times in a row") != 2 {
		t.Errorf("got %+v\n%s", a.Answer, a.text())
	}
	// A model that goes on and on is cut off, and the owner is told.
	n := 0
	m.Use(func(agenttest.Request) agenttest.Step {
		n++
		return agenttest.Step{Tools: []agenttest.ToolUse{agenttest.Bash(fmt.Sprint("echo ", n))}}
	})
	a = ask(t, d, "family", "loop")
	if a.State != "failed" || !strings.Contains(a.text(), "went round in circles") || !strings.Contains(a.text(), "used up its 12 tool calls") {
		t.Errorf("got %+v\n%s", a.Answer, a.text())
	}
	if calls := toolCalls(t, d, a.Run); len(calls) > 40 {
		t.Errorf("%d calls were made", len(calls))
	}
}

// listener is an owner at a terminal.
type listener struct {
	t    *testing.T
	d    *Daemon
	g    chat.Group
	said chan chat.Outbound
}

func listening(t *testing.T, d *Daemon, g chat.Group) *listener {
	t.Helper()
	term, err := d.Attach(t.Context(), g)
	must(t, err)
	l := &listener{t, d, g, make(chan chat.Outbound, 100)}
	go func() {
		defer term.Close()
		for {
			m, _, err := term.Next(context.WithoutCancel(t.Context()))
			if err != nil {
				return
			}
			if m != nil {
				l.said <- *m
			}
		}
	}()
	return l
}

// hears waits for a message of a kind and gives it.
func (l *listener) hears(kind chat.OutboundKind) chat.Outbound {
	l.t.Helper()
	late := time.After(60 * time.Second)
	for {
		select {
		case m := <-l.said:
			if m.Kind == kind {
				return m
			}
		case <-late:
			l.t.Fatalf("the terminal of %s hears no %s", l.g, kind)
		}
	}
}

func (l *listener) says(text string) chat.MessageID {
	l.t.Helper()
	id, err := l.d.Say(l.t.Context(), control.SayRequest{Group: l.g, Text: text})
	must(l.t, err)
	return id
}

// code finds the code in a question.
func (l *listener) code(q chat.Outbound) string {
	l.t.Helper()
	_, rest, _ := strings.Cut(q.Text, "answer: approve ")
	code, _, _ := strings.Cut(rest, "\n")
	if _, ok := approval.ParseReply("approve " + code); !ok {
		l.t.Fatalf("no code in %q", q.Text)
	}
	return code
}

// In the mode ask each call that changes something waits for the owner, who
// answers in another chat, in the terminal, or not at all; nobody else answers,
// and no answer reaches the model.
func TestAskMode(t *testing.T) {
	i, m := watchedInstall(t)
	d, _ := i.run()
	main, careful := listening(t, d, chat.Main), listening(t, d, "careful")
	file := func(name string) string { return filepath.Join(d.machine.GroupDir("careful"), "workspace", name) }
	there := func(name string) bool { _, err := os.Lstat(file(name)); return err == nil }
	state := func(id chat.MessageID) control.Answer {
		t.Helper()
		a, err := d.Wait(t.Context(), "careful", id)
		must(t, err)
		return a
	}

	// Yes, in the owner's own chat; somebody else's yes before it counts for nothing.
	id := careful.says(`tool: Bash {"command":"touch yes; echo 'a\u202eb'"}`)
	q, q2 := main.hears(chat.Question), careful.hears(chat.Question)
	key := main.code(q)
	if q.Text != q2.Text || !strings.Contains(q.Text, "  │ touch yes; echo 'a⟨U+202E⟩b'\n") || there("yes") {
		t.Errorf("the question is\n%s\nand in the group\n%s", q.Text, q2.Text)
	}
	must(t, sink{d}.Receive(t.Context(), chat.Inbound{
		From: console.Address("careful"), ID: "forged", Sender: chat.Sender{ID: "anna", Name: "owner"}, Text: "approve " + key, Sent: time.Now(),
	}))
	if open, err := d.Approvals(t.Context()); err != nil || len(open) != 1 || open[0].Code != key {
		t.Errorf("after somebody else's answer %+v is open, %v", open, err)
	}
	answer := main.says("Approve " + strings.ToUpper(key))
	if a := state(id); a.State != control.Succeeded || !there("yes") {
		t.Errorf("after a yes: %+v", a)
	}
	if a, err := d.Wait(t.Context(), chat.Main, answer); err != nil || a.State != control.Taken || a.Run != "" {
		t.Errorf("the answer itself: %+v, %v", a, err)
	}

	// No, on the command line.
	id = careful.says("bash: touch no")
	used := careful.code(careful.hears(chat.Question))
	if _, err := d.Approve(t.Context(), control.ApproveRequest{Code: used}); err != nil {
		t.Error(err)
	}
	denied := state(id)
	if reply := careful.hears(chat.Reply); !strings.Contains(reply.Text, "the owner said no") || there("no") {
		t.Errorf("after a no: %+v, %q", denied, reply.Text)
	}
	if _, err := d.Approve(t.Context(), control.ApproveRequest{Code: used, Yes: true}); code(err) != control.CodeNotFound {
		t.Errorf("a code that is used up: %v", err)
	}

	// An interrupt withdraws the question; reading needs no yes.
	id = careful.says("bash: touch withdrawn")
	careful.hears(chat.Question)
	must(t, d.Interrupt(t.Context(), "careful"))
	if a := state(id); a.State == control.Succeeded || there("withdrawn") {
		t.Errorf("after an interrupt: %+v", a)
	}
	if open, _ := d.Approvals(t.Context()); len(open) != 0 {
		t.Errorf("%+v is open after an interrupt", open)
	}
	must(t, os.WriteFile(file("note"), []byte("read me"), 0o644))
	id = careful.says(`tool: Read {"file_path":"/workspace/group/note"}`)
	if a := state(id); a.State != control.Succeeded {
		t.Errorf("reading: %+v", a)
	}

	for _, r := range m.Requests() {
		if bytes.Contains(bytes.ToLower(r.Body), []byte("approve "+key)) {
			t.Error("an answer to the host reached the model")
		}
	}
	var ended []string
	all, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.ApprovalEnded)})
	must(t, err)
	for _, e := range all {
		var data audit.ApprovalData
		must(t, json.Unmarshal(e.Data, &data))
		ended = append(ended, strings.TrimSpace(data.State+" "+data.From))
	}
	if want := []string{"approved console:main", "denied console:command", "withdrawn"}; !slices.Equal(ended, want) {
		t.Errorf("recorded %q, want %q", ended, want)
	}
}

// unproven is a starter whose boundaries nobody attacked.
type unproven struct{ d *Daemon }

func (u unproven) Start(ctx context.Context, engine string, s boundary.Spec) (*boundary.Session, error) {
	m, err := u.d.engine(ctx, engine)
	if err != nil {
		return nil, err
	}
	e, err := m.open()
	if err != nil {
		return nil, err
	}
	if err := u.d.prepare(ctx, s.Grant.Group); err != nil {
		return nil, err
	}
	return e.Start(ctx, s)
}

// An agent that works without asking does not start in a boundary that nothing
// proves; one that asks does.
func TestBypassNeedsAProvenBoundary(t *testing.T) {
	i, m := watchedInstall(t)
	d := i.open()
	o := d.runnerOptions()
	o.Boundary = unproven{d}
	d.runner = runner.New(o)
	i.serve(d)
	a := ask(t, d, "family", "bash: touch made")
	if a.State != "held" || !strings.Contains(a.text(), "nothing proves that its boundary holds") || len(m.Requests()) != 0 {
		t.Errorf("got %+v\n%s", a.Answer, a.text())
	}
	if a = ask(t, d, "careful", "hello"); a.State != control.Succeeded {
		t.Errorf("an agent that asks: %+v\n%s", a.Answer, a.text())
	}
}

// Asking for less confinement, or for another one inside, changes nothing.
func TestSandboxRequestsChangeNothing(t *testing.T) {
	i, _ := claudeInstall(t)
	secret := filepath.Join(i.home, "secret")
	must(t, os.WriteFile(secret, []byte("canary-of-the-owner"), 0o644))
	outside := filepath.Join(i.home, "made")
	d, _ := i.run()
	must(t, d.prepare(t.Context(), "family"))
	dir := filepath.Join(d.machine.GroupDir("family"), "workspace", ".claude")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "settings.json"), []byte(
		`{"sandbox":{"enabled":true,"allowUnsandboxedCommands":true,"excludedCommands":["*"],"enableWeakerNestedSandbox":true}}`), 0o644))
	try := func(command string) string {
		b, err := json.Marshal(map[string]any{"command": command, "description": "x", "dangerouslyDisableSandbox": true})
		must(t, err)
		return "tool: Bash " + string(b)
	}
	attempt := fmt.Sprintf("cat %s; touch %s; curl -sS -m 5 --noproxy '*' http://1.1.1.1/; echo done", secret, outside)
	a := ask(t, d, "family", strings.Join([]string{
		try(attempt),
		try("unshare -Ur sh -c " + quoted(attempt)),
		try("bwrap --dev-bind / / sh -c " + quoted(attempt)),
	}, "\n"))
	text := a.text()
	if a.State != control.Succeeded || !strings.Contains(text, "done") {
		t.Errorf("got %+v\n%s", a.Answer, text)
	}
	if strings.Contains(text, "canary-of-the-owner") {
		t.Error("a file outside was read")
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a file outside was made")
	}
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
