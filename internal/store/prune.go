package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"nanoclaw/internal/audit"
)

// Keep says up to when what is over is removed, for each kind of thing; the zero
// time keeps it for ever.
type Keep struct {
	Messages time.Time // those that came in and those that went out
	Runs     time.Time
	Costs    time.Time // what the model cost, by day
	Words    time.Time // what people wrote and agents did, in the audit log
	// Try counts and changes nothing.
	Try bool
}

// Pruned counts what was removed.
type Pruned struct {
	Messages, Replies, Runs, Costs, Words int
}

// Stored counts all that there is of what Prune may remove.
func (r *Reader) Stored(ctx context.Context) (Pruned, error) {
	var p Pruned
	err := r.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox), (SELECT count(*) FROM runs),
		(SELECT count(*) FROM costs), (SELECT count(*) FROM audit WHERE payload IS NOT NULL AND kind IN ('inbound', `+ofRuns+`))`).
		Scan(&p.Messages, &p.Replies, &p.Runs, &p.Costs, &p.Words)
	if err != nil {
		return p, fmt.Errorf("count what is stored: %w", explain(r.path, err))
	}
	return p, nil
}

// prunePage is how many rows are looked at in one transaction at most, so that no
// message waits long behind it.
const prunePage = 500

// Prune removes what is over and older than keep says, in small transactions, each
// with the audit entry that says how much it removed. What is open is never removed:
// the database itself refuses that. Entries of the audit log are never removed
// either; those of messages and of what agents did lose their words as by Erase, and
// the log still verifies.
func (s *Store) Prune(ctx context.Context, keep Keep) (Pruned, error) {
	var p Pruned
	var threads int // they are told with their runs
	for _, part := range []struct {
		what   string
		before time.Time
		n      *int
		prune  func(context.Context, time.Time, bool) (int, error)
	}{
		{"messages", keep.Messages, &p.Messages, s.closed("messages", `SELECT id, state IN ('done', 'dead', 'ignored', 'refused'), at FROM inbox WHERE id > ? ORDER BY id LIMIT ?`,
			`DELETE FROM inbox WHERE id = ? AND state IN ('done', 'dead', 'ignored', 'refused')`)},
		{"replies", keep.Messages, &p.Replies, s.closed("replies", `SELECT id, state IN ('sent', 'given_up'), coalesce(ended, at) FROM outbox WHERE id > ? ORDER BY id LIMIT ?`,
			`DELETE FROM outbox WHERE id = ? AND state IN ('sent', 'given_up')`)},
		{"runs", keep.Runs, &p.Runs, s.closed("runs", `SELECT row, ended IS NOT NULL, coalesce(ended, queued) FROM runs WHERE row > ? ORDER BY row LIMIT ?`,
			`DELETE FROM runs WHERE row = ? AND ended IS NOT NULL`)},
		{"threads", keep.Runs, &threads, s.pruneThreads},
		{"costs", keep.Costs, &p.Costs, s.pruneCosts},
		{"words", keep.Words, &p.Words, s.pruneWords},
	} {
		if part.before.IsZero() {
			continue
		}
		var err error
		if *part.n, err = part.prune(ctx, part.before, keep.Try); err != nil {
			return p, fmt.Errorf("remove old %s: %w", part.what, err)
		}
	}
	return p, nil
}

// pruneThreads forgets what is remembered of threads in which nothing was said since
// then: their runs are gone too. What a group remembers of its own conversation stays.
func (s *Store) pruneThreads(ctx context.Context, before time.Time, try bool) (int, error) {
	if try {
		return 0, nil
	}
	return 0, s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM conversations WHERE thread <> '' AND used < ?`, before.UnixNano())
		return err
	})
}

// aged is a row as pruning sees it.
type aged struct {
	id   int64
	over bool // it is closed, or its words may go
	at   int64
}

func (s *Store) page(ctx context.Context, query string, after int64) (rows []aged, err error) {
	err = each(ctx, s.Reader.db, func(r *sql.Rows) error {
		var a aged
		err := r.Scan(&a.id, &a.over, &a.at)
		rows = append(rows, a)
		return err
	}, query, after, prunePage)
	return rows, explain(s.path, err)
}

