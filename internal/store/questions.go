package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
)

var _ approval.Store = (*Store)(nil)

// lockKey is the place of the desk's lock in meta.
const lockKey = "approval.lock"

// AskQuestion is approval.Store's.
func (s *Store) AskQuestion(ctx context.Context, k approval.Kept, e audit.Entry) (int64, error) {
	effect, err := json.Marshal(k.Effect)
	if err != nil {
		return 0, err
	}
	var id int64
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		err := t.row(ctx, []any{&id}, `INSERT INTO questions (code, hash, live, told, state, effect, since, until, owner) VALUES (?, ?, ?, ?, 'open', ?, ?, ?, ?) RETURNING id`,
			k.Code, k.Hash, k.Live, k.Told, string(effect), k.Since.UnixNano(), k.Until.UnixNano(), s.owner)
		if err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return 0, fmt.Errorf("keep a question to the owner: %w", err)
	}
	return id, nil
}

// QuestionTold is approval.Store's.
func (s *Store) QuestionTold(ctx context.Context, id int64) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE questions SET told = 1 WHERE id = ?`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("note that question %d was told: %w", id, err)
	}
	return nil
}

// EndQuestions is approval.Store's.
func (s *Store) EndQuestions(ctx context.Context, ends []approval.Ended, lock *approval.Lock) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		for _, e := range ends {
			if err := endQuestion(ctx, t, e); err != nil {
				return err
			}
		}
		if lock == nil {
			return nil
		}
		value, err := json.Marshal(lock)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, lockKey, string(value))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep how questions to the owner ended: %w", err)
	}
	return nil
}

// endQuestion ends one question, which must be open.
func endQuestion(ctx context.Context, t *tx, e approval.Ended) error {
	answer, err := json.Marshal(e.By)
	if err != nil {
		return err
	}
	query, args := `DELETE FROM questions WHERE id = ? AND state = 'open'`, []any{e.ID}
	if e.Follow {
		query, args = `UPDATE questions SET state = ?, answer = ? WHERE id = ? AND state = 'open'`, []any{e.State, string(answer), e.ID}
	}
	res, err := t.exec(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, &StateError{What: fmt.Sprintf("question %d", e.ID), Is: "over", Want: string(e.State)})
	}
	if e.By.Row != 0 {
		if err := hostDone(ctx, t, e.By.Row); err != nil {
			return err
		}
	}
	return addEntry(ctx, t, e.Entry)
}

// DropQuestion is approval.Store's.
func (s *Store) DropQuestion(ctx context.Context, id int64) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM questions WHERE id = ? AND state <> 'open'`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget question %d: %w", id, err)
	}
	return nil
}

// TakeQuestions is approval.Store's. It makes this process the owner of the questions of
// those that are dead, and gives them. Each is given to one process alone.
func (s *Store) TakeQuestions(ctx context.Context) ([]approval.Kept, approval.Lock, error) {
	if s.alone {
		return s.Questions(ctx)
	}
	taken := map[int64]bool{}
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		clear(taken)
		return each(ctx, t, func(rows *sql.Rows) error {
			var id int64
			err := rows.Scan(&id)
			taken[id] = true
			return err
		}, `UPDATE questions SET owner = ? WHERE owner <> ? AND owner NOT IN (SELECT owner FROM nodes WHERE beat > ?) RETURNING id`, s.owner, s.owner, s.silent())
	})
	if err != nil {
		return nil, approval.Lock{}, fmt.Errorf("take the questions of those that ended: %w", err)
	}
	all, lock, err := s.Questions(ctx)
	return slices.DeleteFunc(all, func(k approval.Kept) bool { return !taken[k.ID] }), lock, err
}

// QuestionOwner is the process that asked an open question and lives, "" for none.
func (r *Reader) QuestionOwner(ctx context.Context, code string) (owner string, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT owner FROM questions WHERE code = ? AND state = 'open'`, code).Scan(&owner)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return owner, explain(r.path, err)
}

// Questions is approval.Store's.
func (r *Reader) Questions(ctx context.Context) ([]approval.Kept, approval.Lock, error) {
	var out []approval.Kept
	var lock approval.Lock
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		k, err := scanQuestion(rows)
		out = append(out, k)
		return err
	}, `SELECT id, code, hash, live, told, state, effect, since, until, answer FROM questions ORDER BY id`)
	if err != nil {
		return nil, lock, fmt.Errorf("read the questions to the owner: %w", explain(r.path, err))
	}
	value, err := r.Meta(ctx, lockKey)
	if err == nil && value != "" {
		err = json.Unmarshal([]byte(value), &lock)
	}
	if err != nil {
		return nil, lock, fmt.Errorf("read whether questions are locked: %w", err)
	}
	return out, lock, nil
}

func scanQuestion(rows *sql.Rows) (approval.Kept, error) {
	var k approval.Kept
	var effect, answer string
	var since, until sql.NullInt64
	if err := rows.Scan(&k.ID, &k.Code, &k.Hash, &k.Live, &k.Told, &k.State, &effect, &since, &until, &answer); err != nil {
		return k, err
	}
	k.Since, k.Until = fromNanos(since), fromNanos(until)
	if k.State == "open" {
		k.State = ""
	}
	if answer != "" {
		if err := json.Unmarshal([]byte(answer), &k.By); err != nil {
			return k, err
		}
	}
	return k, json.Unmarshal([]byte(effect), &k.Effect)
}
