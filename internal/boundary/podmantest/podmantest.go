//go:build linux

// Package podmantest gives tests a real podman that touches nothing of this
// machine: its storage lies in a folder of the test, its settings are written here,
// and as root it runs in a mount namespace of its own, so that the mounts of its
// containers are no mounts of the machine.
//
// It promises that nothing is left behind: containers are removed and the namespace
// ends with the test. What containers hold is for the tests.
package podmantest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Podman is one of them.
type Podman struct {
	// Program is a script that runs it, for everybody who may read the folder.
	Program string
	// Env is the environment that it needs.
	Env []string
	dir string
	tb  testing.TB
}

// settings are those that podman needs where a machine has cgroups of both
// versions and no systemd.
const settings = `[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
`

// storage keeps images as overlays; without it an ordinary user's are copied.
const storage = "[storage]\ndriver = \"overlay\"\ngraphroot = \"%[1]s/root\"\nrunroot = \"%[1]s/run\"\n"

// New makes one in a folder that is removed with the test.
func New(tb testing.TB) *Podman {
	tb.Helper()
	if _, err := exec.LookPath("podman"); err != nil {
		tb.Fatal("podman is not installed: make deps installs it")
	}
	dir, err := os.MkdirTemp("", "nanoclaw-podman-")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Podman{Program: filepath.Join(dir, "podman"), dir: dir, tb: tb}
	enter := ""
	if os.Geteuid() == 0 {
		enter = fmt.Sprintf("nsenter --mount=/proc/%d/ns/mnt ", p.namespace())
	}
	tb.Cleanup(p.close)
	for name, text := range map[string]string{
		"containers.conf": settings, "storage.conf": fmt.Sprintf(storage, dir),
		"podman": "#!/bin/sh\nexport CONTAINERS_CONF=" + dir + "/containers.conf CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf\n" +
			"exec " + enter + "/usr/bin/podman --root " + dir + "/root --runroot " + dir + "/run --tmpdir " + dir + "/tmp \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	p.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir}
	return p
}

// Runsc is the path of gVisor's OCI runtime, "" where it is not installed: "make runsc"
// builds it, and says where it is in NANOCLAW_TEST_RUNSC.
func Runsc() string {
	if path := os.Getenv("NANOCLAW_TEST_RUNSC"); path != "" {
		return path
	}
	path, _ := exec.LookPath("runsc")
	return path
}

// namespace starts a process in a mount namespace of its own, and gives its number.
func (p *Podman) namespace() int {
	cmd := exec.Command("/bin/sh", "-c", "mount --make-rprivate / && echo ready && exec cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	hold, err := cmd.StdinPipe()
	if err != nil {
		p.tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.tb.Fatal(err)
	}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // by whose end the kernel takes us for dead
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		p.tb.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		p.tb.Fatal("no mount namespace for podman: ", err)
	}
	p.tb.Cleanup(func() { // after close, which needs it
		hold.Close()
		<-ended
	})
	return cmd.Process.Pid
}

// close removes every container and the storage.
func (p *Podman) close() {
	if out, err := p.run("rm", "--all", "--force", "--time", "0"); err != nil {
		p.tb.Logf("podman rm: %v\n%s", err, out)
	}
	remove := exec.Command("rm", "-rf", p.dir)
	if os.Geteuid() != 0 { // files of containers belong to further uids of ours
		p.run("system", "reset", "--force")
	}
	if out, err := remove.CombinedOutput(); err != nil {
		p.tb.Logf("%v\n%s", err, out)
	}
}

func (p *Podman) run(args ...string) (string, error) {
	cmd := exec.Command(p.Program, args...)
	cmd.Env = p.Env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Run runs a command of it, and gives what it printed.
func (p *Podman) Run(args ...string) string {
	p.tb.Helper()
	out, err := p.run(args...)
	if err != nil {
		p.tb.Fatalf("podman %v: %v\n%s", args, err, out)
	}
	return out
}

// Storage is the folder in which it keeps everything.
func (p *Podman) Storage() string { return p.dir }

// Containers are the names of all containers.
func (p *Podman) Containers() []string {
	p.tb.Helper()
	return strings.Fields(p.Run("ps", "--all", "--format", "{{.Names}}"))
}

// Hollow makes an image that has folders and links alone, for sessions whose grant
// mounts this machine's own system.
func (p *Podman) Hollow(name string) {
	p.tb.Helper()
	cmd := exec.Command(p.Program, "import", "--quiet", "-", name)
	cmd.Env, cmd.Stdin = p.Env, bytes.NewReader(HollowTar(p.tb, 0o1777))
	if out, err := cmd.CombinedOutput(); err != nil {
		p.tb.Fatalf("podman import: %v\n%s", err, out)
	}
}

// HollowTar is the tar file of a root that has folders and links alone. What is
// mounted at its /tmp has the mode tmp too.
func HollowTar(tb testing.TB, tmp int64) []byte {
	tb.Helper()
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, d := range []string{"usr", "proc", "dev", "sys", "tmp", "etc", "run", "opt", "workspace", "home"} {
		mode := int64(0o755)
		if d == "tmp" {
			mode = tmp
		}
		must(tb, t.WriteHeader(&tar.Header{Name: d + "/", Mode: mode, Typeflag: tar.TypeDir}))
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if to, err := os.Readlink("/" + l); err == nil {
			must(tb, t.WriteHeader(&tar.Header{Name: l, Linkname: to, Mode: 0o777, Typeflag: tar.TypeSymlink}))
		}
	}
	must(tb, t.Close())
	return b.Bytes()
}

// programs are those of a root for tests.
var programs = []string{"bash", "env", "id", "cat", "ls", "stat", "find", "sort", "head", "tail", "grep", "sed", "mkdir", "rm", "cp", "mv",
	"touch", "readlink", "wc", "tr", "sleep", "uname", "hostname", "date", "chmod", "ln", "git", "dd", "true"}

// Root makes the root of a system in a folder, from programs of this machine and the
// libraries that they need: bash and the usual small ones, git, and those named more.
func Root(tb testing.TB, dir string, more ...string) {
	tb.Helper()
	for _, d := range []string{"usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "proc", "dev", "sys", "run", "opt", "workspace", "home"} {
		must(tb, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, l := range []string{"bin", "lib", "lib64"} {
		must(tb, os.Symlink("usr/"+l, filepath.Join(dir, l)))
	}
	must(tb, os.Symlink("usr/bin", filepath.Join(dir, "sbin")))
	for _, name := range slices.Concat(programs, more) {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			tb.Fatal(err)
		}
		install(tb, path, filepath.Join(dir, "usr/bin", name))
		Libraries(tb, dir, path)
	}
	must(tb, os.Symlink("bash", filepath.Join(dir, "usr/bin/sh")))
}

// Libraries puts those that a program of this machine needs into a root. A script, or
// one that needs none, has none.
func Libraries(tb testing.TB, dir, program string) {
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		return
	}
	for _, word := range strings.Fields(string(out)) {
		if filepath.IsAbs(word) {
			install(tb, word, filepath.Join(dir, "usr", libraryFolder(word), filepath.Base(word)))
		}
	}
}

// libraryFolder is where a loader looks for a library: the loader itself is named
// with its folder.
func libraryFolder(path string) string {
	if filepath.Dir(path) == "/lib64" {
		return "lib64"
	}
	return "lib"
}

func install(tb testing.TB, from, to string) {
	if _, err := os.Stat(to); err == nil {
		return
	}
	data, err := os.ReadFile(from)
	must(tb, err)
	must(tb, os.WriteFile(to, data, 0o755))
}

func must(tb testing.TB, err error) {
	if err != nil {
		tb.Helper()
		tb.Fatal(err)
	}
}
