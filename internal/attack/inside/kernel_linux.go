package inside

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// x32 is set in the number of a call of amd64's x32 table.
const x32 = 0x40000000

// kernel are the attempts of 4.5 on the kernel and on what it keeps for all.
func kernel() []attempt {
	return []attempt{
		without("only amd64 has it, and not every kernel", "K-04", "call by int 0x80", int80),
		without("most kernels do not have the table", "K-05", "call by a number of the x32 table", func(a *attacker) (string, error) {
			if runtime.GOARCH != "amd64" {
				return "", refused("only amd64 has the table")
			}
			return run(a.self(x32Arg))
		}),
		try("K-06", "set up io_uring", func(*attacker) (string, error) {
			params := make([]byte, 120)
			fd, err := call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])))
			return made(int(fd), err)
		}),
		try("K-07", "clone3 with a user namespace", clone3),
		try("K-09", "ask for the session keyring", func(*attacker) (string, error) {
			id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
			return fmt.Sprint("keyring ", id), err
		}),
		try("K-09", "find a key of the host", findKey),
		try("K-09", "add a key", func(*attacker) (string, error) {
			id, err := unix.AddKey("user", "nanoclaw-attack", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
			return fmt.Sprint("key ", id), err
		}),
		try("K-10", "attach a shared memory segment of the host", func(a *attacker) (string, error) {
			b, err := segment(a.Shared)
			if err != nil {
				return "", err
			}
			return a.search(strings.NewReader(string(b)))
		}),
		try("K-10", "see that there are segments", func(*attacker) (string, error) {
			b, err := os.ReadFile("/proc/sysvipc/shm")
			if n := strings.Count(string(b), "\n") - 1; err == nil && n > 0 {
				return fmt.Sprint(n, " segments"), nil
			}
			return "", errors.Join(refused("there are none"), err)
		}),
		try("K-10", "open a message queue of the host", func(a *attacker) (string, error) {
			fd, err := call(unix.SYS_MQ_OPEN, word(a.Queue), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0)
			return made(int(fd), err)
		}),
		try("K-11", "read POSIX shared memory of the host", theft(func(a *attacker) string { return a.ShmFile })),
		try("K-12", "trace a process of the host", func(a *attacker) (string, error) { return seize(a.PID) }),
		try("K-12", "get a descriptor for a process of the host", func(a *attacker) (string, error) {
			return made(unix.PidfdOpen(a.PID, 0))
		}),
		try("K-12", "take a descriptor out of another process", takeDescriptor),
		try("K-12", "compare processes in the kernel", func(a *attacker) (string, error) {
			const files = 2 // KCMP_FILES
			_, err := call(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(a.PID), files)
			return "compared", err
		}),
		try("K-13", "signal a process of the host", func(a *attacker) (string, error) {
			return "sent", unix.Kill(a.PID, unix.SIGUSR1)
		}),
		without("whether it arrives is seen by the host alone", "K-13", "signal everything there is", signalAll),
		try("K-13", "have a process of the host signalled for a descriptor", func(a *attacker) (string, error) {
			_, err := unix.FcntlInt(os.Stdin.Fd(), unix.F_SETOWN, a.PID)
			return "set", err
		}),
		try("K-14", "type into a terminal (TIOCSTI)", func(a *attacker) (string, error) { return a.typeInto(unix.TIOCSTI) }),
		try("K-14", "the same with high bits in the number", func(a *attacker) (string, error) { return a.typeInto(unix.TIOCSTI | 1<<32) }),
		without("the control arm has no terminal either", "K-14", "open a controlling terminal", func(*attacker) (string, error) { return openTo("/dev/tty") }),
		without(noKernel, "K-30", "make a call newer than the filter", func(*attacker) (string, error) {
			return reached(0xfff)
		}),
	}
}

// callX32 is a child that makes a call of the x32 table, for which it may be
// killed.
func callX32() int {
	r, err := call(unix.SYS_GETPID | x32)
	if err != nil {
		fmt.Println(err)
		return exitFailed
	}
	fmt.Println("process", r)
	return 0
}

// int80 makes a 32-bit call in a program of its own: exit(42).
func int80(a *attacker) (string, error) {
	if runtime.GOARCH != "amd64" {
		return "", refused("only amd64 has it")
	}
	path := filepath.Join(a.Workspace, "int80")
	if err := os.WriteFile(path, int80Program(), 0o700); err != nil {
		return "", err
	}
	cmd := exec.Command(path)
	err := cmd.Run()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Exited() && status.ExitStatus() == 42 {
		return "it ended itself by the call", nil
	}
	return "", errors.Join(refused("it did not get to the call"), err)
}

