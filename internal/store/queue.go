package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runner"
)

// liveStates is the condition of the index that holds one live run for a group.
const liveStates = `(state = 'queued' OR state = 'starting' OR state = 'running')`

// Waiting is queue.Store's.
func (s *Store) Waiting(ctx context.Context) ([]chat.Group, error) {
	groups, err := s.waitingUntil(ctx, s.now().UnixNano())
	if err != nil || s.node == "" {
		return groups, err
	}
	return s.servedHere(ctx, groups)
}

// Unanswered lists the groups that have a triggering message, also one that is
// held until later, and no live run.
func (s *Store) Unanswered(ctx context.Context) ([]chat.Group, error) {
	return s.waitingUntil(ctx, math.MaxInt64)
}

func (s *Store) waitingUntil(ctx context.Context, due int64) ([]chat.Group, error) {
	var groups []chat.Group
	err := each(ctx, s.Reader.db, func(rows *sql.Rows) error {
		var g chat.Group
		var first int64
		err := rows.Scan(&g, &first)
		groups = append(groups, g)
		return err
	}, waitingQuery, due)
	if err != nil {
		return nil, fmt.Errorf("list waiting groups: %w", explain(s.path, err))
	}
	return groups, nil
}

const waitingQuery = `SELECT grp, min(id) AS first FROM inbox WHERE state = 'waiting' AND due <= ?
	AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.grp = inbox.grp AND (r.state = 'queued' OR r.state = 'starting' OR r.state = 'running'))
	GROUP BY grp ORDER BY first`

// Claim is queue.Store's. Nothing rests on it before the run is started: should it be
// lost with the machine, the messages wait as they did.
func (s *Store) Claim(ctx context.Context, g chat.Group, run chat.RunID, at time.Time) (*queue.Job, error) {
	var job *queue.Job
	err := s.w.write(ctx, withNext, func(ctx context.Context, t *tx) error {
		job = nil
		var n int
		err := t.row(ctx, []any{&n}, `SELECT EXISTS (SELECT 1 FROM inbox WHERE state = 'waiting' AND grp = ? AND due <= ?)
			AND NOT EXISTS (SELECT 1 FROM runs WHERE grp = ? AND `+liveStates+`)`, g, at.UnixNano(), g)
		if err != nil || n == 0 {
			return err
		}
		if here, err := s.takePlace(ctx, t, g); err != nil || !here {
			return err
		}
		j := &queue.Job{Run: run, Group: g, Claimed: at}
		if j.Fence, err = nextFence(ctx, t, g); err != nil {
			return err
		}
		if j.Messages, err = claimNext(ctx, t, g, run, at); err != nil {
			return err
		}
		if _, err = t.exec(ctx, `INSERT INTO runs (id, grp, thread, state, queued, owner, fence, beat) VALUES (?, ?, ?, 'queued', ?, ?, ?, ?)`,
			run, g, j.Thread(), at.UnixNano(), s.owner, j.Fence, s.now().UnixNano()); err != nil {
			return err
		}
		if j.Pushed, err = takePushed(ctx, t, g); err != nil {
			return err
		}
		if j.Resume, err = resumeOf(ctx, t, j.Messages); err != nil {
			return err
		}
		job = j
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim the messages of %s: %w", g, err)
	}
	return job, nil
}

// openMessages gives all messages of a group that may be taken up and the context, oldest first.
// These are two statements, since each can then use the index of open messages.
func openMessages(ctx context.Context, q querier, g chat.Group, now time.Time) ([]queue.Message, error) {
	var out []queue.Message
	for _, state := range []string{`'waiting'`, `'context'`} {
		err := each(ctx, q, func(rows *sql.Rows) error {
			m, err := scanMessage(rows)
			out = append(out, m)
			return err
		}, `SELECT `+messageColumns+` FROM inbox WHERE state = `+state+` AND grp = ? AND due <= ? ORDER BY id`, g, now.UnixNano())
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b queue.Message) int { return cmp.Compare(a.Row, b.Row) })
	return out, nil
}

