package runner

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

var job = queue.Job{Run: "r1", Group: "family", Messages: []queue.Message{
	{Row: 1, Inbound: chat.Inbound{From: chat.Address{Channel: "x", Chat: "1"}, Sender: chat.Sender{ID: "bob"}, Text: "dinner?"}},
	{Row: 2, Trigger: true, Inbound: chat.Inbound{From: chat.Address{Channel: "x", Chat: "2"}, Sender: chat.Sender{ID: "ann", Name: "Ann", Owner: true}, Text: "ls"}},
	{Row: 3, Inbound: chat.Inbound{From: chat.Address{Channel: "x", Chat: "3"}, Sender: chat.Sender{ID: "eve"}, Text: "rm -rf ~", Ask: chat.Ask{Mounts: []string{"/srv"}}}},
}}

// Each way to end has one state, and words that say what to do.
func TestOutcome(t *testing.T) {
	tests := []struct {
		name       string
		res        agent.Result
		err, cause error
		state      State
		text       string
		forget     bool
	}{
		{"an answer", agent.Result{Text: "hi", SessionID: "s"}, nil, nil, Succeeded, "", false},
		{"interrupted", agent.Result{Interrupted: true}, nil, nil, Cancelled, "interrupted", false},
		{"stopped", agent.Result{}, errors.New("killed"), errStopped, Cancelled, "stopped by the owner", false},
		{"too long", agent.Result{}, errors.New("killed"), errTooLong, Failed, "limits.runTime", false},
		{"the agent failed", agent.Result{Failed: true, Error: "overloaded"}, nil, nil, Failed, "overloaded", false},
		{"the session is gone", agent.Result{Failed: true, Error: "x", Class: agent.ClassSession}, nil, nil, Failed, "x", true},
		{"the conversation is full", agent.Result{Failed: true, Error: "x", Class: agent.ClassTooLong}, nil, nil, Failed, "x", true},
		{"no boundary", agent.Result{}, &boundary.StartError{Step: "root", Err: errors.New("no"), Hint: "do this"}, nil, Failed, "do this", false},
		{"too much memory", agent.Result{}, &boundary.LimitError{Resource: boundary.Memory, Most: 4 << 30}, nil, Failed, "stopped: the session used more than 4 GB of memory\nlimits.memory", false},
		{"anything else", agent.Result{}, errors.New("disk full"), nil, Failed, "disk full", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := outcome(tt.res, tt.err, tt.cause)
			if o.State != tt.state || !strings.Contains(o.Error, tt.text) || (o.Error == "") != (tt.text == "") || o.ForgetSession != tt.forget {
				t.Errorf("got %s, %q, forget %v", o.State, o.Error, o.ForgetSession)
			}
		})
	}
}

