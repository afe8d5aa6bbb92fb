package store

import (
	"fmt"
	"sync"
	"testing"
)

// However many queries there are, by however many at once, each has its own answer and
// no more than a bounded number is kept.
func TestPoolKeepsABoundedNumber(t *testing.T) {
	s := newStore(t)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for k := range 2 * maxPrepared {
				var got int
				if err := s.Reader.db.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT %d + ?`, k), 1).Scan(&got); err != nil || got != k+1 {
					t.Errorf("%d + 1 is %d: %v", k, got, err)
				}
			}
		})
	}
	work.Wait()
	if got := len(s.Reader.db.stmts); got > maxPrepared {
		t.Errorf("%d statements are kept", got)
	}
	if err := s.Reader.db.QueryRowContext(t.Context(), `SELECT nothing FROM nowhere`).Scan(new(int)); err == nil {
		t.Error("a wrong query has no error")
	}
}
