package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// postgresFiles are the schema's steps on PostgreSQL. They bear the numbers of the
// SQLite store's, and a step leaves the same tables and columns there as here.
//
//go:embed migrations/postgres/*.sql
var postgresFiles embed.FS

// The advisory locks of a store (postgresql.org/docs, 13.3.5): these numbers, with a
// second one made of the schema that it lies in. Every
// transaction that writes takes writing first, whichever process it is of. So the
// writers of all nodes are in one row, as those of one SQLite file are: a change
// sees all that was committed before it, and ids grow in the order of commits. The
// lock goes with the transaction, and is given back after its rows can be seen.
const (
	writing   = 0x6e636c77 // "nclw"
	migrating = writing + 1
	// hosting is held by the session of the one process that has a store to itself, as
	// the lock of a data folder is, and by those of all nodes together where several
	// share one. It goes with the session; a process that lost its session and finds
	// the lock taken changes nothing any more.
	hosting = writing + 2
)

// Settings of the connections (runtime parameters of PostgreSQL's manual).
var (
	pgCommon = map[string]string{
		"application_name": "nanoclaw",
		// A statement that cannot end does not hold the others for ever.
		"statement_timeout": "60s",
	}
	pgWriter = map[string]string{
		// What we call stored is on the disk (I8), whatever the server's own setting is.
		"synchronous_commit": "on",
		// A node that freezes within a transaction holds the lock of all writers. The
		// server ends its session then: it has changed nothing, and finds that out.
		"idle_in_transaction_session_timeout": "5s",
		// And that of one whose machine is gone, in about as long.
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
	}
	pgReader = map[string]string{"default_transaction_read_only": "on"}
)

// minServer is the oldest version that its makers looked after when this was made.
const minServer = 140000

// parseDatabase reads a postgres:// address. What it says of a mistake has no
// password in it.
func parseDatabase(database string) (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(database, "postgres://") && !strings.HasPrefix(database, "postgresql://") {
		return nil, errors.New("the database must be given as postgres://USER@HOST/NAME, or left out for a file in the data folder")
	}
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		return nil, fmt.Errorf("the address of the database: %w", err) // pgx leaves the password out
	}
	cfg.StatementCacheCapacity = 128
	return cfg, nil
}

// nameOf is how a database is called in words: without its password.
func nameOf(cfg *pgx.ConnConfig) string {
	return fmt.Sprintf("postgres://%s@%s/%s", cfg.User, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), cfg.Database)
}

// DatabaseName gives the address of a database without its password.
func DatabaseName(database string) string {
	cfg, err := parseDatabase(database)
	if err != nil {
		return "postgres://(not an address)"
	}
	return nameOf(cfg)
}

func openPostgres(cfg *pgx.ConnConfig, d dialect, sets ...map[string]string) *sql.DB {
	cfg = cfg.Copy()
	for _, set := range sets {
		for name, value := range set {
			cfg.RuntimeParams[name] = value
		}
	}
	d.Connector = stdlib.GetConnector(*cfg)
	return sql.OpenDB(d)
}

// connectPostgres is connect for a store on PostgreSQL.
func (s *Store) connectPostgres(ctx context.Context, cfg *pgx.ConnConfig) error {
	newest, err := newestSchema(postgresFiles, postgresFolder)
	if err != nil {
		return err
	}
	s.db = openPostgres(cfg, dialect{}, pgCommon, pgWriter)
	s.db.SetMaxOpenConns(1)
	version, err := schemaOfPostgres(ctx, s.db)
	if err == nil && version != newest {
		err = migratePostgres(ctx, cfg, newest)
	}
	if err != nil {
		return explain(s.path, err)
	}
	s.Reader.db = newPool(openPostgres(cfg, dialect{rerun: true, patience: patience}, pgCommon, pgReader), true)
	s.Reader.db.SetMaxOpenConns(maxReaders)
	s.Reader.db.SetMaxIdleConns(maxReaders)
	l := &link{db: s.db, path: s.path, alone: s.alone, node: s.node, name: newOwner(), tell: s.onLink}
	if s.node != "" {
		l.name = "node " + s.node // one row for all processes that ever bear the name
	}
	conn, _, err := l.try(ctx)
	if err != nil {
		return explain(s.path, err)
	}
	s.w = startWriter(conn, s.path, s.audited, s.heard, l)
	s.listening = cfg
	return nil
}

