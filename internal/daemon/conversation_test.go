package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// recovering is a model that does as it is told, and answers the host's question
// for an answer that was lost.
func recovering(r agenttest.Request) agenttest.Step {
	if strings.Contains(r.UserText, "nobody saw an answer") {
		return agenttest.Step{Text: "recovered"}
	}
	return agenttest.Puppet(r)
}

// The daemon is killed at each step of a run. The next start answers the message:
// what it asked for is done once, and somebody hears of it.
func TestClaudeSurvivesKills(t *testing.T) {
	init := filepath.Join(t.TempDir(), "nanoclaw-init")
	must(t, os.WriteFile(init, boundarytest.Init(t), 0o755))
	tests := []struct {
		name, say, stuck string
		silent           bool // the model does not answer the first time
		want             string
		made             string // what the tool did, "" for nothing
	}{
		{name: "before it is sent", say: "bash: echo x >> made", stuck: "running", want: "The tools said", made: "x\n"},
		{name: "after it was sent", say: "bash: echo x >> made", silent: true, want: "The tools said", made: "x\n"},
		{name: "during a tool", say: "bash: " + agenttest.Written("made") + "; echo x >> made; sleep 300", want: "recovered", made: "x\n"},
		{name: "after the answer", say: "bash: echo x >> made", stuck: "finish", want: "recovered", made: "x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i, m := claudeInstall(t)
			made := filepath.Join(i.paths.DataDir, "groups", "main", "workspace", "made")
			hold, asked := make(chan struct{}), make(chan struct{}, 10)
			m.Use(func(r agenttest.Request) agenttest.Step {
				asked <- struct{}{}
				if tt.silent {
					return agenttest.Step{Until: hold}
				}
				return recovering(r)
			})
			cmd, lines := start(t, victim{Paths: i.paths, Env: i.env, Init: init, Say: tt.say, Stuck: tt.stuck})
			switch {
			case tt.stuck != "":
				line := <-lines
				for line == "begun" {
					line = <-lines
				}
				if line != "stuck" {
					t.Fatalf("the daemon said %q", line)
				}
			case tt.silent:
				<-asked
			default:
				appears(t, made)
			}
			must(t, cmd.Process.Kill())
			cmd.Wait()
			m.Use(recovering)
			close(hold)

			d, _ := i.run()
			heard := hear(t, d, chat.Main)
			if !strings.Contains(heard, tt.want) {
				t.Errorf("somebody hears %q, want %q", heard, tt.want)
			}
			if got, err := os.ReadFile(made); string(got) != tt.made {
				t.Errorf("the tool made %q, %v; want %q", got, err, tt.made)
			}
			runs, err := d.Runs(t.Context(), control.RunsQuery{})
			must(t, err)
			if len(runs) != 2 || runs[1].State != "interrupted" || runs[0].State != "succeeded" {
				t.Errorf("the runs are %+v", runs)
			}
		})
	}
}

