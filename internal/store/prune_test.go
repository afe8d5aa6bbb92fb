package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// What is over and old goes; what is open, however old, stays, and so does what is
// not old yet. The log keeps every entry and verifies.
func TestPrune(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	now := noon
	s.now = func() time.Time { return now }
	for i := range prunePage + 20 { // more than a page of each
		accept(t, s, "quiet", fmt.Sprint("i", i), router.Ignore)
	}
	bring(t, s, "r1", runner.Running)
	said := chat.Outbound{To: alice, Kind: chat.Reply, Text: "a secret answer", Run: "r1", Group: "main", Key: "k1"}
	check(t, s.Finish(ctx, "r1", runner.Outcome{State: runner.Succeeded, At: noon, Replies: []chat.Outbound{said}}, ended("r1", runner.Succeeded)))
	check(t, s.Sending(ctx, 1, noon))
	check(t, s.Sent(ctx, 1, "n", noon))
	put(t, s, "open", bob)
	check(t, s.Spend(ctx, "", "main", "2026-05-01", Use{Model: "m", Output: 1}))
	accept(t, s, "family", "open", router.Run)
	accept(t, s, "family", "context", router.Context)
	bring(t, s, "live", runner.Running)
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	now = noon.AddDate(0, 0, 100)
	accept(t, s, "quiet", "fresh", router.Ignore)
	check(t, s.Spend(ctx, "", "main", "2026-08-09", Use{Model: "m", Output: 1}))

	if p, err := s.Prune(ctx, Keep{}); err != nil || p != (Pruned{}) {
		t.Errorf("kept for ever: %+v, %v", p, err)
	}
	cut := now.AddDate(0, 0, -90)
	all := Keep{Messages: cut, Runs: cut, Costs: cut, Words: cut, Try: true}
	want := Pruned{Messages: prunePage + 21, Replies: 1, Runs: 1, Costs: 1, Words: prunePage + 24}
	before := len(kinds(t, s))
	for _, try := range []bool{true, false} {
		all.Try = try
		p, err := s.Prune(ctx, all)
		if diff := cmp.Diff(want, p); diff != "" || err != nil {
			t.Errorf("try %v: %s, %v", try, diff, err)
		}
		if n := len(kinds(t, s)); try && n != before || !try && n != before+7 {
			t.Errorf("try %v: %d entries of %d", try, n, before)
		}
	}
	if p, err := s.Prune(ctx, all); err != nil || p != (Pruned{}) {
		t.Errorf("again: %+v, %v", p, err)
	}
	for query, want := range map[string]int{
		`SELECT count(*) FROM inbox`:  4, // two that wait, the live run's, the fresh one
		`SELECT count(*) FROM outbox`: 1,
		`SELECT count(*) FROM runs`:   1,
		`SELECT count(*) FROM costs`:  1,
		`SELECT count(*) FROM audit WHERE kind = 'inbound' AND payload IS NOT NULL`: 1,
		`SELECT count(*) FROM audit WHERE payload LIKE '%text of%'`:                 1,
	} {
		if n := one[int](t, s, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
	check(t, s.Finish(ctx, "live", runner.Outcome{State: runner.Succeeded, At: now}, ended("live", runner.Succeeded)))
	_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
	check(t, err)
	if _, err := audit.Verify(ctx, s, key.Verifier); err != nil {
		t.Error(err)
	}
}

// A clock that was years ahead for one message keeps nothing else from going.
func TestPruneAfterAClockThatWasAhead(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	now := noon
	s.now = func() time.Time { return now }
	accept(t, s, "g", "1", router.Ignore)
	now = noon.AddDate(50, 0, 0)
	accept(t, s, "g", "2", router.Ignore)
	now = noon.AddDate(0, 0, 1)
	accept(t, s, "g", "3", router.Ignore)
	now = noon.AddDate(0, 1, 0)
	p, err := s.Prune(ctx, Keep{Messages: now, Words: now})
	if diff := cmp.Diff(Pruned{Messages: 2, Words: 3}, p); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
