package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/runner"
)

// The states of an effect.
const (
	begun    = "begun"    // it may have happened
	happened = "done"     // it did
	repeated = "repeated" // an earlier run did it, and this one was told so
)

// Call is a call of a host's tool that has an effect.
type Call struct {
	Tool string
	// Hash stands for its arguments, and Brief tells them in a line.
	Hash, Brief string
}

// Begun is what is known of a call before it is done.
type Begun struct {
	// Key names the effect, the same for each run that asks for it: whoever does it
	// under this key does it once.
	Key string
	// Done says that an earlier run did it, and Answer what that was told, at that
	// time.
	Done   bool
	Answer string
	At     time.Time

	id int64
}

// BeginEffect writes down that a run is about to do something. If runs that had the
// same messages and were cut off did the same, so often that this one has not asked
// for each of them yet, it gives that one.
func (s *Store) BeginEffect(ctx context.Context, run chat.RunID, c Call) (Begun, error) {
	var out Begun
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		out = Begun{}
		r, err := s.ours(ctx, t, run)
		if err != nil {
			return err
		}
		if r.State != runner.Running && r.State != runner.Starting {
			return &StateError{What: "run " + string(run), Is: string(r.State), Want: "at work"}
		}
		first, last, err := triggersOf(ctx, t, run)
		if err != nil {
			return err
		}
		var used int
		if err := t.row(ctx, []any{&used}, `SELECT count(*) FROM effects WHERE grp = ? AND run = ? AND tool = ? AND hash = ? AND state = 'repeated'`,
			r.Group, run, c.Tool, c.Hash); err != nil {
			return err
		}
		before, err := earlier(ctx, t, r.Group, run, first, last, c)
		if err != nil {
			return err
		}
		now, state := s.now(), begun
		if used < len(before) {
			out, state = before[used], repeated
		}
		var id int64
		err = t.row(ctx, []any{&id}, `INSERT INTO effects (grp, run, first, last, tool, hash, brief, state, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
			r.Group, run, first, last, c.Tool, c.Hash, c.Brief, state, now.UnixNano())
		if state == begun {
			out = Begun{Key: effectKey(id), At: now, id: id}
		}
		return err
	})
	if err != nil {
		return Begun{}, fmt.Errorf("write down a call of %s: %w", c.Tool, err)
	}
	return out, nil
}

func effectKey(id int64) string { return fmt.Sprintf("effect:%d", id) }

// triggersOf gives the first and the last message of a run that call the agent; 0
// if there is none.
func triggersOf(ctx context.Context, t *tx, run chat.RunID) (first, last int64, err error) {
	err = t.row(ctx, []any{&first, &last}, `SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM inbox WHERE run = ? AND state = 'claimed' AND trigger = 1`, run)
	return first, last, err
}

// earlier are the same effects of other runs that had one of the messages.
func earlier(ctx context.Context, t *tx, g chat.Group, run chat.RunID, first, last int64, c Call) ([]Begun, error) {
	var out []Begun
	err := each(ctx, t, func(rows *sql.Rows) error {
		var b Begun
		var at int64
		err := rows.Scan(&b.id, &b.Done, &b.Answer, &at)
		b.Key, b.At = effectKey(b.id), time.Unix(0, at).UTC()
		out = append(out, b)
		return err
	}, `SELECT id, state = 'done', answer, at FROM effects WHERE grp = ? AND run <> ? AND last >= ? AND first <= ?
		AND tool = ? AND hash = ? AND state <> 'repeated' ORDER BY id`, g, run, first, last, c.Tool, c.Hash)
	return out, err
}

// EndEffect writes down that an effect happened and what the agent is told of it,
// or that it certainly did not.
func (s *Store) EndEffect(ctx context.Context, b Begun, did bool, answer string) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		query, args := `DELETE FROM effects WHERE id = ?`, []any{b.id}
		if did {
			query, args = `UPDATE effects SET state = 'done', answer = ? WHERE id = ?`, []any{answer, b.id}
		}
		_, err := t.exec(ctx, query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("write down what came of a call: %w", err)
	}
	return nil
}

// RecordCall is runner.Store's. Such a call stays begun: the host does not see what
// came of it.
func (s *Store) RecordCall(ctx context.Context, e audit.Entry, tool, brief string) error {
	if e.At.IsZero() {
		e.At = s.now()
	}
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		r, err := s.ours(ctx, t, e.Run)
		if err != nil {
			return err
		}
		if live(r.State) {
			first, last, err := triggersOf(ctx, t, e.Run)
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `INSERT INTO effects (grp, run, first, last, tool, hash, brief, state, at) VALUES (?, ?, ?, ?, ?, '', ?, 'begun', ?)`,
				r.Group, e.Run, first, last, tool, brief, e.At.UnixNano())
			if err != nil {
				return err
			}
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return fmt.Errorf("record a call of %s: %w", tool, err)
	}
	return nil
}

// Bounds of what an agent is told of.
const (
	maxEffects = 30 // effects of the host's tools
	maxCalls   = 30 // calls of tools of MCP servers
)

const effectsQuery = `SELECT e.tool, e.brief, e.state = 'done', e.at FROM effects e,
		(SELECT grp, min(id) AS first, max(id) AS last FROM inbox WHERE run = ? AND state = 'claimed' AND trigger = 1 GROUP BY grp) m
	WHERE e.grp = m.grp AND e.run <> ? AND e.last >= m.first AND e.first <= m.last AND e.state <> 'repeated'`

// Effects is runner.Store's: the first of the host's tools, which are answered as done
// whether they are named or not, and the last of the others.
func (s *Store) Effects(ctx context.Context, run chat.RunID) ([]runner.Effect, error) {
	host, err := s.effects(ctx, run, ` AND e.tool NOT LIKE 'mcp~_~_%' ESCAPE '~' ORDER BY e.id LIMIT ?`, maxEffects)
	if err != nil {
		return nil, err
	}
	calls, err := s.effects(ctx, run, ` AND e.tool LIKE 'mcp~_~_%' ESCAPE '~' ORDER BY e.id DESC LIMIT ?`, maxCalls)
	slices.Reverse(calls)
	return append(host, calls...), err
}

func (s *Store) effects(ctx context.Context, run chat.RunID, which string, most int) ([]runner.Effect, error) {
	var out []runner.Effect
	err := each(ctx, s.Reader.db, func(rows *sql.Rows) error {
		var e runner.Effect
		var at int64
		err := rows.Scan(&e.Tool, &e.Brief, &e.Sure, &at)
		e.At = time.Unix(0, at).UTC()
		out = append(out, e)
		return err
	}, effectsQuery+which, run, run, most)
	if err != nil {
		return nil, fmt.Errorf("list what was done before run %s: %w", run, explain(s.path, err))
	}
	return out, nil
}

// forgetEffects removes what no message is waiting for any more.
func forgetEffects(ctx context.Context, t *tx, g chat.Group) error {
	_, err := t.exec(ctx, `DELETE FROM effects WHERE grp = ? AND NOT EXISTS (SELECT 1 FROM inbox i
		WHERE i.id >= effects.first AND i.id <= effects.last AND i.grp = effects.grp AND i.trigger = 1
		AND (i.state = 'waiting' OR i.state = 'claimed' OR i.state = 'dead'))`, g)
	return err
}
