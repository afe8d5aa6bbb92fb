package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// benchNet is a network that takes everything at once and hands each reply to whoever
// waits for its chat.
type benchNet struct {
	sink  channel.Sink
	ready chan struct{}
	heard sync.Map // chat → chan string
}

func (n *benchNet) ID() chat.ChannelID  { return "net" }
func (n *benchNet) Self() chat.SenderID { return "nanoclaw" }

func (n *benchNet) Run(ctx context.Context, sink channel.Sink) error {
	n.sink = sink
	close(n.ready)
	<-ctx.Done()
	return nil
}

func (n *benchNet) Deliver(_ context.Context, m chat.Outbound) (chat.MessageID, error) {
	if c, ok := n.heard.Load(m.To.Chat); ok && m.Kind != chat.Notice {
		c.(chan string) <- m.Text
	}
	return chat.MessageID(m.Key), nil
}

// say writes in a chat and returns once that is durable.
func (n *benchNet) say(b *testing.B, in chat.ChatID, text string) {
	must(b, n.sink.Receive(b.Context(), chat.Inbound{
		From: chat.Address{Channel: n.ID(), Chat: in}, ID: chat.MessageID(chat.NewRunID()), Sent: time.Now(), Sender: chat.Sender{ID: "ann", Name: "Ann"}, Text: text,
	}))
}

// busyGroups runs a daemon with groups on a network, each in a chat of its name.
func busyGroups(b *testing.B, groups int) (d *Daemon, n *benchNet, names []chat.ChatID) {
	b.Helper()
	var text strings.Builder
	text.WriteString(`{"version": 1, "hostMode": {"enabled": true, "runsPerHour": 100000}, "agent": {"kind": "shell"}, "limits": {"concurrentRuns": 2},
		"rates": {"group": {"messagesPerMinute": 100000, "runsPerDay": 100000}, "sender": {"messagesPerMinute": 100000, "runsPerDay": 100000}},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true}`)
	n = &benchNet{ready: make(chan struct{})}
	for k := range groups {
		name := fmt.Sprintf("g%d", k)
		fmt.Fprintf(&text, `, %q: {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["net:%s"], "senders": ["net:ann"], "trigger": "always"}`, name, name)
		names = append(names, chat.ChatID(name))
		n.heard.Store(chat.ChatID(name), make(chan string, 100))
	}
	text.WriteString("}}")
	i := benchInstall(b, text.String())
	d = i.open()
	d.channels[n.ID()] = n
	b.Cleanup(i.serve(d))
	<-n.ready
	return d, n, names
}

// answerIn waits for the next reply in a chat.
func (n *benchNet) answerIn(in chat.ChatID) string {
	c, _ := n.heard.Load(in)
	return <-c.(chan string)
}

// atOnce does something so often, by two at once, and gives how often a second.
func atOnce(times int, do func(worker, k int)) float64 {
	began := time.Now()
	var all sync.WaitGroup
	for w := range 2 {
		all.Go(func() {
			for k := range times / 2 {
				do(w, k)
			}
		})
	}
	all.Wait()
	return float64(times) / time.Since(began).Seconds()
}

// BenchmarkBusyGroups is how many complete runs of the shell a second 200 groups get, two
// at a time, beside starts of the boundary alone, two at a time too; and, when half as
// many messages are offered as that, the time from a message to its first instruction.
func BenchmarkBusyGroups(b *testing.B) {
	d, n, names := busyGroups(b, 200)
	n.say(b, names[0], clock) // waits for the probe
	n.answerIn(names[0])
	g, err := d.decide(b.Context(), "g0", grant.Trigger{Kind: "message"})
	must(b, err)
	start := bare(b, d, g)
	for w := range names {
		n.say(b, names[w], "true") // makes its folders
		n.answerIn(names[w])
	}
	var runs, starts []float64
	var waits []time.Duration
	for round := 0; b.Loop(); round++ {
		next := 0
		turns := []func(){
			func() {
				runs = append(runs, atOnce(60, func(w, k int) {
					in := names[(w+2*k)%len(names)]
					n.say(b, in, clock)
					n.answerIn(in)
				}))
			},
			func() { starts = append(starts, atOnce(60, func(int, int) { start(clock) })) },
		}
		newTimes().inTurn(round, turns...)
		between := time.Duration(2 / runs[len(runs)-1] * float64(time.Second))
		var mu sync.Mutex
		var all sync.WaitGroup
		tick := time.NewTicker(between)
		for range 60 {
			<-tick.C
			in := names[next%len(names)]
			next++
			all.Go(func() {
				began := time.Now()
				n.say(b, in, clock)
				wait := readClock(b, n.answerIn(in)).Sub(began)
				mu.Lock()
				waits = append(waits, wait)
				mu.Unlock()
			})
		}
		tick.Stop()
		all.Wait()
	}
	slices.Sort(runs)
	slices.Sort(starts)
	slices.Sort(waits)
	r, s := runs[len(runs)/2], starts[len(starts)/2]
	p50, p95 := waits[len(waits)/2], waits[len(waits)*95/100]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(r, "runs/s")
	b.ReportMetric(s, "starts/s")
	b.ReportMetric(r/s, "runs/starts")
	b.ReportMetric(ms(p50), "p50-ms")
	b.ReportMetric(ms(p95), "p95-ms")
	b.Logf("two at a time: %.0f runs/s, %.0f starts/s, ratio %.2f; aim: 0.80\nat half of that rate: p50 %.1f ms, p95 %.1f ms from message to first instruction; aim: 60 ms", r, s, r/s, ms(p50), ms(p95))
}
