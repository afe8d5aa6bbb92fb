package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// terminals makes terminals, in the boundary's own devpts.
type terminals struct{}

func newTerminals(*wire.Spec) *terminals { return &terminals{} }

// open makes one and gives its two ends.
func (*terminals) open() (master, slave *os.File, err error) {
	m, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(m), "terminal")
	err = unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0)
	n, s := 0, -1
	if err == nil {
		n, err = unix.IoctlGetInt(m, unix.TIOCGPTN)
	}
	if err == nil {
		s, err = unix.Open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, os.NewFile(uintptr(s), "agent terminal"), nil
}
