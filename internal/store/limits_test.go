package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// clocked opens a store with a clock that the test moves.
func clocked(t *testing.T, dir string, now *atomic.Int64) *Store {
	t.Helper()
	s, err := openAs(t, dir, Options{Now: func() time.Time { return time.Unix(0, now.Load()).UTC() }})
	check(t, err)
	return s
}

func says(t *testing.T, s *Store, g chat.Group, sender string, id int) router.Accepted {
	t.Helper()
	in := message(fmt.Sprint(g, id), fmt.Sprint("text ", id))
	in.From.Chat, in.Sender = chat.ChatID(g), chat.Sender{ID: chat.SenderID(sender), Owner: sender == "owner"}
	acc, err := s.Accept(t.Context(), in, router.Verdict{Group: g, Action: router.Run, Reason: "test"}, 50, 10)
	check(t, err)
	return acc
}

// texts are the ids of the messages that the next run of a group takes up.
func texts(t *testing.T, s *Store, g chat.Group) (out []string) {
	t.Helper()
	next, err := s.Next(t.Context(), g)
	check(t, err)
	for _, m := range next {
		out = append(out, m.Text)
	}
	return out
}

func rateOf(c *config.Config) MessageRate {
	return func(in chat.Inbound, g chat.Group, group, sender grant.Count, now time.Time) (*grant.Wait, chat.Outbound) {
		who := grant.Asker{Sender: string(in.From.Channel) + ":" + string(in.Sender.ID), Owner: in.Sender.Owner}
		return grant.CheckMessage(c, g, who, group, sender), chat.Outbound{To: in.From, Kind: chat.Notice, Text: "it waits", Group: g}
	}
}

// What comes too fast waits and nothing else does: one notice, over a restart, and
// it is there again a minute later. Who floods fills no more than their part.
func TestMessagesThatComeTooFast(t *testing.T) {
	ctx, dir, now := t.Context(), t.TempDir(), &atomic.Int64{}
	now.Store(noon.UnixNano())
	c := config.Default()
	c.Rates.Sender.MessagesPerMinute = 2
	s := clocked(t, dir, now)
	s.OnMessage(rateOf(&c))
	for i := range 4 {
		says(t, s, "family", "bob", i)
		now.Add(int64(time.Second))
	}
	says(t, s, "family", "eve", 4)
	want := []string{"text 0", "text 1", "text 4"}
	if d := cmp.Diff(want, texts(t, s, "family")); d != "" {
		t.Errorf("another sender waits too:\n%s", d)
	}
	check(t, s.Close())
	s = clocked(t, dir, now)
	defer s.Close()
	s.OnMessage(rateOf(&c))
	if d := cmp.Diff(want, texts(t, s, "family")); d != "" {
		t.Errorf("after a restart:\n%s", d)
	}
	opens, err := s.Opens(ctx)
	if err != nil || !opens.Equal(noon.Add(time.Minute)) {
		t.Errorf("it opens at %v, %v", opens, err)
	}
	for i := range 6 {
		if acc := says(t, s, "family", "bob", 10+i); acc.Full != (i > 2) { // two of five wait already
			t.Errorf("message %d: %+v", i, acc)
		}
	}
	if n := one[int64](t, s, `SELECT count(*) FROM outbox`); n != 1 {
		t.Errorf("%d notices were sent", n)
	}
	claim := func() []string {
		j, err := s.Claim(ctx, "family", chat.RunID(fmt.Sprint("r", now.Load())), time.Unix(0, now.Load()))
		check(t, err)
		if j == nil {
			return nil
		}
		check(t, s.Start(ctx, j.Run, runner.Start{At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted}))
		check(t, s.Running(ctx, j.Run))
		check(t, s.Finish(ctx, j.Run, runner.Outcome{State: runner.Succeeded, At: noon}, ended(j.Run, runner.Succeeded)))
		var out []string
		for _, m := range j.Messages {
			out = append(out, m.Text)
		}
		return out
	}
	if d := cmp.Diff(want, claim()); d != "" {
		t.Errorf("the first run:\n%s", d)
	}
	if got, err := s.Waiting(ctx); err != nil || len(got) != 0 {
		t.Errorf("waiting while all is held: %v, %v", got, err)
	}
	now.Store(opens.UnixNano())
	if got, err := s.Waiting(ctx); err != nil || len(got) != 1 {
		t.Errorf("waiting when it opens: %v, %v", got, err)
	}
	if d := cmp.Diff([]string{"text 2", "text 3", "text 10", "text 11", "text 12"}, claim()); d != "" {
		t.Errorf("what waited:\n%s", d)
	}
}

