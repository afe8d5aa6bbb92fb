package main

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

const (
	lastSignal = 64      // of signal(7), real-time ones included
	rssUnit    = 1 << 10 // of ru_maxrss in getrusage(2)
)

// limited starts a process within the limits.
func limited(limits []wire.Rlimit, start func() (int, error)) (int, error) {
	return confine.Limited(limits, start)
}

// giveBack gives a signal back to the kernel, and says whether it can do no harm.
//
// The kernel spares process 1 of a PID namespace every signal from within that
// it has not asked for (pid_namespaces(7)). The Go runtime has asked for nearly
// all. To catch one costs two switches between threads at the start, so only
// those are caught that the runtime has to keep.
func giveBack(sig syscall.Signal) (harmless bool, err error) {
	if os.Getpid() != 1 {
		return false, nil
	}
	switch sig {
	case unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGPIPE:
		return false, nil
	case unix.SIGKILL, unix.SIGSTOP, 32, 33, 34: // cannot come from inside; the runtime's own
		return true, nil
	}
	var action [32]byte // struct sigaction as the kernel has it: all zero is SIG_DFL
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		return false, errno
	}
	return true, nil
}

// fork starts a process, out of whose reach we are: as process 1, or by a Landlock
// domain.
func fork(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	if os.Getpid() != 1 && confine.CanScopeSignals() {
		return forkApart(path, argv, attr)
	}
	return syscall.ForkExec(path, argv, attr)
}

// exit ends the init. The kernel kills everything else in the PID namespace.
func exit(code int) { os.Exit(code) }

// ownProgram is where the init's own program can be run again.
func ownProgram() string {
	if unix.Access(confine.InitPath, unix.X_OK) == nil {
		return confine.InitPath
	}
	return "/proc/self/exe"
}

// streamPair makes two sockets that are each other's other end.
func streamPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}
