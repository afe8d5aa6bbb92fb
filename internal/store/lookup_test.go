package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
)

func TestFate(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	from := message("", "").From
	if _, err := s.Fate(ctx, from, "m1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown message: %v", err)
	}
	accept(t, s, "main", "m1", router.Run)
	claim(t, s, "main", "r1")
	accept(t, s, "main", "m2", router.Refuse)
	for id, want := range map[chat.MessageID]Fate{
		"m1": {State: "claimed", Reason: "test", Run: "r1"},
		"m2": {State: "refused", Reason: "test"},
	} {
		got, err := s.Fate(ctx, from, id)
		check(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}

func TestUnsaid(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	m, err := s.Put(ctx, chat.Outbound{To: alice, Kind: chat.Reply, Text: "x", Key: "k", Run: "r1"}, noon)
	check(t, err)
	put(t, s, "of no run", alice)
	want := func(n int) {
		t.Helper()
		if got, err := s.Unsaid(ctx, "r1"); got != n || err != nil {
			t.Errorf("%d, %v, want %d", got, err, n)
		}
	}
	want(1)
	check(t, s.Sending(ctx, m.ID, noon))
	want(1)
	check(t, s.Retry(ctx, m.ID, "no route", noon))
	want(0) // it waits for another attempt
	check(t, s.Sending(ctx, m.ID, noon))
	check(t, s.Held(ctx, m.ID))
	want(0)
}

// TestUnsaidBehindHeld: what waits behind a message that is held for nobody is
// held with it; who waits for the end of a run must not wait for it.
func TestUnsaidBehindHeld(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	first, err := s.Put(ctx, chat.Outbound{To: alice, Kind: chat.Reply, Text: "x", Key: "k1", Run: "r1"}, noon)
	check(t, err)
	_, err = s.Put(ctx, chat.Outbound{To: alice, Kind: chat.Reply, Text: "y", Key: "k2", Run: "r2"}, noon)
	check(t, err)
	want := func(when string, n int) {
		t.Helper()
		if got, err := s.Unsaid(ctx, "r2"); got != n || err != nil {
			t.Errorf("%s: %d, %v, want %d", when, got, err, n)
		}
	}
	check(t, s.Sending(ctx, first.ID, noon))
	want("while the first is being sent", 1)
	check(t, s.Held(ctx, first.ID))
	want("while the first is held", 0)
	check(t, s.Unhold(ctx, alice))
	want("once somebody is there", 1)
}
