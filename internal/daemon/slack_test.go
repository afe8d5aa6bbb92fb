package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel/slack"
	"nanoclaw/internal/channel/slack/slacktest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
)

// slackConfig has one group in a channel of Slack's, with a shell.
const slackConfig = `{
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"channels": {"slack": {"connect": true, "api": %q}},
	"people": {"slack:T1/UOWN": {"role": "owner"}},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"work": {"mode": "host", "hostModeAllowed": true, "chats": ["slack:T1/C1"], "senders": ["slack:T1/UANN"], "confirm": "never"},
	},
}`

// slackInstall is an installation that is connected to a workspace.
func slackInstall(t testing.TB, s *slacktest.Server) *install {
	t.Helper()
	i := newInstall(t, fmt.Sprintf(slackConfig, s.API()))
	must(t, credential.New(i.paths, i.getenv).SaveTokens("slack", credential.Tokens{slack.AppToken: slacktest.AppKey, slack.BotToken: slacktest.BotKey}))
	return i
}

// posted waits for a message of the bot that says something.
func posted(t *testing.T, s *slacktest.Server, what string) slacktest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		m, err := s.Posted(ctx)
		if err != nil {
			t.Fatalf("nothing with %q was posted: %v; there is %+v", what, err, s.Messages("C1"))
		}
		if strings.Contains(m.Text, what) {
			return m
		}
	}
}

// A message on Slack reaches a confined agent, and its answer comes back in Slack's
// own form, in the thread in which it was asked.
func TestSlackEndToEnd(t *testing.T) {
	s := slacktest.New(t)
	s.Patience = 20 * time.Second
	i := slackInstall(t, s)
	d, stop := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	must(t, s.Up(ctx, 0))
	say := func(user, thread, text string) string {
		t.Helper()
		m := s.Keep(slacktest.Message{Channel: "C1", User: user, Text: text, Thread: thread})
		must(t, s.Event(ctx, m, nil))
		return m.TS
	}
	t.Run("an answer", func(t *testing.T) {
		root := say("UANN", "", "not for you")
		say("UOWN", root, `echo '**id** &lt;!channel&gt;' $(id -u); cat /proc/1/comm; ls `+i.home+` 2&gt;&amp;1 || true # <@UBOT>`)
		m := posted(t, s, "*id* &lt;!channel&gt;")
		if m.Thread != root {
			t.Errorf("it came in thread %q, want %q", m.Thread, root)
		}
		if !strings.Contains(m.Text, "nanoclaw-init") || !strings.Contains(m.Text, "No such file") {
			t.Errorf("the agent is not confined: %s", m.Text)
		}
	})
	t.Run("a command", func(t *testing.T) {
		say("UOWN", "", "<@UBOT> /status")
		posted(t, s, "◆ nanoclaw: work: ")
	})
	t.Run("a stranger, and a button that is not theirs", func(t *testing.T) {
		before := len(s.Messages("C1"))
		say("UEVE", "", "echo hello # <@UBOT>")
		must(t, s.Press(ctx, "UEVE", "C1", "", "nanoclaw_approve", "k4m2-9x7a"))
		say("UOWN", "", "echo after # <@UBOT>")
		posted(t, s, "after")
		for _, m := range s.Messages("C1")[before:] {
			if m.User == slacktest.BotUser && strings.Contains(m.Text, "hello") {
				t.Errorf("the stranger was answered: %+v", m)
			}
		}
	})
	t.Run("what was said while we were away", func(t *testing.T) {
		st, err := d.Status(ctx)
		must(t, err)
		if len(st.Channels) != 1 || st.Channels[0].State != "connected" || st.Channels[0].Self != "T1/UBOT" {
			t.Errorf("channels %+v", st.Channels)
		}
		stop()
		testMissed(t, s, i)
	})
}

