package daemon

import (
	"context"
	"fmt"
	"time"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// What is over is looked for a while after the start, when nobody waits for it, and
// then several times a day: a machine that sleeps at night finds its time, too.
const (
	retainFirst = time.Minute
	retainEvery = 6 * time.Hour
)

// retain removes what is over and too old, until ctx ends.
func (d *Daemon) retain(ctx context.Context) {
	for wait := retainFirst; ; wait = retainEvery {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		p, err := d.store.Prune(ctx, keepUntil(d.config.Retention, steps.Now()))
		if err != nil && ctx.Err() == nil {
			d.log.Error("what is over could not be removed", "err", err)
		}
		if p != (store.Pruned{}) {
			d.log.Info("what is over was removed for its age", "messages", p.Messages, "replies", p.Replies, "runs", p.Runs, "costs", p.Costs, "words", p.Words)
		}
	}
}

// Retain removes now what is over and too old, or says what that would be.
func (d *Daemon) Retain(ctx context.Context, r control.RetainRequest) ([]control.Retained, error) {
	c := d.config.Retention
	keep := keepUntil(c, steps.Now())
	keep.Try = r.Try
	gone, err := d.store.Prune(ctx, keep)
	if err != nil {
		return nil, err
	}
	there, err := d.store.Stored(ctx)
	if err != nil {
		return nil, err
	}
	if !r.Try {
		d.acted(ctx, "retention", "")
	}
	var out []control.Retained
	for _, k := range []struct {
		kind, setting string
		keep          config.Duration
		before        time.Time
		gone, there   int
	}{
		{"messages that came in", "messages", c.Messages, keep.Messages, gone.Messages, there.Messages},
		{"messages that went out", "messages", c.Messages, keep.Messages, gone.Replies, there.Replies},
		{"runs", "runs", c.Runs, keep.Runs, gone.Runs, there.Runs},
		{"costs of a day", "costs", c.Costs, keep.Costs, gone.Costs, there.Costs},
		{"entries of the audit log with words", "words", c.Words, keep.Words, gone.Words, there.Words},
	} {
		kept := k.there
		if r.Try {
			kept -= k.gone
		}
		out = append(out, control.Retained{Kind: k.kind, Setting: "retention." + k.setting, Keep: fmt.Sprint(k.keep), Before: k.before, Gone: k.gone, Kept: kept})
	}
	return out, nil
}

// keepUntil says what the retention means now.
func keepUntil(r config.Retention, now time.Time) store.Keep {
	before := func(d config.Duration) time.Time {
		if d <= 0 {
			return time.Time{}
		}
		return now.Add(-time.Duration(d))
	}
	return store.Keep{Messages: before(r.Messages), Runs: before(r.Runs), Costs: before(r.Costs), Words: before(r.Words)}
}

// keepSessions is a retention as Claude Code takes it, in whole days: 0, which it
// would read as none at all, is for ever to us.
func keepSessions(d time.Duration) int {
	const day = 24 * time.Hour
	if d <= 0 {
		return 36500
	}
	return int((d + day - 1) / day)
}
