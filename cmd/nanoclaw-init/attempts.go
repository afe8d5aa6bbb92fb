//go:build linux || darwin

package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// What the attempts of every system are made of.

func readCanary(path string, c wire.Canary) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	got, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(got), c.Data) {
		return "", errRefused("a file of this name is there, and not the canary")
	}
	return "the canary's content", nil
}

func create(dir string) (string, error) {
	path := filepath.Join(dir, "nanoclaw-probe-"+strconv.Itoa(os.Getpid()))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	f.Close()
	os.Remove(path)
	return "made " + path, nil
}

func readSome(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return "opened", nil
}

// openFDs lists the descriptors beyond the standard three.
func openFDs() []int {
	var open []int
	for fd := 3; fd < 1024; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != syscall.EBADF {
			open = append(open, fd)
		}
	}
	return open
}