// The agent dies in the middle, then its boundary: the run is taken up again by
// itself, and nothing is done twice.
func TestClaudeDiesInTheMiddle(t *testing.T) {
	i, m := claudeInstall(t)
	m.Use(recovering)
	d, _ := i.run()
	workspace := d.machine.GroupDir(chat.Main) + "/workspace/"
	if a := ask(t, d, chat.Main, "bash: echo x >> agent; "+agenttest.Written("agent")+"; kill -9 $PPID"); a.State != control.Succeeded || a.text() != "recovered" {
		t.Errorf("the agent died: %+v\n%s", a.Answer, a.text())
	}
	id, err := d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: "bash: " + agenttest.Written("boundary") + "; echo x >> boundary; sleep 300"})
	must(t, err)
	appears(t, workspace+"boundary")
	follows, err := d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: "and bring a banana"})
	must(t, err)
	joins(t, d, 1)
	must(t, syscall.Kill(initOf(t, d), syscall.SIGKILL))
	a, b := wait(t, d, id), wait(t, d, follows)
	if a.State != control.Succeeded || b.State != control.Succeeded || a.Run != b.Run {
		t.Errorf("the boundary died: %+v, %+v", a, b)
	}
	said, err := d.store.RunReplies(t.Context(), a.Run)
	must(t, err)
	if len(said) != 1 || !strings.Contains(said[0].Text, "banana") || !strings.HasSuffix(said[0].Text, "recovered") {
		t.Errorf("the answer is %+v", said)
	}
	for _, name := range []string{"agent", "boundary"} {
		if got, err := os.ReadFile(workspace + name); string(got) != "x\n" {
			t.Errorf("%s: the tool made %q, %v", name, got, err)
		}
	}
	// An agent that dies each time is given up, in words.
	m.Use(func(agenttest.Request) agenttest.Step {
		return agenttest.Step{Tools: []agenttest.ToolUse{agenttest.Bash("kill -9 $PPID")}}
	})
	if a := ask(t, d, chat.Main, "live"); a.State != "dead" || !strings.Contains(a.text(), "signal 9") || !strings.Contains(a.text(), "nanoclaw dead retry ") {
		t.Errorf("it died each time: %+v\n%s", a.Answer, a.text())
	}
	runs, err := d.Runs(t.Context(), control.RunsQuery{})
	must(t, err)
	if len(runs) != 2+2+3 {
		t.Errorf("%d runs: %+v", len(runs), runs)
	}
}

// What follows while the agent works is taken in, counted and recorded, and
// answered with the run. What comes with other rights
// waits.
func TestClaudeFollowUp(t *testing.T) {
	i, m := claudeInstall(t)
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(text), `"family": {`, `"family": {"chats": ["net:1"], "senders": ["net:bob"], "trigger": "always", `, 1))
	d, _ := i.run()
	workspace := d.machine.GroupDir("family") + "/workspace/"
	say := func(text string) chat.MessageID {
		id, err := d.Say(t.Context(), control.SayRequest{Group: "family", Text: text})
		must(t, err)
		return id
	}
	first := say("bash: echo x > begun; while ! test -e go; do sleep 0.05; done")
	appears(t, workspace+"begun")
	second := say("and bring a banana")
	joins(t, d, 1)
	bob := chat.Inbound{From: chat.Address{Channel: "net", Chat: "1"}, ID: "b1", Sender: chat.Sender{ID: "bob"}, Text: "what bob wants"}
	if v, err := d.router.Deliver(t.Context(), bob); err != nil || v.Action != "run" {
		t.Fatalf("%+v, %v", v, err)
	}
	later := say("this comes behind bob") // must not overtake him
	must(t, os.WriteFile(workspace+"go", nil, 0o644))
	a, b, c := wait(t, d, first), wait(t, d, second), wait(t, d, later)
	if a.State != control.Succeeded || a.Run != b.Run || c.Run == a.Run || c.State != control.Succeeded {
		t.Errorf("the answers are %+v, %+v, %+v", a, b, c)
	}
	runs, err := d.Runs(t.Context(), control.RunsQuery{Group: "family"})
	must(t, err)
	if len(runs) != 3 {
		t.Errorf("%d runs, want the owner's, bob's and the owner's", len(runs))
	}
	msgs, err := d.store.RunMessages(t.Context(), a.Run)
	must(t, err)
	if len(msgs) != 2 || msgs[0].Row >= msgs[1].Row || msgs[1].Text != "and bring a banana" {
		t.Errorf("the run had %+v", msgs)
	}
	if q := m.Requests()[1]; !bytes.Contains(q.Body, []byte("bring a banana")) {
		t.Error("what followed did not reach the model in the same turn")
	}
	if said, err := d.store.RunReplies(t.Context(), a.Run); err != nil || len(said) != 1 {
		t.Errorf("the run said %+v, %v", said, err)
	}

	// An interrupt ends the work. What the agent had not read by then is answered.
	must(t, os.Remove(workspace+"go"))
	must(t, os.Remove(workspace+"begun"))
	first = say("bash: echo x > begun; while ! test -e go; do sleep 0.05; done")
	appears(t, workspace+"begun")
	second = say("something else")
	joins(t, d, 2)
	must(t, d.Interrupt(t.Context(), "family"))
	a, b = wait(t, d, first), wait(t, d, second)
	if a.State != "cancelled" || b.State != control.Succeeded || a.Run == b.Run {
		t.Errorf("after an interrupt the answers are %+v, %+v", a, b)
	}
}

