package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"nanoclaw/internal/audit"
)

// maxShared is how many changes may share one commit.
const maxShared = 128

// ErrClosed is returned by changes after Close.
var ErrClosed = errors.New("the store is closed")

// tx is the transaction that a change sees.
type tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // prepared once for the life of the connection
	// audited is set when an audit entry was added.
	audited bool
	// entries are those that were added, if keep says that somebody wants to hear them.
	entries []audit.Entry
	keep    bool
}

func (t *tx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := t.stmts[query]; st != nil {
		return st, nil
	}
	st, err := t.conn.PrepareContext(ctx, query)
	if err == nil {
		t.stmts[query] = st
	}
	return st, err
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	st, err := t.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, args...)
}

// QueryContext makes tx a querier.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := t.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// row reads one row into dest; sql.ErrNoRows if there is none.
func (t *tx) row(ctx context.Context, dest []any, query string, args ...any) error {
	st, err := t.prepare(ctx, query)
	if err != nil {
		return err
	}
	return st.QueryRowContext(ctx, args...).Scan(dest...)
}

// when is by when a change has to be on the disk.
type when int

const (
	// atOnce: before its caller hears of it. All that something outside this store rests
	// on, or will, is such a change.
	atOnce when = iota
	// withNext: with the next change that has to be there at once, and never without one
	// that came before. The caller hears of it as soon as others would see it: should
	// this process end, it was kept; should the machine, it may not have been, and then
	// nothing that came later was. That is for a change which nothing outside rests on
	// until a later one is on the disk.
	withNext
)

// change is one caller's piece of work.
type change struct {
	ctx  context.Context
	by   when
	do   func(context.Context, *tx) error
	err  error
	done chan struct{}
}

// writer owns the one connection that writes. Changes that arrive while a commit
// waits for the disk share the next one: each runs behind a savepoint of its
// own, so that a failed one takes nothing of the others with it, and each caller
// hears of success only after the common commit is on the disk. So the number of
// durable changes a second is not bound to the number of syncs.
type writer struct {
	path    string
	link    *link // nil for SQLite, which is always there
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	changes chan *change
	// kept is one that was taken from changes and could not share a commit.
	kept *change
	// synced says that a commit of SQLite's returns when it is on the disk, as it does
	// on a new connection.
	synced  bool
	audited func() // called after a commit that added audit entries
	// heard gives who is told of the entries themselves after it, nil for nobody.
	heard func() func([]audit.Entry)

	quit chan struct{} // closed by stop: no more changes
	done chan struct{} // closed by loop at its end
	once sync.Once
}

