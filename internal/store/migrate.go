package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

// migrationFiles are the schema's steps, NNNNN_name.sql. A step that was
// released is never edited. Each sets PRAGMA user_version to its own number,
// inside its transaction, so that a start can tell from the file's header that
// there is nothing to do.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// newestSchema is the number of the last step in a folder.
func newestSchema(files fs.FS, folder string) (int64, error) {
	names, err := fs.Glob(files, folder+"/*.sql")
	if err != nil || len(names) == 0 {
		return 0, errors.New("this program was built without its migrations")
	}
	number, _, _ := strings.Cut(path.Base(names[len(names)-1]), "_")
	return strconv.ParseInt(number, 10, 64)
}

// migrate brings the schema from version to the newest. Each step is one
// transaction: a crash leaves the store at a whole step.
func migrate(ctx context.Context, db *sql.DB, version, newest int64) error {
	if version == newest {
		return nil
	}
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the store from schema %d to %d: %w", version, newest, err)
	}
	// Write the new version into the file itself, where the next start reads it.
	_, err = db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return err
}
