package store

import (
	"context"
	"database/sql"
	"fmt"

	"nanoclaw/internal/queue"
)

// HostDone notes that the host has done what a message for it says. A message that is
// done already stays so.
func (s *Store) HostDone(ctx context.Context, row int64) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error { return hostDone(ctx, t, row) })
	if err != nil {
		return fmt.Errorf("note that message %d for the host is done: %w", row, err)
	}
	return nil
}

func hostDone(ctx context.Context, t *tx, row int64) error {
	_, err := t.exec(ctx, `UPDATE inbox SET state = 'done' WHERE id = ? AND state = 'host'`, row)
	return err
}

// HostLeft gives the messages for the host that an earlier process did not come to the
// end of, oldest first, and counts one attempt more for each. Where other processes
// may live they are those that are older than a lease.
func (s *Store) HostLeft(ctx context.Context) ([]queue.Message, error) {
	before := s.now()
	if s.Shared() {
		before = before.Add(-LeaseTime)
	}
	var out []queue.Message
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		out = nil
		_, err := t.exec(ctx, `UPDATE inbox SET attempts = attempts + 1 WHERE state = 'host' AND at <= ?`, before.UnixNano())
		if err != nil {
			return err
		}
		return each(ctx, t, func(rows *sql.Rows) error {
			m, err := scanMessage(rows)
			out = append(out, m)
			return err
		}, `SELECT `+messageColumns+` FROM inbox WHERE state = 'host' AND at <= ? ORDER BY id`, before.UnixNano())
	})
	if err != nil {
		return nil, fmt.Errorf("list what was for the host: %w", err)
	}
	return out, nil
}