func startWriter(conn *sql.Conn, path string, audited func(), heard func() func([]audit.Entry), l *link) *writer {
	w := &writer{
		path: path, link: l, conn: conn, stmts: map[string]*sql.Stmt{}, audited: audited, heard: heard, synced: true,
		changes: make(chan *change), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go w.loop()
	return w
}

// write runs a change and returns once it is kept, as by asks, or has failed. The
// change itself is not cancelled in the middle: SQLite would roll back the whole
// transaction, which others share. It is short, and it sees no network.
func (w *writer) write(ctx context.Context, by when, do func(context.Context, *tx) error) error {
	c := &change{ctx: ctx, by: by, do: do, done: make(chan struct{})}
	select {
	case w.changes <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.quit:
		return ErrClosed
	}
	<-c.done
	return explain(w.path, c.err)
}

// stop ends the loop after the commit at hand.
func (w *writer) stop() {
	w.once.Do(func() { close(w.quit) })
	<-w.done
}

func (w *writer) loop() {
	defer close(w.done)
	for {
		select {
		case <-w.quit:
			return
		case c := <-w.changes:
			w.commit(c)
		}
		for w.kept != nil {
			c := w.kept
			w.kept = nil
			w.commit(c)
		}
	}
}

// commit runs c and whatever else waits in one transaction. If the connection to
// PostgreSQL is lost, it runs them again on a new one, unless they were kept.
func (w *writer) commit(c *change) {
	batch := []*change{c}
	defer func() {
		for _, c := range batch {
			close(c.done)
		}
	}()
	ctx := context.Background()
	more, a, err := w.attempt(ctx, batch, func() *change { return w.next(c.by) })
	batch = more
	for end := time.Now().Add(patience); err != nil && w.link != nil && disconnected(err) && time.Now().Before(end); {
		var kept bool
		if kept, err = w.restore(end, a.asked, err); err != nil || kept {
			break
		}
		_, a, err = w.attempt(ctx, batch, func() *change { return nil })
	}
	if err != nil {
		w.fail(ctx, batch, err)
		return
	}
	if a.audited {
		w.audited()
	}
	if hear := w.heard(); hear != nil && len(a.entries) > 0 {
		hear(a.entries)
	}
}

// attempt is how far an attempt to commit came.
type attempt struct {
	asked   bool // the engine was asked to commit
	audited bool
	entries []audit.Entry
}

// attempt runs a batch, and what next has to add, in one transaction.
func (w *writer) attempt(ctx context.Context, batch []*change, next func() *change) ([]*change, attempt, error) {
	t := &tx{conn: w.conn, stmts: w.stmts, keep: w.heard() != nil}
	if err := w.begin(ctx, t, batch[0].by); err != nil {
		return batch, attempt{}, fmt.Errorf("begin: %w", err)
	}
	for i := 0; i < len(batch); i++ {
		if err := w.apply(ctx, t, batch[i]); err != nil {
			return batch, attempt{}, err
		}
		if i+1 < len(batch) || i+1 == maxShared {
			continue
		}
		if c := next(); c != nil {
			batch = append(batch, c)
		}
	}
	_, err := t.exec(ctx, `COMMIT`)
	return batch, attempt{asked: true, audited: t.audited, entries: t.entries}, err
}

// begin opens a transaction. PostgreSQL is always waited for: its server may end
// while we go on, and take along what it did not keep.
func (w *writer) begin(ctx context.Context, t *tx, by when) error {
	if w.link != nil {
		return w.link.begin(ctx, t)
	}
	if err := w.sync(ctx, by == atOnce); err != nil {
		return err
	}
	// The lock is taken at once: a transaction that begins by reading could find
	// at its first write that it is too late (SQLITE_BUSY_SNAPSHOT).
	_, err := t.exec(ctx, `BEGIN IMMEDIATE`)
	return err
}

// sync says whether the next commit waits for the disk. Either way it is whole or not
// there after a loss of power, and those that waited take those before them along:
// there is one log, in their order (https://sqlite.org/pragma.html#pragma_synchronous).
func (w *writer) sync(ctx context.Context, on bool) error {
	if w.synced == on {
		return nil
	}
	level := "NORMAL"
	if on {
		level = "FULL"
	}
	// Not a prepared statement: SQLite obeys some pragmas when they are prepared.
	_, err := w.conn.ExecContext(ctx, `PRAGMA synchronous = `+level)
	if err == nil {
		w.synced = on
	}
	return err
}

// restore waits for the server until end or until the store is closed, and says
// whether the transaction was kept.
func (w *writer) restore(end time.Time, asked bool, lost error) (kept bool, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	go func() {
		select {
		case <-w.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = w.conn.Close() // it is lost; the pool makes a new one
	conn, kept, err := w.link.restore(ctx, asked, lost)
	if err == nil {
		w.conn, w.stmts = conn, map[string]*sql.Stmt{}
	}
	return kept, err
}

// next takes a change that already waits and may share a commit with one that has to
// be on the disk by a time.
func (w *writer) next(by when) *change {
	select {
	case c := <-w.changes:
		if by == withNext && c.by == atOnce {
			w.kept = c
			return nil
		}
		return c
	default:
		return nil
	}
}

// apply runs one change behind a savepoint. Its own failure stays its own; an
// error returned here has broken the whole transaction.
func (w *writer) apply(ctx context.Context, t *tx, c *change) error {
	if c.err = c.ctx.Err(); c.err != nil {
		return nil
	}
	if _, err := t.exec(ctx, `SAVEPOINT change`); err != nil {
		return err
	}
	audited, entries := t.audited, len(t.entries)
	if c.err = c.do(context.WithoutCancel(c.ctx), t); c.err != nil {
		t.audited, t.entries = audited, t.entries[:entries]
		if _, err := t.exec(ctx, `ROLLBACK TO change`); err != nil {
			return fmt.Errorf("%w (after: %w)", err, c.err)
		}
	}
	_, err := t.exec(ctx, `RELEASE change`)
	return err
}

// fail tells all of a batch that nothing of it was kept.
func (w *writer) fail(ctx context.Context, batch []*change, err error) {
	// SQLite has already rolled back after some errors; then this one says so,
	// and there is nothing to do about it.
	_, _ = w.conn.ExecContext(ctx, `ROLLBACK`)
	for _, c := range batch {
		if c.err == nil {
			c.err = fmt.Errorf("commit: %w", err)
		}
	}
}
