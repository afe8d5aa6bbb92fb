//go:build linux && (amd64 || arm64)

package confine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Confining cannot be undone, so live tests run in a child: this test binary
// again, told by an environment variable to play the confined part. It is built
// without cgo, as the init is, since only then can Go make a system call on all
// threads.
const childEnv = "CONFINE_TEST_CHILD"

// asChild says whether this process is the child of a live test.
func asChild() bool { return os.Getenv(childEnv) != "" }

// childProgram is the child's program. It is built once and kept open, not kept
// on disk, so nothing is left to be cleaned up and every user can run it.
var childProgram = sync.OnceValues(func() (*os.File, error) {
	dir, err := os.MkdirTemp("", "confine-child")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "child.test")
	cmd := exec.Command("go", "test", "-c", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the child: %w\n%s", err, out)
	}
	return os.Open(path)
})

// childCommand is the calling test in the child, as a command.
func childCommand(t *testing.T, uid int, env ...string) *exec.Cmd {
	t.Helper()
	program, err := childProgram()
	if err != nil {
		t.Fatal(err)
	}
	test, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^"+test+"$", "-test.v")
	cmd.ExtraFiles = []*os.File{program}
	cmd.Dir = "/"
	cmd.Env = append([]string{childEnv + "=1", "PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, env...)
	cmd.SysProcAttr = as(uid)
	return cmd
}

// as makes a command run as uid.
func as(uid int) *syscall.SysProcAttr {
	if uid == os.Getuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

// runChild runs the calling test in the child and fails with what it reports.
func runChild(t *testing.T, uid int, env ...string) {
	t.Helper()
	out, err := childCommand(t, uid, env...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nPASS\n") || strings.Contains(string(out), "no tests to run") {
		t.Errorf("child as uid %d: %v\n%s", uid, err, out)
	}
}

// uids are the users as whom live tests run: the caller, and if that is root,
// somebody ordinary as well.
func uids() map[string]int {
	if os.Getuid() == 0 {
		return map[string]int{"root": 0, "user": 65534}
	}
	return map[string]int{"user": os.Getuid()}
}

// onThreads starts n threads and returns a function that has each of them run f
// and waits for all. So f runs on threads that were there before.
func onThreads(n int) func(f func()) {
	work := make([]chan func(), n)
	done := make(chan struct{})
	for i := range work {
		work[i] = make(chan func())
		go func() {
			runtime.LockOSThread()
			for f := range work[i] {
				f()
				done <- struct{}{}
			}
		}()
	}
	each := func(f func()) {
		for _, w := range work {
			w <- f
		}
		for range work {
			<-done
		}
	}
	each(func() {}) // now every thread exists
	return each
}

// threadStatus returns a field of /proc/self/task/*/status for every thread.
func threadStatus(t *testing.T, field string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(files) == 0 {
		t.Fatal("no threads to be seen: ", err)
	}
	var values []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has just ended
		}
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(line, field+":"); ok {
				values = append(values, strings.TrimSpace(v))
			}
		}
	}
	return values
}
