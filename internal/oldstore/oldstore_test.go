package oldstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/beneath"
	"nanoclaw/internal/imports/importstest"
	"nanoclaw/internal/oldstore"
)

// open opens the store in dir, with folders for temporary files of the test's own.
func open(t *testing.T, dir string) (*oldstore.Store, error) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	root, _, err := beneath.Root(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s, err := oldstore.Open(context.Background(), root)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func made(t *testing.T, sql string) string {
	t.Helper()
	dir := t.TempDir()
	if err := importstest.Exec(dir, sql); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestColumnsTellTheVersion(t *testing.T) {
	for _, tt := range []struct {
		name, schema   string
		main, bot, mod bool
	}{
		{"1.0", importstest.V1, false, false, false},
		{"1.2", importstest.V12, true, true, false},
		{"fork", importstest.Fork, false, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := open(t, made(t, tt.schema+importstest.Rows))
			if err != nil {
				t.Fatal(err)
			}
			if s.HasColumn("registered_groups", "is_main") != tt.main || s.HasColumn("messages", "is_bot_message") != tt.bot || s.HasColumn("registered_groups", "execution_mode") != tt.mod {
				t.Error("the columns are others than the schema has")
			}
			groups, more, err := s.Groups(context.Background())
			if err != nil || more || len(groups) != 2 || !groups[0].Main || !groups[0].Always || groups[1].Main || groups[1].Always {
				t.Errorf("groups %+v, %v, %v", groups, more, err)
			}
			n := 0
			if _, err := s.Messages(context.Background(), func(oldstore.Message) error { n++; return nil }); err != nil || n != 5 {
				t.Errorf("%d messages, %v; want 5", n, err)
			}
		})
	}
}

// Nothing of the copy stays, and nothing appears beside the old file.
func TestLeavesNothing(t *testing.T) {
	dir := made(t, importstest.V1+importstest.Rows)
	s, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	temp := os.Getenv("TMPDIR")
	if left, err := os.ReadDir(temp); err != nil || len(left) != 1 {
		t.Fatalf("while it is open there are %v, %v", left, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the copy stays: %v, %v", left, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "store")); err != nil || len(left) != 1 {
		t.Errorf("beside the old file there are %v, %v", left, err)
	}
}

// What was written last may be in the log alone.
func TestReadsTheLog(t *testing.T) {
	dir := made(t, `PRAGMA journal_mode = WAL;`+importstest.V1)
	main, err := os.ReadFile(filepath.Join(dir, oldstore.Path))
	if err != nil {
		t.Fatal(err)
	}
	// A program that ends at once leaves its log: one that ends well leaves none.
	log := filepath.Join(dir, oldstore.Path+"-wal")
	if err := importstest.ExecUnfinished(dir, importstest.Rows, func() error {
		data, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		other := filepath.Join(dir, "cut/store")
		return errors.Join(os.MkdirAll(other, 0o755), os.WriteFile(filepath.Join(other, "messages.db"), main, 0o644), os.WriteFile(filepath.Join(other, "messages.db-wal"), data, 0o644))
	}); err != nil {
		t.Fatal(err)
	}
	s, err := open(t, filepath.Join(dir, "cut"))
	if err != nil {
		t.Fatal(err)
	}
	if groups, _, err := s.Groups(context.Background()); err != nil || len(groups) != 2 {
		t.Errorf("%d groups, %v; want the 2 of the log", len(groups), err)
	}
}

func TestHostileFiles(t *testing.T) {
	good := func(t *testing.T) string { return made(t, importstest.V1) }
	for _, tt := range []struct {
		name, want string
		make       func(t *testing.T) string
	}{
		{"none", "no such file", func(t *testing.T) string { return t.TempDir() }},
		{"no database", "cannot be read", func(t *testing.T) string {
			dir := good(t)
			write(t, filepath.Join(dir, oldstore.Path), strings.Repeat("no database ", 1000))
			return dir
		}},
		{"damaged", "", func(t *testing.T) string {
			dir := made(t, importstest.V1+importstest.Rows)
			data, err := os.ReadFile(filepath.Join(dir, oldstore.Path))
			if err != nil {
				t.Fatal(err)
			}
			for i := 5000; i < len(data); i += 100 {
				data[i] ^= 0xff
			}
			write(t, filepath.Join(dir, oldstore.Path), string(data))
			return dir
		}},
		{"a link", "too many levels", func(t *testing.T) string {
			dir := good(t)
			path := filepath.Join(dir, oldstore.Path)
			if err := errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path)); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"a folder", "regular", func(t *testing.T) string {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, oldstore.Path), 0o755); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"enormous", "larger than 2 GB", func(t *testing.T) string {
			dir := good(t)
			if err := os.Truncate(filepath.Join(dir, oldstore.Path), oldstore.MaxFile+1); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"a journal", "start and stop once", func(t *testing.T) string {
			dir := good(t)
			write(t, filepath.Join(dir, oldstore.Path+"-journal"), "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
			return dir
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := open(t, tt.make(t))
			if err == nil && tt.want == "" { // SQLite may have found nothing to refuse yet
				_, _, err = s.Groups(context.Background())
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it says %v; want %q in it", err, tt.want)
			}
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); s == nil && (err != nil || len(left) > 0) {
				t.Errorf("the copy stays: %v, %v", left, err)
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// SQL in the file is not run, however it is called: this view would never end.
func TestSQLOfTheFileIsNotRun(t *testing.T) {
	const endless = `(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)`
	s, err := open(t, made(t, `
CREATE VIEW registered_groups AS SELECT i AS jid, i AS name, i AS folder FROM `+endless+`;
CREATE VIRTUAL TABLE scheduled_tasks USING fts5(id, group_folder);
CREATE TABLE sessions (group_folder TEXT);
INSERT INTO sessions (group_folder) VALUES ('family');
ALTER TABLE sessions ADD COLUMN session_id TEXT GENERATED ALWAYS AS (abs(-9223372036854775807 - 1)) VIRTUAL;
CREATE TABLE router_state (key TEXT, value TEXT) ;
INSERT INTO router_state VALUES (x'ff00', 7);`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if groups, _, err := s.Groups(ctx); err != nil || len(groups) > 0 {
		t.Errorf("groups of a view: %v, %v", groups, err)
	}
	if tasks, _, err := s.Tasks(ctx); err != nil || len(tasks) > 0 {
		t.Errorf("tasks of a virtual table: %v, %v", tasks, err)
	}
	if got, err := s.Sessions(ctx); err != nil || got["family"] != "" {
		t.Errorf("a generated column was asked for: %v", err)
	}
	if got, err := s.State(ctx); err != nil || got["\uFFFD"] != "7" {
		t.Errorf("odd values are %q, %v", got, err)
	}
}

func TestValuesAreCut(t *testing.T) {
	s, err := open(t, made(t, importstest.V1+`INSERT INTO registered_groups (jid, name, folder, trigger_pattern, added_at) VALUES ('j', printf('%.*c', 10000000, 'x'), 'f', '', '');`))
	if err != nil {
		t.Fatal(err)
	}
	groups, _, err := s.Groups(context.Background())
	if err != nil || len(groups) != 1 || !groups[0].Cut || len(groups[0].Name) != oldstore.MaxText {
		t.Errorf("%d groups, %v; want one that is cut", len(groups), err)
	}
}
