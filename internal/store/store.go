package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/outbox"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// FileName is the store's file in the data folder.
const FileName = "nanoclaw.db"

// ErrNotFound is returned for a row that is not there.
var ErrNotFound = errors.New("not found")

// StateError refuses a change that does not fit the state of a row.
type StateError struct {
	What     string // such as "run r7k2m"
	Is, Want string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("%s is %s and cannot become %s", e.What, e.Is, e.Want)
}

// Options are what Open needs beside the folder.
type Options struct {
	// Now is the clock for entries that no caller dates; nil means time.Now.
	Now func() time.Time
	// Owner names this process as the holder of what it claims. No other process
	// may ever have had the same name; "" makes one.
	Owner string
	// Database is the address of a PostgreSQL database, postgres://USER@HOST/NAME; ""
	// means a file in the folder.
	Database string
	// Node names this process among several that share the Database; "" says that it
	// has the store to itself. Version is what Nodes tells of it.
	Node, Version string
	// OnLink is told why PostgreSQL cannot be reached, and nil when it can be again.
	OnLink func(error)
}

// Reader reads a store. It is all that a second process may have.
type Reader struct {
	path     string // of the file, or the address of the database without its password
	postgres bool
	db       *pool
}

// Store reads and changes a store. It is safe for concurrent use.
type Store struct {
	*Reader
	now     func() time.Time
	owner   string
	alone   bool // no other process can change this store: every other holder is dead
	lock    *instanceLock
	db      *sql.DB // of the one writing connection
	w       *writer
	onAudit atomic.Pointer[func()]
	onEntry atomic.Pointer[func([]audit.Entry)]
	onLink  func(error)
	rate    atomic.Pointer[MessageRate]
	onLost  atomic.Pointer[func(queue.Lost) chat.Outbound]

	// What only a store has that several share, see nodes.go.
	node      string
	listening *pgx.ConnConfig
	place     atomic.Pointer[func(chat.Group) Place]
	serves    atomic.Pointer[func() Served]
}

// The interfaces that others declare and this package fulfils.
var (
	_ router.Store  = (*Store)(nil)
	_ queue.Store   = (*Store)(nil)
	_ outbox.Store  = (*Store)(nil)
	_ runner.Store  = (*Store)(nil)
	_ audit.Storage = (*Store)(nil)
	_ audit.Source  = (*Reader)(nil)
)

// Open opens the store in a data folder, which it makes if need be, takes the
// folder's lock, and brings an older schema up to date. The error is a
// *LockedError if another process holds it, and has ErrCorrupt or ErrNewer in
// its chain if the file cannot be used; it is then left untouched.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	if o.Node != "" && o.Database == "" {
		return nil, errors.New("nodes.name is set and database is empty: only a PostgreSQL database can be shared")
	}
	return open(ctx, dir, o, o.Node == "")
}

// open is Open. Unless alone, other processes may have the same database open.
func open(ctx context.Context, dir string, o Options, alone bool) (s *Store, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Owner == "" {
		o.Owner = newOwner()
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	s = &Store{Reader: &Reader{path: filepath.Join(dir, FileName)}, now: o.Now, owner: o.Owner, alone: alone, node: o.Node}
	if s.onLink = o.OnLink; s.onLink == nil {
		s.onLink = func(error) {}
	}
	if s.lock, err = lockDir(dir, o.Now()); err != nil {
		return nil, err
	}
	if err := s.connectTo(ctx, o.Database); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	if s.node != "" {
		if err := s.enter(ctx, o.Version); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *Store) connectTo(ctx context.Context, database string) error {
	if database == "" {
		return s.connect(ctx)
	}
	cfg, err := parseDatabase(database)
	if err != nil {
		return err
	}
	s.path, s.postgres = nameOf(cfg), true
	return s.connectPostgres(ctx, cfg)
}

func (s *Store) connect(ctx context.Context) error {
	newest, err := newestSchema(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	if err := ensureFile(s.path); err != nil {
		return err
	}
	version, err := inspect(ctx, s.path, newest)
	if err != nil {
		return err
	}
	if s.db, err = openWriter(s.path); err != nil {
		return err
	}
	if err := migrate(ctx, s.db, version, newest); err != nil {
		return explain(s.path, err)
	}
	if s.Reader.db, err = openReaders(s.path); err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return explain(s.path, err)
	}
	s.w = startWriter(conn, s.path, s.audited, s.heard, nil)
	return nil
}

// OpenDatabaseReader is OpenReader for a store in a database, as Options has it.
func OpenDatabaseReader(ctx context.Context, database string) (*Reader, error) {
	cfg, err := parseDatabase(database)
	if err != nil {
		return nil, err
	}
	return openPostgresReader(ctx, cfg)
}

// OpenReader opens the store in a data folder for reading alone, also while a
// daemon holds it.
func OpenReader(ctx context.Context, dir string) (*Reader, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r := &Reader{path: filepath.Join(dir, FileName)}
	newest, err := newestSchema(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	version, err := inspect(ctx, r.path, newest)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no store in %s yet: nanoclaw chat or nanoclaw run makes it", dir)
	}
	if err != nil {
		return nil, err
	}
	if version != newest {
		return nil, fmt.Errorf("%w: %s has schema %d, this program reads %d: start nanoclaw run once to bring it up to date", ErrOlder, r.path, version, newest)
	}
	r.db, err = openReaders(r.path)
	return r, err
}

// Close ends reading.
func (r *Reader) Close() error { return r.db.Close() }

// OnAudit sets the function to call after each commit that added audit entries,
// such as the sequencer's Kick. It must not block.
func (s *Store) OnAudit(f func()) { s.onAudit.Store(&f) }

// OnEntries sets the function to call with the audit entries of each commit, in their
// order and as their writers gave them. It must not block: the next commit waits for it.
func (s *Store) OnEntries(f func([]audit.Entry)) { s.onEntry.Store(&f) }

func (s *Store) heard() func([]audit.Entry) {
	if f := s.onEntry.Load(); f != nil {
		return *f
	}
	return nil
}

func (s *Store) audited() {
	if f := s.onAudit.Load(); f != nil {
		(*f)()
	}
}

// Close waits for the commit at hand, closes the file and frees the folder.
// Changes that come later get ErrClosed.
func (s *Store) Close() error {
	s.w.stop()
	var errs []error
	for _, st := range s.w.stmts {
		errs = append(errs, st.Close())
	}
	errs = append(errs, s.w.conn.Close())
	return errors.Join(append(errs, s.closeFiles())...)
}

// closeFiles closes what is open. The writer's connection is the last one, so
// that SQLite folds its log into the file.
func (s *Store) closeFiles() error {
	var errs []error
	if s.Reader.db != nil {
		errs = append(errs, s.Reader.db.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(append(errs, s.lock.release())...)
}

// write runs a change and returns when it is on the disk.
func (s *Store) write(ctx context.Context, do func(context.Context, *tx) error) error {
	return s.w.write(ctx, atOnce, do)
}
