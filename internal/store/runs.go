package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/runner"
)

// moveRun checks that a run is ours and may come to a state.
func (s *Store) moveRun(ctx context.Context, t *tx, run chat.RunID, to runner.State) (RunInfo, error) {
	r, err := s.ours(ctx, t, run)
	if err == nil && !may("runs", string(r.State), string(to)) {
		err = &StateError{What: "run " + string(run), Is: string(r.State), Want: string(to)}
	}
	return r, err
}

// Record is runner.Store's.
func (s *Store) Record(ctx context.Context, e audit.Entry) error { return s.record(ctx, e, atOnce) }

// RecordLater is runner.Store's.
func (s *Store) RecordLater(ctx context.Context, e audit.Entry) error {
	return s.record(ctx, e, withNext)
}

func (s *Store) record(ctx context.Context, e audit.Entry, by when) error {
	if e.At.IsZero() {
		e.At = s.now()
	}
	err := s.w.write(ctx, by, func(ctx context.Context, t *tx) error { return addEntry(ctx, t, e) })
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Kind, err)
	}
	return nil
}

// Start is runner.Store's.
func (s *Store) Start(ctx context.Context, run chat.RunID, st runner.Start, e audit.Entry) error {
	by := atOnce
	if st.Idle {
		by = withNext
	}
	return s.judged(ctx, "start run "+string(run), by, func(ctx context.Context, t *tx, no *error) (err error) {
		if _, err := s.moveRun(ctx, t, run, runner.Starting); err != nil {
			return err
		}
		if st.Reservation != nil {
			if *no, err = reserve(ctx, t, run, *st.Reservation); err != nil || *no != nil {
				return err
			}
		}
		if _, err := t.exec(ctx, `UPDATE runs SET state = 'starting', mode = ?, agent = ?, session = ?, started = ? WHERE id = ?`,
			st.Mode, st.Agent, st.Session, st.At.UnixNano(), run); err != nil {
			return err
		}
		if err := s.converse(ctx, t, run, st.Conversation); err != nil {
			return err
		}
		if err := addEntry(ctx, t, e); err != nil || !st.Standing {
			return err
		}
		return s.running(ctx, t, run)
	})
}

// Converse is runner.Store's.
func (s *Store) Converse(ctx context.Context, run chat.RunID, c runner.Conversation) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := s.ours(ctx, t, run); err != nil {
			return err
		}
		return s.converse(ctx, t, run, c)
	})
	if err != nil {
		return fmt.Errorf("remember the conversation of run %s: %w", run, err)
	}
	return nil
}

func (s *Store) converse(ctx context.Context, t *tx, run chat.RunID, c runner.Conversation) error {
	if c.Session != "" {
		if _, err := t.exec(ctx, `UPDATE runs SET agent_session = ? WHERE id = ?`, c.Session, run); err != nil {
			return err
		}
	}
	if c.Isolated || c.Session == "" && !c.Forget {
		return nil
	}
	return s.rememberSession(ctx, t, run, c.Session)
}

// Running is runner.Store's.
func (s *Store) Running(ctx context.Context, run chat.RunID, entries ...audit.Entry) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := s.running(ctx, t, run); err != nil {
			return err
		}
		for _, e := range entries {
			if err := addEntry(ctx, t, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark run %s running: %w", run, err)
	}
	return nil
}

