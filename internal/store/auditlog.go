package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// addEntry seals an entry and adds it in the transaction of what it records. One
// that ends a run says which entries the run had.
func addEntry(ctx context.Context, t *tx, e audit.Entry) error {
	if end, ok := e.Data.(audit.Ending); ok {
		c, err := closing(ctx, t, e.Run)
		if err != nil {
			return err
		}
		e.Data = end.Close(c)
	}
	entries, err := e.Split()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := addRow(ctx, t, e); err != nil {
			return err
		}
	}
	if t.keep {
		t.entries = append(t.entries, e)
	}
	return nil
}

func addRow(ctx context.Context, t *tx, e audit.Entry) error {
	r, err := audit.Seal(e)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO audit (at, kind, grp, run, session, payload, salt, commitment) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.At.UnixNano(), r.Kind, r.Group, r.Run, r.Session, string(r.Payload), r.Salt, r.Commitment[:])
	if err == nil {
		t.audited = true
	}
	return err
}

// closing binds all entries that a run has so far.
func closing(ctx context.Context, t *tx, run chat.RunID) (audit.Closing, error) {
	sum := audit.NewRunDigest()
	err := each(ctx, t, func(rows *sql.Rows) error {
		var id int64
		var commitment sql.RawBytes
		if err := rows.Scan(&id, &commitment); err != nil {
			return err
		}
		if len(commitment) != tlog.HashSize {
			return corruptEntry(id)
		}
		sum.Add(id, tlog.Hash(commitment))
		return nil
	}, `SELECT id, commitment FROM audit WHERE run <> '' AND run = ? ORDER BY id`, run)
	return sum.Closing(), err
}

// corruptEntry says that somebody changed an entry.
func corruptEntry(id int64) error {
	return fmt.Errorf("entry %d of the audit log has no commitment: run nanoclaw audit verify", id)
}

// Erase removes the words of entries from the log, payload and salt, and leaves
// an entry that says so. Places, times, kinds and names stay, and the log still
// verifies. It gives how many entries had words to erase.
func (s *Store) Erase(ctx context.Context, ids []int64, why string) (int, error) {
	var n int
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		ids, err := withParts(ctx, t, ids)
		if err != nil {
			return err
		}
		erased, err := eraseEntries(ctx, t, ids)
		if n = len(erased); n == 0 || err != nil {
			return err
		}
		return addEntry(ctx, t, audit.Entry{At: s.now(), Kind: audit.OwnerActed,
			Data: audit.OwnerActedData{Act: "erase", Detail: why, Entries: erased}})
	})
	if err != nil {
		return 0, fmt.Errorf("erase the words of audit entries: %w", err)
	}
	return n, nil
}

// eraseEntries removes the words of entries, and gives those that had any.
func eraseEntries(ctx context.Context, t *tx, ids []int64) ([]int64, error) {
	var erased []int64
	for _, id := range ids {
		res, err := t.exec(ctx, `UPDATE audit SET payload = NULL, salt = NULL WHERE id = ? AND payload IS NOT NULL`, id)
		if err != nil {
			return nil, err
		}
		k, err := res.RowsAffected()
		if err != nil {
			return nil, err
		}
		if k > 0 {
			erased = append(erased, id)
		}
	}
	return erased, nil
}

// withParts adds the parts in which the words of entries are kept.
func withParts(ctx context.Context, t *tx, ids []int64) ([]int64, error) {
	var out []int64
	for _, id := range ids {
		var payload sql.NullString
		err := t.row(ctx, []any{&payload}, `SELECT payload FROM audit WHERE id = ?`, id)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		if p, ok := audit.PartedOf([]byte(payload.String)); ok {
			for part := id - int64(p.Entries); part < id; part++ {
				out = append(out, part)
			}
		}
		out = append(out, id)
	}
	return out, nil
}

// Head is audit.Source's.
func (r *Reader) Head(ctx context.Context) (audit.Head, error) {
	var h audit.Head
	err := r.db.QueryRowContext(ctx, `SELECT size, last, checkpoint FROM audit_head`).Scan(&h.Size, &h.LastID, &h.Checkpoint)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return audit.Head{}, fmt.Errorf("read the head of the audit log: %w", explain(r.path, err))
	}
	return h, nil
}