// openPostgresReader is OpenReader for a store on PostgreSQL.
func openPostgresReader(ctx context.Context, cfg *pgx.ConnConfig) (*Reader, error) {
	r := &Reader{path: nameOf(cfg), postgres: true}
	newest, err := newestSchema(postgresFiles, postgresFolder)
	if err != nil {
		return nil, err
	}
	r.db = newPool(openPostgres(cfg, dialect{}, pgCommon, pgReader), true)
	r.db.SetMaxOpenConns(maxReaders)
	version, err := schemaOfPostgres(ctx, r.db)
	if err == nil && version == 0 {
		err = fmt.Errorf("there is no store in %s yet: nanoclaw run makes it", r.path)
	}
	if err == nil && version > newest {
		err = newerPostgres(r.path, version, newest)
	}
	if err == nil && version < newest {
		err = fmt.Errorf("%w: %s has schema %d, this program reads %d: start nanoclaw run once to bring it up to date", ErrOlder, r.path, version, newest)
	}
	if err != nil {
		return nil, errors.Join(explain(r.path, err), r.db.Close())
	}
	return r, nil
}

func newerPostgres(name string, version, newest int64) error {
	return fmt.Errorf("%w: %s has schema %d, this program knows %d: install the newer nanoclaw again", ErrNewer, name, version, newest)
}

const postgresFolder = "migrations/postgres"

// schemaOfPostgres gives the number of a database's schema, 0 for one with no
// tables. It refuses a database of another program.
func schemaOfPostgres(ctx context.Context, q querier) (version int64, err error) {
	var tables, ours int
	err = each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&tables, &ours) },
		`SELECT count(*), count(*) FILTER (WHERE table_name = 'goose_db_version') FROM information_schema.tables WHERE table_schema = current_schema()`)
	if err != nil || tables == 0 {
		return 0, err
	}
	if ours == 0 {
		return 0, errors.New("the database has tables of another program: give nanoclaw one of its own")
	}
	err = each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&version) },
		`SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`)
	return version, err
}

// migratePostgres brings the schema up to date. Only one process does so at a time.
func migratePostgres(ctx context.Context, cfg *pgx.ConnConfig, newest int64) (err error) {
	db := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := usable(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1, hashtext(current_schema()))`, migrating); err != nil {
		return err
	}
	// Ending the session gives it back.
	version, err := schemaOfPostgres(ctx, conn)
	if err != nil || version == newest {
		return err
	}
	if version > newest {
		return newerPostgres(nameOf(cfg), version, newest)
	}
	files, err := fs.Sub(postgresFiles, postgresFolder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the store from schema %d to %d: %w", version, newest, err)
	}
	return nil
}

// usable refuses a server that cannot keep a store.
func usable(ctx context.Context, conn *sql.Conn) error {
	var version int
	var encoding string
	err := conn.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding')`).Scan(&version, &encoding)
	if err != nil {
		return err
	}
	if version < minServer {
		return fmt.Errorf("PostgreSQL %d is too old: nanoclaw needs %d or newer", version/10000, minServer/10000)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database keeps text as %s: make one with ENCODING 'UTF8'", encoding)
	}
	return nil
}

// explainPostgres puts words to the errors that an owner can act on.
func explainPostgres(path string, err error) error {
	var pg *pgconn.PgError
	switch {
	case disconnected(err):
		return fmt.Errorf("PostgreSQL cannot be reached at %s: %w", path, err)
	case !errors.As(err, &pg):
		return err
	case strings.HasPrefix(pg.Code, "28"):
		return fmt.Errorf("PostgreSQL does not let us into %s: check user and password: %w", path, err)
	case pg.Code == "3D000":
		return fmt.Errorf("there is no such database: %s: make it with createdb, owned by that user: %w", path, err)
	case pg.Code == "53100":
		return fmt.Errorf("no space left for %s: free some and try again: %w", path, err)
	case pg.Code == "25006":
		return fmt.Errorf("%s cannot be written, it is a standby or set to read only: %w", path, err)
	}
	return err
}

// patience is how long a change waits for a server that went away, and pause how
// long between two attempts to reach it.
const (
	patience = 60 * time.Second
	pause    = 250 * time.Millisecond
)

