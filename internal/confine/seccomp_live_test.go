//go:build linux && (amd64 || arm64)

package confine

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempt is a system call made for real. Its arguments are chosen so that it
// does no harm, and so that the kernel, asked by root, would not itself answer
// with what the filter answers: that is checked first, without the filter.
type attempt struct {
	name string
	nr   uintptr
	args [6]uintptr
	want unix.Errno
}

const (
	none     = ^uintptr(0) // no descriptor, or flags that nobody knows
	badPoint = 1           // an address that is not mapped
	highBits = 1 << 32
)

func attempts() []attempt {
	return []attempt{
		{"unix socket", unix.SYS_SOCKET, [6]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}, unix.EPERM},
		{"unix socket behind high bits", unix.SYS_SOCKET, [6]uintptr{unix.AF_UNIX | highBits, unix.SOCK_STREAM}, unix.EPERM},
		{"datagram pair", unix.SYS_SOCKETPAIR, [6]uintptr{unix.AF_UNIX, unix.SOCK_DGRAM, 0, uintptr(unsafe.Pointer(new([2]int32)))}, unix.EPERM},
		{"mptcp", unix.SYS_SOCKET, [6]uintptr{unix.AF_INET, unix.SOCK_STREAM, 262}, unix.EPROTONOSUPPORT},
		{"packet socket", unix.SYS_SOCKET, [6]uintptr{unix.AF_PACKET, unix.SOCK_RAW}, unix.EAFNOSUPPORT},
		{"netlink audit", unix.SYS_SOCKET, [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, unix.EPROTONOSUPPORT},
		{"clone3", unix.SYS_CLONE3, [6]uintptr{badPoint, 88}, unix.ENOSYS},
		{"clone", unix.SYS_CLONE, [6]uintptr{unix.CLONE_NEWUSER | unix.CLONE_FS}, unix.EPERM},
		{"unshare", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUTS}, unix.EPERM},
		{"unshare of a later kernel", unix.SYS_UNSHARE, [6]uintptr{1 << 37}, unix.EPERM},
		{"setns", unix.SYS_SETNS, [6]uintptr{none}, unix.EPERM},
		{"chroot", unix.SYS_CHROOT, [6]uintptr{badPoint}, unix.EPERM},
		{"pivot_root", unix.SYS_PIVOT_ROOT, [6]uintptr{badPoint, badPoint}, unix.EPERM},
		{"mount", unix.SYS_MOUNT, [6]uintptr{badPoint, badPoint, badPoint}, unix.EPERM},
		{"umount2", unix.SYS_UMOUNT2, [6]uintptr{badPoint, 0xffff}, unix.EPERM},
		{"open_tree", unix.SYS_OPEN_TREE, [6]uintptr{none, badPoint, 0xffff0000}, unix.EPERM},
		{"move_mount", unix.SYS_MOVE_MOUNT, [6]uintptr{none, badPoint, none, badPoint, none}, unix.EPERM},
		{"fsopen", unix.SYS_FSOPEN, [6]uintptr{badPoint, 0xffff}, unix.EPERM},
		{"fsconfig", unix.SYS_FSCONFIG, [6]uintptr{none, 0xffff}, unix.EPERM},
		{"fsmount", unix.SYS_FSMOUNT, [6]uintptr{none, 0xffff}, unix.EPERM},
		{"fspick", unix.SYS_FSPICK, [6]uintptr{none, badPoint, 0xffff}, unix.EPERM},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, [6]uintptr{none, badPoint, 0xffff0000}, unix.EPERM},
		{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, [6]uintptr{none, badPoint, badPoint, badPoint, 0xffff0000}, unix.EPERM},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{none, badPoint}, unix.EPERM},
		{"quotactl", unix.SYS_QUOTACTL, [6]uintptr{0, badPoint}, unix.EPERM},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, [6]uintptr{none}, unix.EPERM},
		{"set-uid by descriptor", unix.SYS_FCHMOD, [6]uintptr{none, 0o4755}, unix.EPERM},
		{"set-gid by name", unix.SYS_FCHMODAT, [6]uintptr{none, badPoint, 0o2755}, unix.EPERM},
		{"set-uid behind high bits", unix.SYS_FCHMODAT, [6]uintptr{none, badPoint, 0o4755 | highBits}, unix.EPERM},
		{"set-uid by the newer call", unix.SYS_FCHMODAT2, [6]uintptr{none, badPoint, 0o4755}, unix.EPERM},
		{"a new set-uid file", unix.SYS_OPENAT, [6]uintptr{none, badPoint, unix.O_CREAT | unix.O_WRONLY, 0o4755}, unix.EPERM},
		{"a new set-uid file without a name", unix.SYS_OPENAT, [6]uintptr{none, badPoint, unix.O_TMPFILE | unix.O_WRONLY, 0o4755}, unix.EPERM},
		{"a set-uid node", unix.SYS_MKNODAT, [6]uintptr{none, badPoint, unix.S_IFREG | 0o4755}, unix.EPERM},
		{"openat2", unix.SYS_OPENAT2, [6]uintptr{none, badPoint, badPoint, 24}, unix.ENOSYS},
		{"keyctl", unix.SYS_KEYCTL, [6]uintptr{0, ^uintptr(2)}, unix.EPERM},
		{"add_key", unix.SYS_ADD_KEY, [6]uintptr{badPoint}, unix.EPERM},
		{"request_key", unix.SYS_REQUEST_KEY, [6]uintptr{badPoint}, unix.EPERM},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uintptr{1, badPoint}, unix.EPERM},
		{"io_uring_enter", unix.SYS_IO_URING_ENTER, [6]uintptr{none}, unix.EPERM},
		{"io_uring_register", unix.SYS_IO_URING_REGISTER, [6]uintptr{none}, unix.EPERM},
		{"bpf", unix.SYS_BPF, [6]uintptr{none, badPoint, 8}, unix.EPERM},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{badPoint}, unix.EPERM},
		{"userfaultfd", unix.SYS_USERFAULTFD, [6]uintptr{none}, unix.EPERM},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uintptr{uintptr(os.Getpid())}, unix.EPERM},
		{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, [6]uintptr{uintptr(os.Getpid())}, unix.EPERM},
		{"process_madvise", unix.SYS_PROCESS_MADVISE, [6]uintptr{none, badPoint, 0, 0, 1}, unix.EPERM},
		{"kcmp", unix.SYS_KCMP, [6]uintptr{uintptr(os.Getpid()), uintptr(os.Getpid())}, unix.EPERM},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [6]uintptr{none}, unix.EPERM},
		{"init_module", unix.SYS_INIT_MODULE, [6]uintptr{badPoint, 1, badPoint}, unix.EPERM},
		{"finit_module", unix.SYS_FINIT_MODULE, [6]uintptr{none, badPoint, none}, unix.EPERM},
		{"delete_module", unix.SYS_DELETE_MODULE, [6]uintptr{badPoint}, unix.EPERM},
		{"kexec_load", unix.SYS_KEXEC_LOAD, [6]uintptr{0, 0, 0, none}, unix.EPERM},
		{"reboot", unix.SYS_REBOOT, [6]uintptr{}, unix.EPERM},
		{"swapon", unix.SYS_SWAPON, [6]uintptr{badPoint, none}, unix.EPERM},
		{"swapoff", unix.SYS_SWAPOFF, [6]uintptr{badPoint}, unix.EPERM},
		{"acct", unix.SYS_ACCT, [6]uintptr{badPoint}, unix.EPERM},
		{"syslog", unix.SYS_SYSLOG, [6]uintptr{10}, unix.EPERM},
		{"settimeofday", unix.SYS_SETTIMEOFDAY, [6]uintptr{badPoint}, unix.EPERM},
		{"clock_settime", unix.SYS_CLOCK_SETTIME, [6]uintptr{none, badPoint}, unix.EPERM},
		{"adjtimex", unix.SYS_ADJTIMEX, [6]uintptr{badPoint}, unix.EPERM},
		{"clock_adjtime", unix.SYS_CLOCK_ADJTIME, [6]uintptr{0, badPoint}, unix.EPERM},
		{"no address randomisation", unix.SYS_PERSONALITY, [6]uintptr{0x40000}, unix.EPERM},
		{"push characters", unix.SYS_IOCTL, [6]uintptr{none, unix.TIOCSTI}, unix.EPERM},
		{"push characters behind high bits", unix.SYS_IOCTL, [6]uintptr{none, unix.TIOCSTI | highBits}, unix.EPERM},
		{"line discipline", unix.SYS_IOCTL, [6]uintptr{none, unix.TIOCSETD}, unix.EPERM},
		{"seccomp listener", unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, badPoint}, unix.EPERM},
	}
}

