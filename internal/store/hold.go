package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

// MessageRate says of a message for the agent whether it waits, given how many of
// its group and of its sender in it came within the last minute. It sees no I/O. to
// tells its chat so, and is told once for each window.
type MessageRate func(in chat.Inbound, g chat.Group, group, sender grant.Count, now time.Time) (w *grant.Wait, to chat.Outbound)

// OnMessage has every message for the agent judged as it is stored. It is set
// before the first one.
func (s *Store) OnMessage(f MessageRate) { s.rate.Store(&f) }

// rateWindow is what messages are counted in.
const rateWindow = time.Minute

// rated counts a message and says until when it waits; 0 for not at all. full says
// that too many wait for the same reason already.
func (s *Store) rated(ctx context.Context, t *tx, in chat.Inbound, g chat.Group, most int, now time.Time) (due int64, hold string, full bool, err error) {
	f := s.rate.Load()
	if f == nil {
		return 0, "", false, nil
	}
	since := now.Add(-rateWindow).UnixNano()
	if _, err := t.exec(ctx, `DELETE FROM arrivals WHERE at <= ?`, since); err != nil {
		return 0, "", false, err
	}
	sender := string(in.From.Channel) + ":" + string(in.Sender.ID)
	of, err := counted(ctx, t, `SELECT count(*), min(at) FROM arrivals WHERE grp = ? AND owner = 0`, g)
	if err != nil {
		return 0, "", false, err
	}
	by, err := counted(ctx, t, `SELECT count(*), min(at) FROM arrivals WHERE grp = ? AND sender = ?`, g, sender)
	if err != nil {
		return 0, "", false, err
	}
	if _, err := t.exec(ctx, `INSERT INTO arrivals (grp, sender, owner, at) VALUES (?, ?, ?, ?)`, g, sender, in.Sender.Owner, now.UnixNano()); err != nil {
		return 0, "", false, err
	}
	w, to := (*f)(in, g, of, by, now)
	if w == nil {
		return 0, "", false, nil
	}
	if err := tellHeld(ctx, t, w.Hold, w.Window, to, now); err != nil {
		return 0, "", false, err
	}
	var n int
	err = t.row(ctx, []any{&n}, `SELECT count(*) FROM inbox WHERE state = 'waiting' AND due > 0 AND hold = ?`, w.Hold)
	return w.Until.UnixNano(), w.Hold, most > 0 && n >= (most+1)/2, err
}

func counted(ctx context.Context, t *tx, query string, args ...any) (grant.Count, error) {
	var n int
	var oldest sql.NullInt64
	if err := t.row(ctx, []any{&n, &oldest}, query, args...); err != nil {
		return grant.Count{}, err
	}
	return grant.Count{N: n, Reopens: fromNanos(oldest).Add(rateWindow)}, nil
}

// tellHeld tells a chat that messages wait, unless somebody was told of the same
// hold within its window.
func tellHeld(ctx context.Context, t *tx, hold string, until time.Time, m chat.Outbound, now time.Time) error {
	if _, err := t.exec(ctx, `DELETE FROM told WHERE until <= ?`, now.UnixNano()); err != nil {
		return err
	}
	res, err := t.exec(ctx, `INSERT INTO told (hold, until) VALUES (?, ?) ON CONFLICT (hold) DO NOTHING`, hold, until.UnixNano())
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 || m.Text == "" {
		return err
	}
	m.Key = fmt.Sprintf("held:%s:%d", hold, now.UnixNano())
	_, err = putOutbound(ctx, t, m, now)
	return err
}

// Hold is runner.Store's.
func (s *Store) Hold(ctx context.Context, run chat.RunID, h runner.Hold, e audit.Entry) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		r, err := s.ours(ctx, t, run)
		if err != nil {
			return err
		}
		if r.State != runner.Queued {
			return &StateError{What: "run " + string(run), Is: string(r.State), Want: "held"}
		}
		if err := dropReservation(ctx, t, run); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM runs WHERE id = ?`, run); err != nil {
			return err
		}
		for _, row := range h.Rows {
			if _, err := t.exec(ctx, `UPDATE inbox SET due = ?, hold = ? WHERE id = ? AND run = ? AND state = 'claimed' AND trigger = 1`,
				h.Until.UnixNano(), h.Key, row, run); err != nil {
				return err
			}
		}
		if err := putBack(ctx, t, r, 0); err != nil {
			return err
		}
		if h.Notice.Key != "" {
			_, err = putOutbound(ctx, t, h.Notice, s.now())
		} else {
			err = tellHeld(ctx, t, h.Key, h.Window, h.Notice, s.now())
		}
		if err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return fmt.Errorf("hold the messages of run %s: %w", run, err)
	}
	return nil
}

// opensQuery has a cast for the reason that inOrder gives: the index of what is due
// compares alike.
const opensQuery = `SELECT min(due) FROM inbox WHERE state = 'waiting' AND due > CAST(? AS bigint)`

// Opens is queue.Store's.
func (s *Store) Opens(ctx context.Context) (time.Time, error) {
	var due sql.NullInt64
	if err := s.Reader.db.QueryRowContext(ctx, opensQuery, s.now().UnixNano()).Scan(&due); err != nil {
		return time.Time{}, fmt.Errorf("find the next message that is held: %w", explain(s.path, err))
	}
	return fromNanos(due), nil
}

// Free lets messages be taken up now that wait for a reason, with the hash of the
// question that the owner said yes to, if that is why; an earlier yes stays. It says
// how many there were.
func (s *Store) Free(ctx context.Context, hold, consent string) (int, error) {
	var n int64
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM told WHERE hold = ?`, hold); err != nil {
			return err
		}
		res, err := t.exec(ctx, `UPDATE inbox SET due = 0, hold = '', consent = CASE ? WHEN '' THEN consent ELSE ? END
			WHERE state = 'waiting' AND due > 0 AND hold = ?`, consent, consent, hold)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("take up what waits for %s: %w", hold, err)
	}
	return int(n), nil
}

