package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// A thread of a chat is a conversation of its own: it has its messages, its session of
// the agent's, and what was said in it.
func TestThreads(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	now := noon
	s.now = func() time.Time { return now }
	chatAt := chat.Address{Channel: "net", Chat: "c"}
	thread := chat.Address{Channel: "net", Chat: "c#root"}
	other := chat.Address{Channel: "net", Chat: "c#net-1"}
	say := func(at chat.Address, id, text string, a router.Action) {
		t.Helper()
		in := message(id, text)
		in.From, in.Sender = at, chat.Sender{ID: "bob"}
		_, err := s.Accept(ctx, in, router.Verdict{Group: "family", Action: a}, 50, 0)
		check(t, err)
	}
	run := func(id chat.RunID, session, answer string, want ...string) *queue.Job {
		t.Helper()
		job := claim(t, s, "family", id)
		var got []string
		for _, m := range job.Messages {
			got = append(got, m.Text)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("run %s works on (-want +got):\n%s", id, d)
		}
		check(t, s.Start(ctx, id, runner.Start{At: noon, Agent: "claude", Conversation: runner.Conversation{Session: session}}, audit.Entry{At: noon, Kind: audit.RunStarted, Run: id}))
		check(t, s.Running(ctx, id))
		o := runner.Outcome{State: runner.Succeeded, At: noon, AgentSession: session, Replies: []chat.Outbound{
			{To: job.Last().From, Kind: chat.Reply, Text: answer, Run: id, Group: "family", Key: "run:" + string(id)}}}
		check(t, s.Finish(ctx, id, o, ended(id, runner.Succeeded)))
		return job
	}
	say(chatAt, "read", "read along", router.Context)
	say(thread, "in thread", "read along in the thread", router.Context)
	say(chatAt, "root", "a question", router.Run)
	run("r1", "s-group", "an answer", "read along", "a question")
	due, err := s.Due(ctx, noon, 1)
	check(t, err)
	check(t, s.Sending(ctx, due[0].ID, noon))
	check(t, s.Sent(ctx, due[0].ID, "net-1", noon))

	say(other, "o", "about your answer", router.Run)
	say(thread, "t", "about my question", router.Run)
	say(other, "o2", "and more", router.Run)
	run("r2", "s-other", "of other", "about your answer", "and more")
	run("r3", "s-thread", "of thread", "read along in the thread", "about my question")

	for _, tt := range []struct {
		at      chat.Thread
		session string
		said    []string
	}{
		{"", "s-group", []string{"read along", "a question", "an answer"}},
		{thread.Thread(), "s-thread", []string{"about my question", "of thread"}},
		{other.Thread(), "s-other", []string{"about your answer", "and more", "of other"}},
		{"net:c#nowhere", "", nil},
	} {
		m, err := s.Remembered(ctx, "family", tt.at)
		check(t, err)
		all, err := s.Said(ctx, "family", tt.at, 10)
		check(t, err)
		if tt.at == "" {
			tt.said = tt.said[1:] // what was read along is not what was said to the agent
		}
		if d := cmp.Diff(tt.said, words(all...)); d != "" || m.AgentSession != tt.session {
			t.Errorf("in %q the session is %q, and said was (-want +got):\n%s", tt.at, m.AgentSession, d)
		}
	}

	// What each knows of its end, and of what it may touch, is its own too.
	check(t, s.Ended(ctx, "family", thread.Thread(), "the thread's"))
	check(t, s.Told(ctx, "family", other.Thread(), "the other's"))
	for at, want := range map[chat.Thread]runner.Remembered{
		"": {AgentSession: "s-group"}, thread.Thread(): {AgentSession: "s-thread", Ended: "the thread's"}, other.Thread(): {AgentSession: "s-other", Told: "the other's"},
	} {
		if m, err := s.Remembered(ctx, "family", at); err != nil || m != want {
			t.Errorf("of %q is remembered %+v, %v; want %+v", at, m, err, want)
		}
	}

	// What no agent may see.
	say(chatAt, "refused", "a stranger's words", router.Refuse)
	say(chatAt, "command", "approve k4m2-9x7a", router.Answer)
	q, err := s.Put(ctx, chat.Outbound{To: chatAt, Kind: chat.Question, Text: "May it? k4m2-9x7a", Group: "family", Key: "q"}, noon)
	check(t, err)
	check(t, s.Sending(ctx, q.ID, noon))
	check(t, s.Sent(ctx, q.ID, "question", noon))

	for name, tt := range map[string]struct {
		g    chat.Group
		at   chat.Address
		want []string
	}{
		"a question":               {"family", thread, []string{"a question", "an answer"}},
		"an answer":                {"family", other, []string{"a question", "an answer"}},
		"what was read along":      {"family", chat.Address{Channel: "net", Chat: "c#read"}, []string{"read along"}},
		"nothing that we had":      {"family", chat.Address{Channel: "net", Chat: "c#5"}, nil},
		"a stranger's message":     {"family", chat.Address{Channel: "net", Chat: "c#refused"}, nil},
		"a command":                {"family", chat.Address{Channel: "net", Chat: "c#command"}, nil},
		"a question of the host's": {"family", chat.Address{Channel: "net", Chat: "c#question"}, nil},
		"a message elsewhere":      {"family", chat.Address{Channel: "net", Chat: "d#root"}, nil},
		"one of another group":     {"work", thread, nil},
		"an answer of another":     {"work", other, nil},
		"no thread at all":         {"family", chatAt, nil},
		"a thread with no name":    {"family", chat.Address{Channel: "net", Chat: "c#"}, nil},
	} {
		x, ok, err := s.Began(ctx, tt.g, tt.at)
		if d := cmp.Diff(tt.want, words(x)); d != "" || ok != (tt.want != nil) || err != nil {
			t.Errorf("%s: %v, %v (-want +got):\n%s", name, ok, err, d)
		}
	}

	// A thread that nobody uses any more is forgotten; the group's own conversation is not.
	now = noon.Add(time.Hour)
	check(t, s.Told(ctx, "family", other.Thread(), "lately"))
	for _, try := range []bool{true, false} {
		_, err := s.Prune(ctx, Keep{Runs: noon.Add(time.Minute), Try: try})
		check(t, err)
		for at, want := range map[chat.Thread]string{"": "s-group", thread.Thread(): map[bool]string{true: "s-thread"}[try], other.Thread(): "s-other"} {
			if m, err := s.Remembered(ctx, "family", at); err != nil || m.AgentSession != want {
				t.Errorf("pruned (try %v): of %q is remembered %+v, %v; want %q", try, at, m, err, want)
			}
		}
	}
}

// words are what exchanges say, one after the other.
func words(all ...runner.Exchange) (out []string) {
	for _, x := range all {
		for _, m := range x.Messages {
			out = append(out, m.Text)
		}
		if x.Answer != "" {
			out = append(out, x.Answer)
		}
	}
	return out
}