// claimNext gives the next messages of a group to a run.
func claimNext(ctx context.Context, t *tx, g chat.Group, run chat.RunID, now time.Time) ([]queue.Message, error) {
	waiting, err := openMessages(ctx, t, g, now)
	if err != nil {
		return nil, err
	}
	next := queue.Next(waiting)
	if len(next) == 0 {
		return nil, nil
	}
	last := next[len(next)-1].Row
	if before := slices.IndexFunc(waiting, func(m queue.Message) bool { return m.Row == last }) + 1; before > len(next) {
		return next, claimRows(ctx, t, next, run) // some before it are of other conversations
	}
	for _, q := range []string{
		`UPDATE inbox SET state = 'claimed', run = ? WHERE state = 'waiting' AND grp = ? AND id <= ? AND due <= ?`,
		`UPDATE inbox SET state = 'claimed', run = ? WHERE state = 'context' AND grp = ? AND id <= ? AND due <= ?`,
	} {
		if _, err := t.exec(ctx, q, run, g, last, now.UnixNano()); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// claimRows gives these messages and no others to a run.
func claimRows(ctx context.Context, t *tx, next []queue.Message, run chat.RunID) error {
	for _, m := range next {
		if _, err := t.exec(ctx, `UPDATE inbox SET state = 'claimed', run = ? WHERE id = ?`, run, m.Row); err != nil {
			return err
		}
	}
	return nil
}

// resumeOf is the agent's session in which messages were worked on before.
func resumeOf(ctx context.Context, t *tx, msgs []queue.Message) (session string, err error) {
	for _, m := range msgs {
		if m.Cut != "" {
			err = t.row(ctx, []any{&session}, `SELECT agent_session FROM runs WHERE id = ?`, m.Cut)
			break
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return session, err
}

// Next is runner.Store's.
func (s *Store) Next(ctx context.Context, g chat.Group) ([]queue.Message, error) {
	waiting, err := openMessages(ctx, s.Reader.db, g, s.now())
	if err != nil {
		return nil, fmt.Errorf("look at the messages of %s: %w", g, explain(s.path, err))
	}
	return queue.Next(waiting), nil
}

// Join is runner.Store's.
func (s *Store) Join(ctx context.Context, run chat.RunID, next []queue.Message, l *runner.Reservation, e audit.Entry) (bool, error) {
	joined := false
	what := fmt.Sprintf("let messages join run %s", run)
	err := s.judged(ctx, what, atOnce, func(ctx context.Context, t *tx, no *error) error {
		joined = false
		now := s.now()
		r, err := s.ours(ctx, t, run)
		if err != nil {
			return err
		}
		if r.State != runner.Running {
			return &StateError{What: "run " + string(run), Is: string(r.State), Want: "joined"}
		}
		waiting, err := openMessages(ctx, t, r.Group, now)
		if err != nil || !sameRows(queue.Next(waiting), next) {
			return err
		}
		if l != nil {
			if *no, err = allow(ctx, t, *l); err != nil || *no != nil {
				return err
			}
			if err := share(ctx, t, run, l.Askers); err != nil {
				return err
			}
		}
		if _, err := claimNext(ctx, t, r.Group, run, now); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE runs SET follow_ups = follow_ups + ? WHERE id = ?`, triggers(next), run); err != nil {
			return err
		}
		joined = true
		return addEntry(ctx, t, e)
	})
	return joined && err == nil, err
}

// sameRows says that nothing came between.
func sameRows(a, b []queue.Message) bool {
	return slices.EqualFunc(a, b, func(a, b queue.Message) bool { return a.Row == b.Row })
}

func triggers(msgs []queue.Message) (n int) {
	for _, m := range msgs {
		if m.Trigger {
			n++
		}
	}
	return n
}

// Release is queue.Store's and runner.Store's: we stop, and nobody is to blame.
// Of a queued run nothing is left, since nothing happened; one that had begun is
// "interrupted". Either way its messages wait again with no attempt counted.
func (s *Store) Release(ctx context.Context, run chat.RunID) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		r, err := s.ours(ctx, t, run)
		if err != nil {
			return err
		}
		switch r.State {
		case runner.Queued:
			if err = dropReservation(ctx, t, run); err == nil {
				_, err = t.exec(ctx, `DELETE FROM runs WHERE id = ?`, run)
			}
		case runner.Starting, runner.Running:
			err = endInterrupted(ctx, t, r, "nanoclaw stopped during this run", s.now())
		default:
			return &StateError{What: "run " + string(run), Is: string(r.State), Want: "released"}
		}
		if err != nil {
			return err
		}
		return putBack(ctx, t, r, 0)
	})
	if err != nil {
		return fmt.Errorf("release run %s: %w", run, err)
	}
	return nil
}

// putBack makes the messages of a run wait again. If the run had begun, the
// agent may have seen them.
func putBack(ctx context.Context, t *tx, r RunInfo, attempts int) error {
	cut := r.ID
	if r.State == runner.Queued {
		cut = ""
	}
	_, err := t.exec(ctx, `UPDATE inbox SET state = CASE trigger WHEN 1 THEN 'waiting' ELSE 'context' END,
		run = NULL, cut = CASE ? WHEN '' THEN cut ELSE ? END, attempts = attempts + ? WHERE run = ? AND state = 'claimed'`, cut, cut, attempts, r.ID)
	return err
}

// runRow gives a run, or ErrNotFound.
func runRow(ctx context.Context, q querier, run chat.RunID) (RunInfo, error) {
	var r RunInfo
	found := false
	err := each(ctx, q, func(rows *sql.Rows) (err error) {
		r, err = scanRun(rows)
		found = true
		return err
	}, `SELECT `+runColumns+` FROM runs WHERE id = ?`, run)
	if err == nil && !found {
		err = ErrNotFound
	}
	return r, err
}
