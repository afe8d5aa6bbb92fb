package boundary

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A start that fails between the two processes leaves neither, and says why.
func TestLaunchThatFails(t *testing.T) {
	ours := identity{uid: os.Geteuid(), gid: os.Getegid()}
	for _, c := range []struct {
		name  string
		flags uintptr
		id    identity
		want  error
		born  bool
	}{
		{"clone refuses", unix.CLONE_NEWNS | unix.CLONE_FS, ours, unix.EINVAL, false},
		{"nobody has such a uid", namespaces, identity{uid: -1, gid: ours.gid}, unix.EINVAL, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNative(t, Options{})
			p, err := newPipes()
			if err != nil {
				t.Fatal(err)
			}
			defer p.closeOurs()
			files := []uintptr{p.child[0].Fd(), p.child[1].Fd(), p.child[2].Fd(), n.program.Fd()}
			first, second, err := n.fork(c.flags, "/proc/self/fd/3", []string{"nanoclaw-init", "0"}, files, c.id, p)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if c.born != (second > 0) {
				t.Errorf("the second process has the number %d", second)
			}
			for _, pid := range []int{first, second} {
				if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); pid > 0 && err != unix.ECHILD {
					t.Errorf("process %d is left: %d, %v", pid, got, err)
				}
			}
		})
	}
}

// An init that stands ready holds what it needs to finish, and can gain no more.
func TestSpareHoldsWhatItNeeds(t *testing.T) {
	n := newNative(t, Options{})
	keep(t, n, 1)
	spec, _ := fixture(t)
	makeSpare(t, n, spec)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.spares.first().child.PID()))
	if err != nil {
		t.Fatal(err)
	}
	const needed = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SYS_RESOURCE
	uid := spec.UID
	if uid == 0 {
		uid = os.Geteuid()
	}
	for _, want := range []string{
		fmt.Sprintf("CapPrm:\t%016x\n", needed), fmt.Sprintf("CapEff:\t%016x\n", needed),
		fmt.Sprintf("CapBnd:\t%016x\n", 0), fmt.Sprintf("CapAmb:\t%016x\n", 0), "NoNewPrivs:\t1\n",
		fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", uid),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "NSsid:") && !strings.HasSuffix(line, "\t1\n") {
			t.Errorf("it does not lead its session: %s", line)
		}
	}
}
