package confine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Filter is a seccomp filter that is ready to be installed.
type Filter struct {
	program []unix.SockFilter
	layer   string
}

// NewFilter makes the filter from SeccompRules. It returns an error if the
// processor is one whose system calls nobody has reviewed.
func NewFilter() (*Filter, error) {
	p, err := nativePlatform()
	if err != nil {
		return nil, err
	}
	return newFilter(p)
}

func newFilter(p platform) (*Filter, error) {
	rules := SeccompRules()
	program, err := assemble(p, rules)
	if err != nil {
		return nil, err
	}
	f := &Filter{
		program: make([]unix.SockFilter, len(program)),
		layer:   fmt.Sprintf("seccomp: %d rules, system calls up to number %d", len(rules), p.newest),
	}
	for i, in := range program {
		f.program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return f, nil
}

// Install puts the filter onto every thread of the process
// (SECCOMP_FILTER_FLAG_TSYNC) and onto whatever it will start. It sets
// no_new_privs. After an error the process must not go on.
func (f *Filter) Install() (layer string, err error) {
	if err := installFilter(f.program); err != nil {
		return "", err
	}
	return f.layer, nil
}

func installFilter(filter []unix.SockFilter) error {
	runtime.LockOSThread() // no_new_privs and the filter are of one thread first
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("seccomp: set no_new_privs: %w", err)
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