// EndHeld ends messages that wait for a reason: they are refused, and each chat
// they came from is told so. It says how many there were.
func (s *Store) EndHeld(ctx context.Context, hold, reason string, tell func(chat.Inbound) chat.Outbound, at time.Time) (int, error) {
	n := 0
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		n = 0
		told := map[chat.Address]bool{}
		var in []chat.Inbound
		err := each(ctx, t, func(rows *sql.Rows) error {
			m, err := scanMessage(rows)
			in = append(in, m.Inbound)
			return err
		}, `SELECT `+messageColumns+` FROM inbox WHERE state = 'waiting' AND due > 0 AND hold = ? ORDER BY id`, hold)
		if err != nil {
			return err
		}
		n = len(in)
		if _, err := t.exec(ctx, `UPDATE inbox SET state = 'refused', due = 0, reason = ? WHERE state = 'waiting' AND due > 0 AND hold = ?`, reason, hold); err != nil {
			return err
		}
		for _, m := range in {
			if told[m.From] {
				continue
			}
			told[m.From] = true
			if _, err := putOutbound(ctx, t, tell(m), at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("end what waits for %s: %w", hold, err)
	}
	return n, nil
}

// HeldUntil says why a message waits and until when; "" for nothing.
func (r *Reader) HeldUntil(ctx context.Context, a chat.Address, id chat.MessageID) (hold string, until time.Time, err error) {
	var due sql.NullInt64
	err = r.db.QueryRowContext(ctx, `SELECT hold, due FROM inbox WHERE channel = ? AND chat = ? AND message = ? AND state = 'waiting'`,
		a.Channel, a.Chat, id).Scan(&hold, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return "", time.Time{}, nil
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read message %s of %s: %w", id, a, explain(r.path, err))
	}
	return hold, fromNanos(due), nil
}

// Holds are the reasons for which messages wait.
func (r *Reader) Holds(ctx context.Context) ([]string, error) {
	var out []string
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var hold string
		err := rows.Scan(&hold)
		out = append(out, hold)
		return err
	}, `SELECT DISTINCT hold FROM inbox WHERE state = 'waiting' AND due > 0`)
	if err != nil {
		return nil, fmt.Errorf("list what is held: %w", explain(r.path, err))
	}
	return out, nil
}

// HeldCount is how many messages of a group wait for the same reason.
type HeldCount struct {
	Group chat.Group
	Hold  string // why, "" for their turn
	Count int
	Until time.Time // when the first of them goes on at the latest; zero for their turn
}

// HeldMessages counts what waits for a time that has not come, by group and reason.
func (r *Reader) HeldMessages(ctx context.Context, now time.Time) ([]HeldCount, error) {
	return r.heldCounts(ctx, `SELECT grp, hold, count(*), min(due) FROM inbox WHERE state = 'waiting' AND due > ? GROUP BY grp, hold ORDER BY min(id)`, now)
}

// DueMessages counts what waits for its turn, by group.
func (r *Reader) DueMessages(ctx context.Context, now time.Time) ([]HeldCount, error) {
	return r.heldCounts(ctx, `SELECT grp, '', count(*), 0 FROM inbox WHERE state = 'waiting' AND due <= ? GROUP BY grp ORDER BY min(id)`, now)
}

func (r *Reader) heldCounts(ctx context.Context, query string, now time.Time) (out []HeldCount, err error) {
	err = each(ctx, r.db, func(rows *sql.Rows) error {
		var h HeldCount
		var due sql.NullInt64
		err := rows.Scan(&h.Group, &h.Hold, &h.Count, &due)
		h.Until = fromNanos(due)
		out = append(out, h)
		return err
	}, query, now.UnixNano())
	if err != nil {
		return nil, fmt.Errorf("count what waits: %w", explain(r.path, err))
	}
	return out, nil
}
