package daemon

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/store"
)

// What the store does not know as ours any more is ended at once, and so is all that
// goes on if nothing could be heard of us for as long as a lease lasts, where others
// may have taken it. On a store of our own a full disk ends nothing.
func TestAHeartEndsWhatItLost(t *testing.T) {
	broken := errors.New("the disk is full")
	for name, c := range map[string]struct {
		shared bool
		held   []chat.RunID
		err    error
		after  time.Duration
		want   []chat.RunID
	}{
		"all ours":                 {held: []chat.RunID{"r1", "r2"}},
		"one taken":                {held: []chat.RunID{"r2"}, want: []chat.RunID{"r1"}},
		"all taken":                {shared: true, want: []chat.RunID{"r1", "r2"}},
		"one more than we know":    {held: []chat.RunID{"r1", "r2", "new"}},
		"silent for a moment":      {shared: true, err: broken, after: store.LeaseTime - 1},
		"silent for a lease":       {shared: true, err: broken, after: store.LeaseTime, want: []chat.RunID{"r1", "r2"}},
		"silent on our own store":  {err: broken, after: time.Hour},
		"silent, then heard again": {shared: true, held: []chat.RunID{"r1", "r2"}, after: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended []chat.RunID
				h := &heart{shared: c.shared, last: time.Now(),
					beat: func(context.Context) ([]chat.RunID, error) { return c.held, c.err },
					live: func() []chat.RunID { return []chat.RunID{"r1", "r2"} },
					lose: func(r chat.RunID) { ended = append(ended, r) }}
				time.Sleep(c.after)
				if err := h.once(t.Context()); !errors.Is(err, c.err) {
					t.Errorf("got %v", err)
				}
				if !slices.Equal(ended, c.want) {
					t.Errorf("ended %v, want %v", ended, c.want)
				}
			})
		})
	}
}
