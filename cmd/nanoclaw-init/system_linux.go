package main

import (
	"os"

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
