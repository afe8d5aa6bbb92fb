package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/channel/slack"
	"nanoclaw/internal/channel/slack/slacktest"
	"nanoclaw/internal/credential"
)

// On Slack a thread is a conversation of its own: real Claude Code knows in it what the
// thread began with and what was said there, and nothing of the channel or of other
// threads; the channel's own conversation knows nothing of them. All outlive a restart,
// and /new begins only the one anew in which it is written.
func TestThreads(t *testing.T) {
	s := slacktest.New(t)
	s.Patience = time.Minute
	i, m := claudeInstall(t)
	i.configure(fmt.Sprintf(`{
		"hostMode": {"enabled": true, "runsPerHour": 100},
		"agent": {"claude": {"path": %q}},
		"channels": {"slack": {"connect": true, "api": %q}},
		"people": {"slack:T1/UOWN": {"role": "owner"}},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true}, "work": {"mode": "host", "hostModeAllowed": true, "chats": ["slack:T1/C1"], "confirm": "never"}},
	}`, agenttest.Claude(t), s.API()))
	must(t, credential.New(i.paths, i.getenv).SaveTokens("slack", credential.Tokens{slack.AppToken: slacktest.AppKey, slack.BotToken: slacktest.BotKey}))
	_, stop := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must(t, s.Up(ctx, 0))

	said := 0
	// say writes as the owner, waits for the answer and gives what the model was asked.
	say := func(thread, text string) (ts, asked string) {
		t.Helper()
		said++
		word := fmt.Sprintf("w%03d", said)
		before := len(m.Requests())
		msg := s.Keep(slacktest.Message{Channel: "C1", User: "UOWN", Text: "<@UBOT> " + text + " " + word, Thread: thread})
		must(t, s.Event(ctx, msg, nil))
		if a := posted(t, s, word); a.Thread != thread {
			t.Errorf("the answer to %q came in thread %q", text, a.Thread)
		}
		asks := m.Requests()[before:]
		return msg.TS, string(asks[len(asks)-1].Body)
	}
	knows := func(what, body string, want ...string) {
		t.Helper()
		for _, word := range []string{"teal", "quince", "amber", "coral"} {
			if is := strings.Contains(strings.Join(want, " "), word); strings.Contains(body, word) != is {
				t.Errorf("%s: that it knows of %s is %v", what, word, !is)
			}
		}
	}
	channel, body := say("", "teal")
	knows("the channel", body, "teal")
	elsewhere, body := say("", "coral")
	knows("the channel", body, "teal coral")
	_, body = say(channel, "quince")
	knows("a thread", body, "teal quince")
	if !strings.Contains(body, "a conversation of its own") {
		t.Error("the agent is not told that it is in a thread")
	}
	_, body = say(elsewhere, "amber")
	knows("another thread", body, "coral amber")
	_, body = say("", "and here?")
	knows("the channel again", body, "teal coral")
	_, body = say(channel, "go on")
	knows("the thread again", body, "teal quince")
	if all := m.Requests(); strings.Contains(all[len(all)-1].UserText, "a conversation of its own") {
		t.Error("the thread is told again what it is")
	}
	stop()
	i.run()
	must(t, s.Up(ctx, 1))
	_, body = say(channel, "still there?")
	knows("the thread after a restart", body, "teal quince")

	root := s.Keep(slacktest.Message{Channel: "C1", User: "UOWN", Text: "<@UBOT> /new", Thread: channel})
	must(t, s.Event(ctx, root, nil))
	posted(t, s, "A new conversation begins")
	_, body = say(channel, "who are you?")
	knows("the thread after /new", body, "teal") // what it began with is told to each that is new in it
	_, body = say(elsewhere, "and you?")
	knows("the other thread", body, "coral amber")

	// A reaction is given to the message that is answered, on the network's own way.
	ask := s.Keep(slacktest.Message{Channel: "C1", User: "UOWN", Text: `<@UBOT> tool: mcp__nanoclaw__add_reaction {"emoji":"🎉"}`, Thread: channel})
	must(t, s.Event(ctx, ask, nil))
	posted(t, s, "Given: 🎉")
	if got := s.Reactions(); len(got) != 1 || got[0] != "C1/"+ask.TS+" 🎉" {
		t.Errorf("the reactions are %q, want one to %s", got, ask.TS)
	}
}
