package boundary

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// What gVisor runs on this machine is held to more than that its processes are there.
func TestSandboxed(t *testing.T) {
	const good = "Name:\texe\nNSpid:\t15028\t1\nCapEff:\t000000000008001f\nNoNewPrivs:\t1\nSeccomp:\t2\n"
	for _, tt := range []struct{ name, status, want string }{
		{"as runsc starts it", good, ""},
		{"without a filter", strings.Replace(good, "Seccomp:\t2", "Seccomp:\t0", 1), "Seccomp is 0"},
		{"new privileges", strings.Replace(good, "NoNewPrivs:\t1", "NoNewPrivs:\t0", 1), "NoNewPrivs is 0"},
		{"nothing said of a filter", strings.Replace(good, "Seccomp:\t2\n", "", 1), "does not say Seccomp"},
		{"in our PID namespace", strings.Replace(good, "15028\t1", "15028", 1), "our PID namespace"},
		{"nothing said of namespaces", strings.Replace(good, "NSpid:\t15028\t1\n", "", 1), "our PID namespace"},
	} {
		err := sandboxed(tt.status)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if a := threads([]int{os.Getpid()}, sandboxed); !a.Broke {
		t.Errorf("this process is taken for one of gVisor's: %s", a.Detail)
	}
	if a := threads(nil, sandboxed); !a.Broke {
		t.Errorf("nothing to look at is taken for confined: %s", a.Detail)
	}
}

// A probe that did not look at the init within gVisor is no proof.
func TestUnlooked(t *testing.T) {
	if a := unlooked([]wire.Attempt{{Name: "trace the init"}}); !a.Broke {
		t.Error("a probe that did not look passes")
	}
	if a := unlooked([]wire.Attempt{{Name: "trace the init"}, {Name: wire.ThreadsWithin}}); a.Broke {
		t.Error(a.Detail)
	}
}

// The limits are looked at when a process ends, and not before; and who asks while that
// is under way has its answer.
func TestLookAtEnd(t *testing.T) {
	hold, release, err := os.Pipe()
	noError(t, err)
	cmd := exec.Command("/bin/cat")
	cmd.Stdin = hold
	noError(t, cmd.Start())
	hold.Close()
	l := lookAtEnd(cmd.Process.Pid, func() *LimitError { return &LimitError{Memory, 1} })
	if l == nil {
		t.Fatal("the process is not watched")
	}
	defer l.process.Close()
	if l.ended() {
		t.Error("it has ended before its end")
	}
	release.Close()
	noError(t, cmd.Wait())
	if !l.ended() {
		t.Error("it has not ended after its end")
	}
	if <-l.done; l.passed == nil || l.passed.Resource != Memory {
		t.Errorf("the look saw %v", l.passed)
	}

	quiet := lookAtEnd(os.Getpid(), func() *LimitError { t.Error("it looked at a process that lives"); return nil })
	quiet.process.Close()
	if <-quiet.done; quiet.passed != nil {
		t.Error("it saw something")
	}
}

// What the gofer hands out is compared by inode, and no link leads out of its root.
func TestHandedOut(t *testing.T) {
	root := t.TempDir()
	noError(t, os.MkdirAll(root+"/workspace/group", 0o755))
	noError(t, os.Symlink("/", root+"/link"))
	var st unix.Stat_t
	noError(t, unix.Stat(root+"/workspace/group", &st))
	fd, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	noError(t, err)
	defer unix.Close(fd)
	m := wire.Mount{Target: "/workspace/group", Source: "/here", Dev: st.Dev, Ino: st.Ino}
	if err := handedOut(fd, m); err != nil {
		t.Error(err)
	}
	other := m
	other.Ino++
	if err := handedOut(fd, other); err == nil || !strings.Contains(err.Error(), "/here changed while starting") {
		t.Errorf("another inode: %v", err)
	}
	for _, target := range []string{"/link", "/link/etc", "/none", "/../x"} {
		m.Target = target
		if err := handedOut(fd, m); err == nil {
			t.Errorf("%s was looked at", target)
		}
	}
}

// A last look that could not be taken leaves the limits to be looked at as ever.
func TestNoLastLook(t *testing.T) {
	l := &limits{entered: make(chan struct{})}
	l.Memory = 1
	l.watched.Store(int64(os.Getpid()))
	close(l.entered)
	b := &containerBounds{limits: l}
	blind := &lastLook{done: make(chan struct{})}
	close(blind.done)
	b.last.Store(blind)
	if got := b.over(); got == nil || got.Resource != Memory {
		t.Errorf("the limits say %v", got)
	}
	seen := &lastLook{done: make(chan struct{}), passed: &LimitError{CPUTime, 1}}
	close(seen.done)
	b.last.Store(seen)
	if got := b.over(); got == nil || got.Resource != CPUTime {
		t.Errorf("the last look is forgotten: %v", got)
	}
}
