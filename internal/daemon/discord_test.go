package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel/discord"
	"nanoclaw/internal/channel/discord/discordtest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/credential"
)

// discordConfig has one group in a channel of Discord's, with a shell.
const discordConfig = `{
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"channels": {"discord": {"connect": true, "api": %q}},
	"people": {"discord:1001": {"role": "owner"}},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"work": {"mode": "host", "hostModeAllowed": true, "chats": ["discord:` + discordtest.General + `"], "senders": ["discord:1002"], "confirm": "never"},
	},
}`

func discordInstall(t testing.TB, s *discordtest.Server) *install {
	t.Helper()
	i := newInstall(t, fmt.Sprintf(discordConfig, s.API()))
	must(t, credential.New(i.paths, i.getenv).SaveTokens("discord", credential.Tokens{discord.BotToken: discordtest.Token}))
	return i
}

// discordSays waits for a message of the bot that says something.
func discordSays(t *testing.T, s *discordtest.Server, what string) discordtest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		m, err := s.Posted(ctx)
		if err != nil {
			t.Fatalf("nothing with %q was posted: %v; there is %+v", what, err, s.Messages(discordtest.General))
		}
		if strings.Contains(m.Text, what) {
			return m
		}
	}
}

// A message on Discord reaches a confined agent, and its answer comes back in Discord's
// own form, in the thread in which it was asked.
func TestDiscordEndToEnd(t *testing.T) {
	s := discordtest.New(t)
	s.Patience = 60 * time.Second
	i := discordInstall(t, s)
	d, _ := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	must(t, s.Up(ctx, 0))
	say := func(channel, from, text string) {
		t.Helper()
		m := s.Text(channel, from, text+" # <@"+discordtest.BotID+">", discordtest.Object{"mentions": []any{discordtest.Object{"id": discordtest.BotID, "username": "andy"}}})
		must(t, s.Say(ctx, "MESSAGE_CREATE", s.Keep(m)))
	}
	say(discordtest.Thread, "1001", `echo '**id** @everyone' $(id -u); cat /proc/1/comm; ls `+i.home+` 2>&1 || true`)
	m := discordSays(t, s, "**id** @\u200beveryone")
	if m.Channel != discordtest.Thread || !strings.Contains(m.Text, `nanoclaw\-init`) || !strings.Contains(m.Text, "No such file") {
		t.Errorf("the answer is %+v", m)
	}
	before := len(s.Messages(discordtest.General))
	say(discordtest.General, "1003", "echo hello")
	must(t, s.Say(ctx, "INTERACTION_CREATE", discordtest.Object{"id": s.ID(), "type": 3, "token": "t", "channel_id": discordtest.General, "guild_id": discordtest.Guild,
		"member": discordtest.Object{"user": discordtest.Object{"id": "1003"}}, "data": discordtest.Object{"custom_id": "approve:k4m2-9x7a"}}))
	say(discordtest.General, "1001", "echo after")
	discordSays(t, s, "after")
	for _, m := range s.Messages(discordtest.General)[before:] {
		if strings.Contains(m.Text, "hello") {
			t.Errorf("the stranger was answered: %+v", m)
		}
	}
	st, err := d.Status(ctx)
	must(t, err)
	if len(st.Channels) != 1 || st.Channels[0].State != "connected" || st.Channels[0].Self != discordtest.BotID {
		t.Errorf("channels %+v", st.Channels)
	}
}

// A message that is lost on its way is none: sixty of them, four a second in network
// time with bursts, with the connection cut off three times and the session ended once,
// all reach the store.
func TestDiscordTrace(t *testing.T) {
	s := discordtest.New(t)
	i := discordInstall(t, s)
	d, _ := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	must(t, s.Up(ctx, 0))
	begun := time.Now().Add(-20 * time.Second)
	var ids []chat.MessageID
	for n := range 60 {
		id := s.IDAt(begun.Add(time.Duration(n/4)*time.Second), n)
		m := s.Keep(s.Text(discordtest.General, "1002", fmt.Sprint("message ", n), discordtest.Object{"id": id}))
		ids = append(ids, chat.MessageID(id))
		switch {
		case n%20 == 10:
			s.Drop()
		case n == 35:
			s.Drop()
			s.Forget()
			continue // this one is told to nobody
		case n%7 == 3:
			s.Push("MESSAGE_CREATE", m) // twice
		}
		s.Push("MESSAGE_CREATE", m)
	}
	for len(ids) > 0 {
		known, err := d.store.Known(ctx, chat.Address{Channel: discord.ID, Chat: discordtest.General}, ids[0])
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if known {
			ids = slices.Delete(ids, 0, 1)
			continue
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d messages were lost, such as %s", len(ids), ids[0])
		case <-time.After(10 * time.Millisecond):
		}
	}
}
