// Package oldstore reads store/messages.db of NanoClaw 1, from its first version to
// the last 1.2, and of forks that only added columns. It gives rows as they stand;
// what they mean here, and which of them are taken over, is for package imports.
//
// # Trust
//
// The file is not the owner's word. Main's agent could write it in every version of
// NanoClaw 1, so it may be any file at all, made to harm who opens it. Therefore:
//
//   - It is copied into a folder of our own and only the copy is opened. The old
//     folder is never written to: SQLite would leave -wal and -shm files there.
//   - A rollback journal beside it is refused and never given to SQLite: a journal can
//     name any file of this machine, which SQLite then removes.
//   - SQL of the file (views, triggers, generated columns, virtual tables) is not run:
//     only real columns of real tables are asked for, with trusted_schema off.
//   - Everything is bounded: the file, each value, and the rows of each table.
package oldstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver

	"nanoclaw/internal/beneath"
)

// Path is where NanoClaw 1 keeps its store, in its own folder.
const Path = "store/messages.db"

// Bounds. A store of a year has some tens of MB.
const (
	MaxFile     = 2 << 30  // bytes of the file, and of its log
	MaxRows     = 10_000   // of each table but the messages
	MaxText     = 64 << 10 // characters of one value; a longer one is cut, and the row says so
	MaxMessages = 2_000_000
)

// Store is an open copy.
type Store struct {
	dir string // the copy's, ours alone
	db  *sql.DB
	has map[string]map[string]bool // the real columns of each real table
}

// Open copies the store below root and opens the copy. fs.ErrNotExist says that
// there is none.
func Open(ctx context.Context, root *os.File) (_ *Store, err error) {
	dir, err := os.MkdirTemp("", "nanoclaw-import-") // mode 0700
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.copyFrom(root); err != nil {
		return nil, fmt.Errorf("%s: %w", Path, err)
	}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", Path, err)
	}
	return s, nil
}

// copyFrom copies the file and its log, and makes sure that neither changed
// meanwhile.
func (s *Store) copyFrom(root *os.File) error {
	if st, err := beneath.Stat(root, Path+"-journal"); err == nil && st.Size > 0 {
		return errors.New("it was left in the middle of a change (messages.db-journal): let the old NanoClaw start and stop once, then try again")
	}
	before, err := prints(root)
	if err != nil {
		return err
	}
	for _, end := range []string{"", "-wal"} {
		err := copyFile(root, Path+end, filepath.Join(s.dir, "messages.db"+end))
		if err != nil && (end == "" || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	after, err := prints(root)
	if err == nil && before != after {
		err = errors.New("it is being written to: stop the old NanoClaw first")
	}
	return err
}

// print is what of a file changes with every change.
type print struct {
	ino   uint64
	size  int64
	mtime unix.Timespec
}

// prints are those of the file and its log, the zero print for one that is not there.
func prints(root *os.File) (out [2]print, err error) {
	for i, end := range []string{"", "-wal"} {
		st, err := beneath.Stat(root, Path+end)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue
		}
		if err != nil {
			return out, err
		}
		out[i] = print{st.Ino, st.Size, st.Mtim}
	}
	return out, nil
}

func copyFile(root *os.File, rel, to string) error {
	from, err := beneath.File(root, rel)
	if err != nil {
		return err
	}
	defer from.Close()
	if fi, err := from.Stat(); err != nil || fi.Size() > MaxFile {
		return errors.Join(err, fmt.Errorf("it is larger than %d GB", MaxFile>>30))
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(from, MaxFile+1))
	if err == nil && n > MaxFile {
		err = fmt.Errorf("it is larger than %d GB", MaxFile>>30)
	}
	return errors.Join(err, out.Close())
}

// open opens the copy, for reading but for the recovery of its own log.
func (s *Store) open(ctx context.Context) error {
	q := url.Values{"_pragma": {"trusted_schema(OFF)", "cell_size_check(ON)", "temp_store(MEMORY)", "mmap_size(0)", "busy_timeout(0)", "query_only(ON)"}, "_dqs": {"0"}}
	u := url.URL{Scheme: "file", Path: filepath.Join(s.dir, "messages.db"), RawQuery: q.Encode() + "&mode=rw"}
	var err error
	if s.db, err = sql.Open("sqlite", u.String()); err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1)
	// No check of the whole: it would run the CHECKs and generated columns of the file.
	// Damage is met by reading, and all that is used is read before a plan is made.
	return s.columns(ctx)
}

