package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
)

// Stuck is a message that does not go on by itself, or waits for a trouble to be over.
type Stuck struct {
	queue.Message
	Group chat.Group
	// Dead says that it was given up, and Reason why. Else it waits: Hold says for
	// what, and Until when it is tried again.
	Dead   bool
	Reason string
	Hold   string
	Until  time.Time
	At     time.Time
}

// StuckMessages lists what was given up and what waits for a trouble, the oldest first.
func (r *Reader) StuckMessages(ctx context.Context) ([]Stuck, error) {
	var out []Stuck
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		m, err := scanStuck(rows)
		out = append(out, m)
		return err
	}, `SELECT `+stuckColumns+` FROM inbox WHERE (state = 'dead' AND trigger = 1) OR (state = 'waiting' AND due > 0 AND hold IN (SELECT key FROM troubles)) ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list what was given up: %w", explain(r.path, err))
	}
	return out, nil
}

const stuckColumns = `grp, state = 'dead', reason, hold, due, at, ` + messageColumns

func scanStuck(rows *sql.Rows) (Stuck, error) {
	var out Stuck
	var due, at sql.NullInt64
	m, err := scanMessage(rows, &out.Group, &out.Dead, &out.Reason, &out.Hold, &due, &at)
	out.Message, out.Until, out.At = m, fromNanos(due), fromNanos(at)
	return out, err
}

// What may be done with a stuck message.
const (
	Again = "retry" // it waits for a run, as if it had never been tried
	Drop  = "drop"  // it is over
)

// Unstick takes up a stuck message again or drops it, and gives it as it was.
// ErrNotFound says that there is none of that row.
func (s *Store) Unstick(ctx context.Context, row int64, act string, e audit.Entry) (Stuck, error) {
	var out Stuck
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		found := false
		err := each(ctx, t, func(rows *sql.Rows) (err error) {
			out, err = scanStuck(rows)
			found = true
			return err
		}, `SELECT `+stuckColumns+` FROM inbox WHERE id = ? AND trigger = 1 AND (state = 'dead' OR state = 'waiting' AND due > 0)`, row)
		if err == nil && !found {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		switch act {
		case Again:
			_, err = t.exec(ctx, `UPDATE inbox SET state = 'waiting', run = NULL, due = 0, hold = '', attempts = 0, cut = '', again = again + CASE state WHEN 'dead' THEN 1 ELSE 0 END WHERE id = ?`, row)
		case Drop:
			_, err = t.exec(ctx, `UPDATE inbox SET state = 'refused', run = NULL, due = 0, hold = '', reason = 'dropped by the owner' WHERE id = ?`, row)
		default:
			return fmt.Errorf("%q is nothing that is done with a message", act)
		}
		if err != nil {
			return err
		}
		if err := forgetEffects(ctx, t, out.Group); err != nil {
			return err
		}
		e.Group = out.Group
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return Stuck{}, fmt.Errorf("%s message %d: %w", act, row, err)
	}
	return out, nil
}

// bury gives up messages of a run.
func bury(ctx context.Context, t *tx, run chat.RunID, rows []int64, reason string) error {
	for _, row := range rows {
		if _, err := t.exec(ctx, `UPDATE inbox SET state = 'dead', attempts = attempts + 1, reason = ?, cut = ? WHERE id = ? AND run = ? AND state = 'claimed'`,
			reason, run, row, run); err != nil {
			return err
		}
	}
	return nil
}
