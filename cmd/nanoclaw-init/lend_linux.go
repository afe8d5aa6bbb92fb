package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
)

// lendArg makes the program lend mounts to another program that takes paths and
// not descriptors, and become that program: lend DIR FIRST COUNT PROGRAM ARG...
//
// It is cloned by a privileged host into new user and mount namespaces, with
// COUNT detached mounts as descriptors from FIRST on. They become DIR/0, DIR/1
// and so on of a folder that nobody else sees: no path of the host is looked up,
// and the program needs no right to reach what it is lent. What is bounded for a
// user namespace is bounded here, for the program cannot. It starts the program
// without any privilege.
const lendArg = "lend"

func lend(args []string) error {
	if len(args) < 4 {
		return errors.New("lend: arguments are missing")
	}
	first, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if _, err := confine.Watches(); err != nil { // the init finds that out, and says so
		fmt.Fprintln(os.Stderr, "nanoclaw-init: no limit on inotify:", err)
	}
	if err := confine.Lend(args[0], first, count); err != nil {
		return err
	}
	// From main's thread, the only one whose rights the program inherits.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("lend: drop privileges: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0); errno != 0 {
		return fmt.Errorf("lend: drop privileges: %w", errno)
	}
	return fmt.Errorf("start %s: %w", args[3], syscall.Exec(args[3], args[3:], os.Environ()))
}
