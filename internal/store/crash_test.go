package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
)

// childDir, if set, makes the test binary a writer in that folder instead.
const childDir = "NANOCLAW_STORE_TEST_DIR"

// childDatabase is the address of its database, "" for a file in the folder.
const childDatabase = "NANOCLAW_STORE_TEST_DATABASE"

func TestMain(m *testing.M) {
	if dir, where := os.Getenv(childDir), os.Getenv(childDesk); where != "" {
		fmt.Println("failed:", deskChild(dir, where))
		os.Exit(1)
	} else if dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child stores messages from several goroutines until it is killed, and prints
// the id of each that was acknowledged.
func child(dir string) error {
	s, err := Open(context.Background(), dir, Options{Database: os.Getenv(childDatabase)})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var mu sync.Mutex
	failed := make(chan error)
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				g := chat.Group(fmt.Sprint("g", w))
				if _, err := s.Accept(context.Background(), message(id, id), router.Verdict{Group: g, Action: router.Run}, 10, 0); err != nil {
					failed <- err
					return
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		}()
	}
	return <-failed
}

// startChild runs the writer and gives its lines.
func startChild(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childDatabase+"="+databaseOf(t, dir))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the writer did not start: %q", lines.Text())
	}
	return cmd, lines
}

// I8: kill -9 in the middle of writing loses no acknowledged message, leaves no
// stale lock, and the log still verifies.
func TestKilledWriterLosesNothing(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	acked := map[string]bool{}
	for round := range 3 {
		if round > 0 { // ids begin anew: let them be fresh messages
			s := openTest(t, dir)
			check(t, s.write(ctx, func(ctx context.Context, tx *tx) error {
				_, err := tx.exec(ctx, `UPDATE inbox SET message = ? || message`, fmt.Sprint("round ", round, ": "))
				return err
			}))
			check(t, s.Close())
		}
		cmd, lines := startChild(t, dir)
		for n := 0; n < 200 && lines.Scan(); n++ {
			acked[lines.Text()] = true
		}
		check(t, cmd.Process.Kill()) // SIGKILL
		for lines.Scan() {
			acked[lines.Text()] = true // acknowledged before it died
		}
		s := openTest(t, dir)
		for id := range acked {
			if n := one[int](t, s, `SELECT count(*) FROM inbox WHERE message = ?`, id); n != 1 {
				t.Errorf("round %d: acknowledged message %s is there %d times", round, id, n)
			}
		}
		if rows, entries := one[int](t, s, `SELECT count(*) FROM inbox`), one[int](t, s, `SELECT count(*) FROM audit`); rows != entries {
			t.Errorf("round %d: %d messages, %d audit entries", round, rows, entries)
		}
		check(t, s.Check(ctx))
		key, err := audit.OpenKey(dir)
		check(t, err)
		_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
		check(t, err)
		if _, err := audit.Verify(ctx, s, key.Verifier); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		check(t, s.Close())
		clear(acked)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	dir := t.TempDir()
	cmd, _ := startChild(t, dir)
	_, err := openAs(t, dir, Options{})
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v", err)
	}
	if locked.PID != cmd.Process.Pid || locked.Since == "" || locked.Command == "" {
		t.Errorf("%+v, want process %d", locked, cmd.Process.Pid)
	}
	for _, want := range []string{fmt.Sprint("process ", cmd.Process.Pid), fmt.Sprint("kill ", cmd.Process.Pid), dir} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// In one process too: two stores on one folder would each think they are alone.
func TestLockHoldsInOneProcess(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	var locked *LockedError
	if _, err := openAs(t, dir, Options{}); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
	check(t, s.Close())
	check(t, openTest(t, dir).Close())
}