// int80Program is a whole ELF file (elf(5)): header, one segment, 14 bytes of
// code.
func int80Program() []byte {
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1: exit, in numbers of i386
		0xbb, 42, 0, 0, 0, // mov ebx, 42
		0xcd, 0x80, // int 0x80
		0x0f, 0x0b, // ud2
	}
	const base, head = 0x400000, 64 + 56
	b := make([]byte, head, head+len(code))
	copy(b, "\x7fELF\x02\x01\x01")
	put := func(at, size int, v uint64) {
		for i := range size {
			b[at+i] = byte(v >> (8 * i))
		}
	}
	put(16, 2, 2)         // executable
	put(18, 2, 62)        // x86-64
	put(20, 4, 1)         // version
	put(24, 8, base+head) // entry
	put(32, 8, 64)        // where the segments are listed
	put(52, 2, 64)        // size of this header
	put(54, 2, 56)        // size of an entry of that list
	put(56, 2, 1)         // and their number
	size := uint64(head + len(code))
	put(64, 4, 1) // to be loaded
	put(68, 4, 5) // readable, executable
	put(80, 8, base)
	put(88, 8, base)
	put(96, 8, size)
	put(104, 8, size)
	put(112, 8, 0x1000)
	return append(b, code...)
}

func findKey(a *attacker) (string, error) {
	var errs []error
	for _, ring := range []int{unix.KEY_SPEC_SESSION_KEYRING, unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_USER_SESSION_KEYRING} {
		id, err := unix.KeyctlSearch(ring, "user", a.Key, 0)
		if err == nil {
			b := make([]byte, 256)
			n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, b, 0)
			return fmt.Sprintf("key %d: %d bytes, %v", id, n, err), nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// seize attaches without stopping (ptrace(2)), and lets go: the thread that
// traces ends with its goroutine, which never unlocks it.
func seize(pid int) (string, error) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		_, err := call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid))
		done <- err
	}()
	return "traced", <-done
}

func takeDescriptor(a *attacker) (string, error) {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(self)
	return made(unix.PidfdGetfd(self, 0, 0))
}

// signalAll sends a signal that nobody minds to all processes but ourselves.
// The host's own process counts what arrives.
func signalAll(*attacker) (string, error) {
	unix.Kill(-1, unix.SIGWINCH)
	return "", refused("the host counts what arrives there")
}

// typeInto types a letter into a terminal that is the controlling one of a child.
// A terminal of our own does: the kernel asks no more for another's.
func (a *attacker) typeInto(request uint64) (string, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	defer master.Close()
	unlock := 0
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, unlock); err != nil {
		return "", err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return "", err
	}
	terminal, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	defer terminal.Close()
	cmd := a.self(typeArg, fmt.Sprint(request))
	cmd.Stdin = terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return run(cmd)
}

// typeLetter is the child of typeInto. It fails if it was refused.
func typeLetter(request string) int {
	number, err := strconv.ParseUint(request, 10, 64)
	if err != nil {
		return exitFailed
	}
	letter := []byte("x")
	got, err := reached(unix.SYS_IOCTL, os.Stdin.Fd(), uintptr(number), uintptr(unsafe.Pointer(&letter[0])))
	if err != nil {
		fmt.Println(err)
		return exitFailed
	}
	fmt.Println(got)
	return 0
}

