package daemon

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

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

// BenchmarkIdleAdapters is what a process holds that is nothing but adapters, 50 of the
// three networks, after a message in each of 1,000 chats of each, while nothing happens.
// The networks are in the process of the benchmark.
func BenchmarkIdleAdapters(b *testing.B) {
	const adapters, chats = 50, 1000
	program := built(b, "nanoclaw/internal/daemon/testdata/adapters")
	got := map[string][]float64{}
	for b.Loop() {
		p := process{name: "adapters", argv: []string{program}, env: os.Environ(), lives: true}
		var say []func() error // in each chat of one
		for k := range adapters {
			kind, address, app, bot := "", "", "", ""
			var one func(n int) error
			switch k % 3 {
			case 0:
				s := slacktest.New(b)
				kind, address, app, bot = "slack", s.API(), slacktest.AppKey, slacktest.BotKey
				one = func(n int) error {
					if n == 0 {
						must(b, s.Up(b.Context(), 0))
					}
					return s.Event(b.Context(), slacktest.Message{Channel: fmt.Sprintf("C%d", n), User: fmt.Sprintf("U%d", n%100), Text: "just talk", TS: s.TS()}, nil)
				}
			case 1:
				s := telegramtest.New(b)
				kind, address, app, bot = "telegram", s.URL, "-", telegramtest.Token
				one = func(n int) error {
					return s.Say(b.Context(), map[string]any{"message": s.Text(int64(-1000-n), int64(2+n%100), "just talk", nil)})
				}
			case 2:
				s := discordtest.New(b)
				kind, address, app, bot = "discord", s.API(), "-", discordtest.Token
				one = func(n int) error {
					if n == 0 {
						must(b, s.Up(b.Context(), 0))
					}
					return s.Say(b.Context(), "MESSAGE_CREATE", s.Text(fmt.Sprint(100_000+n), fmt.Sprint(1000+n%100), "just talk", nil))
				}
			}
			p.argv = append(p.argv, kind, address, app, bot)
			say = append(say, func() error {
				for n := range chats {
					if err := one(n); err != nil {
						return fmt.Errorf("%s, chat %d: %w", kind, n, err)
					}
				}
				return nil
			})
		}
		ready := p.start(b)
		told := make(chan error, len(say))
		for _, f := range say {
			go func() { told <- f() }()
		}
		for range say {
			must(b, <-told)
		}
		time.Sleep(3 * time.Second) // idle is a matter of time
		before := cpuOf(b, ready.pid)
		time.Sleep(5 * time.Second)
		used, now := cpuOf(b, ready.pid)-before, memoryOf(b, ready.pid)
		ready.stop()
		got["cpu-%"] = append(got["cpu-%"], 100*used.Seconds()/5)
		for _, kind := range []string{"VmRSS", "RssAnon"} {
			got[kind+"-MB"] = append(got[kind+"-MB"], now[kind])
		}
	}
	for name, values := range got {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], name)
	}
	b.ReportMetric(0, "ns/op")
	b.Logf("aim: %d adapters with %d chats each idle in 100 MB", adapters, chats)
}