// Rows is audit.Source's. A loop over it holds one connection of the pool.
func (r *Reader) Rows(ctx context.Context, f audit.Filter) iter.Seq2[audit.Row, error] {
	return func(yield func(audit.Row, error) bool) {
		query, args := rowsQuery(f)
		rows, err := r.db.QueryContext(ctx, query, args...)
		if err != nil {
			yield(audit.Row{}, fmt.Errorf("read the audit log: %w", explain(r.path, err)))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row, err := scanEntry(rows)
			if !yield(row, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(audit.Row{}, fmt.Errorf("read the audit log: %w", explain(r.path, err)))
		}
	}
}

func rowsQuery(f audit.Filter) (string, []any) {
	where, args := []string{"1 = 1"}, []any{}
	add := func(cond string, v any) { where, args = append(where, cond), append(args, v) }
	if f.After != 0 { // without it also rows that no store of ours numbered: Verify must see them
		add("a.id > ?", f.After)
	}
	if f.Before != 0 {
		add("a.id < ?", f.Before)
	}
	if f.Run != "" {
		add("a.run <> '' AND a.run = ?", f.Run) // the first half lets the partial index serve
	}
	if f.Group != "" {
		add("a.grp = ?", f.Group)
	}
	if f.Session != "" {
		add("a.session = ?", f.Session)
	}
	if !f.Since.IsZero() {
		add("a.at >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		add("a.at < ?", f.Until.UnixNano())
	}
	if len(f.Kinds) > 0 {
		where = append(where, "a.kind IN ("+marks(len(f.Kinds))+")")
		for _, k := range f.Kinds {
			args = append(args, k)
		}
	}
	q := `SELECT a.id, a.at, a.kind, a.grp, a.run, a.session, a.payload, a.salt, a.commitment, coalesce(l.leaf, -1)
		FROM audit a LEFT JOIN audit_leaf l ON l.entry = a.id WHERE ` + strings.Join(where, " AND ") + ` ORDER BY a.id`
	if f.Newest {
		q += " DESC"
	}
	if f.Limit > 0 {
		q += " LIMIT " + strconv.Itoa(f.Limit)
	}
	return q, args
}

func scanEntry(rows *sql.Rows) (audit.Row, error) {
	var r audit.Row
	var at int64
	var payload, salt, commitment sql.RawBytes
	if err := rows.Scan(&r.ID, &at, &r.Kind, &r.Group, &r.Run, &r.Session, &payload, &salt, &commitment, &r.Leaf); err != nil {
		return r, fmt.Errorf("read an audit entry: %w", err)
	}
	r.At = time.Unix(0, at).UTC()
	r.Payload, r.Salt = slices.Clone([]byte(payload)), slices.Clone([]byte(salt))
	// A commitment of another length is somebody's change; the zero one fails to
	// verify, which names the entry.
	if len(commitment) == len(r.Commitment) {
		r.Commitment = tlog.Hash(commitment)
	}
	return r, nil
}

// hashChunk is how many hashes one query reads.
const hashChunk = 4096

// ReadHashes is audit.Source's.
func (r *Reader) ReadHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(indexes))
	for chunk := range slices.Chunk(indexes, hashChunk) {
		if n := len(chunk); n > 1 && row(chunk) {
			var err error
			if out, err = r.hashRow(ctx, out, chunk[0], n); err != nil {
				return nil, err
			}
			continue
		}
		found := make(map[int64]tlog.Hash, len(chunk))
		query := []byte(`SELECT pos, hash FROM audit_hash WHERE pos IN (`)
		for i, ix := range chunk {
			if i > 0 {
				query = append(query, ',')
			}
			query = strconv.AppendInt(query, ix, 10)
		}
		err := each(ctx, r.db.DB, func(rows *sql.Rows) error { // a query that is never asked again
			var pos int64
			var hash sql.RawBytes
			err := rows.Scan(&pos, &hash)
			if err == nil && len(hash) == tlog.HashSize {
				found[pos] = tlog.Hash(hash)
			}
			return err
		}, string(append(query, ')')))
		if err != nil {
			return nil, fmt.Errorf("read the hashes of the audit log: %w", explain(r.path, err))
		}
		for _, ix := range chunk {
			h, ok := found[ix]
			if !ok {
				return nil, fmt.Errorf("hash %d of the audit log is missing: %w", ix, ErrNotFound)
			}
			out = append(out, h)
		}
	}
	return out, nil
}

// row says that indexes follow each other.
func row(indexes []int64) bool {
	for i, ix := range indexes {
		if ix != indexes[0]+int64(i) {
			return false
		}
	}
	return true
}

// hashRow adds n hashes that follow each other, which is how a whole log is read.
func (r *Reader) hashRow(ctx context.Context, out []tlog.Hash, first int64, n int) ([]tlog.Hash, error) {
	next := first
	missing := func() error { return fmt.Errorf("hash %d of the audit log is missing: %w", next, ErrNotFound) }
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var pos int64
		var hash sql.RawBytes
		if err := rows.Scan(&pos, &hash); err != nil {
			return err
		}
		if pos != next || len(hash) != tlog.HashSize {
			return missing()
		}
		out = append(out, tlog.Hash(hash))
		next++
		return nil
	}, `SELECT pos, hash FROM audit_hash WHERE pos >= ? AND pos < ? ORDER BY pos`, first, first+int64(n))
	if err == nil && next != first+int64(n) {
		err = missing()
	}
	if err != nil {
		return nil, fmt.Errorf("read the hashes of the audit log: %w", explain(r.path, err))
	}
	return out, nil
}

// Append is audit.Storage's.
func (s *Store) Append(ctx context.Context, old audit.Head, b audit.Batch) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := s.leased(ctx, t, Sequencer); err != nil {
			return err
		}
		var size, last int64
		err := t.row(ctx, []any{&size, &last}, `SELECT size, last FROM audit_head`)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if size != old.Size || last != old.LastID {
			return fmt.Errorf("its head is at %d leaves, not %d: another sequencer is at work", size, old.Size)
		}
		for i, id := range b.IDs {
			if _, err := t.exec(ctx, `INSERT INTO audit_leaf (leaf, entry) VALUES (?, ?)`, old.Size+int64(i), id); err != nil {
				return err
			}
		}
		pos := tlog.StoredHashCount(old.Size)
		for i, h := range b.Hashes {
			if _, err := t.exec(ctx, `INSERT INTO audit_hash (pos, hash) VALUES (?, ?)`, pos+int64(i), h[:]); err != nil {
				return err
			}
		}
		_, err = t.exec(ctx, `INSERT INTO audit_head (one, size, last, checkpoint) VALUES (1, ?, ?, ?)
			ON CONFLICT (one) DO UPDATE SET size = excluded.size, last = excluded.last, checkpoint = excluded.checkpoint`,
			b.Head.Size, b.Head.LastID, b.Head.Checkpoint)
		return err
	})
	if err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	return nil
}
