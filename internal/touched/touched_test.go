package touched_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nanoclaw/internal/touched"
)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// later waits until the file system's clock went on by more than its lag, and
// gives that moment.
func later(t *testing.T) time.Time {
	t.Helper()
	mark := filepath.Join(t.TempDir(), "mark")
	for begun := time.Now(); ; {
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(mark)
		if err != nil {
			t.Fatal(err)
		}
		if fi.ModTime().Sub(begun) > 50*time.Millisecond {
			return fi.ModTime()
		}
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func since(t *testing.T, dir string, at time.Time, b touched.Bounds) touched.Found {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err := touched.Since(t.Context(), root, at, b)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSince(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "old", "old")
	write(t, dir, "changed", "before")
	write(t, dir, "moved", "moved")
	write(t, dir, "sub/old", "old")
	at := later(t)
	write(t, dir, "changed", "after")
	write(t, dir, "sub/deep/new", "new")
	write(t, dir, "big", strings.Repeat("x", 100))
	// What an agent would do so that its file looks old.
	write(t, dir, "backdated", "x")
	if err := os.Chtimes(filepath.Join(dir, "backdated"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "moved"), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	// Neither leads out nor holds up.
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := touched.Found{Files: []touched.File{
		{Path: "backdated", Bytes: 1, SHA256: sum("x")},
		{Path: "big", Bytes: 100},
		{Path: "changed", Bytes: 5, SHA256: sum("after")},
		{Path: "elsewhere", Bytes: 5, SHA256: sum("moved")},
		{Path: "fifo", Kind: "fifo"},
		{Path: "link", Bytes: 4, Kind: "link"},
		{Path: "sub/deep/new", Bytes: 3, SHA256: sum("new")},
	}}
	if diff := cmp.Diff(want, since(t, dir, at, touched.Bounds{Names: 100, Files: 100, Bytes: 50})); diff != "" {
		t.Error(diff)
	}
}

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	at := time.Now()
	for i := range 30 {
		write(t, dir, fmt.Sprintf("%02d", i), "x")
	}
	few := since(t, dir, at, touched.Bounds{Names: 100, Files: 10, Bytes: 100})
	if len(few.Files) != 10 || few.More != 20 || few.Short != "" {
		t.Errorf("%d files told, %d more, %q", len(few.Files), few.More, few.Short)
	}
	if cut := since(t, dir, at, touched.Bounds{Names: 10, Files: 100, Bytes: 100}); len(cut.Files) != 10 || cut.Short == "" {
		t.Errorf("beyond the names: %d files, %q", len(cut.Files), cut.Short)
	}
}
