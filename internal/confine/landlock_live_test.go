//go:build linux && (amd64 || arm64)

package confine

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// TestLandlockLive restricts a child to a few folders and tries what they do
// not allow, on threads that existed before.
func TestLandlockLive(t *testing.T) {
	if asChild() {
		landlockChild(t)
		return
	}
	for name, uid := range uids() {
		t.Run(name, func(t *testing.T) {
			victim := exec.Command("sleep", "600")
			victim.SysProcAttr = as(uid)
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				victim.Process.Kill()
				victim.Wait()
			}()
			runChild(t, uid, "VICTIM="+strconv.Itoa(victim.Process.Pid), "WORLD="+publicDir(t, uid))
		})
	}
}

// world is what the child finds before it is restricted.
type world struct {
	readOnly, write, write2, secret string
	file                            string // a single file that may be written
	abstract                        string // an abstract socket from before
	victim                          int    // a process from before
}

func newWorld(t *testing.T) world {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("WORLD"), "")
	if err != nil {
		t.Fatal(err)
	}
	w := world{
		readOnly: filepath.Join(dir, "ro"), write: filepath.Join(dir, "rw"), write2: filepath.Join(dir, "rw2"),
		secret: filepath.Join(dir, "secret"), file: filepath.Join(dir, "single"),
		abstract: "@landlock-test-" + os.Getenv("VICTIM"),
	}
	for _, d := range []string{w.readOnly, w.write, w.write2, w.secret} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "file"), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "program"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(w.secret, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if w.victim, err = strconv.Atoi(os.Getenv("VICTIM")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) rules() []wire.PathRule {
	rules := []wire.PathRule{
		{Path: w.readOnly, Read: true, Exec: true},
		{Path: w.write, Read: true, Write: true, Exec: true},
		{Path: w.write2, Read: true, Write: true},
		{Path: w.file, Read: true, Write: true},
		{Path: "/proc", Read: true},
		{Path: "/dev/null", Read: true, Write: true},
	}
	for _, p := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if info, err := os.Lstat(p); err == nil && info.IsDir() {
			rules = append(rules, wire.PathRule{Path: p, Read: true, Exec: true})
		}
	}
	return rules
}

func landlockChild(t *testing.T) {
	each := onThreads(4)
	w := newWorld(t)
	l, err := net.Listen("unix", w.abstract)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, a := range w.attacks() {
		if err := a.do(); err != nil {
			t.Errorf("control: %s fails without Landlock too: %v", a.name, err)
		}
	}
	w = newWorld(t)

	refusedRules(t, w)
	layer, missing, err := enterDomain(w.rules())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(layer, missing)
	if !strings.HasPrefix(layer, "landlock ABI ") {
		t.Errorf("layer %q", layer)
	}
	attack := func() {
		for _, a := range w.attacks() {
			if err := a.do(); !errors.Is(err, a.want) {
				t.Errorf("%s: %v, want %v", a.name, err, a.want)
			}
		}
	}
	attack()
	each(attack)
	for _, v := range threadStatus(t, "NoNewPrivs") {
		if v != "1" {
			t.Errorf("a thread has NoNewPrivs %s", v)
		}
	}
	allowed(t, w)
}

func enterDomain(rules []wire.PathRule) (layer, missing string, err error) {
	d, err := NewDomain(1)
	if err != nil {
		return "", "", err
	}
	half := len(rules) / 2 // they may come in pieces
	if err := errors.Join(d.Allow(rules[:half]), d.Allow(rules[half:])); err != nil {
		return "", "", err
	}
	return d.Enter()
}

// refusedRules shows that wrong rules are errors, before anything is restricted.
func refusedRules(t *testing.T, w world) {
	for name, path := range map[string]string{
		"missing path":  filepath.Join(w.readOnly, "none"),
		"link":          filepath.Join(filepath.Dir(w.readOnly), "link"),
		"behind a link": filepath.Join(filepath.Dir(w.readOnly), "link", "file"),
	} {
		if _, _, err := enterDomain([]wire.PathRule{{Path: path, Read: true}}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("rule for a %s: %v", name, err)
		}
	}
	if _, err := NewDomain(99); err == nil {
		t.Error("a floor of 99 is accepted")
	}
	if _, err := os.ReadFile(filepath.Join(w.secret, "file")); err != nil {
		t.Errorf("a refused call restricted the process all the same: %v", err)
	}
}

