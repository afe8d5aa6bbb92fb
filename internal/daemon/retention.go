package daemon

import (
	"context"
	"time"

	"nanoclaw/internal/config"
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
		p, err := d.store.Prune(ctx, keepUntil(d.config.Retention, time.Now()))
		if err != nil && ctx.Err() == nil {
			d.log.Error("what is over could not be removed", "err", err)
		}
		if p != (store.Pruned{}) {
			d.log.Info("what is over was removed for its age", "messages", p.Messages, "replies", p.Replies, "runs", p.Runs, "costs", p.Costs, "words", p.Words)
		}
	}
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