// queued makes a queued run of a group with messages of these senders.
func queued(t *testing.T, s *Store, g chat.Group, run chat.RunID, senders ...string) *queue.Job {
	t.Helper()
	for i, sender := range senders {
		in := message(fmt.Sprint(run, i), "text")
		in.From.Chat, in.Sender = chat.ChatID(g), chat.Sender{ID: chat.SenderID(sender)}
		_, err := s.Accept(t.Context(), in, router.Verdict{Group: g, Action: router.Run}, 50, 100)
		check(t, err)
	}
	return claim(t, s, g, run)
}

const day = "2026-05-01"

var ends = noon.Add(12 * time.Hour)

// reservationFor is what the daemon would set aside for a run.
func reservationFor(c *config.Config, g chat.Group, msgs []queue.Message, want int64) runner.Reservation {
	askers := runner.Askers(msgs, false)
	set := grant.Amount{Tokens: want}
	return runner.Reservation{Day: day, Askers: askers, Accounts: grant.Accounts(c, g, askers, ""), Set: set, Judge: func(a grant.Account, u grant.Used) error {
		if w := grant.CheckRun(a, u, set, ends); w != nil {
			return w
		}
		return nil
	}}
}

func begins(s *Store, run chat.RunID, l runner.Reservation) error {
	return s.Start(context.Background(), run, runner.Start{Mode: "host", At: noon, Reservation: &l}, audit.Entry{At: noon, Kind: audit.RunStarted})
}

// However many runs begin at once, those that pass fit into the budget together.
func TestReservationsDoNotRace(t *testing.T) {
	ctx, s, c := t.Context(), newStore(t), config.Default()
	c.Budgets.Day.Tokens = 1000
	var passed, held atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		g, run := chat.Group(fmt.Sprint("g", i)), chat.RunID(fmt.Sprint("r", i))
		j := queued(t, s, g, run, "bob")
		all.Go(func() {
			err := begins(s, run, reservationFor(&c, g, j.Messages, 300))
			var w *grant.Wait
			switch {
			case err == nil:
				passed.Add(1)
			case errors.As(err, &w) && w.Rule == "budget.day":
				held.Add(1)
			default:
				t.Errorf("run %s: %v", run, err)
			}
		})
	}
	all.Wait()
	if passed.Load() != 3 || held.Load() != 17 {
		t.Errorf("%d runs of 300 tokens passed a budget of 1000, %d were held", passed.Load(), held.Load())
	}
	u, err := s.UsedOn(ctx, day, grant.Account{Kind: grant.DayAccount, Part: 1, All: 1})
	if err != nil || u.Spent.Tokens != 900 || u.Runs != 3 {
		t.Errorf("%+v, %v", u, err)
	}
}

