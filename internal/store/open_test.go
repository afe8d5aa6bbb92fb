package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
)

// snapshot reads every file of a folder but the lock.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == LockFile {
			return err
		}
		b, err := os.ReadFile(path)
		files[d.Name()] = string(b)
		return err
	})
	check(t, err)
	return files
}

// sample makes a folder with a store that was closed properly.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s := openTest(t, dir)
	for i := range 50 {
		accept(t, s, "main", fmt.Sprint(i), router.Run)
	}
	check(t, s.Close())
	return dir
}

// patch changes bytes of the store's file.
func patch(t *testing.T, dir string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, FileName), os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteAt(b, at)
	check(t, errors.Join(err, f.Close()))
}

func TestUnusableFilesAreLeftAlone(t *testing.T) {
	version := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		is    error
		says  string
	}{
		{"not SQLite", func(t *testing.T, dir string) { patch(t, dir, 0, []byte("hello, I am text")) }, ErrCorrupt, "does not begin like"},
		{"shorter than a header", func(t *testing.T, dir string) { check(t, os.Truncate(filepath.Join(dir, FileName), 50)) }, ErrCorrupt, "does not begin like"},
		{"cut off", func(t *testing.T, dir string) { check(t, os.Truncate(filepath.Join(dir, FileName), 3*4096+7)) }, ErrCorrupt, "cut off"},
		{"impossible page size", func(t *testing.T, dir string) { patch(t, dir, 16, []byte{0x0f, 0xff}) }, ErrCorrupt, "page size"},
		{"schema destroyed", func(t *testing.T, dir string) { patch(t, dir, 100, make([]byte, 3000)) }, ErrCorrupt, "put a backup in its place"},
		{"newer", func(t *testing.T, dir string) { patch(t, dir, 60, version(99)) }, ErrNewer, "schema 99"},
		{"of another program", func(t *testing.T, dir string) { patch(t, dir, 68, version(7)) }, nil, "another program"},
		{"a folder", func(t *testing.T, dir string) {
			check(t, errors.Join(os.Remove(filepath.Join(dir, FileName)), os.Mkdir(filepath.Join(dir, FileName), 0o700)))
		}, nil, "not a regular file"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			dir := sample(t)
			tc.spoil(t, dir)
			before := snapshot(t, dir)
			s, err := Open(t.Context(), dir, Options{})
			if err == nil {
				check(t, s.Close())
				t.Fatal("it was opened")
			}
			if tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Error("files were changed")
			}
			// The folder is free again.
			if _, err := Open(t.Context(), dir, Options{}); errors.As(err, new(*LockedError)) {
				t.Error("the refusal kept the lock")
			}
		})
	}
}

// A store that another version left with its log beside it: the newer schema is
// seen in the log, and neither file is touched.
func TestNewerSchemaInTheLog(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	check(t, s.write(t.Context(), func(ctx context.Context, tx *tx) error {
		_, err := tx.exec(ctx, `PRAGMA user_version = 99`)
		return err
	}))
	crash := t.TempDir() // as the files lie at a crash
	for _, name := range []string{FileName, FileName + "-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(crash, name), b, 0o600))
	}
	before := snapshot(t, crash)
	if _, err := Open(t.Context(), crash, Options{}); !errors.Is(err, ErrNewer) {
		t.Fatalf("got %v", err)
	}
	after := snapshot(t, crash)
	for name, b := range before {
		if after[name] != b {
			t.Errorf("%s was changed", name)
		}
	}
}

// Damage in the middle after a crash is found before anything is written.
func TestDamageAfterACrash(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	for i := range 200 {
		accept(t, s, "main", fmt.Sprint(i), router.Run)
	}
	check(t, s.Close())
	s = openTest(t, dir)
	accept(t, s, "main", "last", router.Run)
	crash := t.TempDir()
	for _, name := range []string{FileName, FileName + "-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(crash, name), b, 0o600))
	}
	root := one[int64](t, s, `SELECT rootpage FROM sqlite_schema WHERE name = 'audit_run'`)
	patch(t, crash, (root-1)*4096, []byte("no page at all"))
	if _, err := Open(t.Context(), crash, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	dir := sample(t)
	r, err := readerAs(t, dir)
	check(t, err)
	check(t, r.Check(t.Context()))
	var root int64
	check(t, r.db.QueryRowContext(t.Context(), `SELECT rootpage FROM sqlite_schema WHERE name = 'inbox'`).Scan(&root))
	check(t, r.Close())
	patch(t, dir, (root-1)*4096, []byte("no page at all"))
	r, err = readerAs(t, dir)
	check(t, err)
	defer r.Close()
	if err := r.Check(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestEmptyFileIsANewStore(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, FileName), nil, 0o600))
	accept(t, openTest(t, dir), "main", "m", router.Run)
}

func TestReaderBesideAWriter(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	nothingIn(t, dir)
	if _, err := readerAs(t, dir); err == nil || !strings.Contains(err.Error(), "no store") {
		t.Errorf("without a store: %v", err)
	}
	s := openTest(t, dir)
	accept(t, s, "main", "1", router.Run)
	r, err := readerAs(t, dir)
	check(t, err)
	defer r.Close()
	accept(t, s, "main", "2", router.Run)
	if st, err := r.Status(ctx); err != nil || st.Waiting != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := r.db.ExecContext(ctx, `DELETE FROM inbox`); err == nil {
		t.Error("the reader can write")
	}
	check(t, s.Close())
	if st, err := r.Status(ctx); err != nil || st.Waiting != 2 {
		t.Errorf("after the writer: %+v, %v", st, err)
	}
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{})
	check(t, err)
	accept(t, s, "main", "m", router.Run)
	check(t, s.Close())
	if err := s.Record(t.Context(), audit.Entry{Kind: audit.HostStopped}); !errors.Is(err, ErrClosed) {
		t.Errorf("a change after Close: %v", err)
	}
	// database/sql ends its goroutines a moment after Close.
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
	// A clean close leaves one file and the lock's.
	var names []string
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{FileName, LockFile}, names); diff != "" {
		t.Error(diff)
	}
}

func TestCancelledChangesDoNothing(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Accept(ctx, message("m", "x"), router.Verdict{Group: "main", Action: router.Run}, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := one[int](t, s, `SELECT count(*) FROM inbox`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// A folder whose name is full of characters that mean something in a URL.
func TestOddFolderNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?mode=ro#c%41&d")
	s := openTest(t, dir)
	accept(t, s, "main", "m", router.Run)
	if _, err := os.Stat(filepath.Join(dir, FileName)); err != nil {
		t.Error(err)
	}
}

// Words in a message are data.
func TestWordsAreData(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	in := message("'; DROP TABLE inbox; --", "x\x00y'); \xff ?1 {\"")
	in.From = chat.Address{Channel: "a'b", Chat: "%_"}
	_, err := s.Accept(ctx, in, router.Verdict{Group: "main", Action: router.Run, Reason: "'"}, 1, 1)
	check(t, err)
	got := claim(t, s, "main", "r1").Messages[0]
	if got.ID != in.ID || got.From != in.From || got.Text != "x\x00y'); \uFFFD ?1 {\"" {
		t.Errorf("%+v", got)
	}
}
