package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// state is what is kept: the keys of the linked device, which are whatsmeow's matter,
// the ids of what we sent, and who wrote what came.
type state struct {
	db   *sql.DB
	keys *sqlstore.Container
}

// How long it is known that a message was ours, and who wrote one.
const (
	sentKept  = 90 * 24 * time.Hour
	heardKept = 30 * 24 * time.Hour
)

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
	for _, do := range []struct {
		what string
		args []any
	}{
		{`CREATE TABLE IF NOT EXISTS nanoclaw_sent (id TEXT PRIMARY KEY, at INTEGER NOT NULL)`, nil},
		{`CREATE TABLE IF NOT EXISTS nanoclaw_heard (chat TEXT, id TEXT, place TEXT NOT NULL, sender TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (chat, id)) WITHOUT ROWID`, nil},
		{`DELETE FROM nanoclaw_sent WHERE at < ?`, []any{time.Now().Add(-sentKept).Unix()}},
		{`DELETE FROM nanoclaw_heard WHERE at < ?`, []any{time.Now().Add(-heardKept).Unix()}},
	} {
		if _, err := db.ExecContext(ctx, do.what, do.args...); err != nil {
			db.Close()
			return nil, fmt.Errorf("the folder's database cannot be used: %w", err)
		}
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

// heard notes where a message is and who wrote it, as WhatsApp names both: a reaction
// has to say it in these very words, and the host knows people by other names.
func (s *state) heard(ctx context.Context, chat, id string, in, by types.JID) error {
	_, err := s.db.ExecContext(ctx, `INSERT OR IGNORE INTO nanoclaw_heard (chat, id, place, sender, at) VALUES (?, ?, ?, ?, ?)`,
		chat, id, in.ToNonAD().String(), by.ToNonAD().String(), time.Now().Unix())
	return err
}

// wrote gives what heard noted of a message.
func (s *state) wrote(ctx context.Context, chat, id string) (in, by types.JID, err error) {
	var place, sender string
	err = s.db.QueryRowContext(ctx, `SELECT place, sender FROM nanoclaw_heard WHERE chat = ? AND id = ?`, chat, id).Scan(&place, &sender)
	if err == nil {
		in, err = types.ParseJID(place)
	}
	if err == nil {
		by, err = types.ParseJID(sender)
	}
	return in, by, err
}
