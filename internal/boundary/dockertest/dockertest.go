//go:build linux

// Package dockertest gives tests a real Docker that touches nothing of this machine:
// Debian's daemon, unpacked by make and not installed, in namespaces of mounts and
// of the network that are its own, with its storage and its socket in a folder of
// the test.
//
// It promises that daemon and containers end with the test. It needs root. What
// containers hold is for the tests.
package dockertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/boundary/podmantest"
)

// Env names the folder into which Docker's packages were unpacked.
const Env = "NANOCLAW_TEST_DOCKER"

// Docker is one of them.
type Docker struct {
	// Program is the client, and Env the environment with which it finds the daemon.
	Program string
	Env     []string
	dir     string
	tb      testing.TB
}

// New starts a daemon, which ends with the test.
func New(tb testing.TB) *Docker {
	tb.Helper()
	root := unpacked(tb)
	dir, err := os.MkdirTemp("", "nanoclaw-docker-")
	if err != nil {
		tb.Fatal(err)
	}
	d := &Docker{Program: filepath.Join(root, "usr/bin/docker"), dir: dir, tb: tb}
	path := "PATH=" + root + "/usr/sbin:" + root + "/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	d.Env = []string{path, "HOME=" + dir, "DOCKER_HOST=unix://" + d.socket()}
	cmd := exec.Command("/bin/sh", "-c", `mount --make-rprivate / && exec dockerd "$@"`, "dockerd",
		"--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "--host", "unix://"+d.socket(),
		"--config-file", dir+"/none.json", "--bridge", "none", "--iptables=false", "--ip6tables=false",
		"--cgroup-parent", d.cgroup())
	cmd.Env = []string{path, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM, Setsid: true}
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		tb.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	if err := os.WriteFile(filepath.Join(dir, "none.json"), []byte("{}"), 0o600); err != nil {
		tb.Fatal(err)
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
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.close(cmd, ended) })
	d.wait(ended)
	return d
}

// unpacked is the folder with Docker's programs.
func unpacked(tb testing.TB) string {
	tb.Helper()
	root := os.Getenv(Env)
	if root == "" {
		root = filepath.Join("..", "..", "tools", "docker", "root")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/dockerd")); err != nil {
		tb.Fatalf("Docker is missing, which make test fetches: %v", err)
	}
	return root
}

func (d *Docker) socket() string { return filepath.Join(d.dir, "docker.sock") }

// cgroup is the parent of its containers' cgroups.
func (d *Docker) cgroup() string { return "/" + filepath.Base(d.dir) }

// wait waits until the daemon answers.
func (d *Docker) wait(ended <-chan struct{}) {
	d.tb.Helper()
	for range 600 {
		if _, err := d.run("version"); err == nil {
			return
		}
		select {
		case <-ended:
			d.tb.Fatalf("the daemon ended:\n%s", d.said())
		case <-time.After(100 * time.Millisecond):
		}
	}
	d.tb.Fatalf("the daemon does not answer:\n%s", d.said())
}

func (d *Docker) said() []byte {
	text, _ := os.ReadFile(filepath.Join(d.dir, "said"))
	return text[max(len(text)-4096, 0):]
}

// close removes every container, ends the daemon and removes what it kept.
func (d *Docker) close(cmd *exec.Cmd, ended <-chan struct{}) {
	if out, _ := d.run("ps", "--all", "--quiet"); out != "" {
		d.run(append([]string{"rm", "--force"}, strings.Fields(out)...)...)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		d.tb.Errorf("the daemon does not end:\n%s", d.said())
		cmd.Process.Kill()
		<-ended
	}
	if err := os.RemoveAll(d.dir); err != nil {
		d.tb.Logf("%v", err)
	}
	left, _ := filepath.Glob("/sys/fs/cgroup/*" + d.cgroup())
	for _, dir := range append(left, "/sys/fs/cgroup"+d.cgroup()) {
		os.Remove(dir)
	}
}

func (d *Docker) run(args ...string) (string, error) {
	cmd := exec.Command(d.Program, args...)
	cmd.Env = d.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("docker %v: %w\n%s", args, err, out)
	}
	return string(out), err
}

// Run runs a command of it, and gives what it printed.
func (d *Docker) Run(args ...string) string {
	d.tb.Helper()
	out, err := d.run(args...)
	if err != nil {
		d.tb.Fatal(err)
	}
	return out
}

// Containers are the names of all containers.
func (d *Docker) Containers() []string {
	d.tb.Helper()
	return strings.Fields(d.Run("ps", "--all", "--format", "{{.Names}}"))
}

// Hollow makes an image that has folders and links alone, see podmantest.
func (d *Docker) Hollow(name string) {
	d.tb.Helper()
	cmd := exec.Command(d.Program, "import", "-", name)
	cmd.Env, cmd.Stdin = d.Env, bytes.NewReader(podmantest.HollowTar(d.tb, 0o1777))
	if out, err := cmd.CombinedOutput(); err != nil {
		d.tb.Fatalf("docker import: %v\n%s", err, out)
	}
}

// Storage is the folder in which it keeps everything.
func (d *Docker) Storage() string { return d.dir }
