package boundary

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// Variables by which the processes of these tests know what to do.
const (
	endsInit   = "NANOCLAW_TEST_ENDS_INIT"   // a file with the init
	endsFolder = "NANOCLAW_TEST_ENDS_FOLDER" // the group's folder
	endsSeed   = "NANOCLAW_TEST_ENDS_SEED"
)

// endsCeiling is how long the test waits for what the kernel does within
// milliseconds on a machine that is not busy.
const endsCeiling = 30 * time.Second

// Kill -9 of the daemon or of an init, at any moment of a session's life, leaves
// no process, no cgroup, no mount and no file behind.
//
// What a killed daemon leaves falls to whoever asked to be given orphans
// (PR_SET_CHILD_SUBREAPER), so a process of its own does the killing and then
// looks at all that it was given: nothing can hide from it by its name, its
// namespaces or its moment.
func TestNothingOutlivesAKill(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv(endsSeed); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("again with %s=%d", endsSeed, seed)
	spec, dir := fixture(t)
	program := filepath.Join(dir, "init")
	if err := os.WriteFile(program, boundarytest.Init(t), 0o644); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	warden := exec.CommandContext(t.Context(), "/proc/self/exe")
	warden.Env = []string{
		roleVar + "=warden", engineVar + "=" + underTest(), endsInit + "=" + program, endsFolder + "=" + dir, endsSeed + "=" + fmt.Sprint(seed),
		"PATH=/usr/bin:/bin", "TMPDIR=" + tmp,
	}
	var said bytes.Buffer
	warden.Stdout, warden.Stderr = &said, &said
	err := warden.Run()
	for line := range strings.Lines(said.String()) {
		t.Log(strings.TrimSpace(line))
	}
	if err != nil {
		t.Errorf("the warden ended with %v", err)
	}
	for _, m := range spec.Grant.Mounts {
		if m.Write {
			if names, err := os.ReadDir(m.Source); os.Geteuid() == 0 && (err != nil || len(names) > 0) {
				t.Errorf("%s holds %v, %v: the agents wrote nothing", m.Source, names, err)
			}
		}
	}
}

// play is the warden: rounds of starting a daemon, killing, and looking.
func playWarden() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		return 1
	}
	seed, _ := strconv.ParseUint(os.Getenv(endsSeed), 10, 64)
	w := &warden{random: rand.New(rand.NewPCG(seed, 1))}
	began := time.Now()
	rounds := 0
	for ; rounds < 4 || rounds < 24 && time.Since(began) < 8*time.Second; rounds++ {
		if err := w.round(rounds%3 == 2); err != nil {
			fmt.Printf("round %d: %v\n", rounds, err)
			return 1
		}
	}
	fmt.Printf("%d kills; the longest until nothing was left took %v, and what is promised is one second\n", rounds, w.longest.Round(time.Millisecond))
	return 0
}

type warden struct {
	random  *rand.Rand
	longest time.Duration
}

// round kills a daemon, or first an init of it, after so many of its words and a
// moment more.
func (w *warden) round(initFirst bool) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	daemon := exec.Command("/proc/self/exe")
	daemon.Env = append(os.Environ(), roleVar+"=victim")
	daemon.Stderr = os.Stdout
	out, err := daemon.StdoutPipe()
	if err != nil {
		return err
	}
	if err := daemon.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	var inits []int
	hear := func(n int) string {
		for i := 0; i < n && lines.Scan(); i++ {
			if pid, ok := strings.CutPrefix(lines.Text(), "stands "); ok {
				init, _ := strconv.Atoi(pid)
				inits = append(inits, init)
			}
		}
		return lines.Text()
	}
	last := hear(1 + w.random.IntN(30))
	time.Sleep(time.Duration(w.random.IntN(5000)) * time.Microsecond)
	if initFirst && len(inits) > 0 {
		// It may have ended; its number is not given anew so soon. The daemon goes on.
		unix.Kill(inits[len(inits)-1], unix.SIGKILL)
		if last = hear(10); last == "" {
			return errors.New("with its init the daemon ended too")
		}
	}
	killed := time.Now()
	daemon.Process.Kill()
	io.Copy(io.Discard, out)
	if err := w.nothingLeft(daemon.Process.Pid); err != nil {
		return fmt.Errorf("killed after %q: %w", last, err)
	}
	w.longest = max(w.longest, time.Since(killed))
	return unchanged(mounts)
}

// nothingLeft waits until there is no process that we were given, and no cgroup.
func (w *warden) nothingLeft(daemon int) error {
	c := findCgroups(kernelCgroups{}, os.Getpid())
	for deadline := time.Now().Add(endsCeiling); ; time.Sleep(time.Millisecond) {
		err := error(nil)
		for err == nil { // reap all that have ended
			var status unix.WaitStatus
			var pid int
			if pid, err = unix.Wait4(-1, &status, unix.WNOHANG, nil); pid == 0 {
				break
			}
		}
		left := descendants(os.Getpid())[1:]
		var folders []string
		for _, base := range c.bases() {
			found, _ := filepath.Glob(fmt.Sprintf("%s/%s%d-*", base, cgroupPrefix, daemon))
			folders = append(folders, found...)
		}
		if len(left) == 0 && len(folders) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v processes %v and cgroups %v are left", endsCeiling, left, folders)
		}
	}
}

