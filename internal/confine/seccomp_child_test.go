//go:build linux && (amd64 || arm64)

package confine

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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

// buildChild builds the child and returns its path, which everybody can reach.
func buildChild(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	path := filepath.Join(dir, "child.test")
	cmd := exec.Command("go", "test", "-c", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// publicDir is a temporary folder that other users can reach.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// childCommand is the calling test in the child, as a command.
func childCommand(t *testing.T, path string, uid int, env ...string) *exec.Cmd {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command(path, "-test.run=^"+test+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append([]string{childEnv + "=1", "PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, env...)
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	return cmd
}

// runChild runs the calling test in the child and fails with what it reports.
func runChild(t *testing.T, path string, uid int, env ...string) {
	t.Helper()
	out, err := childCommand(t, path, uid, env...).CombinedOutput()
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
