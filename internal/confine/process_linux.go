package confine

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// LoopbackUp brings up "lo", the only network interface there is inside.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// JoinKeyring gives every thread of the process a new, empty session keyring in
// place of the one it inherited, which holds the owner's keys (keyrings(7)).
//
// Keyrings belong to threads, and threads come to share one only by its name,
// which is known within the user namespace alone. That one is new.
func JoinKeyring() error {
	const name = "nanoclaw"
	serial, err := unix.AddKey("keyring", name, nil, unix.KEY_SPEC_THREAD_KEYRING)
	if errors.Is(err, unix.ENOSYS) {
		return nil // a kernel without keys has none to hide
	}
	if err != nil {
		return fmt.Errorf("make a keyring: %w", err)
	}
	// The other threads find it only if its owner may search it.
	const possessorAll, ownerUse = 0x3f000000, 0x001b0000 // keyctl_setperm(3)
	if err := unix.KeyctlSetperm(serial, possessorAll|ownerUse); err != nil {
		return fmt.Errorf("open the keyring to our threads: %w", err)
	}
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	got, _, errno := syscall.AllThreadsSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return fmt.Errorf("join the keyring: %w", errno)
	}
	if int(got) != serial {
		return fmt.Errorf("joined keyring %d and not the new one, %d", got, serial)
	}
	return nil
}

// Rlimits sets the limits of the calling process, which everything it starts
// inherits. Only the limit on processes and threads is set higher by what the
// init itself needs, so processes are to be started by Limited.
func Rlimits(limits []wire.Rlimit) error {
	for _, l := range limits {
		v := l.Value
		if l.Resource == unix.RLIMIT_NPROC {
			v += Spare
		}
		if err := unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: v, Max: v}); err != nil {
			return fmt.Errorf("limit %d to %d: %w", l.Resource, v, err)
		}
	}
	return nil
}

// Limited calls start, which starts one process, so that the process has the
// limit on processes from its first instruction, and no more than that when
// Limited returns.
func Limited(limits []wire.Rlimit, start func() (pid int, err error)) (int, error) {
	for _, l := range limits {
		if l.Resource != unix.RLIMIT_NPROC {
			continue
		}
		// The hard limit cannot be raised again, so the soft one does it.
		own := unix.Rlimit{Cur: l.Value, Max: l.Value + Spare}
		if err := unix.Setrlimit(l.Resource, &own); err != nil {
			return 0, err
		}
		pid, err := start()
		own.Cur = own.Max
		if e := unix.Setrlimit(l.Resource, &own); err == nil {
			err = e
		}
		if err == nil {
			err = unix.Prlimit(pid, l.Resource, &unix.Rlimit{Cur: l.Value, Max: l.Value}, nil)
			if err == unix.ESRCH {
				err = nil // it has ended
			}
		}
		return pid, err
	}
	return start()
}

// Drop gives up, on every thread and for good, the right to gain rights
// (PR_SET_NO_NEW_PRIVS) and every capability in every set, and makes the
// process undumpable, so that nothing inside can read its memory. It then
// checks that they are gone.
//
// The caller must not have changed the bounding set or no_new_privs of one
// thread alone: if they are gone on this one, they were gone before there were
// others, and system calls on all threads are saved.
func Drop() error {
	if err := dropBounding(); err != nil {
		return err
	}
	return drop()
}

// DropHeld is Drop without the bounding set, for a process that came into its
// user namespace without the capability to change it. Nothing can be gained from
// that set under no_new_privs (capabilities(7)).
func DropHeld() error { return drop() }

// drop empties all sets but the bounding set, and checks that they are empty.
func drop() error {
	if err := noNewPrivs(); err != nil {
		return err
	}
	// This empties the ambient set too: it holds only what is permitted and
	// inheritable (capabilities(7)).
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	return dropped()
}

// dropBounding empties the bounding set, where it is not empty already, and
// reads back what it dropped, on the calling thread.
func dropBounding() error {
	tried := false
	for c := uintptr(0); ; {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		switch {
		case err == unix.EINVAL:
			return nil // beyond the last capability of this kernel
		case err != nil:
			return fmt.Errorf("read the bounding set: %w", err)
		case in == 0:
			c, tried = c+1, false
			continue
		case tried:
			return fmt.Errorf("capability %d is left in the bounding set", c)
		}
		if err := allThreads("drop a capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
		tried = true
	}
}

// noNewPrivs sets no_new_privs on every thread, unless it is set on this one:
// then it was before there were others, see Drop.
func noNewPrivs() error {
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		return nil
	}
	return allThreads("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// dropped reads back what was dropped, on the calling thread.
func dropped() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return err
	}
	if have != [2]unix.CapUserData{} {
		return fmt.Errorf("capabilities are left: %+v", have)
	}
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil || nnp != 1 {
		return fmt.Errorf("no_new_privs is %d: %v", nnp, err)
	}
	return nil
}

// allThreads makes a system call on every thread of the process.
func allThreads(what string, nr, a1, a2, a3, a4, a5 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(nr, a1, a2, a3, a4, a5, 0); errno != 0 {
		return fmt.Errorf("%s: %w", what, errno)
	}
	return nil
}
