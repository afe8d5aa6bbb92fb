package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel/telegram"
	"nanoclaw/internal/channel/telegram/telegramtest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/credential"
)

// telegramConfig has one group in a chat of Telegram's, with a shell.
const telegramConfig = `{
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"channels": {"telegram": {"connect": true, "api": %q}},
	"people": {"telegram:1": {"role": "owner"}},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"work": {"mode": "host", "hostModeAllowed": true, "chats": ["telegram:-500"], "senders": ["telegram:2"], "confirm": "never"},
	},
}`

// The people and the chat of the tests.
const (
	tgOwner, tgAnn, tgEve int64 = 1, 2, 3
	tgChat                int64 = -500
)

func telegramInstall(t testing.TB, s *telegramtest.Server) *install {
	t.Helper()
	i := newInstall(t, fmt.Sprintf(telegramConfig, s.URL))
	must(t, credential.New(i.paths, i.getenv).SaveTokens("telegram", credential.Tokens{telegram.BotToken: telegramtest.Token}))
	return i
}

// telegramSays waits for a message of the bot that says something.
func telegramSays(t *testing.T, s *telegramtest.Server, what string) telegramtest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		m, err := s.Posted(ctx)
		if err != nil {
			t.Fatalf("nothing with %q was sent: %v; there is %+v", what, err, s.Messages(tgChat))
		}
		if strings.Contains(m.Text, what) {
			return m
		}
	}
}

// A message on Telegram reaches a confined agent, and its answer comes back in
// Telegram's own form, in the topic in which it was asked. A chat that moves goes on.
func TestTelegramEndToEnd(t *testing.T) {
	s := telegramtest.New(t)
	s.Patience = 60 * time.Second
	i := telegramInstall(t, s)
	d, _ := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	say := func(chat, from int64, text string, topic int) {
		t.Helper()
		text += " @andy_bot"
		f := map[string]any{"entities": []any{map[string]any{"type": "mention", "offset": len(text) - 9, "length": 9}}}
		if topic != 0 {
			f["message_thread_id"], f["is_topic_message"] = topic, true
		}
		if err := s.Say(ctx, map[string]any{"message": s.Text(chat, from, text, f)}); err != nil && !errors.Is(err, telegramtest.ErrAgain) {
			t.Fatal(err)
		}
	}
	t.Run("an answer", func(t *testing.T) {
		say(tgChat, tgOwner, `echo '**id** <b>' $(id -u); cat /proc/1/comm; ls `+i.home+` 2>&1 || true #`, 7)
		m := telegramSays(t, s, "<b>id</b> &lt;b&gt;")
		if m.Topic != 7 || !strings.Contains(m.Text, "nanoclaw-init") || !strings.Contains(m.Text, "No such file") {
			t.Errorf("the answer is %+v", m)
		}
	})
	t.Run("a stranger, and a button that is not theirs", func(t *testing.T) {
		before := len(s.Messages(tgChat))
		say(tgChat, tgEve, "echo hello #", 0)
		must(t, s.Say(ctx, map[string]any{"callback_query": map[string]any{"id": "1", "from": map[string]any{"id": tgEve}, "data": "approve:k4m2-9x7a",
			"message": map[string]any{"message_id": 1, "chat": map[string]any{"id": tgChat, "type": "group"}}}}))
		say(tgChat, tgOwner, "echo after #", 0)
		telegramSays(t, s, "after")
		for _, m := range s.Messages(tgChat)[before:] {
			if strings.Contains(m.Text, "hello") {
				t.Errorf("the stranger was answered: %+v", m)
			}
		}
	})
	t.Run("a chat that moves", func(t *testing.T) {
		const is = int64(-100500)
		must(t, s.Say(ctx, map[string]any{"message": s.Text(is, tgOwner, "", map[string]any{"text": nil, "migrate_from_chat_id": tgChat})}))
		say(is, tgAnn, "echo moved #", 0)
		if m := telegramSays(t, s, "moved"); m.Chat != is {
			t.Errorf("the answer went to %d", m.Chat)
		}
	})
	st, err := d.Status(ctx)
	must(t, err)
	if len(st.Channels) != 1 || st.Channels[0].State != "connected" || st.Channels[0].Self != "77" {
		t.Errorf("channels %+v", st.Channels)
	}
}

// A message that is lost on its way is none: sixty of them, four a second in network
// time with bursts, some while the host is away, all reach the store.
func TestTelegramTrace(t *testing.T) {
	s := telegramtest.New(t)
	i := telegramInstall(t, s)
	_, stop := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	var ids []chat.MessageID
	for n := range 60 {
		m := s.Text(tgChat, tgAnn, fmt.Sprint("message ", n), nil)
		ids = append(ids, chat.MessageID(fmt.Sprint(m["message_id"])))
		switch {
		case n%20 == 10:
			s.Drop()
		case n%7 == 3:
			s.Push(map[string]any{"message": m}) // twice
		case n == 40:
			stop() // and it is not there for the rest
		}
		s.Push(map[string]any{"message": m})
	}
	d := i.open()
	i.serve(d)
	for len(ids) > 0 {
		known, err := d.store.Known(ctx, chat.Address{Channel: telegram.ID, Chat: "-500"}, ids[0])
		must(t, err)
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
