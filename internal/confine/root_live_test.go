//go:build linux && (amd64 || arm64)

package confine

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// inNamespaces makes a child live in namespaces of its own, with the
// capabilities that the init has there. Nothing it mounts is seen elsewhere.
func inNamespaces(cmd *exec.Cmd, uid int) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 1000, HostID: uid, Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 1000, HostID: uid, Size: 1}},
		GidMappingsEnableSetgroups: os.Getuid() == 0,
		AmbientCaps:                []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP, unix.CAP_SYS_CHROOT},
		Pdeathsig:                  syscall.SIGKILL,
	}
	if uid != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 1000, Gid: 1000}
	}
	return cmd
}

// plainUser is somebody who is not root.
func plainUser() int {
	if uid := os.Getuid(); uid != 0 {
		return uid
	}
	return 65534
}

// runInside runs the calling test in a child in namespaces.
func runInside(t *testing.T, env ...string) {
	t.Helper()
	uid := plainUser()
	out, err := inNamespaces(childCommand(t, uid, env...), uid).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nPASS\n") {
		t.Errorf("child %v: %v\n%s", env, err, out)
	}
}

// pinned opens path as the host does for a mount.
func pinned(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// The root holds what the spec names and nothing else, whichever way the
// process came into it, and whether the mounts came with the spec or later.
func TestRoot(t *testing.T) {
	if !asChild() {
		dir, err := os.MkdirTemp("", "confine-root")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		for _, path := range []string{dir, filepath.Join(dir, "ro"), filepath.Join(dir, "rw")} {
			os.Mkdir(path, 0o777)
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "ro", "file"), []byte("read"), 0o644); err != nil {
			t.Fatal(err)
		}
		runInside(t, "DIR="+dir, "ENTER=pivot")
		runInside(t, "DIR="+dir, "ENTER=chroot")
		runInside(t, "DIR="+dir, "ENTER=pivot", "LATE=all")
		runInside(t, "DIR="+dir, "ENTER=pivot", "LATE=one")
		return
	}
	dir := os.Getenv("DIR")
	pivot := func() error { return unix.PivotRoot(".", ".") }
	if os.Getenv("ENTER") == "chroot" {
		pivot = func() error { return unix.EINVAL } // as on a kernel's first root
	}
	ro, rw := filepath.Join(dir, "ro"), filepath.Join(dir, "rw")
	mounts := []wire.Mount{
		{Target: "/a/ro", Source: ro, FD: pinned(t, ro)},
		{Target: "/a/rw", Source: rw, FD: pinned(t, rw), Write: true},
		{Target: "/a/file", Source: ro + "/file", FD: pinned(t, ro+"/file"), File: true},
	}
	early := map[string]int{"": 3, "one": 2, "all": 0}[os.Getenv("LATE")]
	r, err := NewRoot(wire.Spec{
		TmpBytes: 1 << 20, Mounts: mounts[:early],
		Links: []wire.Link{{Path: "/link", Target: "a/ro"}},
		Files: []wire.File{{Path: "/etc/passwd", Data: []byte("agent")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.pivot = pivot
	if err := r.Mount(mounts[early:]); err != nil {
		t.Fatal(err)
	}
	if err := r.Enter(); err != nil {
		t.Fatal(err)
	}
	checkView(t, dir)
	checkWrites(t)
	checkProc(t)
}

func checkView(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"a", "dev", "etc", "link", "proc", "run", "tmp"}; !slices.Equal(names, want) {
		t.Errorf("the root holds %q, want %q", names, want)
	}
	for _, path := range []string{dir, "/.." + dir, "/proc/1/root" + dir, "/usr", "/etc/shadow"} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, want := range map[string]string{"/a/ro/file": "read", "/link/file": "read", "/a/file": "read", "/etc/passwd": "agent"} {
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s holds %q, %v", path, got, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		known := slices.ContainsFunc([]string{"/a/", "/dev/", "/proc", "/tmp"}, func(p string) bool { return strings.HasPrefix(f[4], p) })
		if f[4] != "/" && !known {
			t.Errorf("a mount that nobody asked for: %s", line)
		}
		if !strings.Contains(f[5], "nosuid") {
			t.Errorf("a mount that honours set-uid: %s", line)
		}
	}
	if umask := unix.Umask(0o022); umask != 0o022 {
		t.Errorf("the umask is %o", umask)
	}
}

func checkWrites(t *testing.T) {
	t.Helper()
	for path, want := range map[string]error{
		"/x": unix.EROFS, "/etc/x": unix.EROFS, "/a/x": unix.EROFS, "/dev/x": unix.EROFS, "/run/x": unix.EROFS, "/a/ro/x": unix.EROFS,
		"/a/file": unix.EROFS, "/etc/passwd": unix.EROFS, "/a/rw/x": nil, "/tmp/x": nil, "/dev/shm/x": nil, "/dev/null": nil,
	} {
		if err := os.WriteFile(path, []byte("x"), 0o600); !errors.Is(err, want) {
			t.Errorf("write %s: %v, want %v", path, err, want)
		}
	}
	// One size for all private folders together.
	half := bytes.Repeat([]byte("x"), 600<<10)
	if err := os.WriteFile("/tmp/half", half, 0o600); err != nil {
		t.Errorf("half of the size: %v", err)
	}
	if err := os.WriteFile("/dev/shm/half", half, 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("more than the size: %v", err)
	}
	if fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0); err != nil {
		t.Errorf("a terminal: %v", err)
	} else {
		unix.Close(fd)
	}
}

func checkProc(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/proc/self/mem", "/proc/self/comm", "/proc/sys/kernel/hostname", "/proc/self/oom_score_adj"} {
		if fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
			t.Errorf("%s can be opened for writing", path)
		}
	}
	for _, name := range masks {
		if got, err := os.ReadFile("/proc/" + name); len(got) > 0 {
			t.Errorf("/proc/%s holds %d bytes, %v", name, len(got), err)
		}
	}
	if got := fmt.Sprint(os.Getpid()); got != "1" {
		t.Errorf("we are process %s of the new /proc", got)
	}
}

