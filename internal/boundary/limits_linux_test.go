package boundary

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// hungry is a script of a few processes, none of which uses much, that together
// use 100 MB and hold it.
const hungry = "for i in 1 2 3 4 5; do (head -c 20000000 /dev/zero; sleep 1000) | tail -c 40000000 & done; wait"

// withoutCgroups is a Native as on a machine that lets us have none.
func withoutCgroups(t testing.TB) Engine {
	e := newEngine(t, Options{})
	shared(e).cgroups = cgroups{fs: &fakeCgroups{root: t.TempDir()}, why: "none in this test"}
	return e
}

// Processes that together use more than the session may are ended with it, at
// the hands of the kernel or of the watchdog, and the host is told why.
func TestMemoryLimitEndsTheSession(t *testing.T) {
	for name, e := range map[string]Engine{"what this machine has": newEngine(t, Options{}), "watchdog": withoutCgroups(t)} {
		t.Run(name, func(t *testing.T) {
			n := shared(e)
			spec, _ := fixture(t)
			spec.Grant.Limits.Memory = 64 << 20
			s, err := e.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want := "memory 64 MB: watched every 250 ms"
			if n.cgroups.memory != "" {
				want = fmt.Sprintf("memory 64 MB: cgroup v%d", n.cgroups.version)
			}
			if !has(s.Layers(), want) {
				t.Errorf("layers %q lack %q", s.Layers(), want)
			}
			b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin"}}
			if got := b.sh("echo within the limit"); got != "within the limit" {
				t.Fatal(got)
			}
			p := b.start(wire.Exec{Argv: []string{"/bin/sh", "-c", "echo ready; " + hungry}})
			if line, err := bufio.NewReader(p.Stdout).ReadString('\n'); line != "ready\n" {
				t.Fatal(line, err)
			}
			inside := members(t, s.PID())
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err = p.Wait(ctx)
			limit, ok := errors.AsType[*LimitError](err)
			if !ok || *limit != (LimitError{Memory, 64 << 20}) || !strings.Contains(err.Error(), "stopped: the session used more than 64 MB of memory") {
				t.Fatalf("the process ended with %v", err)
			}
			<-s.Done()
			if !errors.Is(s.Err(), limit) || s.Exceeded() != limit {
				t.Errorf("the session ended with %v", s.Err())
			}
			if left := alive(inside); len(left) > 0 {
				t.Errorf("%v live on", left)
			}
			if left := ourCgroups(t, n); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// What sweeps after one engine leaves what another has just made: that is empty
// too, until its init enters it.
func TestSweepingLeavesOtherEngines(t *testing.T) {
	gone, here := newNative(t, Options{}), newNative(t, Options{})
	if gone.cgroups.version == 0 {
		return // there are none to sweep
	}
	limits := cgroupLimits{memory: 64 << 20, processes: 100}
	old, err := gone.cgroups.make("1", limits)
	check(t, err)
	made, err := here.cgroups.make("1", limits)
	check(t, err)
	defer made.remove()
	check(t, gone.sweeper.start(gone.program, &gone.cgroups))
	gone.sweeper.pipe.Close()
	for _, dir := range old.folders { // a moment, and no more than the test may take
		for _, err := os.Stat(dir); err == nil; _, err = os.Stat(dir) {
			time.Sleep(5 * time.Millisecond)
		}
	}
	for _, dir := range made.folders {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("it took another engine's: %v", err)
		}
	}
}

// ourCgroups lists cgroups of an engine's sessions.
func ourCgroups(t testing.TB, n *Native) []string {
	t.Helper()
	var found []string
	for _, base := range n.cgroups.bases() {
		dirs, err := filepath.Glob(base + "/" + n.cgroups.prefix + "*")
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, dirs...)
	}
	return found
}

// A session within its limits has cgroups of its own while it lives, holds all
// of its processes there, and leaves none.
func TestCgroupsLiveWithTheSession(t *testing.T) {
	e := newEngine(t, Options{})
	n := shared(e)
	spec, _ := fixture(t)
	spec.Session, spec.Grant.Limits.CPUs = "01TEST", 1
	s, err := e.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dirs := ourCgroups(t, n)
	if want := len(n.cgroups.bases()); len(dirs) != want {
		t.Errorf("cgroups %v, want %d", dirs, want)
	}
	for _, dir := range dirs {
		procs, err := kernelCgroups{}.Read(dir + "/cgroup.procs")
		if err != nil || !words(procs)[fmt.Sprint(s.PID())] || !strings.HasSuffix(dir, "-01TEST") {
			t.Errorf("%s holds %q, %v", dir, procs, err)
		}
	}
	s.Close()
	if left := ourCgroups(t, n); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	// What one of us left behind that was killed, the next one takes away.
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for _, base := range n.cgroups.bases() {
		left := fmt.Sprintf("%s/%s%d-left", base, cgroupPrefix, dead.Process.Pid)
		if err := os.Mkdir(left, 0o755); err != nil {
			t.Fatal(err)
		}
		newNative(t, Options{})
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			os.Remove(left)
			t.Errorf("%s is still there: %v", left, err)
		}
	}
}

// A fork bomb fills its own session and nothing else.
func TestForkBombStaysInside(t *testing.T) {
	const most = 64
	b := start(t, func(s *Spec) { s.Grant.Limits.Processes = most })
	beside := start(t)
	bomb := wire.Exec{Argv: []string{"/bin/sh", "-c", "bomb() { bomb | bomb & sleep 1000; }; bomb 2>/dev/null"}, Env: b.env, Dir: "/"}
	b.start(bomb)
	var inside []int
	for deadline, next := time.Now().Add(20*time.Second), time.Now().Add(time.Second); len(inside) < most/2; {
		if time.Now().After(next) { // a shell that may not fork ends, and at the limit all may at once
			b.Exec(t.Context(), bomb)
			next = next.Add(time.Second)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the bomb has only %d processes", len(inside))
		}
		time.Sleep(10 * time.Millisecond)
		inside = members(t, b.PID())
	}
	for range 20 {
		if inside = members(t, b.PID()); len(inside) > most+1 {
			t.Fatalf("%d processes are inside", len(inside))
		}
		if err := exec.Command("true").Run(); err != nil {
			t.Fatalf("the host cannot start a process: %v", err)
		}
		if got := beside.sh("echo ok"); got != "ok" {
			t.Fatalf("the session beside it says %q", got)
		}
	}
	b.Close()
	if left := alive(inside); len(left) > 0 {
		t.Errorf("%v live on", left)
	}
}

// The watchdog sees what every process of a session uses, orphans too, and
// counts shared pages once where it matters.
func TestWatchdogCounts(t *testing.T) {
	b := start(t)
	p := b.start(wire.Exec{Argv: []string{"/bin/sh", "-c",
		"(setsid sh -c '(head -c 20000000 /dev/zero; echo ready >&2; sleep 1000) | tail -c 40000000' &) ; wait; sleep 1000"}})
	if line, err := bufio.NewReader(p.Stderr).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	all, shared := memoryOf(b.PID(), 1<<40), memoryOf(b.PID(), 0)
	if shared < 15<<20 || shared > all || all > 200<<20 {
		t.Errorf("with shared pages for each %d, once %d", all, shared)
	}
	if got, want := len(descendants(b.PID())), len(members(t, b.PID())); got != want {
		t.Errorf("%d processes are seen, %d are there", got, want)
	}
	b.Close()
	if got := memoryOf(b.PID(), 0); got != 0 {
		t.Errorf("a dead session uses %d", got)
	}
}

func TestLimitInWords(t *testing.T) {
	for bytes, want := range map[int64]string{4 << 30: "4 GB", 1536 << 20: "1536 MB", 64 << 10: "64 KB", 1000: "1000 bytes"} {
		if got := inWords(bytes); got != want {
			t.Errorf("%d: %q, want %q", bytes, got, want)
		}
	}
}

// What a session takes of files, locks and watches is its own: when it has all
// that it may have, programs beside it get theirs.
func TestExhaustionStaysInside(t *testing.T) {
	if underTest() == BubblewrapEngine && os.Geteuid() != 0 {
		return // watchesAreUnbounded asserts what is so instead
	}
	b := start(t, func(s *Spec) { s.Grant.Limits.OpenFiles = 256 })
	if !strings.Contains(strings.Join(b.Layers(), "\n"), "inotify: ") {
		t.Errorf("layers %q, missing %q", b.Layers(), b.Missing())
	}
	p := b.start(wire.Exec{Argv: []string{"python3", "-c", `
import ctypes, errno, os, time
c = ctypes.CDLL(None, use_errno=True)
n = 0
while c.inotify_init1(0) >= 0: n += 1
inotify = ctypes.get_errno()
files = []
try:
    while True: files.append(os.open("/dev/null", os.O_RDONLY))
except OSError as e: print(n, errno.errorcode[inotify], len(files), errno.errorcode[e.errno], flush=True)
time.sleep(1000)
`}})
	line, err := bufio.NewReader(p.Stdout).ReadString('\n')
	var n, files int
	var one, other string
	if _, e := fmt.Sscan(line, &n, &one, &files, &other); e != nil || err != nil {
		t.Fatalf("it says %q, %v, %v", line, err, e)
	}
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Fatal(err)
	}
	var most int
	fmt.Sscan(string(text), &most)
	if n == 0 || n > most/8 || one != "EMFILE" || n+files > 256 || other != "EMFILE" {
		t.Errorf("it got %d inotify instances (%s) of %d, and %d files (%s)", n, one, most, files, other)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatalf("the host can watch nothing any more: %v", err)
	}
	unix.Close(fd)
}
