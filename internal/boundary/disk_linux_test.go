package boundary

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// A group that fills its workspace and home is ended, whether its files have
// names or not, and what it wrote is left as it is.
func TestDiskLimitEndsTheSession(t *testing.T) {
	for name, script := range map[string]string{
		"files": `head -c 20000000 /dev/zero > a; head -c 20000000 /dev/zero > ~/b; sleep 1000`,
		// A file that has no name any more cannot be found by looking for names.
		"removed, and held open": `exec 3>a 4>b; rm a b; head -c 20000000 /dev/zero >&3; head -c 20000000 /dev/zero >&4; sleep 1000`,
		"many":                   `mkdir d; cd d; i=0; while [ $i -lt 9000 ]; do : > $i; i=$((i+1)); done; sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, Options{})
			shared(e).disks.every = 0 // what others do to this machine's disk must not matter
			spec, dir := fixture(t)
			spec.Grant.Limits.Disk = 32 << 20
			s, err := e.Start(t.Context(), spec)
			check(t, err)
			defer s.Close()
			b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin", "HOME=" + grant.Home}, workspace: filepath.Join(dir, "workspace")}
			if want := "disk 32 MB: watched every 1s"; !has(b.Layers(), want) {
				t.Errorf("layers %q lack %q", b.Layers(), want)
			}
			p := b.start(wire.Exec{Argv: []string{"/bin/sh", "-c", script}})
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			_, err = p.Wait(ctx)
			if limit, ok := errors.AsType[*LimitError](err); !ok || *limit != (LimitError{Disk, 32 << 20}) {
				t.Fatalf("it ended with %v", err)
			}
			if <-b.Done(); !strings.Contains(b.Err().Error(), "workspace and home hold more than 32 MB") {
				t.Errorf("the owner reads %q", b.Err())
			}
			if left, err := os.ReadDir(b.workspace); os.Geteuid() == 0 && (err != nil || name == "files" && len(left) != 1) {
				t.Errorf("in the workspace are %v, %v", left, err)
			}
		})
	}
}

// lot makes a folder with content and gives it open.
func lot(t *testing.T, fill func(dir string)) *os.File {
	t.Helper()
	dir := t.TempDir()
	fill(dir)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func put(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// What a walk counts is what the disk gave, and nothing leads it elsewhere.
func TestWalk(t *testing.T) {
	const mb = 1 << 20
	far := filepath.Join(t.TempDir(), "far")
	put(t, far, 30*mb)
	for _, c := range []struct {
		name       string
		fill       func(dir string)
		least, cap int64
		deep       bool
	}{
		{"nothing", func(string) {}, 0, 0, false},
		{"files in folders", func(dir string) {
			check(t, os.MkdirAll(dir+"/a/b", 0o755))
			put(t, dir+"/a/x", mb)
			put(t, dir+"/a/b/y", 2*mb)
		}, 3 * mb, 3*mb + 64<<10, false},
		{"holes take no room", func(dir string) { put(t, dir+"/x", 0); check(t, os.Truncate(dir+"/x", 1<<40)) }, 1, 64 << 10, false},
		{"one file of three names", func(dir string) {
			put(t, dir+"/x", 3*mb)
			check(t, os.Link(dir+"/x", dir+"/y"), os.Link(dir+"/x", dir+"/z"))
		}, 3*mb - 8, 3*mb + 64<<10, false},
		{"links to elsewhere", func(dir string) {
			check(t, os.Symlink(far, dir+"/x"), os.Symlink(filepath.Dir(far), dir+"/y"), os.Symlink("..", dir+"/z"))
		}, 3 * entryCost, 64 << 10, false},
		{"what would hold up a reader", func(dir string) { check(t, unix.Mkfifo(dir+"/x", 0o644)) }, entryCost, entryCost, false},
		{"no entry is free of charge", func(dir string) {
			for i := range 1000 {
				put(t, fmt.Sprint(dir, "/", i), 0)
			}
		}, 1000 * entryCost, 1001 * entryCost, false},
		{"deeper than can be followed", func(dir string) { deepen(t, dir, maxDepth+2) }, maxDepth * entryCost, (maxDepth + 2) * entryCost, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &walker{most: 1 << 40, rest: func(time.Duration) error { return nil }}
			check(t, w.walk([]*os.File{lot(t, c.fill)}, 0))
			if w.bytes < c.least || w.bytes > c.cap || w.deep != c.deep || w.hidden {
				t.Errorf("counted %d, deep %t, hidden %t; want %d to %d, deep %t", w.bytes, w.deep, w.hidden, c.least, c.cap, c.deep)
			}
		})
	}
}

// deepen makes folders in folders, deeper than one path can name.
func deepen(t *testing.T, dir string, levels int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	check(t, err)
	for range levels {
		check(t, unix.Mkdirat(fd, "deeper", 0o755))
		next, err := unix.Openat(fd, "deeper", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		check(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
}

// A folder that is exchanged for a link between two looks leads nowhere, and one
// that the counting stops in the middle of costs no more than was asked for.
func TestWalkUnderAttack(t *testing.T) {
	far := t.TempDir()
	put(t, filepath.Join(far, "x"), 30<<20)
	root := lot(t, func(dir string) {
		for i := range 2 * walkBatch {
			check(t, os.Mkdir(fmt.Sprint(dir, "/", i), 0o755))
		}
	})
	w := &walker{most: 1 << 40, rest: func(time.Duration) error {
		for i := range 2 * walkBatch {
			name := fmt.Sprint(root.Name(), "/", i)
			check(t, os.RemoveAll(name), os.Symlink(far, name))
		}
		return nil
	}}
	check(t, w.walk([]*os.File{root}, 0))
	if w.bytes > 2*walkBatch*entryCost {
		t.Errorf("counted %d bytes: it went where the links lead", w.bytes)
	}
	w = &walker{most: 10 * entryCost, rest: func(time.Duration) error { return nil }}
	check(t, w.walk([]*os.File{root}, 0))
	if !w.full() || w.bytes > 12*entryCost {
		t.Errorf("counted %d of at most %d", w.bytes, w.most)
	}
	w = &walker{most: 1 << 40, rest: func(time.Duration) error { return errQuit }}
	if err := w.walk([]*os.File{root}, 0); !errors.Is(err, errQuit) {
		t.Errorf("a session that is over: %v", err)
	}
}

// fakeDisk is a disk watch whose disk has as much free as the test says.
func fakeDisk(t *testing.T, limit, free int64, fill func(dir string)) (*disk, *int64) {
	t.Helper()
	ds := &disks{turn: make(chan struct{}, 1), reserve: diskReserve, every: walkInterval, free: func(*os.File) (int64, error) { return free, nil }}
	root := lot(t, fill)
	d := ds.watch(grant.Grant{Limits: grant.Limits{Disk: limit}, Mounts: []grant.Mount{
		{Target: grant.Workspace, Source: root.Name()},
		{Target: "/workspace/extra/owner", Source: "/usr"},
	}}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(d.stop)
	return d, &free
}

// The verdict on a group follows from what it holds, and from what its disk has
// lost meanwhile.
func TestDiskVerdicts(t *testing.T) {
	const mb, gb = 1 << 20, 1 << 30
	three := func(dir string) { put(t, dir+"/x", 3*mb) }
	add := func(size int) func(*disk, *int64) {
		return func(d *disk, free *int64) {
			put(t, d.roots[0].Name()+"/more", size)
			*free -= int64(size)
		}
	}
	take := func(size int64) func(*disk, *int64) { return func(_ *disk, free *int64) { *free -= size } }
	for _, c := range []struct {
		name        string
		limit, free int64
		fill        func(string)
		then        func(*disk, *int64)
		want        error
		crowded     bool
	}{
		{"enough room", 10 * mb, 9 * gb, three, add(mb), nil, false},
		{"too much", 10 * mb, 9 * gb, three, add(8 * mb), &LimitError{Disk, 10 * mb}, false},
		{"others fill the disk", 10 * mb, 9 * gb, three, take(8 * gb), nil, false},
		{"too much before", 2 * mb, 9 * gb, three, add(mb), nil, true},
		{"too much before, and more", 2 * mb, 9 * gb, three, add(diskGrace + mb), &LimitError{Disk, 2 * mb}, true},
		{"far too much before", 8 << 10, 9 * gb, three, add(mb), nil, true},
		{"far too much before, and more", 8 << 10, 9 * gb, three, add(diskGrace + mb), &LimitError{Disk, 8 << 10}, true},
		{"the disk is full", gb, 300 * mb, three, take(100 * mb), &LimitError{DiskReserve, diskReserve}, false},
		{"the disk was full before", gb, 100 * mb, three, take(mb), nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, free := fakeDisk(t, c.limit, c.free, c.fill)
			if err := d.look(); err != nil {
				t.Fatalf("at the start: %v", err)
			}
			c.then(d, free)
			err := d.look()
			if got, _ := err.(*LimitError); (c.want == nil) != (err == nil) || c.want != nil && *got != *c.want.(*LimitError) {
				t.Errorf("the verdict is %v, want %v", err, c.want)
			}
			if told := len(d.reached()) == 1; told != c.crowded {
				t.Errorf("people are told %q", d.reached())
			}
		})
	}
}

// What nobody may look into is judged by what the disk has lost.
func TestDiskHiddenFolders(t *testing.T) {
	d, free := fakeDisk(t, 10<<20, 9<<30, func(dir string) { check(t, os.Mkdir(dir+"/d", 0)) })
	t.Cleanup(func() { os.Chmod(d.roots[0].Name()+"/d", 0o700) })
	check(t, d.look())
	*free -= 20 << 20
	err := d.look()
	if root := os.Geteuid() == 0; root && err != nil { // who sees that nothing is in it
		t.Error(err)
	} else if limit, ok := errors.AsType[*LimitError](err); !root && (!ok || limit.Resource != Disk) {
		t.Errorf("the verdict is %v", err)
	}
}

// What the group wrote before the first walk could count it is no excuse.
func TestDiskCountsFromTheStart(t *testing.T) {
	d, free := fakeDisk(t, 10<<20, 9<<30, func(dir string) { put(t, dir+"/x", 20<<20) })
	*free -= 20 << 20
	if limit, ok := errors.AsType[*LimitError](d.look()); !ok || limit.Resource != Disk {
		t.Error("20 MB written at once are within a limit of 10")
	}
}

// A walk rests, and looks that need none do not walk.
func TestDiskIsNotBurnt(t *testing.T) {
	d, free := fakeDisk(t, 10<<20, 9<<30, func(dir string) { put(t, dir+"/x", 1<<20) })
	check(t, d.look())
	first := d.walked
	*free -= 8 << 20
	if check(t, d.look()); d.walked != first {
		t.Error("it walked for what could not matter")
	}
	*free -= 2 << 20
	if check(t, d.look()); d.walked == first {
		t.Error("it did not walk when the disk lost what would be too much")
	}
	d.turn <- struct{}{} // somebody else walks
	d.walked = time.Time{}
	done := make(chan error, 1)
	go func() { done <- d.look() }()
	select {
	case err := <-done:
		t.Errorf("two walk at once (%v)", err)
	case <-time.After(10 * time.Millisecond):
	}
	<-d.turn
	check(t, <-done)
}

// Processor time counts against the session, whoever in it used it.
func TestCPUTimeEndsTheSession(t *testing.T) {
	for name, n := range map[string]Engine{"what this machine has": newEngine(t, Options{}), "watchdog": withoutCgroups(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec, _ := fixture(t)
			spec.Grant.Limits.CPUTime = time.Second
			s, err := n.Start(t.Context(), spec)
			check(t, err)
			defer s.Close()
			b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin"}}
			// Each of these lives for a moment only.
			p := b.start(wire.Exec{Argv: []string{"/bin/sh", "-c", "while :; do (i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done); done"}})
			go io.Copy(io.Discard, p.Stdout)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			_, err = p.Wait(ctx)
			if limit, ok := errors.AsType[*LimitError](err); !ok || *limit != (LimitError{CPUTime, int64(time.Second)}) {
				t.Fatalf("it ended with %v", err)
			}
			if <-s.Done(); s.Err().Error() != "stopped: the session used more than 1s of processor time" {
				t.Errorf("the owner reads %q", s.Err())
			}
		})
	}
}

// A session yields to what else runs, and cannot take that back.
func TestSessionsAreLessUrgent(t *testing.T) {
	b := start(t)
	if !strings.Contains(strings.Join(b.Layers(), "\n"), "less urgent than other programs") {
		t.Errorf("layers %q", b.Layers())
	}
	if got := b.sh("nice; nice -n -3 nice 2>/dev/null; renice -n 0 -p $$ >/dev/null 2>&1; nice"); got != "5\n5\n5" && !strings.Contains(strings.Join(b.Layers(), "\n"), "programs: cgroup") {
		t.Errorf("niceness %q", got)
	}
}

// Where the kernel can hold it, a session has no more processors than its own.
func TestProcessorsAreBounded(t *testing.T) {
	e := newEngine(t, Options{})
	n := shared(e)
	spec, _ := fixture(t)
	spec.Grant.Limits.CPUs = 1
	s, err := e.Start(t.Context(), spec)
	check(t, err)
	defer s.Close()
	if n.cgroups.cpu == "" {
		if want := "the limit of 1 processors: no cgroup for them"; !has(s.Missing(), want) {
			t.Errorf("missing %q lacks %q", s.Missing(), want)
		}
		return
	}
	if want := fmt.Sprintf("1 processors: cgroup v%d", n.cgroups.version); !has(s.Layers(), want) {
		t.Errorf("layers %q lack %q", s.Layers(), want)
	}
	b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin"}}
	p := b.start(wire.Exec{Argv: []string{"/bin/sh", "-c", "for i in 1 2 3 4; do (while :; do :; done) & done; echo ready; wait"}})
	if line, err := bufio.NewReader(p.Stdout).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	var c clock
	began, before := time.Now(), c.read(s.PID())
	time.Sleep(time.Second)
	// The quota is for periods of a tenth of a second, and one may have begun.
	if used, most := c.read(s.PID())-before, time.Since(began)*5/4+200*time.Millisecond; used > most {
		t.Errorf("four busy processes used %v of processors in %v", used, most)
	}
}

// That processes were refused is told, though the session goes on.
func TestRefusedProcessesAreTold(t *testing.T) {
	e := newEngine(t, Options{})
	if shared(e).cgroups.pids == "" {
		return // rlimits tell nobody
	}
	spec, _ := fixture(t)
	spec.Grant.Limits.Processes = 20
	s, err := e.Start(t.Context(), spec)
	check(t, err)
	defer s.Close()
	if got := s.Reached(); got != nil {
		t.Errorf("at the start: %q", got)
	}
	b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin"}}
	b.sh("i=0; while [ $i -lt 40 ]; do (sleep 1000 >/dev/null 2>&1 &) 2>/dev/null; i=$((i+1)); done")
	for deadline := time.Now().Add(20 * time.Second); len(s.Reached()) == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.Close()
	if got := strings.Join(s.Reached(), "\n"); got != "it had 20 processes, and more were refused (limits.processes)" {
		t.Errorf("told: %q", got)
	}
}
