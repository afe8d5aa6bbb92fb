package boundary

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// members gives the session's processes, numbered as on this machine: the init
// and all that descend from it.
func members(t testing.TB, init int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children := make(map[int][]int)
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		// The name is in parentheses and may hold anything.
		line := string(b)
		fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	found := []int{init}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// alive gives those of pids that live, zombies not counted.
func alive(pids []int) []int {
	var left []int
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		line := string(b)
		if state := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])[0]; state != "Z" && state != "X" {
			left = append(left, pid)
		}
	}
	return left
}

// hold is the program of a test: it plays the daemon, with a session that does
// what it can to outlive it and a spare, says the inits' numbers and what is
// missing, and waits to be killed.
func hold() {
	program, err := os.ReadFile(os.Getenv("NANOCLAW_TEST_HOLD_INIT"))
	if err != nil {
		panic(err)
	}
	n, err := New(os.Getenv(engineVar), Options{Init: bytes.NewReader(program), Dir: os.TempDir(), SRT: srtOptions(os.Getenv(srtVar)), Container: suiteContainers()})
	if err != nil {
		panic(err)
	}
	if n, ok := n.(*Native); ok {
		n.spares.quiet = 0
		n.Keep(1)
	}
	if mark := os.Getenv("NANOCLAW_TEST_HOLD_MARK"); mark != "" {
		if err := unix.Dup3(3, 900, 0); err != nil { // stays open in all that is started
			panic(err)
		}
		unix.Close(3)
	}
	uid, _ := strconv.Atoi(os.Getenv("NANOCLAW_TEST_HOLD_UID"))
	g := systemGrant()
	g.Limits = grant.Limits{Processes: 200, OpenFiles: 1024}
	if n.Name() == SRTEngine {
		g.Mounts = append(g.Mounts, alternatives)
	}
	s, err := n.Start(context.Background(), Spec{Grant: g, UID: uid})
	if err != nil {
		panic(err)
	}
	p, err := s.Exec(context.Background(), wire.Exec{
		Argv: []string{"/bin/sh", "-c", "trap '' HUP TERM INT; for i in 1 2 3; do setsid sh -c 'trap \"\" HUP; sleep 1000' & done; echo ready; wait"},
		Env:  []string{"PATH=/usr/bin:/bin"}, Dir: "/",
	})
	if err != nil {
		panic(err)
	}
	bufio.NewReader(p.Stdout).ReadString('\n')
	fmt.Println(s.PID(), spareOf(n), s.Missing())
	select {}
}

// spareOf waits for a spare and gives the number of its init; without spares it
// is 0.
func spareOf(e Engine) int {
	n, ok := e.(*Native)
	if !ok {
		return 0
	}
	for {
		changed := n.spares.waiter()
		if n.Spares() > 0 {
			return n.spares.first().child.PID()
		}
		<-changed
	}
}

// A daemon may be killed at any moment of a start, and nothing of it is left:
// neither what builds the boundary nor an init, which ends with its wire.
func TestNothingOutlivesADaemonKilledAtAStart(t *testing.T) {
	program := filepath.Join(openDir(t), "init")
	if err := os.WriteFile(program, newInit(t), 0o644); err != nil {
		t.Fatal(err)
	}
	uid := 0
	if os.Geteuid() == 0 {
		uid = groupUID
	}
	for i := range 12 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		daemon := exec.Command("/proc/self/exe")
		daemon.Env = []string{roleVar + "=holder", engineVar + "=" + underTest(), "NANOCLAW_TEST_HOLD_INIT=" + program, "TMPDIR=" + filepath.Dir(program), srtVar + "=" + openSRT(t),
			fmt.Sprint("NANOCLAW_TEST_HOLD_UID=", uid), "NANOCLAW_TEST_HOLD_MARK=1",
			programVar + "=" + os.Getenv(programVar), programEnvVar + "=" + os.Getenv(programEnvVar), runtimeVar + "=" + os.Getenv(runtimeVar)}
		daemon.ExtraFiles = []*os.File{w}
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		for len(members(t, daemon.Process.Pid)) < 2 { // until it starts something
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(i) * 2 * time.Millisecond)
		daemon.Process.Kill()
		daemon.Wait()
		r.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("killed after %d ms: something lives on and holds what the daemon held: %v", 2*i, err)
		}
		r.Close()
	}
}

// The kernel ends the session of a daemon that was killed, and what stood ready:
// nothing of it has to run for that.
func TestNothingOutlivesAKilledDaemon(t *testing.T) {
	program := filepath.Join(openDir(t), "init")
	if err := os.WriteFile(program, newInit(t), 0o644); err != nil {
		t.Fatal(err)
	}
	uid := 0
	if os.Geteuid() == 0 {
		uid = groupUID
	}
	daemon := exec.Command("/proc/self/exe")
	daemon.Env = []string{roleVar + "=holder", engineVar + "=" + underTest(), "NANOCLAW_TEST_HOLD_INIT=" + program, "TMPDIR=" + filepath.Dir(program), srtVar + "=" + openSRT(t), fmt.Sprint("NANOCLAW_TEST_HOLD_UID=", uid),
		programVar + "=" + os.Getenv(programVar), programEnvVar + "=" + os.Getenv(programEnvVar), runtimeVar + "=" + os.Getenv(runtimeVar)}
	daemon.Stderr = os.Stderr
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer daemon.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var init, spare int
	if _, err := fmt.Sscan(line, &init, &spare); err != nil {
		t.Fatal(err)
	}
	inside, least := members(t, init), 5
	if spare != 0 {
		inside, least = append(inside, spare), least+1
	}
	if len(inside) < least {
		t.Fatalf("only %v are inside", inside)
	}
	pids := watch(t, inside)
	daemon.Process.Kill()
	deadline := time.Now().Add(time.Second)
	daemon.Wait()
	allEnd(t, pids, deadline)
}

// watch opens descriptors of processes, so that a number used again cannot
// mislead.
func watch(t testing.TB, pids []int) []unix.PollFd {
	t.Helper()
	var polls []unix.PollFd
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		polls = append(polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return polls
}

// allEnd fails unless all watched processes end before the deadline.
func allEnd(t testing.TB, polls []unix.PollFd, deadline time.Time) {
	t.Helper()
	for i := range polls {
		n, err := 0, error(unix.EINTR)
		for err == unix.EINTR {
			n, err = unix.Poll(polls[i:i+1], int(max(time.Until(deadline).Milliseconds(), 0)))
		}
		if n != 1 {
			t.Errorf("process %d of %d lives on after one second (%v)", i, len(polls), err)
		}
	}
}

// warm starts a session of an engine and ends it, and gives the processes that
// are ours then and stay: an engine may have some of its own.
func warm(t testing.TB, e Engine) map[int]bool {
	t.Helper()
	spec, _ := fixture(t)
	s, err := e.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	stay := make(map[int]bool)
	for _, pid := range members(t, os.Getpid()) {
		stay[pid] = true
	}
	return stay
}

// newMembers gives our processes that were not there before.
func newMembers(t testing.TB, before map[int]bool) []int {
	t.Helper()
	return slices.DeleteFunc(members(t, os.Getpid()), func(pid int) bool { return before[pid] })
}
