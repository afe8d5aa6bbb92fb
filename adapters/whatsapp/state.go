package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.mau.fi/whatsmeow/store/sqlstore"
	waLog "go.mau.fi/whatsmeow/util/log"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// state is what is kept: the keys of the linked device, which are whatsmeow's matter,
// and the ids of what we sent.
type state struct {
	db   *sql.DB
	keys *sqlstore.Container
}

// sentKept is how long it is known that a message was ours.
const sentKept = 90 * 24 * time.Hour

func openState(ctx context.Context, path string) (*state, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &state{db: db, keys: sqlstore.NewWithDB(db, "sqlite3", waLog.Noop)}
	if err := s.keys.Upgrade(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("the folder's database cannot be used: %w", err)
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS nanoclaw_sent (id TEXT PRIMARY KEY, at INTEGER NOT NULL)`)
	if err == nil {
		_, err = db.ExecContext(ctx, `DELETE FROM nanoclaw_sent WHERE at < ?`, time.Now().Add(-sentKept).Unix())
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("the folder's database cannot be used: %w", err)
	}
	return s, nil
}

func (s *state) close() { s.keys.Close() }

// sending writes down an id before it is used.
func (s *state) sending(ctx context.Context, id string) error {
	_, err := s.db.ExecContext(ctx, `INSERT OR IGNORE INTO nanoclaw_sent (id, at) VALUES (?, ?)`, id, time.Now().Unix())
	return err
}

// ours says whether an id was written down. What cannot be looked up counts as ours:
// rather a message unheard than the assistant answering itself.
func (s *state) ours(id string) bool {
	var one int
	err := s.db.QueryRow(`SELECT 1 FROM nanoclaw_sent WHERE id = ?`, id).Scan(&one)
	return !errors.Is(err, sql.ErrNoRows)
}