// testMissed starts the host again, an hour later by its own notes.
func testMissed(t *testing.T, s *slacktest.Server, i *install) {
	now := time.Now()
	at := func(ago time.Duration) string { return fmt.Sprintf("%d.000100", now.Add(-ago).Unix()) }
	s.Keep(slacktest.Message{Channel: "C1", User: "UOWN", Text: "echo missed you # <@UBOT>", TS: at(30 * time.Minute)})
	s.Keep(slacktest.Message{Channel: "C1", User: "UEVE", Text: "echo never # <@UBOT>", TS: at(29 * time.Minute)})
	s.Keep(slacktest.Message{Channel: "C1", User: "UANN", Text: "just talk", TS: at(28 * time.Minute)})
	d := i.open()
	must(t, d.store.SetMeta(t.Context(), seenKey(slack.ID), now.Add(-time.Hour).Format(time.RFC3339Nano)))
	i.serve(d)
	q := posted(t, s, "1 message is unanswered: run it?")
	if !strings.HasPrefix(q.Text, chat.HostMark+"I was away ") || !strings.Contains(q.Blocks, "nanoclaw_approve") {
		t.Errorf("the question is %+v", q)
	}
	open, err := d.Approvals(t.Context())
	must(t, err)
	at0 := slices.IndexFunc(open, func(q control.Approval) bool { return strings.Contains(q.Title, "I was away") })
	if at0 < 0 {
		t.Fatalf("open questions %+v", open)
	}
	code := open[at0].Code
	must(t, s.Press(t.Context(), "UANN", "C1", "", "nanoclaw_approve", code)) // may speak, and not approve
	posted(t, s, "Refused")
	must(t, s.Press(t.Context(), "UOWN", "C1", "", "nanoclaw_approve", code))
	posted(t, s, "missed you")
	for _, m := range s.Messages("C1") {
		if m.User == slacktest.BotUser && strings.Contains(m.Text, "never") {
			t.Errorf("a stranger's message was run: %+v", m)
		}
	}
}

// A message that is lost on its way is none: sixty of them, four a second in network
// time with bursts, with the connection cut off three times, all reach the store once.
func TestSlackTrace(t *testing.T) {
	s := slacktest.New(t)
	i := slackInstall(t, s)
	d, _ := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	must(t, s.Up(ctx, 0))
	begun := time.Now().Unix() - 20
	var ids []chat.MessageID
	for n := range 60 {
		m := s.Keep(slacktest.Message{Channel: "C1", User: "UANN", Text: fmt.Sprint("message ", n), TS: fmt.Sprintf("%d.%06d", begun+int64(n/4), n)})
		ids = append(ids, chat.MessageID(m.TS))
		switch {
		case n%20 == 10:
			s.Drop() // and this one is never sent again
			continue
		case n%7 == 3:
			s.Event(ctx, m, nil) // twice
		}
		s.Event(ctx, m, nil) // whatever becomes of it
	}
	for _, id := range ids {
		for {
			known, err := d.store.Known(ctx, chat.Address{Channel: slack.ID, Chat: "T1/C1"}, id)
			must(t, err)
			if known {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("message %s was lost", id)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func TestSlackWithoutTokens(t *testing.T) {
	s := slacktest.New(t)
	i := newInstall(t, fmt.Sprintf(slackConfig, s.API()))
	d, _ := i.run()
	st, err := d.Status(t.Context())
	must(t, err)
	if len(st.Channels) != 1 || st.Channels[0].State != "ended" || !strings.Contains(st.Channels[0].Cause, "nanoclaw channel login slack") {
		t.Errorf("channels %+v", st.Channels)
	}
	if file := credential.New(i.paths, i.getenv).TokensFile("slack"); !strings.HasPrefix(file, i.paths.ConfigDir) {
		t.Errorf("tokens lie in %s", file)
	} else if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

// BenchmarkSlackInbound is the way of a message from the adapter to its durable row,
// and the acknowledgement back to the network.
func BenchmarkSlackInbound(b *testing.B) {
	s := slacktest.New(b)
	i := slackInstall(b, s)
	d := i.open()
	i.serve(d)
	ctx := b.Context()
	must(b, s.Up(ctx, 0))
	var took []time.Duration
	for b.Loop() {
		m := slacktest.Message{Channel: "C1", User: "UANN", Text: "just talk", TS: s.TS()}
		begun := time.Now()
		must(b, s.Event(ctx, m, nil))
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