// A run costs its askers what it used, by their messages, and not a token more or
// less; what it set aside beyond that is free again.
func TestSettle(t *testing.T) {
	ctx, s, c := t.Context(), newStore(t), config.Default()
	j := queued(t, s, "family", "r1", "bob", "bob", "eve")
	check(t, begins(s, "r1", reservationFor(&c, "family", j.Messages, 5000)))
	check(t, s.Running(ctx, "r1"))
	used := func(kind, of string, part, all int) grant.Used {
		t.Helper()
		u, err := s.UsedOn(ctx, day, grant.Account{Kind: kind, Of: of, Part: part, All: all})
		check(t, err)
		return u
	}
	if got := used(grant.SenderAccount, "console:bob", 2, 3); got.Spent.Tokens != 3333 || got.Runs != 1 {
		t.Errorf("set aside for bob: %+v", got)
	}
	check(t, s.Spend(ctx, "r1", "family", day, Use{Model: "m", Input: 90, Output: 10, Micros: 1000}))
	check(t, s.Spend(ctx, "r1", "family", day, Use{Model: "n", Input: 1, Unpriced: 1}))
	check(t, s.Spend(ctx, "r1", "family", day, Use{Model: "m", Output: 2, Micros: 7}))
	check(t, s.Finish(ctx, "r1", runner.Outcome{State: runner.Succeeded, At: noon, CostUSD: 1}, ended("r1", runner.Succeeded)))
	costs, err := s.Costs(ctx, CostFilter{Since: day})
	check(t, err)
	want := []Cost{
		{day, "family", "console:bob", "", 1, Use{Model: "m", Input: 60, Output: 8, Micros: 671}},
		{day, "family", "console:bob", "", 0, Use{Model: "n", Micros: 333}},
		{day, "family", "console:eve", "", 1, Use{Model: "m", Input: 30, Output: 4, Micros: 336}},
		// An agent's word for its cost counts for what has no price, and no further than
		// its tokens can cost.
		{day, "family", "console:eve", "", 0, Use{Model: "n", Input: 1, Micros: 167}},
	}
	if d := cmp.Diff(want, costs); d != "" {
		t.Error(d)
	}
	if got := used(grant.GroupAccount, "family", 1, 1); got.Spent != (grant.Amount{Micros: 1507, Tokens: 103}) || got.Runs != 2 {
		t.Errorf("afterwards %+v", got)
	}
	check(t, s.Spend(ctx, "r1", "family", day, Use{Model: "m", Input: 5}))
	if got := used(grant.GroupAccount, "family", 1, 1); got.Spent.Tokens != 108 {
		t.Errorf("what came after the end is lost: %+v", got)
	}
}

