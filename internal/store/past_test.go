package store

import (
	"fmt"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
)

// Messages of another program are kept once, start nothing, and are context only if
// nobody answered them; one that is here stays as it is.
func TestAddPast(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	accept(t, s, "family", "2", router.Run)
	var past []Past
	for i := range 5 {
		past = append(past, Past{Inbound: message(fmt.Sprint(i), "from before"), Open: i > 2})
	}
	past[0].Sent = time.Now().Add(time.Hour) // a clock that was wrong
	for _, want := range []int{4, 0} {
		if n, err := s.AddPast(ctx, "family", past, 1, "old"); n != want || err != nil {
			t.Errorf("%d are new, %v; want %d", n, err, want)
		}
	}
	for id, want := range map[chat.MessageID]string{"0": "ignored", "1": "ignored", "2": "waiting", "3": "ignored", "4": "context"} {
		if f, err := s.Fate(ctx, message("0", "").From, id); err != nil || f.State != want {
			t.Errorf("message %s is %s, %v; want %s", id, f.State, err, want)
		}
	}
	if n := one[int64](t, s, `SELECT count(*) FROM audit WHERE kind = 'owner.acted'`); n != 1 {
		t.Errorf("%d entries; want one for what was new", n)
	}
	if late := one[int64](t, s, `SELECT count(*) FROM inbox WHERE at > ?`, time.Now().UnixNano()); late != 0 {
		t.Error("a message is from the future, and would be kept longer")
	}
	if _, err := s.AddPast(ctx, "family", make([]Past, maxPast+1), 1, "old"); err == nil {
		t.Error("more than fit a transaction were taken")
	}
	if _, err := s.AddPast(ctx, "family", []Past{{}}, 1, "old"); err == nil {
		t.Error("a message that nobody could know again was taken")
	}
}

// A conversation is adopted by a group that has none.
func TestAdopt(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	for _, tt := range []struct {
		session string
		want    bool
	}{{"session-0", true}, {"session-0", true}, {"session-1", false}} {
		if is, err := s.Adopt(ctx, "family", tt.session, "old"); is != tt.want || err != nil {
			t.Errorf("%s is the group's: %v, %v; want %v", tt.session, is, err, tt.want)
		}
	}
	if st, err := s.Remembered(ctx, "family", ""); err != nil || st.AgentSession != "session-0" {
		t.Errorf("the conversation is %q, %v", st.AgentSession, err)
	}
	if k := kinds(t, s); len(k) != 1 || k[0] != audit.OwnerActed {
		t.Errorf("entries %v; want one", k)
	}
}
