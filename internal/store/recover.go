package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runner"
)

// Recover takes back what no living process holds: runs, whose messages wait again
// with one attempt more or are given up after maxAttempts, and messages that were
// being sent. Whether that attempt reached its network is unknown, so it is made
// again. A network that lets us choose message ids sees the same one, others may
// see the message twice; silence would be worse.
//
// In a store that one process has to itself, every other holder is dead. Otherwise
// one is that was not heard of for LeaseTime; should it live after all, it finds
// that it can change nothing any more.
func (s *Store) Recover(ctx context.Context, maxAttempts int, at time.Time) (queue.TakenBack, error) {
	var back queue.TakenBack
	var some bool
	silent := s.silent()
	err := s.Reader.db.QueryRowContext(ctx, orphansQuery, s.owner, silent, s.owner, silent).Scan(&some)
	if err != nil || !some {
		return back, explain(s.path, err)
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		back = queue.TakenBack{}
		runs, err := liveRuns(ctx, t, ` AND owner <> ? AND beat <= ?`, s.owner, silent)
		if err != nil {
			return err
		}
		for _, r := range runs {
			dead, err := s.interrupt(ctx, t, r, maxAttempts, at)
			if err != nil {
				return err
			}
			back.Runs, back.Lost = append(back.Runs, r.ID), append(back.Lost, dead...)
		}
		res, err := t.exec(ctx, `UPDATE outbox SET state = 'pending', held = 0, due = ? WHERE state = 'sending' AND owner <> ? AND beat <= ?`,
			at.UnixNano(), s.owner, silent)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		back.Sent = int(n)
		return err
	})
	if err != nil {
		return queue.TakenBack{}, fmt.Errorf("take back what nobody holds: %w", err)
	}
	return back, nil
}

const orphansQuery = `SELECT EXISTS (SELECT 1 FROM runs WHERE ` + liveStates + ` AND owner <> ? AND beat <= ?)
	OR EXISTS (SELECT 1 FROM outbox WHERE state = 'sending' AND owner <> ? AND beat <= ?)`

// silent is the beat up to which a holder that is not this process counts as dead.
func (s *Store) silent() int64 {
	if s.alone {
		return math.MaxInt64
	}
	return s.now().Add(-LeaseTime).UnixNano()
}

// liveRunsQuery is without its order, which is +row, not row: the plus keeps SQLite
// from reading all of history in order instead of the few live rows by their index.
const liveRunsQuery = `SELECT ` + runColumns + ` FROM runs WHERE ` + liveStates

// liveRuns lists those for which a further condition holds, "" for all.
func liveRuns(ctx context.Context, q querier, and string, args ...any) ([]RunInfo, error) {
	var runs []RunInfo
	err := each(ctx, q, func(rows *sql.Rows) error {
		r, err := scanRun(rows)
		runs = append(runs, r)
		return err
	}, liveRunsQuery+and+` ORDER BY +row`, args...)
	return runs, err
}

// interrupt ends one run of a dead holder, and takes it over, so that the holder is
// refused should it wake up.
func (s *Store) interrupt(ctx context.Context, t *tx, r RunInfo, maxAttempts int, at time.Time) ([]queue.Lost, error) {
	var lost []queue.Lost
	err := each(ctx, t, func(rows *sql.Rows) error {
		m, err := scanMessage(rows)
		if err == nil && m.Trigger {
			lost = append(lost, queue.Lost{Row: m.Row, Run: r.ID, Group: r.Group, To: m.From, Text: m.Text})
		}
		return err
	}, `SELECT `+messageColumns+` FROM inbox WHERE run = ? AND state = 'claimed' AND attempts + 1 >= ? ORDER BY id`, r.ID, maxAttempts)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec(ctx, `UPDATE inbox SET state = 'dead', attempts = attempts + 1,
		cut = run, reason = 'nanoclaw ended each time while it was answered, so it may be what ends it'
		WHERE run = ? AND state = 'claimed' AND attempts + 1 >= ?`, r.ID, maxAttempts); err != nil {
		return nil, err
	}
	if err := putBack(ctx, t, r, 1); err != nil {
		return nil, err
	}
	if _, err := t.exec(ctx, `UPDATE runs SET owner = ? WHERE id = ?`, s.owner, r.ID); err != nil {
		return nil, err
	}
	if err := s.tellLost(ctx, t, lost, at); err != nil {
		return nil, err
	}
	return lost, endInterrupted(ctx, t, r, "nanoclaw ended during this run", at)
}

// OnLost has f say to the chat of a message that it was given up. That is stored
// with the end of the message, so that no message ends without a word. It is set
// before the first Recover.
func (s *Store) OnLost(f func(queue.Lost) chat.Outbound) { s.onLost.Store(&f) }

func (s *Store) tellLost(ctx context.Context, t *tx, lost []queue.Lost, at time.Time) error {
	f := s.onLost.Load()
	if f == nil {
		return nil
	}
	for _, l := range lost {
		if _, err := putOutbound(ctx, t, (*f)(l), at); err != nil {
			return err
		}
	}
	return nil
}

// endInterrupted ends a live run and says so in the log.
func endInterrupted(ctx context.Context, t *tx, r RunInfo, why string, at time.Time) error {
	if _, err := t.exec(ctx, `UPDATE runs SET state = 'interrupted', ended = ?, error = ? WHERE id = ?`, at.UnixNano(), why, r.ID); err != nil {
		return err
	}
	if err := endReservation(ctx, t, r, 0); err != nil {
		return err
	}
	return addEntry(ctx, t, audit.Entry{At: at, Kind: audit.RunEnded, Group: r.Group, Run: r.ID, Session: r.Session,
		Data: audit.RunEndedData{State: string(runner.Interrupted), Error: why, Ms: sinceMs(r.Started, at)}})
}

func sinceMs(from, to time.Time) int64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from).Milliseconds()
}
