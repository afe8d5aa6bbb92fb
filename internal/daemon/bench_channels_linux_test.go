package daemon

import (
	"testing"

	"nanoclaw/internal/channel/discord/discordtest"
	"nanoclaw/internal/channel/slack/slacktest"
	"nanoclaw/internal/channel/telegram/telegramtest"
)

// BenchmarkSlackInbound is the way of a message from Slack through the adapter to its
// durable row, and the acknowledgement back to the network.
func BenchmarkSlackInbound(b *testing.B) {
	s := slacktest.New(b)
	i := slackInstall(b, s)
	i.serve(i.open())
	must(b, s.Up(b.Context(), 0))
	benchArrival(b, func() {
		must(b, s.Event(b.Context(), slacktest.Message{Channel: "C1", User: "UANN", Text: "just talk", TS: s.TS()}, nil))
	})
}

// BenchmarkTelegramInbound is the same for Telegram, whose acknowledgement is the next
// request for updates.
func BenchmarkTelegramInbound(b *testing.B) {
	s := telegramtest.New(b)
	i := telegramInstall(b, s)
	i.serve(i.open())
	must(b, s.Waiting(b.Context(), 0))
	benchArrival(b, func() {
		must(b, s.Say(b.Context(), map[string]any{"message": s.Text(tgChat, tgAnn, "just talk", nil)}))
	})
}

// BenchmarkDiscordInbound is the same for Discord, whose acknowledgement is a heartbeat.
func BenchmarkDiscordInbound(b *testing.B) {
	s := discordtest.New(b)
	i := discordInstall(b, s)
	i.serve(i.open())
	must(b, s.Up(b.Context(), 0))
	benchArrival(b, func() {
		must(b, s.Say(b.Context(), "MESSAGE_CREATE", s.Text(discordtest.General, "1002", "just talk", nil)))
	})
}

// benchArrival measures the arrival of a message that starts nothing, beside a bare
// durable insert of its text.
func benchArrival(b *testing.B, arrive func()) {
	insert := bareInsert(b)
	times := newTimes("arrival", "bare insert")
	for round := 0; b.Loop(); round++ {
		times.inTurn(round, func() { times.add("arrival", timed(arrive)) }, func() { times.add("bare insert", timed(insert)) })
	}
	times.report(b, "arrival", "under 5 ms at the median from the adapter to the durable row")
}
