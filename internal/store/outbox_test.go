package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

var (
	alice = chat.Address{Channel: "c", Chat: "alice"}
	bob   = chat.Address{Channel: "c", Chat: "bob"}
)

func put(t testing.TB, s *Store, key string, to chat.Address) int64 {
	t.Helper()
	m, err := s.Put(t.Context(), chat.Outbound{To: to, Kind: chat.Reply, Text: "text " + key, Key: key, Group: "main"}, noon)
	check(t, err)
	return m.ID
}

// due gives the keys of what is due, in order.
func due(t testing.TB, s *Store, at time.Time) string {
	t.Helper()
	list, err := s.Due(t.Context(), at, 10)
	check(t, err)
	var keys []string
	for _, p := range list {
		keys = append(keys, p.Key)
	}
	return strings.Join(keys, " ")
}

func TestPutIsIdempotent(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	m := chat.Outbound{To: alice, Kind: chat.Tool, Text: "one", Run: "r1", Group: "main", Key: "k", Failed: true, Last: true}
	first, err := s.Put(ctx, m, noon)
	check(t, err)
	m.ID = first.ID
	if diff := cmp.Diff(m, first); diff != "" {
		t.Error(diff)
	}
	other := m
	other.ID, other.Text = 0, "two"
	again, err := s.Put(ctx, other, noon)
	check(t, err)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]audit.Kind{audit.Outbox}, kinds(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestOutboxTransitions(t *testing.T) {
	acts := map[string]func(*Store, *testing.T, int64) error{
		sending: func(s *Store, t *testing.T, id int64) error { return s.Sending(t.Context(), id, noon) },
		sent:    func(s *Store, t *testing.T, id int64) error { return s.Sent(t.Context(), id, "n", noon) },
		pending: func(s *Store, t *testing.T, id int64) error { return s.Retry(t.Context(), id, "why", noon) },
		"held":  func(s *Store, t *testing.T, id int64) error { return s.Held(t.Context(), id) },
		givenUp: func(s *Store, t *testing.T, id int64) error { return s.GiveUp(t.Context(), id, "why", noon) },
	}
	way := map[string][]string{pending: nil, sending: {sending}, sent: {sending, sent}, givenUp: {givenUp}}
	want := map[string]string{
		pending: "sending held given_up",
		sending: "pending held sent given_up",
		sent:    "", givenUp: "",
	}
	for from, steps := range way {
		for to, act := range acts {
			t.Run(from+" to "+to, func(t *testing.T) {
				s := newStore(t)
				id := put(t, s, "k", alice)
				for _, st := range steps {
					check(t, acts[st](s, t, id))
				}
				err := act(s, t, id)
				if strings.Contains(" "+want[from]+" ", " "+to+" ") {
					check(t, err)
					return
				}
				var se *StateError
				if !errors.As(err, &se) || se.Is != from || se.Want != to {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestOutboxOrder(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	a1, _, b1 := put(t, s, "a1", alice), put(t, s, "a2", alice), put(t, s, "b1", bob)
	wantDue := func(at time.Time, want string, next time.Time) {
		t.Helper()
		if got := due(t, s, at); got != want {
			t.Errorf("due %q, want %q", got, want)
		}
		if got, err := s.NextDue(ctx); err != nil || !got.Equal(next) {
			t.Errorf("next due %v, %v, want %v", got, err, next)
		}
	}
	later := noon.Add(time.Minute)
	wantDue(noon, "a1 a2 b1", noon)
	check(t, s.Sending(ctx, a1, noon))
	wantDue(noon, "b1", noon) // a2 waits for a1
	check(t, s.Retry(ctx, a1, "no route", later))
	wantDue(noon, "b1", noon) // still
	check(t, s.Sending(ctx, b1, noon))
	wantDue(noon, "", later)
	wantDue(later, "a1 a2", later)
	check(t, s.Sending(ctx, a1, later))
	check(t, s.GiveUp(ctx, a1, "gone", later))
	wantDue(noon, "a2", noon) // nothing older waits any more
	check(t, s.Sent(ctx, b1, "n", noon))
	if got := one[int](t, s, `SELECT attempts FROM outbox WHERE id = ?`, a1); got != 2 {
		t.Errorf("%d attempts of a1", got)
	}
	if got := due(t, s, noon.Add(-2*time.Minute)); got != "" {
		t.Errorf("before its time, %q is due", got)
	}
	if got := due(t, s, noon.Add(-2*time.Hour)); got != "a2" { // the clock was ahead and was set back
		t.Errorf("after the clock went back, %q is due", got)
	}
	list, err := s.Due(ctx, later, 1)
	if err != nil || len(list) != 1 {
		t.Errorf("limit: %v, %v", list, err)
	}
}

func TestHeldMessagesWaitForSomebody(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	a1 := put(t, s, "a1", alice)
	put(t, s, "a2", alice)
	put(t, s, "b1", bob)
	check(t, s.Sending(ctx, a1, noon))
	check(t, s.Held(ctx, a1))
	if got := due(t, s, noon.Add(time.Hour)); got != "b1" {
		t.Errorf("due %q", got)
	}
	if got := one[int](t, s, `SELECT attempts FROM outbox WHERE id = ?`, a1); got != 0 {
		t.Errorf("holding counted %d attempts", got)
	}
	check(t, s.Unhold(ctx, bob))
	if got := due(t, s, noon); got != "b1" {
		t.Errorf("another chat was freed: %q", got)
	}
	check(t, s.Unhold(ctx, alice))
	if got := due(t, s, noon); got != "a1 a2 b1" {
		t.Errorf("due %q", got)
	}
}

// Somebody connects while an attempt is on its way to find nobody: the message
// must not be held for a connection that has come already.
func TestUnholdDuringAnAttempt(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	id := put(t, s, "a1", alice)
	check(t, s.Sending(ctx, id, noon))
	check(t, s.Unhold(ctx, alice))
	check(t, s.Held(ctx, id))
	if got := due(t, s, noon); got != "a1" {
		t.Errorf("due %q", got)
	}
	check(t, s.Sending(ctx, id, noon))
	check(t, s.Held(ctx, id))
	if got := due(t, s, noon); got != "" {
		t.Errorf("the first connection freed it twice: %q", got)
	}
}

func TestOutboxIsAudited(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	a, b := put(t, s, "a", alice), put(t, s, "b", bob)
	check(t, s.Sending(ctx, a, noon))
	check(t, s.Sent(ctx, a, "net7", noon))
	check(t, s.GiveUp(ctx, b, "no such chat", noon))
	var got []string
	for r, err := range s.Rows(ctx, audit.Filter{Group: "main"}) {
		check(t, err)
		got = append(got, audit.Describe(r.Kind, r.Payload))
	}
	want := []string{
		"reply 1 (6 bytes) waits for delivery to c:alice",
		"reply 2 (6 bytes) waits for delivery to c:bob",
		"reply 1 (6 bytes) delivered to c:alice",
		"reply 2 (6 bytes) given up, to c:bob: no such chat",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	st, err := s.Status(ctx)
	if err != nil || st.GivenUp != 1 || st.Pending != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestRunReplies(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	for i := range 3 {
		_, err := s.Put(ctx, chat.Outbound{To: alice, Kind: chat.Reply, Text: fmt.Sprint(i), Key: fmt.Sprint(i), Run: chat.RunID(fmt.Sprint("r", i%2))}, noon)
		check(t, err)
	}
	got, err := s.RunReplies(ctx, "r0")
	if err != nil || len(got) != 2 || got[0].Text != "0" || got[1].Text != "2" || got[0].State != pending {
		t.Errorf("%+v, %v", got, err)
	}
}