// TestSeccompLive installs the filter in a child and tries what it refuses, on
// threads that existed before, then does what programs do every day.
func TestSeccompLive(t *testing.T) {
	if asChild() {
		seccompChild(t)
		return
	}
	for name, uid := range uids() {
		t.Run(name, func(t *testing.T) { runChild(t, uid) })
	}
}

func seccompChild(t *testing.T) {
	each := onThreads(4)
	control(t)
	reaim := datagramPair(t)
	if err := reaim(); err != nil {
		t.Errorf("without the filter a datagram pair cannot be aimed anew (%v): the rule is not needed", err)
	}
	layer, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(layer)
	try := func() {
		for _, a := range attempts() {
			if _, _, got := unix.RawSyscall6(a.nr, a.args[0], a.args[1], a.args[2], a.args[3], a.args[4], a.args[5]); got != a.want {
				t.Errorf("%s: %v, want %v", a.name, got, a.want)
			}
		}
	}
	try()
	each(try)
	for _, field := range []struct{ name, want string }{{"Seccomp", "2"}, {"NoNewPrivs", "1"}} {
		values := threadStatus(t, field.name)
		if len(values) < 5 {
			t.Errorf("only %d threads looked at", len(values))
		}
		for _, v := range values {
			if v != field.want {
				t.Errorf("a thread has %s %s", field.name, v)
			}
		}
	}
	everydayLife(t)
}

