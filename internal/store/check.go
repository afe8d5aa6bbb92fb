package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	magic = "SQLite format 3\x00"
	// applicationID marks the file as ours, "nclw"; see the first migration.
	applicationID = 0x6e636c77
	// checkedSize is up to which size a store that was not closed properly is
	// read through at start (about 5 ms for each MB).
	checkedSize = 16 << 20
)

// ErrNewer is in the chain of the error about a store that a newer nanoclaw
// has made.
var ErrNewer = errors.New("the store was made by a newer nanoclaw")

// ErrOlder is in the chain of the error about a store that must be brought up to
// date before it can be read.
var ErrOlder = errors.New("the store was made by an older nanoclaw")

// ensureFile makes an empty file with the right permissions, or checks those of
// the one that is there. SQLite gives its side files the same ones.
func ensureFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the store: %w", err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("look at the store: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: move it away", path)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be used by others (mode %04o): run chmod 600 %s", path, fi.Mode().Perm(), path)
	}
	return nil
}

// inspect looks at an existing store without writing to it, so that a damaged,
// foreign or newer one is left as it is. It gives the schema's version, 0 for an
// empty store.
func inspect(ctx context.Context, path string, newest int64) (int64, error) {
	size, err := checkHeader(path, newest)
	if err != nil || size == 0 {
		return 0, err
	}
	// The header may be older than the log beside it; read through both now.
	// Without a log nobody has the file open for writing, and "immutable" keeps
	// SQLite from making side files.
	mode := "ro"
	if !crashed(path) {
		mode = "ro&immutable=1"
	}
	db, err := sql.Open("sqlite", dsn(path, mode, common, readerPragmas))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var app, version, tables int64
	row := db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%')`)
	if err := row.Scan(&app, &version, &tables); err != nil {
		return 0, explain(path, err)
	}
	if err := known(path, app, version, tables == 0, newest); err != nil {
		return 0, err
	}
	if crashed(path) && size <= checkedSize {
		var verdict string
		if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
			return 0, explain(path, err)
		}
		if verdict != "ok" {
			return 0, corrupt(path, verdict)
		}
	}
	return version, nil
}

// checkHeader reads the file's first page header itself (sqlite.org/fileformat2,
// section 1.3), before SQLite touches anything. It gives the file's size.
func checkHeader(path string, newest int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open the store: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return 0, err
	}
	var h [100]byte
	if _, err := io.ReadFull(f, h[:]); err != nil || string(h[:16]) != magic {
		return 0, corrupt(path, "it does not begin like an SQLite file")
	}
	page := int64(binary.BigEndian.Uint16(h[16:]))
	if page == 1 {
		page = 65536
	}
	if page < 512 || page&(page-1) != 0 {
		return 0, corrupt(path, "its page size is impossible")
	}
	// With a log beside it the file may still be shorter than its header says.
	if pages := int64(binary.BigEndian.Uint32(h[28:])); !crashed(path) && fi.Size() < pages*page {
		return 0, corrupt(path, fmt.Sprintf("it is cut off: %d of %d bytes", fi.Size(), pages*page))
	}
	version := int64(int32(binary.BigEndian.Uint32(h[60:])))
	app := int64(binary.BigEndian.Uint32(h[68:]))
	return fi.Size(), known(path, app, version, app == 0 && version == 0, newest)
}

// known refuses a file that is not ours or newer than this program.
func known(path string, app, version int64, empty bool, newest int64) error {
	switch {
	case app == 0 && version == 0 && empty:
		return nil // made, but not filled, by a start that did not get further
	case app != applicationID:
		return fmt.Errorf("%s is an SQLite file of another program: move it away, or choose another data folder", path)
	case version > newest:
		return fmt.Errorf("%w: %s has schema %d, this program knows %d: install the newer nanoclaw again", ErrNewer, path, version, newest)
	}
	return nil
}

// crashed reports whether the last process left its log behind, which a clean
// close removes.
func crashed(path string) bool {
	fi, err := os.Stat(path + "-wal")
	return err == nil && fi.Size() > 0
}

func corrupt(path, what string) error {
	return fmt.Errorf("%w: %s: %s: nothing was changed; put a backup in its place, or move the file away to start afresh", ErrCorrupt, path, what)
}
