package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// CopyTo writes a copy of the store as it is now to a new file, while others read
// and write it (VACUUM INTO, sqlite.org/lang_vacuum.html). What was erased is not
// in it. The file is the caller's to remove, also after an error.
func (r *Reader) CopyTo(ctx context.Context, path string) error {
	if r.postgres {
		return fmt.Errorf("the store is in %s, which nanoclaw does not copy: use pg_dump for it", r.path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	f.Close()
	// A connection of its own: those of the pool may not even write elsewhere.
	db, err := sql.Open("sqlite", dsn(r.path, "ro", common))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return fmt.Errorf("copy the store: %w", explain(r.path, err))
	}
	f, err = os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// CheckFile reads through all of a store that nobody uses and says whether it is
// whole. It is of any schema that this program can bring up to date.
func CheckFile(ctx context.Context, dir string) error {
	newest, err := newestSchema(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, FileName)
	if _, err := inspect(ctx, path, newest); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(path, "ro&immutable=1", common, readerPragmas))
	if err != nil {
		return err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return explain(path, err)
	}
	if verdict != "ok" {
		return corrupt(path, verdict)
	}
	return nil
}

// HoldDir takes the lock of a data folder without opening the store in it, so that
// no daemon uses it until release is called. The error is a *LockedError if one
// does.
func HoldDir(dir string) (release func() error, err error) {
	l, err := lockDir(dir, time.Now())
	if err != nil {
		return nil, err
	}
	return l.release, nil
}