// Whatever is wrong with a mount is told, and no root is made of the rest.
func TestRootRefuses(t *testing.T) {
	if !asChild() {
		for _, name := range []string{"another inode", "a link", "no such target", "through a link", "not clean", "open attributes"} {
			runInside(t, "CASE="+name)
			runInside(t, "CASE="+name, "LATE=all")
		}
		return
	}
	dir, err := os.MkdirTemp("/dev/shm", "root")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	good, other, link := filepath.Join(dir, "good"), filepath.Join(dir, "other"), filepath.Join(dir, "link")
	for _, d := range []string{good, other} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for to, at := range map[string]string{good: link, "/usr": filepath.Join(good, "evil")} {
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	mount := func(target string) wire.Mount { return wire.Mount{Target: target, Source: good, FD: pinned(t, good)} }
	c, want := []wire.Mount{mount("/a")}, ""
	switch os.Getenv("CASE") {
	case "another inode":
		c[0].FD, want = pinned(t, other), "changed while starting"
	case "a link":
		c[0].Source, want = link, "symbolic links"
	case "no such target":
		c, want = append(c, mount("/a/absent")), "does not exist"
	case "through a link":
		c, want = append(c, mount("/a/evil/x")), "symbolic links"
	case "not clean":
		c[0].Target, want = "/a/../b", "not a clean absolute path"
	case "open attributes":
		fd, err := unix.OpenTree(c[0].FD, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		c[0], want = wire.Mount{Target: "/a", FD: fd, Detached: true}, "handed over with flags"
	}
	if os.Getenv("LATE") == "" {
		_, err = NewRoot(wire.Spec{Mounts: c})
	} else if r, e := NewRoot(wire.Spec{}); e != nil {
		t.Fatal(e)
	} else {
		err = r.Mount(c)
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// Without the early entry point of the init, Drop has to do everything on
// threads that are already there.
func TestDropReachesEveryThread(t *testing.T) {
	if !asChild() {
		runInside(t)
		return
	}
	onThreads(4)
	if err := Drop(); err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"} {
		for _, v := range threadStatus(t, set) {
			if v != "0000000000000000" {
				t.Errorf("%s of a thread is %s", set, v)
			}
		}
	}
	for _, v := range threadStatus(t, "NoNewPrivs") {
		if v != "1" {
			t.Errorf("NoNewPrivs of a thread is %s", v)
		}
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable is %d, %v", dumpable, err)
	}
}

func TestKeyringIsSharedByThreadsAndNew(t *testing.T) {
	if !asChild() {
		runInside(t)
		return
	}
	each := onThreads(4)
	session := func() int {
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		if err != nil {
			t.Error(err)
		}
		return id
	}
	before := session()
	if err := JoinKeyring(); err != nil {
		t.Fatal(err)
	}
	after := session()
	if after == before {
		t.Error("the keyring is the old one")
	}
	each(func() {
		if id := session(); id != after {
			t.Errorf("a thread has keyring %d, another %d", id, after)
		}
	})
}

func TestLoopbackUp(t *testing.T) {
	if !asChild() {
		runInside(t)
		return
	}
	if conn, err := net.Dial("udp4", "127.0.0.1:9"); err == nil {
		conn.Close()
		t.Fatal("loopback is up before")
	}
	if err := LoopbackUp(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestLimited(t *testing.T) {
	if !asChild() {
		runInside(t)
		return
	}
	limits := []wire.Rlimit{{Resource: unix.RLIMIT_CORE}, {Resource: unix.RLIMIT_NPROC, Value: 200}, {Resource: unix.RLIMIT_NOFILE, Value: 64}}
	if err := Rlimits(limits); err != nil {
		t.Fatal(err)
	}
	show := []string{"/bin/cat", "/proc/self/limits"}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := Limited(limits, func() (int, error) {
		return syscall.ForkExec(show[0], show, &syscall.ProcAttr{Files: []uintptr{0, w.Fd(), 2}})
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	unix.Wait4(pid, nil, 0, nil)
	for _, want := range []string{"Max processes 200 ", "Max core file size 0 0", "Max open files 64 64"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &own); err != nil || own.Cur != 200+Spare {
		t.Errorf("our own limit is %d, %v", own.Cur, err)
	}
}
