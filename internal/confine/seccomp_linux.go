package confine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Seccomp puts the filter made from SeccompRules onto every thread of the
// process (SECCOMP_FILTER_FLAG_TSYNC) and onto whatever it will start. It sets
// no_new_privs. It returns an error, and the process must not go on, if the
// processor is one whose system calls nobody has reviewed.
func Seccomp() (layer string, err error) {
	p, err := nativePlatform()
	if err != nil {
		return "", err
	}
	rules := SeccompRules()
	program, err := assemble(p, rules)
	if err != nil {
		return "", err
	}
	if err := installFilter(program); err != nil {
		return "", err
	}
	return fmt.Sprintf("seccomp: %d rules, system calls up to number %d", len(rules), p.newest), nil
}

func installFilter(program []bpf.RawInstruction) error {
	runtime.LockOSThread() // no_new_privs and the filter are of one thread first
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("seccomp: set no_new_privs: %w", err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	switch {
	case errno == unix.ENOSYS || errno == unix.EINVAL:
		return fmt.Errorf("seccomp: this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER): %w", errno)
	case errno != 0:
		return fmt.Errorf("seccomp: install the filter: %w", errno)
	case thread != 0:
		return fmt.Errorf("seccomp: thread %d has a filter of its own and cannot take ours", thread)
	}
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil || mode != unix.SECCOMP_MODE_FILTER {
		return errors.Join(fmt.Errorf("seccomp: the filter is not in force (mode %d)", mode), err)
	}
	return nil
}