// running moves a run from starting to running. From here on a group whose agent is
// claude is remembered as one that never falls back to another.
func (s *Store) running(ctx context.Context, t *tx, run chat.RunID) error {
	if _, err := s.moveRun(ctx, t, run, runner.Running); err != nil {
		return err
	}
	if _, err := t.exec(ctx, `UPDATE runs SET state = 'running' WHERE id = ?`, run); err != nil {
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO groups (grp, ran_claude) SELECT grp, 1 FROM runs WHERE id = ? AND agent = 'claude'
		ON CONFLICT (grp) DO UPDATE SET ran_claude = 1`, run)
	return err
}

// Finish is runner.Store's. The messages of a run that ends as interrupted wait
// again, with one attempt more, and so do those that the agent never saw; all
// others are done.
func (s *Store) Finish(ctx context.Context, run chat.RunID, o runner.Outcome, e audit.Entry) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		r, err := s.moveRun(ctx, t, run, o.State)
		if err == nil {
			err = endReservation(ctx, t, r, o.CostUSD)
		}
		if err != nil {
			return err
		}
		if err := finishRow(ctx, t, r, o); err != nil {
			return err
		}
		if err := forgetEffects(ctx, t, r.Group); err != nil {
			return err
		}
		if err := settleTask(ctx, t, run, o); err != nil {
			return err
		}
		if err := addEntry(ctx, t, e); err != nil {
			return err
		}
		for _, m := range o.Replies {
			if _, err := putOutbound(ctx, t, m, o.At); err != nil {
				return err
			}
		}
		if o.AgentSession == "" && !o.ForgetSession {
			return nil
		}
		if o.ForgetSession {
			o.AgentSession = ""
		}
		return s.rememberSession(ctx, t, run, o.AgentSession)
	})
	if err != nil {
		return fmt.Errorf("finish run %s: %w", run, err)
	}
	return nil
}

// finishRow ends the run's row and its messages.
func finishRow(ctx context.Context, t *tx, r RunInfo, o runner.Outcome) error {
	run := r.ID
	_, err := t.exec(ctx, `UPDATE runs SET state = ?, ended = ?, error = ?, cost = ?, tokens_in = ?, tokens_out = ?, tool_calls = ? WHERE id = ?`,
		o.State, o.At.UnixNano(), o.Error, o.CostUSD, o.InputTokens, o.OutputTokens, o.ToolCalls, run)
	if err != nil {
		return err
	}
	if err := bury(ctx, t, run, o.Dead, o.Error); err != nil {
		return err
	}
	if o.Trouble != nil {
		return waitFor(ctx, t, r, *o.Trouble, o.At)
	}
	if o.State == runner.Interrupted {
		return putBack(ctx, t, RunInfo{ID: run, State: runner.Running}, 1)
	}
	for _, row := range o.Unread {
		if _, err := t.exec(ctx, `UPDATE inbox SET state = CASE trigger WHEN 1 THEN 'waiting' ELSE 'context' END,
			run = NULL, again = again + 1 WHERE id = ? AND run = ? AND state = 'claimed'`, row, run); err != nil {
			return err
		}
	}
	_, err = t.exec(ctx, `UPDATE inbox SET state = 'done' WHERE run = ? AND state = 'claimed'`, run)
	return err
}

// rememberSession notes which of the agent's sessions a run's conversation is.
func (s *Store) rememberSession(ctx context.Context, t *tx, run chat.RunID, session string) error {
	_, err := t.exec(ctx, `INSERT INTO conversations (grp, thread, agent_session, used) SELECT grp, thread, ?, ? FROM runs WHERE id = ?
		ON CONFLICT (grp, thread) DO UPDATE SET agent_session = excluded.agent_session, used = excluded.used`, session, s.now().UnixNano(), run)
	return err
}

// HostRuns is runner.Store's.
func (r *Reader) HostRuns(ctx context.Context, g chat.Group, since time.Time) (int, time.Time, error) {
	var n int
	var oldest sql.NullInt64
	err := r.db.QueryRowContext(ctx, hostRunsQuery, g, since.UnixNano()).Scan(&n, &oldest)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count the host runs of %s: %w", g, explain(r.path, err))
	}
	return n, fromNanos(oldest), nil
}

const hostRunsQuery = `SELECT count(*) + coalesce(sum(follow_ups), 0), min(started) FROM runs WHERE mode = 'host' AND grp = ? AND started >= ?`

// Remembered is runner.Store's.
func (r *Reader) Remembered(ctx context.Context, g chat.Group, thread chat.Thread) (runner.Remembered, error) {
	var m runner.Remembered
	err := r.db.QueryRowContext(ctx, `SELECT agent_session, ended, told FROM conversations WHERE grp = ? AND thread = ?`, g, thread).Scan(&m.AgentSession, &m.Ended, &m.Told)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return m, fmt.Errorf("read what is remembered of %s: %w", g, explain(r.path, err))
	}
	return m, nil
}

// RanClaude says that a group ran claude once: it never falls back to another agent.
func (r *Reader) RanClaude(ctx context.Context, g chat.Group) (ran bool, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT ran_claude FROM groups WHERE grp = ?`, g).Scan(&ran)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("read which agent %s had: %w", g, explain(r.path, err))
	}
	return ran, nil
}

