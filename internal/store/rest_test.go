package store

import (
	"database/sql"
	"testing"
)

// Connections that were needed at once stay open for the next such time, and are closed
// when we rest.
func TestRest(t *testing.T) {
	s := newStore(t)
	var open []*sql.Rows
	for range maxReaders {
		rows, err := s.Reader.db.QueryContext(t.Context(), `SELECT 1`)
		check(t, err)
		open = append(open, rows)
	}
	for _, rows := range open {
		check(t, rows.Close())
	}
	if n := s.Reader.db.Stats().Idle; n != maxReaders {
		t.Errorf("%d connections are kept, want %d", n, maxReaders)
	}
	s.Rest()
	if n := s.Reader.db.Stats().Idle; n != idleReaders {
		t.Errorf("%d connections are kept while we rest, want %d", n, idleReaders)
	}
	if _, err := s.Waiting(t.Context()); err != nil {
		t.Errorf("after a rest: %v", err)
	}
}
