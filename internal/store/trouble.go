package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/runner"
)

const troubleColumns = `key, class, text, since, tries, until`

func scanTrouble(rows *sql.Rows) (runner.Trouble, error) {
	var t runner.Trouble
	var since, until int64
	err := rows.Scan(&t.Key, &t.Class, &t.Text, &since, &t.Tries, &until)
	t.Since, t.Until = time.Unix(0, since).UTC(), time.Unix(0, until).UTC()
	return t, err
}

// Troubles is runner.Store's. Nearly always there is none.
func (r *Reader) Troubles(ctx context.Context) ([]runner.Trouble, error) {
	var out []runner.Trouble
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		t, err := scanTrouble(rows)
		out = append(out, t)
		return err
	}, `SELECT `+troubleColumns+` FROM troubles ORDER BY since, key`)
	if err != nil {
		return nil, fmt.Errorf("list what is wrong: %w", explain(r.path, err))
	}
	return out, nil
}

// Try is runner.Store's.
func (s *Store) Try(ctx context.Context, key string, now, next time.Time) (bool, error) {
	var n int64
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		res, err := t.exec(ctx, `UPDATE troubles SET until = ? WHERE key = ? AND until <= ?`, next.UnixNano(), key, now.UnixNano())
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("try whether %s goes again: %w", key, err)
	}
	return n > 0, nil
}

// TryNow has what waits for a trouble tried at once, and says whether there is one.
func (s *Store) TryNow(ctx context.Context, key string) (bool, error) {
	var n int64
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		now := s.now().UnixNano()
		res, err := t.exec(ctx, `UPDATE troubles SET until = ? WHERE key = ?`, now, key)
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE inbox SET due = ? WHERE state = 'waiting' AND due > 0 AND hold = ?`, now, key)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("try %s again: %w", key, err)
	}
	return n > 0, nil
}

// waitFor lets the messages of a run wait for the end of a trouble.
func waitFor(ctx context.Context, t *tx, r RunInfo, tr runner.Trouble, at time.Time) error {
	if _, err := t.exec(ctx, `UPDATE inbox SET due = ?, hold = ?, again = again + ? WHERE run = ? AND state = 'claimed' AND trigger = 1`,
		tr.Until.UnixNano(), tr.Key, tr.Anew, r.ID); err != nil {
		return err
	}
	back := RunInfo{ID: r.ID, State: runner.Running}
	if tr.Untouched || tr.Anew {
		back.State = runner.Queued // the agent has nothing to go on with
	}
	if err := putBack(ctx, t, back, 0); err != nil {
		return err
	}
	return troubled(ctx, t, r, tr, at)
}

// troubled notes a trouble and tells of it, once in each chat.
func troubled(ctx context.Context, t *tx, r RunInfo, tr runner.Trouble, at time.Time) error {
	data := audit.TroubleData{Key: tr.Key, Class: string(tr.Class), Text: tr.Text, Until: tr.Until, State: audit.TroubleBegan}
	if err := each(ctx, t, func(rows *sql.Rows) error {
		known, err := scanTrouble(rows)
		tr.Since, data.State = known.Since, audit.TroubleAgain
		return err
	}, `SELECT `+troubleColumns+` FROM troubles WHERE key = ?`, tr.Key); err != nil {
		return err
	}
	if _, err := t.exec(ctx, `INSERT INTO troubles (key, class, text, since, tries, until) VALUES (?, ?, ?, ?, 1, ?)
		ON CONFLICT (key) DO UPDATE SET class = excluded.class, text = excluded.text, tries = troubles.tries + 1, until = excluded.until`,
		tr.Key, tr.Class, tr.Text, tr.Since.UnixNano(), tr.Until.UnixNano()); err != nil {
		return err
	}
	// Whatever else waits for it waits as long.
	if _, err := t.exec(ctx, `UPDATE inbox SET due = ? WHERE state = 'waiting' AND due > 0 AND hold = ?`, tr.Until.UnixNano(), tr.Key); err != nil {
		return err
	}
	for _, m := range tr.Notices {
		m.Key = tr.NoticeKey(m.To.String())
		if _, err := putOutbound(ctx, t, m, at); err != nil {
			return err
		}
	}
	return addEntry(ctx, t, audit.Entry{At: at, Kind: audit.Trouble, Group: r.Group, Run: r.ID, Data: data})
}

// Over is runner.Store's.
func (s *Store) Over(ctx context.Context, key, text string, at time.Time) (bool, error) {
	found := false
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var tr runner.Trouble
		found = false
		if err := each(ctx, t, func(rows *sql.Rows) (err error) {
			tr, err = scanTrouble(rows)
			found = true
			return err
		}, `SELECT `+troubleColumns+` FROM troubles WHERE key = ?`, key); err != nil || !found {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM troubles WHERE key = ?`, key); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE inbox SET due = 0, hold = '' WHERE state = 'waiting' AND due > 0 AND hold = ?`, key); err != nil {
			return err
		}
		if err := tellOver(ctx, t, tr, text, at); err != nil {
			return err
		}
		return addEntry(ctx, t, audit.Entry{At: at, Kind: audit.Trouble, Data: audit.TroubleData{
			Key: key, Class: string(tr.Class), Text: tr.Text, State: audit.TroubleOver,
		}})
	})
	if err != nil {
		return false, fmt.Errorf("note that %s goes again: %w", key, err)
	}
	return found, nil
}

// tellOver tells each chat that was told of a trouble that it is over.
func tellOver(ctx context.Context, t *tx, tr runner.Trouble, text string, at time.Time) error {
	var told []chat.Outbound
	prefix := tr.NoticeKey("")
	err := each(ctx, t, func(rows *sql.Rows) error {
		var m chat.Outbound
		err := rows.Scan(&m.To.Channel, &m.To.Chat, &m.Group)
		told = append(told, m)
		return err
	}, `SELECT DISTINCT channel, chat, grp FROM outbox WHERE key >= ? AND key < ?`, prefix, prefix+"\x7f")
	if err != nil {
		return err
	}
	for _, m := range told {
		m.Kind, m.Text, m.Key = chat.Notice, text, "over:"+tr.NoticeKey(m.To.String())
		if _, err := putOutbound(ctx, t, m, at); err != nil {
			return err
		}
	}
	return nil
}
