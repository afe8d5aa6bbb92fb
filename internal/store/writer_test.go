package store

import (
	"context"
	"sync"
	"testing"
)

// level is what SQLite says of the transaction at hand: 2 is FULL, on the disk when
// COMMIT returns, 1 is NORMAL, later (https://sqlite.org/pragma.html#pragma_synchronous).
func level(ctx context.Context, t *tx) (n int, err error) {
	err = t.row(ctx, []any{&n}, `SELECT synchronous FROM pragma_synchronous`)
	return n, err
}

// What is to be on the disk at once never shares the commit of what is not, however
// both come together; and what may wait does, where it is alone.
func TestOnlyWhatMayWaitForTheDiskDoes(t *testing.T) {
	s := newStore(t)
	w := s.w
	var work sync.WaitGroup
	for k := range 8 {
		by := when(k % 2)
		work.Go(func() {
			for range 50 {
				var got int
				err := w.write(t.Context(), by, func(ctx context.Context, t *tx) (err error) {
					got, err = level(ctx, t)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if by == atOnce && got != 2 {
					t.Errorf("what has to be on the disk at once was kept at level %d", got)
				}
			}
		})
	}
	work.Wait()
	for _, c := range []struct {
		by   when
		want int
	}{{withNext, 1}, {atOnce, 2}, {withNext, 1}} {
		got := 0
		check(t, w.write(t.Context(), c.by, func(ctx context.Context, t *tx) (err error) {
			got, err = level(ctx, t)
			return err
		}))
		if got != c.want {
			t.Errorf("with nobody else there: level %d, want %d", got, c.want)
		}
	}
}