// Ended is runner.Store's.
func (s *Store) Ended(ctx context.Context, g chat.Group, thread chat.Thread, why string) error {
	return s.remember(ctx, g, `INSERT INTO conversations (grp, thread, ended, used) VALUES (?, ?, ?, ?)
		ON CONFLICT (grp, thread) DO UPDATE SET ended = excluded.ended, used = excluded.used`, g, thread, why, s.now().UnixNano())
}

// Told is runner.Store's.
func (s *Store) Told(ctx context.Context, g chat.Group, thread chat.Thread, mark string) error {
	return s.remember(ctx, g, `INSERT INTO conversations (grp, thread, told, used) VALUES (?, ?, ?, ?)
		ON CONFLICT (grp, thread) DO UPDATE SET told = excluded.told, used = excluded.used`, g, thread, mark, s.now().UnixNano())
}

// UID is runner.Store's. A uid stays with its group for ever, also when the
// group is deleted: files it left behind must not come to belong to another.
func (s *Store) UID(ctx context.Context, g chat.Group, first, count int) (int, error) {
	const query = `SELECT uid FROM uids WHERE grp = ?`
	var uid int
	// Nearly always it is there, and reading waits for no commit.
	err := s.Reader.db.QueryRowContext(ctx, query, g).Scan(&uid)
	if err == nil && uid >= first && uid < first+count {
		return uid, nil
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		err := t.row(ctx, []any{&uid}, query, g)
		if err == nil && (uid < first || uid >= first+count) {
			return fmt.Errorf("it has uid %d from an earlier range, outside %d to %d: set the old range again, or give its folder to another group name", uid, first, first+count-1)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if uid, err = freeUID(ctx, t, first, count); err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO uids (uid, grp, first, count) VALUES (?, ?, ?, ?)`, uid, g, first, count)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("choose a uid for group %s: %w", g, err)
	}
	return uid, nil
}

// freeUID is the smallest uid of the range that no group ever had.
func freeUID(ctx context.Context, t *tx, first, count int) (int, error) {
	next := first
	err := each(ctx, t, func(rows *sql.Rows) error {
		var used int
		err := rows.Scan(&used)
		if used == next {
			next++
		}
		return err
	}, `SELECT uid FROM uids WHERE uid >= ? ORDER BY uid`, first)
	if err == nil && next >= first+count {
		return 0, fmt.Errorf("all %d uids from %d are taken: widen the range", count, first)
	}
	return next, err
}

// Meta gives a remembered value, "" if there is none.
func (r *Reader) Meta(ctx context.Context, key string) (string, error) {
	var v string
	err := r.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, key).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read %q: %w", key, explain(r.path, err))
	}
	return v, nil
}

// SetMeta remembers a value, such as the range of uids.
func (s *Store) SetMeta(ctx context.Context, key, value string) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error { return setMeta(ctx, t, key, value) })
	if err != nil {
		return fmt.Errorf("remember %q: %w", key, err)
	}
	return nil
}

// SetMetaRecorded is SetMeta with audit entries in the same transaction.
func (s *Store) SetMetaRecorded(ctx context.Context, key, value string, entries ...audit.Entry) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := setMeta(ctx, t, key, value); err != nil {
			return err
		}
		for _, e := range entries {
			if err := addEntry(ctx, t, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remember %q: %w", key, err)
	}
	return nil
}

func setMeta(ctx context.Context, t *tx, key, value string) error {
	_, err := t.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
	return err
}

// remember changes what is remembered of a group, for who holds its run if anybody does.
func (s *Store) remember(ctx context.Context, g chat.Group, query string, args ...any) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := s.oursOrNobodys(ctx, t, g); err != nil {
			return err
		}
		_, err := t.exec(ctx, query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("remember something of %s: %w", g, err)
	}
	return nil
}