type attack struct {
	name string
	do   func() error
	want error
}

// attacks are what the rules do not allow. Done without Landlock, they work.
func (w world) attacks() []attack {
	in := filepath.Join
	write := func(path string) func() error {
		return func() error { return os.WriteFile(path, []byte("new"), 0o644) }
	}
	return []attack{
		{"read outside", func() error { _, err := os.ReadFile(in(w.secret, "file")); return err }, unix.EACCES},
		{"list outside", func() error { _, err := os.ReadDir(w.secret); return err }, unix.EACCES},
		{"list the root", func() error { _, err := os.ReadDir("/"); return err }, unix.EACCES},
		{"write outside", write(in(w.secret, "file")), unix.EACCES},
		{"create outside", write(in(w.secret, "new")), unix.EACCES},
		{"run outside", func() error { return exec.Command(in(w.secret, "program")).Run() }, unix.EACCES},
		{"write read-only", write(in(w.readOnly, "file")), unix.EACCES},
		{"truncate read-only", func() error { return os.Truncate(in(w.readOnly, "file"), 1) }, unix.EACCES},
		{"create in read-only", write(in(w.readOnly, "new")), unix.EACCES},
		{"make a folder in read-only", func() error { return os.Mkdir(in(w.readOnly, "dir"+strconv.Itoa(unix.Gettid())), 0o755) }, unix.EACCES},
		{"make a link in read-only", func() error { return os.Symlink("x", in(w.readOnly, "link"+strconv.Itoa(unix.Gettid()))) }, unix.EACCES},
		{"run where only writing is allowed", func() error { return exec.Command(in(w.write2, "program")).Run() }, unix.EACCES},
		{"move out of the writable", func() error { return os.Rename(in(w.write, "file"), in(w.secret, "moved")) }, unix.EACCES},
		{"link the secret into the writable", func() error { return os.Link(in(w.secret, "program"), in(w.write, "stolen")) }, unix.EXDEV},
		{"remove read-only", func() error { return os.Remove(in(w.readOnly, "file")) }, unix.EACCES},
		{"remove outside", func() error { return os.Remove(in(w.secret, "file")) }, unix.EACCES},
		{"signal a process from before", func() error { return unix.Kill(w.victim, 0) }, unix.EPERM},
		{"read a process from before", func() error {
			file := "environ"
			if os.Getuid() == 0 {
				file = "mem" // to CAP_PERFMON the kernel gives the other, Landlock or not
			}
			f, err := os.Open(filepath.Join("/proc", strconv.Itoa(w.victim), file))
			if err == nil {
				f.Close()
			}
			return err
		}, unix.EACCES},
		{"connect to an abstract socket from before", func() error {
			c, err := net.Dial("unix", w.abstract)
			if err == nil {
				c.Close()
			}
			return err
		}, unix.EPERM},
	}
}

// allowed does what the rules allow.
func allowed(t *testing.T, w world) {
	in := filepath.Join
	must := func(what string, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := os.ReadFile(in(w.readOnly, "file"))
	must("read", err)
	must("run from read-only", exec.Command(in(w.readOnly, "program")).Run())
	must("write", os.WriteFile(in(w.write, "new"), []byte("new"), 0o644))
	must("truncate", os.Truncate(in(w.write, "new"), 1))
	must("make a folder", os.MkdirAll(in(w.write, "a/b"), 0o755))
	must("rename across folders", os.Rename(in(w.write, "new"), in(w.write, "a/b/new")))
	must("rename across writable trees", os.Rename(in(w.write, "a/b/new"), in(w.write2, "new")))
	must("link", os.Link(in(w.write2, "new"), in(w.write2, "linked")))
	must("fifo", unix.Mkfifo(in(w.write, "fifo"), 0o600))
	must("remove", os.RemoveAll(in(w.write, "a")))
	must("write a single file", os.WriteFile(w.file, []byte("new"), 0o644))
	must("write to /dev/null", os.WriteFile("/dev/null", []byte("x"), 0))
	must("signal itself", unix.Kill(os.Getpid(), 0))
	err = unix.Mknod(in(w.write, "device"), unix.S_IFCHR, 0x103)
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		t.Errorf("make a device: %v", err)
	}
}

// publicDir is a temporary folder of uid's, which it can reach.
func publicDir(t *testing.T, uid int) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	return dir
}