// Close removes the copy.
func (s *Store) Close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// known are the tables that are looked at.
var known = []string{"chats", "messages", "scheduled_tasks", "task_run_logs", "router_state", "sessions", "registered_groups"}

// columns finds the real columns of the real tables: what is a view, a virtual
// table (which has no page of its own) or generated counts as not there.
func (s *Store) columns(ctx context.Context) error {
	s.has = map[string]map[string]bool{}
	for _, table := range known {
		var n int
		err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ? AND rootpage > 0`, table).Scan(&n)
		if err != nil {
			return err
		}
		if n != 1 {
			continue
		}
		rows, err := s.db.QueryContext(ctx, `SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 LIMIT 1000`, table)
		if err != nil {
			return err
		}
		s.has[table] = map[string]bool{}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return errors.Join(err, rows.Close())
			}
			s.has[table][name] = true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Has says whether the store has a table.
func (s *Store) Has(table string) bool { return s.has[table] != nil }

// HasColumn says whether it has a column, by which versions are told.
func (s *Store) HasColumn(table, column string) bool { return s.has[table][column] }

// Count counts the rows of a table, 0 if there is none.
func (s *Store) Count(ctx context.Context, table string) (n int, err error) {
	if !s.Has(table) {
		return 0, nil
	}
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM "`+table+`"`).Scan(&n)
	return n, err
}

// record is one row: the values by column, and which of them were cut.
type record struct {
	values map[string]sql.NullString
	cut    bool
}

func (r record) text(column string) string { return r.values[column].String }

// flag is a number as 0 or 1 has it; null where there is none.
func (r record) flag(column string) (set, null bool) {
	v := r.values[column]
	return v.Valid && v.String != "0" && v.String != "", !v.Valid
}

// rows reads a table, most rows at most. Columns that an older version does not
// have are null. more says that there were further rows.
func (s *Store) rows(ctx context.Context, table string, most int, wanted []string, each func(record) error) (more bool, err error) {
	if !s.Has(table) {
		return false, nil
	}
	list := make([]string, len(wanted))
	for i, c := range wanted {
		if list[i] = `NULL`; s.has[table][c] {
			list[i] = fmt.Sprintf(`substr(CAST("%s" AS TEXT), 1, %d)`, c, MaxText+1)
		}
	}
	found, err := s.db.QueryContext(ctx, `SELECT `+strings.Join(list, ", ")+` FROM "`+table+`"`)
	if err != nil {
		return false, err
	}
	defer found.Close()
	values := make([]sql.NullString, len(wanted))
	into := make([]any, len(wanted))
	for i := range values {
		into[i] = &values[i]
	}
	for n := 0; found.Next(); n++ {
		if n == most {
			return true, nil
		}
		if err := found.Scan(into...); err != nil {
			return false, err
		}
		r := record{values: make(map[string]sql.NullString, len(wanted))}
		for i, c := range wanted {
			v := values[i]
			v.String = strings.ReplaceAll(strings.ToValidUTF8(v.String, "\uFFFD"), "\x00", "\uFFFD")
			if len(v.String) > MaxText {
				v.String, r.cut = strings.ToValidUTF8(v.String[:MaxText], ""), true
			}
			r.values[c] = v
		}
		if err := each(r); err != nil {
			return false, err
		}
	}
	return false, found.Err()
}

// Time reads a time as NanoClaw 1 writes it, ISO 8601 in UTC; the zero time for
// what is none.
func Time(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1971 || t.Year() > 9000 {
		return time.Time{}
	}
	return t.UTC()
}