// unchanged says whether our mounts are what they were, and the folder for
// temporary files is empty.
func unchanged(mounts []byte) error {
	now, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(now)) {
		if !strings.Contains(string(mounts), line) && strings.Contains(line, os.Getenv(endsFolder)) {
			return fmt.Errorf("a mount is left: %s", line)
		}
	}
	names, err := os.ReadDir(os.TempDir())
	if err != nil || len(names) > 0 {
		return fmt.Errorf("temporary files are left: %v, %w", names, err)
	}
	return nil
}

// playVictim is a daemon that starts, uses and ends sessions, several at a time,
// and says each step, until it is killed.
func playVictim() int {
	program, err := os.ReadFile(os.Getenv(endsInit))
	if err != nil {
		panic(err)
	}
	n, err := New(os.Getenv(engineVar), Options{Init: bytes.NewReader(program)})
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	say := func(words ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(words...)
	}
	say("begins")
	for range 3 {
		go func() {
			for {
				say("starts")
				if err := live1(n, say); err != nil {
					say("failed", err)
				}
			}
		}()
	}
	time.Sleep(time.Minute) // nobody lives so long here
	return 1
}

// live1 is one life of a session.
func live1(n Engine, say func(...any)) error {
	dir := os.Getenv(endsFolder)
	g := systemGrant()
	for target, name := range map[string]string{grant.Workspace: "workspace", grant.Home: "home"} {
		g.Mounts = append(g.Mounts, grant.Mount{Target: target, Source: filepath.Join(dir, name), Write: true, Exec: true})
	}
	g.Endpoints = []grant.Endpoint{{Name: string(wire.Proxy), Port: grant.ProxyPort}}
	g.Limits = grant.Limits{Memory: 1 << 30, Processes: 200, TmpSize: 8 << 20, CPUTime: time.Hour, CPUs: 1, Disk: 1 << 40}
	spec := Spec{Grant: g, Serve: func(_ wire.Kind, conn net.Conn) {
		say("transfers")
		for junk := make([]byte, 32<<10); ; {
			if _, err := conn.Write(junk); err != nil {
				return
			}
		}
	}}
	if os.Geteuid() == 0 {
		spec.UID = groupUID
	}
	s, err := n.Start(context.Background(), spec)
	if err != nil {
		return err
	}
	defer func() { say("closes"); s.Close(); say("closed") }()
	say("stands", s.PID())
	script := fmt.Sprintf(`trap '' HUP TERM INT; echo x > /tmp/file
		for i in 1 2; do setsid sh -c 'trap "" HUP; sleep 1000' & done
		bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; exec cat <&3' | head -c 3000000 >/dev/null; echo done`, grant.ProxyPort)
	p, err := s.Exec(context.Background(), wire.Exec{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: grant.Workspace})
	if err != nil {
		return err
	}
	say("runs")
	_, err = bufio.NewReader(p.Stdout).ReadString('\n')
	return err
}

// Twenty sessions share one workspace, and begin and end while others work
// there. Each finds what the others wrote, none is disturbed by another's end,
// and nothing is there afterwards that no agent wrote.
func TestTwentyInOneWorkspace(t *testing.T) {
	const many = 20
	n := newEngine(t, Options{})
	spec, dir := fixture(t)
	spec.Grant.Limits.Disk = 1 << 30
	lasting, err := n.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer lasting.Close()
	witness := &box{Session: lasting, t: t, env: []string{"PATH=/usr/bin:/bin"}}
	witness.sh("echo '#!/bin/sh' > .rc; chmod 755 .rc")
	before := descriptors(t)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			s, err := n.Start(context.Background(), spec)
			if err != nil {
				t.Errorf("session %d: %v", i, err)
				return
			}
			defer s.Close()
			b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin"}}
			script := fmt.Sprintf("echo %d > file%d && echo line >> common && sh .rc && for i in 1 2 3 4 5; do cat file%d; done | uniq; ls -A | grep -c -v '^file'", i, i, i)
			p, err := s.Exec(context.Background(), wire.Exec{Argv: []string{"/bin/sh", "-c", script}, Env: b.env, Dir: grant.Workspace})
			if err != nil {
				t.Errorf("session %d: %v", i, err)
				return
			}
			out, err := io.ReadAll(p.Stdout)
			if want := fmt.Sprintf("%d\n2\n", i); string(out) != want || err != nil {
				t.Errorf("session %d says %q, %v; want %q", i, out, err, want)
			}
		})
	}
	all.Wait()
	if got := witness.sh("ls -A | sort | tr '\\n' ' '; wc -l < common; sh .rc; echo $?"); got != wantFiles(many)+fmt.Sprint(many)+"\n0" {
		t.Errorf("one that lived through it all finds %q", got)
	}
	if os.Geteuid() == 0 {
		names, err := os.ReadDir(filepath.Join(dir, "workspace"))
		if err != nil || len(names) != many+2 {
			t.Errorf("on the host there are %v, %v", names, err)
		}
	}
	for deadline := time.Now().Add(endsCeiling); descriptors(t) > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors were open before, %d are now", before, descriptors(t))
		}
	}
	if left := members(t, lasting.PID()); len(left) != 1 {
		t.Errorf("in the session that lives are %v", left)
	}
	if left := len(ourCgroups(t, shared(n))); left > len(shared(n).cgroups.bases()) {
		t.Errorf("%v are left", ourCgroups(t, shared(n)))
	}
}

func wantFiles(many int) string {
	names := []string{".rc", "common"}
	for i := range many {
		names = append(names, fmt.Sprint("file", i))
	}
	slices.Sort(names)
	return strings.Join(names, " ") + " "
}

// descriptors is how many this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