// However a run ends, or never begins, nothing stays set aside; what it used stays
// used.
func TestLeasesEnd(t *testing.T) {
	tests := []struct {
		name  string
		began bool
		end   func(ctx context.Context, s *Store) error
		want  grant.Used
	}{
		{"crash", true, func(ctx context.Context, s *Store) error { _, err := again(s).Recover(ctx, 3, noon); return err }, grant.Used{Runs: 1, Spent: grant.Amount{Tokens: 70}}},
		{"crash before it began", false, func(ctx context.Context, s *Store) error { _, err := again(s).Recover(ctx, 3, noon); return err }, grant.Used{}},
		{"the daemon stops", true, func(ctx context.Context, s *Store) error { return s.Release(ctx, "r1") }, grant.Used{Runs: 1, Spent: grant.Amount{Tokens: 70}}},
		{"the daemon stops before", false, func(ctx context.Context, s *Store) error { return s.Release(ctx, "r1") }, grant.Used{}},
		{"held", false, func(ctx context.Context, s *Store) error {
			return s.Hold(ctx, "r1", runner.Hold{Key: "k", Until: ends}, audit.Entry{At: noon, Kind: audit.RunHeld})
		}, grant.Used{}},
		{"refused", false, func(ctx context.Context, s *Store) error {
			return s.Finish(ctx, "r1", runner.Outcome{State: runner.Refused, At: noon}, ended("r1", runner.Refused))
		}, grant.Used{}},
		{"failed", true, func(ctx context.Context, s *Store) error {
			return s.Finish(ctx, "r1", runner.Outcome{State: runner.Failed, At: noon}, ended("r1", runner.Failed))
		}, grant.Used{Runs: 1, Spent: grant.Amount{Tokens: 70}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, s, c := t.Context(), newStore(t), config.Default()
			j := queued(t, s, "family", "r1", "bob")
			if tt.began {
				check(t, begins(s, "r1", reservationFor(&c, "family", j.Messages, 5000)))
				check(t, s.Running(ctx, "r1"))
				check(t, s.Spend(ctx, "r1", "family", day, Use{Model: "m", Input: 70}))
			}
			check(t, tt.end(ctx, s))
			u, err := s.UsedOn(ctx, day, grant.Account{Kind: grant.GroupAccount, Of: "family", Part: 1, All: 1})
			check(t, err)
			if d := cmp.Diff(tt.want, u); d != "" {
				t.Error(d)
			}
			if n := one[int64](t, s, `SELECT (SELECT count(*) FROM reservations) + (SELECT count(*) FROM reservation_senders) + (SELECT count(*) FROM reservation_models)`); n != 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}

// A message that joins a run is a run of its sender where runs are counted, and
// joins only if there is room.
func TestJoinCounts(t *testing.T) {
	ctx, s, c := t.Context(), newStore(t), config.Default()
	c.Rates.Sender.RunsPerDay = 2
	j := queued(t, s, "family", "r1", "bob")
	check(t, begins(s, "r1", reservationFor(&c, "family", j.Messages, 10)))
	check(t, s.Running(ctx, "r1"))
	for i, want := range []bool{true, false} {
		in := message(fmt.Sprint("more", i), "more")
		in.From.Chat, in.Sender = "family", chat.Sender{ID: "bob"}
		_, err := s.Accept(ctx, in, router.Verdict{Group: "family", Action: router.Run}, 50, 100)
		check(t, err)
		next, err := s.Next(ctx, "family")
		check(t, err)
		l := reservationFor(&c, "family", next, 0)
		ok, err := s.Join(ctx, "r1", next, &l, audit.Entry{At: noon, Kind: audit.RunJoined})
		var w *grant.Wait
		if ok != want || want != (err == nil) || !want && (!errors.As(err, &w) || w.Of != "console:bob") {
			t.Errorf("message %d: %v, %v", i, ok, err)
		}
	}
	if got := texts(t, s, "family"); len(got) != 1 {
		t.Errorf("what did not join is not waiting: %v", got)
	}
}

// Of what waits for the owner only that is taken up which the answer is about, and
// a no ends it with one notice for each chat.
func TestHoldAndAnswer(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	hold := func(run chat.RunID, key string) {
		t.Helper()
		j := queued(t, s, "family", run, "bob", "bob")
		h := runner.Hold{Key: key, Until: ends, Window: ends, Notice: chat.Outbound{To: alice, Kind: chat.Notice, Text: "the owner is asked"}}
		for _, m := range j.Messages {
			h.Rows = append(h.Rows, m.Row)
		}
		check(t, s.Hold(ctx, run, h, audit.Entry{At: noon, Kind: audit.RunHeld, Run: run}))
	}
	hold("r1", "confirm/a")
	hold("r2", "confirm/b")
	if g, err := s.Waiting(ctx); err != nil || len(g) != 0 {
		t.Errorf("waiting: %v, %v", g, err)
	}
	if n, err := s.Free(ctx, "confirm/a", "a"); n != 2 || err != nil {
		t.Errorf("freed %d, %v", n, err)
	}
	if n, err := s.Free(ctx, "confirm/a", "a"); n != 0 || err != nil {
		t.Errorf("freed %d a second time, %v", n, err)
	}
	j := claim(t, s, "family", "r3")
	if len(j.Messages) != 2 || j.Messages[0].Consent != "a" {
		t.Errorf("taken up: %+v", j.Messages)
	}
	n, err := s.EndHeld(ctx, "confirm/b", "no", func(in chat.Inbound) chat.Outbound {
		return chat.Outbound{To: in.From, Kind: chat.Notice, Text: "no", Key: "no"}
	}, noon)
	if n != 2 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	f, err := s.Fate(ctx, chat.Address{Channel: "console", Chat: "family"}, "r20")
	if err != nil || f.State != "refused" || f.Reason != "no" {
		t.Errorf("%+v, %v", f, err)
	}
	if n := one[int64](t, s, `SELECT count(*) FROM outbox`); n != 3 { // two questions, one no
		t.Errorf("%d notices", n)
	}
}

// An extension holds for its account and its day.
func TestExtend(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	a := grant.Account{Kind: grant.GroupAccount, Of: "family", Part: 1, All: 1}
	for range 2 {
		check(t, s.Extend(ctx, day, a, grant.Amount{Tokens: 5}, audit.Entry{At: noon, Kind: audit.BudgetExtended}))
	}
	for _, tt := range []struct {
		day, of string
		want    int64
	}{{day, "family", 10}, {"2026-05-02", "family", 0}, {day, "work", 0}} {
		a.Of = tt.of
		if u, err := s.UsedOn(ctx, tt.day, a); err != nil || u.Extra.Tokens != tt.want {
			t.Errorf("%s on %s: %+v, %v", tt.of, tt.day, u, err)
		}
	}
}
