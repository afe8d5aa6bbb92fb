package slack

import (
	"context"
	"testing"
	"time"

	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/slack/slacktest"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// patience bounds every wait. Nothing passes because of it.
const patience = 20 * time.Second

func connected(s *slacktest.Server) *Channel {
	return New(Options{
		App: slacktest.AppKey, Bot: slacktest.BotKey, API: s.API(), Assistant: func() string { return "Andy" },
		Supervise: supervise.Options{First: time.Millisecond, Most: 10 * time.Millisecond}, Refresh: 10 * time.Millisecond,
	})
}

// start runs a channel until the test ends, and waits until it is connected.
func start(t *testing.T, s *slacktest.Server, c *Channel) (context.Context, *channeltest.Sink) {
	t.Helper()
	sink := &channeltest.Sink{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	done := make(chan error, 1)
	_, before := s.Sockets()
	go func() { done <- c.Run(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	if err := s.Up(ctx, before); err != nil {
		t.Fatal(err)
	}
	return ctx, sink
}

var general = address(slacktest.Team, "C1", "")

func TestConformance(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Network {
		s := slacktest.New(t)
		var last slacktest.Message
		return channeltest.Network{
			Channel: connected(s), Chat: general,
			Say: func(ctx context.Context, text string) error {
				last = s.Keep(slacktest.Message{Channel: "C1", User: "U1", Text: text})
				return s.Event(ctx, last, nil)
			},
			Repeat: func(ctx context.Context) error { return s.Event(ctx, last, nil) },
			Cut:    s.Drop, Reacted: s.Reactions,
			Connect: func() (func(context.Context) (string, error), func()) {
				received := func(ctx context.Context) (string, error) {
					m, err := s.Posted(ctx)
					return m.Text, err
				}
				return received, func() { s.Refuse("chat.postMessage", "internal_error", 1000) }
			},
		}
	})
}

func TestInbound(t *testing.T) {
	s := slacktest.New(t)
	ctx, sink := start(t, s, connected(s))
	person := chat.SenderID("T1/U1")
	for _, tt := range []struct {
		name   string
		m      slacktest.Message
		fields map[string]any
		want   func(in chat.Inbound) bool
		none   bool
	}{
		{name: "a message", m: slacktest.Message{Text: "hi"}, want: func(in chat.Inbound) bool {
			return in.From == general && in.Sender.ID == person && !in.Mentioned && in.Text == "hi"
		}},
		{name: "a mention", m: slacktest.Message{Text: "<@UBOT> look at <https://a.example/x|a.example/x> &amp; <#C2|ops>"}, want: func(in chat.Inbound) bool {
			return in.Mentioned && in.Text == "@Andy look at https://a.example/x & #ops"
		}},
		{name: "a direct message", m: slacktest.Message{Channel: "D1", Text: "hi"}, fields: map[string]any{"channel_type": "im"}, want: func(in chat.Inbound) bool {
			return in.Mentioned && in.From == address("T1", "D1", "")
		}},
		{name: "a reply in a thread", m: slacktest.Message{Text: "hi", Thread: "1700000000.000001"}, want: func(in chat.Inbound) bool {
			return in.From == address("T1", "C1", "1700000000.000001") && in.From.Base() == general && !in.Mentioned
		}},
		{name: "a reply under a message of ours", m: slacktest.Message{Text: "hi", Thread: "1700000000.000001"}, fields: map[string]any{"parent_user_id": slacktest.BotUser}, want: func(in chat.Inbound) bool {
			return in.Mentioned
		}},
		{name: "a reply under somebody else's message", m: slacktest.Message{Text: "hi", Thread: "1700000000.000001"}, fields: map[string]any{"parent_user_id": "U2"}, want: func(in chat.Inbound) bool {
			return !in.Mentioned
		}},
		{name: "a message in no thread that names us as its parent's author", m: slacktest.Message{Text: "hi"}, fields: map[string]any{"parent_user_id": slacktest.BotUser}, want: func(in chat.Inbound) bool {
			return !in.Mentioned
		}},
		{name: "a reply that is shown in the channel too", m: slacktest.Message{Text: "hi", Thread: "1700000000.000001"}, fields: map[string]any{"subtype": "thread_broadcast"}, want: func(in chat.Inbound) bool {
			return in.From == address("T1", "C1", "1700000000.000001")
		}},
		{name: "a guest of another workspace", m: slacktest.Message{Text: "hi"}, fields: map[string]any{"user_team": "T9", "source_team": "T9"}, want: func(in chat.Inbound) bool {
			return in.Sender.ID == "T9/U1"
		}},
		{name: "a bot", m: slacktest.Message{Text: "hi"}, fields: map[string]any{"bot_id": "B9"}, want: func(in chat.Inbound) bool {
			return in.Sender.ID == "T1/bot:B9" && !in.Sender.Self
		}},
		{name: "a webhook that has the owner's name", m: slacktest.Message{Text: "hi"}, fields: map[string]any{"subtype": "bot_message", "bot_id": "B8", "username": "owner", "user": ""}, want: func(in chat.Inbound) bool {
			return in.Sender.ID == "T1/bot:B8" && in.Sender.Name == "owner" && !in.Sender.Owner
		}},
		{name: "ourselves", m: slacktest.Message{User: slacktest.BotUser, Text: "hi"}, fields: map[string]any{"bot_id": slacktest.BotID}, want: func(in chat.Inbound) bool { return in.Sender.Self }},
		{name: "an edit", m: slacktest.Message{Text: "hi"}, fields: map[string]any{"subtype": "message_changed", "message": map[string]any{"text": "@Andy rm", "user": "U1", "ts": "1.1"}}, none: true},
		{name: "a deletion", m: slacktest.Message{}, fields: map[string]any{"subtype": "message_deleted"}, none: true},
		{name: "somebody joined", m: slacktest.Message{Text: "joined"}, fields: map[string]any{"subtype": "channel_join"}, none: true},
		{name: "another event", m: slacktest.Message{}, fields: map[string]any{"type": "reaction_added"}, none: true},
		{name: "fields of the wrong kind", m: slacktest.Message{Text: "x"}, fields: map[string]any{"text": 7}, none: true},
		{name: "blocks that nobody knows", m: slacktest.Message{Text: "still here"}, fields: map[string]any{"blocks": []any{7, "x", map[string]any{"type": map[string]any{}}}}, want: func(in chat.Inbound) bool {
			return in.Text == "still here"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.m.Channel == "" {
				tt.m.Channel = "C1"
			}
			if tt.m.User == "" {
				tt.m.User = "U1"
			}
			tt.m.TS = s.TS()
			before := len(sink.Got())
			if err := s.Event(ctx, tt.m, tt.fields); err != nil {
				t.Fatalf("not acknowledged: %v", err)
			}
			got := sink.Got()[before:]
			if tt.none {
				if len(got) != 0 {
					t.Errorf("it became %+v", got)
				}
				return
			}
			if len(got) != 1 || !tt.want(got[0]) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestButtons(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	ctx, sink := start(t, s, c)
	_, err := c.Deliver(ctx, chat.Outbound{ID: 1, To: general, Kind: chat.Question, Key: "q", Code: "k4m2-9x7a", Text: chat.HostMark + "May it run `rm -rf <x>`? *yes*"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Posted(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"value":"k4m2-9x7a"`, pressApprove, pressDeny, "rm -rf \\u0026lt;x\\u0026gt;"} {
		if !contains(m.Blocks, want) {
			t.Errorf("%s is not in %s", want, m.Blocks)
		}
	}
	if err := s.Press(ctx, "U7", "C1", "", pressDeny, "k4m2-9x7a"); err != nil {
		t.Fatal(err)
	}
	got := sink.Got()
	if len(got) != 1 || got[0].Text != "deny k4m2-9x7a" || got[0].Sender.ID != "T1/U7" || got[0].From != general || got[0].Sender.Owner {
		t.Errorf("got %+v", got)
	}
	for _, action := range []string{"", "other_app"} {
		if err := s.Press(ctx, "U7", "C1", "", action, "x"); err != nil || len(sink.Got()) != 1 {
			t.Errorf("a button of somebody else: %v, %+v", err, sink.Got())
		}
	}
}