// A conversation of its own knows nothing of the group's and adds nothing; a new
// one forgets; both outlive a restart.
func TestClaudeConversations(t *testing.T) {
	i, m := claudeInstall(t)
	d, stop := i.run()
	say := func(text string, c chat.Conversation) string {
		t.Helper()
		id, err := d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: text, Ask: chat.Ask{Conversation: c}})
		must(t, err)
		if a := wait(t, d, id); a.State != control.Succeeded {
			t.Errorf("%q: %+v", text, a)
		}
		all := m.Requests()
		return string(all[len(all)-1].Body)
	}
	knows := func(what, body string, want ...string) {
		t.Helper()
		for _, word := range []string{"teal", "quince", "amber", "coral"} {
			if want := strings.Contains(strings.Join(want, " "), word); strings.Contains(body, word) != want {
				t.Errorf("%s: that it knows of %s is %v", what, word, !want)
			}
		}
	}
	knows("the first", say("I like teal", chat.Ongoing), "teal")
	knows("an isolated one", say("psst, quince", chat.Isolated), "quince")
	knows("the group's", say("what do I like?", chat.Ongoing), "teal")
	knows("a new one", say("I like amber", chat.Anew), "amber")
	knows("the new one, warm", say("and now?", chat.Ongoing), "amber")
	stop()
	d, _ = i.run()
	knows("the new one, resumed", say("and then?", chat.Ongoing), "amber")
	asked := len(m.Requests())
	say("/clear", chat.Ongoing)
	if n := len(m.Requests()); n != asked {
		t.Errorf("/clear asked the model %d times", n-asked)
	}
	knows("after /clear", say("I like coral", chat.Ongoing), "coral")
	if _, err := d.Say(t.Context(), control.SayRequest{Group: chat.Main, Text: "x", Ask: chat.Ask{Conversation: "other"}}); code(err) != control.CodeUsage {
		t.Errorf("an unknown conversation: %v", err)
	}
}

// appears waits for a file with something in it: a shell makes it empty, and writes
// then.
func appears(t *testing.T, path string) {
	t.Helper()
	for {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s does not appear", path)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// joins waits until n messages joined runs.
func joins(t *testing.T, d *Daemon, n int) {
	t.Helper()
	for {
		entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.RunJoined)})
		must(t, err)
		if len(entries) >= n {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// hear gives the first message that a group's terminal shows.
func hear(t *testing.T, d *Daemon, g chat.Group) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	term, err := d.Attach(ctx, g)
	must(t, err)
	defer term.Close()
	for {
		m, _, err := term.Next(ctx)
		must(t, err)
		if m != nil {
			return m.Text
		}
	}
}

// wait waits for what came of a message in a terminal.
func wait(t *testing.T, d *Daemon, id chat.MessageID) control.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for _, g := range []chat.Group{chat.Main, "family"} {
		if a, err := d.Wait(ctx, g, id); err == nil {
			return a
		}
	}
	t.Fatalf("nothing came of message %s", id)
	return control.Answer{}
}

// initOf is the process that the last session began with.
func initOf(t *testing.T, d *Daemon) int {
	t.Helper()
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(audit.SessionStarted)})
	must(t, err)
	var data audit.SessionStartedData
	must(t, json.Unmarshal(entries[len(entries)-1].Data, &data))
	return data.InitPID
}
