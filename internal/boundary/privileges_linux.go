package boundary

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// neededCaps are what a daemon that runs as root needs, each with what for.
// Signals to sessions need none: who made a user namespace may signal into it
// (user_namespaces(7)).
var neededCaps = [...]struct {
	number int
	words  string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN: make the mounts of sessions, and lend owners' folders to them"},
	{unix.CAP_SETUID, "CAP_SETUID: give a session the uid of its group"},
	{unix.CAP_SETGID, "CAP_SETGID: give a session the gid of its group, and no other"},
	{unix.CAP_CHOWN, "CAP_CHOWN: make a group's folders its own"},
	{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH: look into folders of groups and of the owner"},
}

// containerCaps are what podman and an OCI runtime need beside these to build a
// container as root. The daemon has none of them: they stay in the bounding set
// alone, from which a program of root's that it starts has what it is given.
var containerCaps = [...]int{
	unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETPCAP, unix.CAP_NET_ADMIN,
	unix.CAP_SYS_CHROOT, unix.CAP_SYS_PTRACE, unix.CAP_SYS_RESOURCE, unix.CAP_MKNOD, unix.CAP_SETFCAP,
}

const containerWords = "for podman, which this daemon starts and which has them in its place: what root's containers are built with"

// LowerPrivileges gives up, on every thread and for good, each capability of
// this process that boundaries do not need, and says in words which ones are
// kept. An ordinary user has none, and nothing happens. containers says that a
// container engine may have to be started.
//
// Call it before a Native is made, and before threads of other code exist that
// the Go runtime does not know: it fails in programs built with cgo.
func LowerPrivileges(containers bool) (kept []string, err error) {
	have, err := effective()
	if err != nil || have == 0 {
		return nil, err
	}
	var keep uint64
	for _, c := range neededCaps {
		if have&(1<<c.number) != 0 {
			keep |= 1 << c.number
			kept = append(kept, c.words)
		}
	}
	bounding := keep
	if containers {
		for _, c := range containerCaps {
			bounding |= 1 << c // not of what we have: the second time that is none of them
		}
		kept = append(kept, containerWords)
	}
	if err := dropBounding(bounding); err != nil {
		return nil, err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(keep), Permitted: uint32(keep)},
		{Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return nil, lowerError(errno)
	}
	if now, err := effective(); err != nil || now != keep {
		return nil, errors.Join(fmt.Errorf("lower our privileges: %#x is left, wanted %#x", now, keep), err)
	}
	return kept, nil
}

// dropBounding takes from the bounding set what is not in keep, so that no
// program that we start gets it back by being root's.
func dropBounding(keep uint64) error {
	for c := uintptr(0); ; c++ {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err == unix.EINVAL {
			return nil // beyond the kernel's last capability
		}
		if err != nil {
			return fmt.Errorf("lower our privileges: %w", err)
		}
		if in == 0 || keep&(1<<c) != 0 {
			continue
		}
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0)
		if errno != 0 {
			return lowerError(errno)
		}
	}
}

func lowerError(errno syscall.Errno) error {
	if errno == unix.ENOTSUP {
		return errors.New("lower our privileges: this program was built with cgo; build it with CGO_ENABLED=0")
	}
	return fmt.Errorf("lower our privileges: %w", errno)
}