// link is the writer's way to PostgreSQL.
type link struct {
	db    *sql.DB
	path  string
	alone bool   // take hosting
	node  string // of the process, where several share the store
	name  string // of this link in the table of marks
	mark  string // of the transaction at hand
	tell  func(error)
}

// begin opens a transaction behind those of all other nodes, and leaves a mark in it
// by which it is known again.
func (l *link) begin(ctx context.Context, t *tx) error {
	l.mark = rand.Text()
	// Each statement sees what was committed before it: the snapshot of a whole
	// transaction would be older than the lock.
	if _, err := t.exec(ctx, `BEGIN ISOLATION LEVEL READ COMMITTED`); err != nil {
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO marks (link, mark) SELECT ?, ? FROM pg_advisory_xact_lock(?, hashtext(current_schema()))
		ON CONFLICT (link) DO UPDATE SET mark = excluded.mark`, l.name, l.mark, writing)
	return err
}

// errUnknown is the end of a change of which nobody can say any more whether it
// was kept.
var errUnknown = errors.New("the connection was lost during the commit, and whether it was kept could not be asked")

// restore makes a new connection after one was lost, and says whether the
// transaction at hand was kept, if its commit was asked for.
func (l *link) restore(ctx context.Context, asked bool, lost error) (conn *sql.Conn, kept bool, err error) {
	l.tell(lost)
	for {
		conn, kept, err = l.try(ctx)
		if err == nil {
			l.tell(nil)
			return conn, kept && asked, nil
		}
		if !disconnected(err) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			continue
		}
		break
	}
	if asked {
		err = fmt.Errorf("%w: %w", errUnknown, err)
	}
	return nil, false, err
}

// try makes a connection, and says whether the transaction with our mark was kept.
// It takes the lock of writers for that: while the lost connection's transaction goes
// on, it has the lock. The number of the transaction would not do instead of a mark,
// since a crash of the server can give it to another.
func (l *link) try(ctx context.Context) (conn *sql.Conn, kept bool, err error) {
	if conn, err = l.db.Conn(ctx); err != nil {
		return nil, false, err
	}
	if err = l.host(ctx, conn); err == nil {
		kept, err = l.kept(ctx, conn)
	}
	if err != nil {
		return nil, false, errors.Join(err, conn.Close())
	}
	return conn, kept, nil
}

func (l *link) kept(ctx context.Context, conn *sql.Conn) (kept bool, err error) {
	t, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	if _, err = t.ExecContext(ctx, `SELECT pg_advisory_xact_lock(?, hashtext(current_schema()))`, writing); err == nil {
		err = t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM marks WHERE link = ? AND mark = ?)`, l.name, l.mark).Scan(&kept)
	}
	if err == nil && l.alone {
		_, err = t.ExecContext(ctx, `DELETE FROM marks WHERE link <> ?`, l.name) // of processes that ended
	}
	if err != nil {
		return false, errors.Join(err, t.Rollback())
	}
	return kept, t.Commit()
}

// host takes the locks by which processes keep out of each other's way: one that has
// the store to itself shuts all others out, and a node those of its own name. It waits
// for a session whose process has just died.
func (l *link) host(ctx context.Context, conn *sql.Conn) error {
	if l.node != "" {
		err := l.hold(ctx, conn, `SELECT pg_advisory_lock_shared(?, hashtext(current_schema()))`, hosting)
		if err != nil {
			return err
		}
		err = l.hold(ctx, conn, `SELECT pg_advisory_lock(hashtextextended(current_schema() || '/' || ?, ?))`, l.node, hosting)
		var locked *LockedError
		if errors.As(err, &locked) {
			return fmt.Errorf("a node with the name %q runs on %s already: give this one another nodes.name", l.node, l.path)
		}
		return err
	}
	if !l.alone {
		return nil
	}
	return l.hold(ctx, conn, `SELECT pg_advisory_lock(?, hashtext(current_schema()))`, hosting)
}

// hold takes one lock for the life of the session.
func (l *link) hold(ctx context.Context, conn *sql.Conn, lock string, args ...any) error {
	if _, err := conn.ExecContext(ctx, `SET lock_timeout = '3s'`); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, lock, args...); err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "55P03" { // lock_not_available
			return &LockedError{Dir: l.path}
		}
		return err
	}
	_, err := conn.ExecContext(ctx, `SET lock_timeout = 0`)
	return err
}
