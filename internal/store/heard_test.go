package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// Who wants to hears of the entries that were kept, in their order, and of none that
// was rolled back.
func TestEntriesAreHeard(t *testing.T) {
	s := newStore(t)
	entry := func(run string) audit.Entry {
		return audit.Entry{At: time.Now(), Kind: audit.Delivered, Run: chat.RunID(run), Data: audit.OutboxData{ID: 1}}
	}
	check(t, s.Record(t.Context(), entry("nobody hears")))
	var heard []string
	s.OnEntries(func(es []audit.Entry) { // by the writer, before a change returns
		for _, e := range es {
			heard = append(heard, string(e.Run))
		}
	})
	check(t, s.SetMetaRecorded(t.Context(), "k", "v", entry("a"), entry("b")))
	no := errors.New("no")
	err := s.write(t.Context(), func(ctx context.Context, x *tx) error {
		return errors.Join(addEntry(ctx, x, entry("rolled back")), no)
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	check(t, s.Record(t.Context(), entry("c")))
	if len(heard) != 3 || heard[0] != "a" || heard[1] != "b" || heard[2] != "c" {
		t.Errorf("heard %q", heard)
	}
}
