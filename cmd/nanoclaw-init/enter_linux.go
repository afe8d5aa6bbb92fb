package main

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
)

// An init that is not process 1 has no protection by the kernel from signals of
// the processes it starts. It puts each, with all that comes of it, into a
// Landlock domain of its own from which no signal leads out. The domain has to
// be entered between fork and exec, where a Go program cannot act; so the child
// becomes this program first, which enters it and becomes the agent's program.

// failureFD is where the child says why it could not become the program.
const failureFD = 3

// forkApart is syscall.ForkExec for a child that cannot signal us.
func forkApart(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	var failure [2]int
	if err := unix.Pipe2(failure[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(failure[0])
	inner := *attr
	inner.Files = append(attr.Files[:failureFD:failureFD], uintptr(failure[1]))
	pid, err := syscall.ForkExec(confine.InitPath, append([]string{"nanoclaw-init", enterArg, path}, argv...), &inner)
	unix.Close(failure[1])
	if err != nil {
		return 0, err
	}
	if err := readFailure(failure[0]); err != nil {
		return 0, err // the child exits, and is reaped like an orphan
	}
	return pid, nil
}

// readFailure waits until the child runs its program, or says why it does not.
func readFailure(fd int) error {
	var text [16]byte
	for {
		n, err := unix.Read(fd, text[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		errno, err := strconv.Atoi(string(text[:n]))
		if err != nil {
			return err
		}
		return unix.Errno(errno)
	}
}

// enterMain is the child. Its arguments are the path of the program and its
// arguments.
func enterMain() int {
	unix.CloseOnExec(failureFD)
	err := confine.ScopeSignals()
	if err == nil && len(os.Args) > 3 {
		err = unix.Exec(os.Args[2], os.Args[3:], os.Environ())
	}
	errno, ok := err.(unix.Errno)
	if !ok {
		errno = unix.EINVAL
	}
	unix.Write(failureFD, strconv.AppendInt(nil, int64(errno), 10))
	return 127
}
