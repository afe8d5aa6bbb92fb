package boundary

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Become makes this process of root's another user's for good, on every thread, with
// the capabilities that boundaries need and no others: what the service's unit gives
// it. It is for root at a terminal, who looks at an installation that is a system
// user's: what root made there the service could not read. Other groups than gid are
// given up.
//
// Like LowerPrivileges it fails in programs built with cgo.
func Become(uid, gid int) error {
	if os.Geteuid() != 0 || uid == 0 {
		return fmt.Errorf("only root can become somebody, and nobody root: uid %d becomes %d", os.Geteuid(), uid)
	}
	var keep uint64
	for _, c := range neededCaps {
		keep |= 1 << c.number
	}
	if err := dropBounding(keep); err != nil { // while we may: it takes CAP_SETPCAP
		return err
	}
	// Without it the change of uids would clear the permitted set: capabilities(7).
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); errno != 0 {
		return lowerError(errno)
	}
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("become uid %d: groups: %w", uid, err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("become uid %d: group: %w", uid, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("become uid %d: %w", uid, err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		return fmt.Errorf("become uid %d: %w", uid, err)
	}
	keep &= uint64(has[0].Permitted) | uint64(has[1].Permitted)<<32 // root of a container has fewer
	data := [2]unix.CapUserData{
		{Effective: uint32(keep), Permitted: uint32(keep)},
		{Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return lowerError(errno)
	}
	// The change of uids closed /proc/self to our own uid; the control socket's other
	// end looks at our namespaces there, and we write the id maps of sessions.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become uid %d: %w", uid, err)
	}
	return nil
}

// Capabilities are those that LowerPrivileges keeps, and those that it leaves in the
// bounding set for container engines, as numbers of capabilities(7).
func Capabilities() (daemon, engines []int) {
	for _, c := range neededCaps {
		daemon = append(daemon, c.number)
	}
	return daemon, containerCaps[:]
}