// machine are the attempts of 4.5 on the machine's settings, on privileges and
// on process 1.
func machine() []attempt {
	setting := func(line, path string) attempt {
		return without(harm, line, "open "+path+" for writing", func(*attacker) (string, error) { return openTo(path) })
	}
	const asks = "what it asks for is root's alone, and the control arm never is"
	device := func(path string) attempt {
		return without("not every machine has it", "K-27", "open "+path, func(*attacker) (string, error) {
			return made(unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0))
		})
	}
	return []attempt{
		setting("K-16", "/proc/sys/kernel/core_pattern"),
		setting("K-16", "/proc/sys/kernel/modprobe"),
		setting("K-16", "/proc/sys/kernel/hotplug"),
		try("K-17", "find control groups", findCgroups),
		setting("K-17", "/sys/fs/cgroup/release_agent"),
		setting("K-18", "/proc/sysrq-trigger"),
		setting("K-18", "/proc/acpi/wakeup"),
		setting("K-18", "/sys/power/state"),
		without(harm, "K-18", "list /sys/firmware/efi/efivars", anything("/sys/firmware/efi/efivars")),
		without(asks, "K-19", "bpf", reaches(unix.SYS_BPF, 0xffff, 0, 0)),
		without(asks, "K-19", "perf_event_open", reaches(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, ^uintptr(0), 0)),
		without(harm, "K-19", "kexec_load", reaches(unix.SYS_KEXEC_LOAD, 0, 0, 0, ^uintptr(0))),
		without(harm, "K-19", "init_module", reaches(unix.SYS_INIT_MODULE, 0, 0, 0)),
		without(harm, "K-19", "swapon", reaches(unix.SYS_SWAPON, 0, 0)),
		without(asks, "K-19", "quotactl", reaches(unix.SYS_QUOTACTL, 0, 0, 0, 0)),
		without(asks, "K-19", "syslog", reaches(unix.SYS_SYSLOG, 3, 0, 0)),
		without("not every kernel has it", "K-19", "userfaultfd", func(*attacker) (string, error) {
			fd, err := call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|1) // faults of user mode alone
			return made(int(fd), err)
		}),
		try("K-20", "make a file that runs as its owner", func(a *attacker) (string, error) {
			path := filepath.Join(a.Workspace, "setuid")
			if err := os.WriteFile(path, nil, 0o755); err != nil {
				return "", err
			}
			return "made", unix.Fchmodat(unix.AT_FDCWD, path, 0o4755, 0)
		}),
		try("K-20", "be allowed new privileges", func(*attacker) (string, error) {
			set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			if err != nil || set == 1 {
				return "", errors.Join(refused("no_new_privs is set"), err)
			}
			return "no_new_privs is not set", nil
		}),
		try("K-20", "have the workspace honour such files", honours(func(a *attacker) string { return a.Workspace })),
		try("K-20", "hold a capability", capability),
		try("K-21", "give a file capabilities", fileCapabilities),
		try("K-23", "trace process 1", func(*attacker) (string, error) { return seize(1) }),
		try("K-23", "read the memory map of process 1", anything("/proc/1/maps")),
		without("it would end the control arm", "K-23", "stop and kill process 1", killFirst),
		try("K-24", "turn off address randomisation", func(*attacker) (string, error) {
			const query, noRandomize = 0xffffffff, 0x0040000
			old, err := call(unix.SYS_PERSONALITY, query)
			if err == nil {
				if _, err = call(unix.SYS_PERSONALITY, old|noRandomize); err == nil {
					call(unix.SYS_PERSONALITY, old)
				}
			}
			return "turned off", err
		}),
		try("K-25", "run a program from memory", runFromMemory),
		device("/dev/kvm"), device("/dev/fuse"), device("/dev/dri/card0"), device("/dev/net/tun"), device("/dev/vsock"), device("/dev/uinput"),
		without(harm, "K-28", "set the clock", reaches(unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, 0)),
		without(harm, "K-28", "adjust the clock", func(*attacker) (string, error) {
			_, err := unix.Adjtimex(&unix.Timex{}) // only asks how it stands
			return "allowed", err
		}),
		without(harm, "K-28", "set the name of the machine", func(*attacker) (string, error) {
			return "set", unix.Sethostname([]byte("attacked"))
		}),
		try("K-29", "listen for system calls of others", func(*attacker) (string, error) {
			return reached(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, 0)
		}),
	}
}

func findCgroups(*attacker) (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " - cgroup") {
			return line, nil
		}
	}
	return "", refused("no such file system is mounted")
}

// honours says whether set-uid files of a mount count.
func honours(path func(*attacker) string) func(*attacker) (string, error) {
	return func(a *attacker) (string, error) {
		var s unix.Statfs_t
		if err := unix.Statfs(path(a), &s); err != nil {
			return "", err
		}
		if s.Flags&unix.ST_NOSUID != 0 {
			return "", refused("it is mounted nosuid")
		}
		return "it does", nil
	}
}

// capability looks for a capability in any set.
func capability(*attacker) (string, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.HasPrefix(name, "Cap") && strings.Trim(value, "0\t ") != "" {
			return line, nil
		}
	}
	return "", refused("none in any set")
}

// fileCapabilities sets capabilities(7) of revision 2: CAP_SYS_ADMIN, in force.
func fileCapabilities(a *attacker) (string, error) {
	path := filepath.Join(a.Workspace, "capable")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		return "", err
	}
	caps := []byte{1, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	return "given", unix.Setxattr(path, "security.capability", caps, 0)
}

// killFirst sends process 1 what would end or stop any other.
func killFirst(*attacker) (string, error) {
	time.Sleep(time.Second / 2) // where it ends the session, what came before has to be out
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGSTOP, unix.SIGSEGV, unix.SIGKILL} {
		unix.Kill(1, sig)
	}
	stat, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if strings.ContainsAny(fields[0], "TtZX") {
		return "its state is " + fields[0], nil
	}
	return "", refused("it goes on")
}

// runFromMemory runs a program that has no name in any folder.
func runFromMemory(*attacker) (string, error) {
	fd, err := unix.MemfdCreate("attack", 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("#!/bin/sh\necho from memory\n")); err != nil {
		return "", err
	}
	return run(exec.Command(fmt.Sprint("/proc/", os.Getpid(), "/fd/", fd)))
}