// closed removes the closed rows of a table, oldest first. Ids grow with time, so a
// page without an old row is the end; what is open, and what a clock that was wrong
// dated later, is passed over.
func (s *Store) closed(what, query, remove string) func(context.Context, time.Time, bool) (int, error) {
	return func(ctx context.Context, before time.Time, try bool) (int, error) {
		total, after := 0, int64(0)
		for {
			rows, err := s.page(ctx, query, after)
			if err != nil || len(rows) == 0 {
				return total, err
			}
			after = rows[len(rows)-1].id
			var ids []int64
			old := false
			for _, r := range rows {
				if r.at < before.UnixNano() {
					old = true
					if r.over {
						ids = append(ids, r.id)
					}
				}
			}
			if !old {
				return total, nil
			}
			if !try && len(ids) > 0 {
				err = s.write(ctx, func(ctx context.Context, t *tx) error {
					for _, id := range ids {
						if _, err := t.exec(ctx, remove, id); err != nil {
							return err
						}
					}
					return addEntry(ctx, t, s.pruned(what, len(ids), before, after))
				})
				if err != nil {
					return total, err
				}
			}
			total += len(ids)
		}
	}
}

func (s *Store) pruned(what string, n int, before time.Time, last int64) audit.Entry {
	return audit.Entry{At: s.now(), Kind: audit.StorePruned, Data: audit.StorePrunedData{What: what, Count: n, Before: before.UTC(), Last: last}}
}

func (s *Store) pruneCosts(ctx context.Context, before time.Time, try bool) (int, error) {
	day := before.UTC().Format(time.DateOnly)
	var n int
	if err := s.Reader.db.QueryRowContext(ctx, `SELECT count(*) FROM costs WHERE day < ?`, day).Scan(&n); err != nil || n == 0 || try {
		return n, explain(s.path, err)
	}
	return n, s.write(ctx, func(ctx context.Context, t *tx) error {
		for _, q := range []string{`DELETE FROM costs WHERE day < ?`, `DELETE FROM extensions WHERE day < ?`} {
			if _, err := t.exec(ctx, q, day); err != nil {
				return err
			}
		}
		return addEntry(ctx, t, s.pruned("costs", n, before, 0))
	})
}

// wordsKey remembers up to which entry the words are gone, so that the log is not
// read from its beginning each day.
const wordsKey = "pruned.words"

const wordsQuery = `SELECT id, payload IS NOT NULL AND kind IN ('inbound', ` + ofRuns + `), at FROM audit WHERE id > ? ORDER BY id LIMIT ?`

// pruneWords erases the words of old entries. An entry that a clock dated later than
// now is as old as the one before it.
func (s *Store) pruneWords(ctx context.Context, before time.Time, try bool) (int, error) {
	done, err := s.Meta(ctx, wordsKey)
	if err != nil {
		return 0, err
	}
	after, _ := strconv.ParseInt(done, 10, 64) // "" is the beginning
	total, at := 0, int64(0)
	for {
		rows, err := s.page(ctx, wordsQuery, after)
		if err != nil {
			return total, err
		}
		was := after
		var ids []int64
		for _, r := range rows {
			if r.at <= s.now().UnixNano() {
				at = r.at
			}
			if at >= before.UnixNano() {
				break
			}
			if after = r.id; r.over {
				ids = append(ids, r.id)
			}
		}
		if after == was {
			return total, nil
		}
		total += len(ids)
		if try {
			continue
		}
		if err := s.eraseWords(ctx, ids, after, before); err != nil {
			return total, err
		}
	}
}

// eraseWords erases the words of entries, all up to last.
func (s *Store) eraseWords(ctx context.Context, ids []int64, last int64, before time.Time) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		all, err := withParts(ctx, t, ids)
		if err != nil {
			return err
		}
		erased, err := eraseEntries(ctx, t, all)
		if err != nil {
			return err
		}
		if err := setMeta(ctx, t, wordsKey, strconv.FormatInt(last, 10)); err != nil || len(erased) == 0 {
			return err
		}
		return addEntry(ctx, t, s.pruned("words", len(erased), before, last))
	})
}
