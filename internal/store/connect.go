package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// pragma is one setting of a connection, in the order in which they are made.
type pragma struct{ name, value string }

// common settings of writer and readers.
var common = []pragma{
	// First, so that every later statement waits for a lock instead of failing.
	// Readers meet a lock only while a crashed process's log is recovered, and
	// the writer only a backup tool: 5 s is far beyond both.
	{"busy_timeout", "5000"},
	// SQL inside the file (views, triggers, defaults) may not call functions with
	// effects: the file is not trusted more than it must be.
	{"trusted_schema", "OFF"},
	// Sorting and temporary tables stay in memory, so that no words land in a
	// folder for temporary files.
	{"temp_store", "MEMORY"},
	{"foreign_keys", "ON"},
}

// writerPragmas are for the one connection that writes.
var writerPragmas = []pragma{
	// Readers never wait for the writer, nor it for them.
	{"journal_mode", "WAL"},
	// FULL, not the usual NORMAL: in WAL mode NORMAL does not sync at commit, so a
	// loss of power takes back the last transactions. A message is acknowledged to
	// its network once Accept returns and will not be delivered to us again, so
	// it must be on the disk by then (I8). Commits that wait at the same time
	// share one sync, see writer.go.
	{"synchronous", "FULL"},
	// Overwrite what is erased with zeros, so that erased words do not stay
	// readable in free pages of the file.
	{"secure_delete", "ON"},
	// A burst may grow the log file; give the space back afterwards (bytes).
	{"journal_size_limit", "8388608"},
	// 4 MB of pages: the work at hand touches the ends of tables and small indexes.
	{"cache_size", "-4000"},
}

// readerPragmas are for the pool that reads.
var readerPragmas = []pragma{
	// A second line behind the code: this pool cannot write.
	{"query_only", "ON"},
	// 1 MB each: memory at rest counts, and the operating system caches the file.
	{"cache_size", "-1000"},
}

// maxReaders bounds the pool, and idleReaders is how many of it stay open while we rest:
// each connection holds its own copy of the schema and its own cache, and to open one
// and parse its statements takes longer than most reads.
const (
	maxReaders  = 4
	idleReaders = 2
)

// dsn names the file with its settings; mode is SQLite's own, and may carry
// further parameters of its URI form.
func dsn(path, mode string, sets ...[]pragma) string {
	q := url.Values{}
	for _, set := range sets {
		for _, p := range set {
			q.Add("_pragma", p.name+"("+p.value+")")
		}
	}
	// A name in double quotes that is no column is a mistake, not a text.
	q.Set("_dqs", "0")
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode() + "&mode=" + mode}
	return u.String()
}

// openWriter gives a pool of exactly one connection. It never creates the file:
// the caller made it with the right permissions.
func openWriter(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "rw", common, writerPragmas))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func openReaders(path string) (*pool, error) {
	db, err := sql.Open("sqlite", dsn(path, "ro", common, readerPragmas))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxReaders)
	db.SetMaxIdleConns(maxReaders)
	return newPool(db, false), nil
}

// Rest closes connections that nobody needs in a quiet time.
func (r *Reader) Rest() {
	r.db.SetMaxIdleConns(idleReaders)
	r.db.SetMaxIdleConns(maxReaders)
}

// ErrCorrupt is in the chain of errors about a damaged store.
var ErrCorrupt = errors.New("the store is damaged")

// explain puts words to the few database errors that an owner can act on.
func explain(path string, err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return explainPostgres(path, err)
	}
	switch se.Code() & 0xff { // the low byte is the primary code
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %s: %w: stop nanoclaw and put a backup in its place, or move the file away to start afresh", ErrCorrupt, path, err)
	case sqlite3.SQLITE_FULL:
		return &passing{fmt.Errorf("no space left for %s: free some and try again: %w", path, err)}
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR:
		return &passing{err}
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("cannot use %s: check that its folder belongs to you and can be written: %w", path, err)
	}
	return err
}

// passing is an error that may be over soon, such as a full disk or another
// program that holds the file: the very same change may work then. Its method is
// what callers look for.
type passing struct{ error }

func (p *passing) Temporary() bool { return true }
func (p *passing) Unwrap() error   { return p.error }

// querier is what reading needs; a pool, a connection and a tx have it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each runs a query and calls scan for every row.
func each(ctx context.Context, q querier, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// marks gives n question marks for an IN list.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }
