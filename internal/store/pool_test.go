package store

import (
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/audit"
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

// A query that is composed of what it asks for is never asked again, and takes no place
// from those that are.
func TestPoolKeepsNoComposedQuery(t *testing.T) {
	s := newStore(t)
	for range 40 {
		check(t, s.Record(t.Context(), audit.Entry{At: time.Unix(0, 1), Kind: audit.HostStopped}))
	}
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	_, err = audit.NewSequencer(s, key, nil).Sequence(t.Context())
	check(t, err)
	before := len(s.Reader.db.stmts)
	for k := int64(0); k < 20; k++ {
		if _, err := s.Reader.ReadHashes(t.Context(), []int64{k, k + 2}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(s.Reader.db.stmts); got > before {
		t.Errorf("%d statements are kept, and %d were before", got, before)
	}
}

// What is asked at each pass has no parameter for whose value SQLite would parse it
// anew: none of LIMIT, and none that is compared as one of the partial indexes compares.
func TestWhatEachPassAsksIsParsedOnce(t *testing.T) {
	anew := regexp.MustCompile(`LIMIT \?|(due|next) > \?`)
	for name, query := range map[string]string{"opens": opensQuery, "next task": nextTaskQuery, "next due": nextDueQuery, "in order": inOrder} {
		if found := anew.FindString(query); found != "" {
			t.Errorf("%s: %q in %s", name, found, query)
		}
	}
}