// What a run was refused on the way out is told once, for the run it belongs to.
func TestWayOut(t *testing.T) {
	r := New(Options{})
	r.live["r1"] = &live{}
	for range 2 {
		r.Refused("r1", "allow a")
		r.Refused("other", "allow b")
		r.Spent("r1", "the session used up its 1MB of upload")
	}
	want := "The agent tried to reach hosts that its group may not reach. To allow them:\nallow a\n" +
		"Connections were ended: the session used up its 1MB of upload. A new session begins with the next message."
	if got := r.wayOut("r1"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := r.wayOut("other"); got != "" {
		t.Errorf("a run that is over: %q", got)
	}
}

// What a run says goes to the chat that called it, once each, and the last one
// is marked.
func TestReplies(t *testing.T) {
	type said struct {
		Kind   chat.OutboundKind
		Text   string
		Failed bool
		Last   bool
	}
	tests := []struct {
		name   string
		res    agent.Result
		state  State
		err    string
		wayOut string
		found  string
		want   []said
	}{
		{"an answer", agent.Result{Text: "hi"}, Succeeded, "", "", "", []said{{chat.Reply, "hi", false, true}}},
		{"an answer that was cut", agent.Result{Text: "hi", Truncated: true}, Succeeded, "", "", "",
			[]said{{chat.Reply, "hi\n[the answer was longer and is cut here]", false, true}}},
		{"a failure", agent.Result{}, Failed, "no", "", "", []said{{chat.Notice, "no", true, true}}},
		{"half an answer", agent.Result{Text: "hal"}, Failed, "no", "", "", []said{{chat.Reply, "hal", false, false}, {chat.Notice, "no", true, true}}},
		{"a refused host", agent.Result{Text: "hi"}, Succeeded, "", "to allow it: a", "", []said{
			{chat.Reply, "hi", false, false}, {chat.Notice, "to allow it: a", false, true}}},
		{"files found", agent.Result{Text: "hi"}, Failed, "no", "", "moved", []said{
			{chat.Reply, "hi", false, false}, {chat.Notice, "moved", false, false}, {chat.Notice, "no", true, true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []said
			keys := map[string]bool{}
			for _, m := range replies(job, tt.res, Outcome{State: tt.state, Error: tt.err}, tt.err, tt.wayOut, tt.found) {
				got = append(got, said{m.Kind, m.Text, m.Failed, m.Last})
				if m.To.Chat != "2" || m.Run != "r1" || m.Group != "family" {
					t.Errorf("it goes to %v of run %s", m.To, m.Run)
				}
				if keys[m.Key] {
					t.Errorf("the key %s comes twice", m.Key)
				}
				keys[m.Key] = true
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Why a run starts is what the channel proved about the message that called,
// and nothing that another message of the batch asks for.
func TestTrigger(t *testing.T) {
	if d := cmp.Diff(grant.Trigger{Kind: "message", Owner: true}, triggerOf(job)); d != "" {
		t.Error(d)
	}
	in := job.Messages[1]
	in.From.Channel, in.Ask.Mounts = chat.Console, []string{"/srv"}
	terminal := queue.Job{Messages: []queue.Message{in}}
	if d := cmp.Diff(grant.Trigger{Kind: "message", Owner: true, Terminal: true, Mounts: []string{"/srv"}}, triggerOf(terminal)); d != "" {
		t.Error(d)
	}
	in.Sender.Owner = false
	terminal.Messages[0] = in
	if got := triggerOf(terminal); got.Owner || got.Terminal || got.Mounts != nil {
		t.Errorf("a stranger's message in the terminal's chat gave %+v", got)
	}
}

// A shell is given the text of those who called it, and nobody else's.
func TestShellPrompt(t *testing.T) {
	r := New(Options{})
	if got := r.prompt(job.Group, job.Messages, grant.Shell).Text; got != "ls" {
		t.Errorf("the shell is given %q", got)
	}
	p := r.prompt(job.Group, job.Messages, grant.Claude)
	if len(p.Before) != 1 {
		t.Fatalf("Claude is given %+v", p)
	}
	text := p.Before[0].Text + p.Text
	for _, want := range []string{`sender="bob"`, `context="true"`, `owner="true"`, "rm -rf ~"} {
		if !strings.Contains(text, want) {
			t.Errorf("Claude is given no %s:\n%s", want, text)
		}
	}
}

// Only a run that can do nothing before Running, or before its first request to the
// model, may be on the disk as late as that.
func TestIdle(t *testing.T) {
	task := func(script string) queue.Job {
		return queue.Job{Messages: []queue.Message{{Trigger: true, Inbound: chat.Inbound{Task: &chat.TaskRef{Script: script}}}}}
	}
	for _, c := range []struct {
		name string
		job  queue.Job
		kind string
		warm bool
		want bool
	}{
		{"a message to one that waits", job, grant.Claude, true, true},
		{"a task for it", task(""), grant.Claude, true, true},
		{"a task whose script runs first", task("date"), grant.Claude, true, false},
		{"a session that is to be started, which Running precedes", job, grant.Claude, false, true},
		{"a shell that is to be started", job, grant.Shell, false, true},
		{"a shell, which does at once what it is told", job, grant.Shell, true, false},
	} {
		if got := idle(c.job, c.kind, c.warm); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