// TestForeignArchitectureLive shows that the verdict on a foreign architecture
// is death, also on machines that can run no other: it installs the filter of
// another processor.
func TestForeignArchitectureLive(t *testing.T) {
	if !asChild() {
		cmd := childCommand(t, os.Getuid())
		err := cmd.Run()
		if s := cmd.ProcessState; s == nil || s.Sys().(syscall.WaitStatus).Signal() != unix.SIGSYS {
			t.Errorf("the child ended with %v, want death by SIGSYS", err)
		}
		return
	}
	p := native(t)
	p.arch ^= 0xff
	f, err := newFilter(p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Install()
	t.Fatal("alive after: ", err)
}

// control makes the attempts without the filter: an attempt that the kernel
// answers in the same way proves nothing. Only root is told the true reason.
func control(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	for _, a := range attempts() {
		if _, _, got := unix.RawSyscall6(a.nr, a.args[0], a.args[1], a.args[2], a.args[3], a.args[4], a.args[5]); got == a.want {
			t.Errorf("%s: %v without the filter, so the attempt proves nothing", a.name, got)
		}
	}
}

// datagramPair shows why pairs of datagram sockets are refused: it returns a
// function that sends through one to a listener that the pair never knew.
func datagramPair(t *testing.T) func() error {
	path := filepath.Join(t.TempDir(), "listener")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return func() error {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		return unix.Sendto(pair[0], []byte("hello"), 0, &unix.SockaddrUnix{Name: path})
	}
}

// everydayLife does what agents' programs need, under the filter.
func everydayLife(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Errorf("listen on loopback: %v", err)
		return
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Errorf("connect to loopback: %v", err)
		return
	}
	c.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Errorf("UDP: %v", err)
	} else {
		u.Close()
	}
	if _, err := net.Interfaces(); err != nil {
		t.Errorf("list interfaces: %v", err)
	}
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Errorf("socketpair of kind %d: %v", kind, err)
			continue
		}
		unix.Close(pair[0])
		unix.Close(pair[1])
	}
	if out, err := exec.Command("sh", "-c", "echo hello | cat; exit 3").Output(); string(out) != "hello\n" || err == nil {
		t.Errorf("a shell gives %q, %v", out, err)
	}
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Errorf("memfd: %v", err)
	}
	unix.Close(fd)
	if _, _, errno := unix.RawSyscall(unix.SYS_PTRACE, unix.PTRACE_DETACH, 0, 0); errno != unix.ESRCH {
		t.Errorf("ptrace of nobody: %v", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, lowHalf, 0, 0); errno != 0 {
		t.Errorf("ask for the personality: %v", errno)
	}
	if _, _, errno := unix.RawSyscall(reviewedUpTo+1, 0, 0, 0); errno != unix.ENOSYS {
		t.Errorf("a number beyond the table: %v", errno)
	}
}

// installed puts the filter in force.
func installed() (layer string, err error) {
	f, err := NewFilter()
	if err != nil {
		return "", err
	}
	return f.Install()
}
