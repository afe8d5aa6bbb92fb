package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

const (
	lastSignal = 31 // of signal(3)
	rssUnit    = 1  // of ru_maxrss in getrusage(2), which counts bytes here
)

// limited starts a process. It inherits the limits that the init took up.
func limited(_ []wire.Rlimit, start func() (int, error)) (int, error) { return start() }

// giveBack gives nothing back: any process of the session may signal the init.
func giveBack(syscall.Signal) (harmless bool, err error) { return false, nil }

// fork starts a process.
func fork(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	return syscall.ForkExec(path, argv, attr)
}

// ownProgram is where the init's own program can be run again.
func ownProgram() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// streamPair makes two sockets that are each other's other end.
func streamPair() ([2]int, error) {
	// No other thread may fork before they are closed on exec.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}
