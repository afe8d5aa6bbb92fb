package boundary

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The init is process 1 of namespaces that it did not make. A Go program can
// clone into a new user namespace only as fork(2) does it, with a copy of all its
// page tables, which for a daemon takes many times as long as the rest. So the
// daemon starts the init's program with vfork, in no namespace yet, and that
// clones itself: before its runtime, with hardly a page of memory, which the two
// share (CLONE_VM), as a child of the daemon (CLONE_PARENT). The first of the two
// says how it went, and ends. See entry in command nanoclaw-init.
//
// Neither trusts the other less than before: both run our program alone, with
// nothing of an agent near, and until the second has been told who it is it does
// nothing. Where the first is killed before it has answered, the second sees the
// end of its input and ends too.

// launchMark begins the argv[0] of an init that is to clone itself.
const launchMark = "+"

// fork starts the init's program in the namespaces of flags and gives the numbers
// of both processes. The second one has its uid and gid, and the capabilities it
// needs in its namespaces. After an error both are reaped.
func (n *Native) fork(flags uintptr, exec string, argv []string, files []uintptr, id identity, p *pipes) (first, second int, err error) {
	argv[0] = launchMark + argv[0]
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   initEnv(),
		Files: files,
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if err := tell(p.in, uint64(flags|uintptr(unix.SIGCHLD))); err != nil {
		return 0, 0, err
	}
	n.cloner.do(func() { first, err = syscall.ForkExec(exec, argv, attr) })
	p.closeChilds()
	if err != nil {
		return 0, 0, err
	}
	second, err = born(p.out)
	if err == nil {
		err = introduce(second, id, p.in)
	}
	if err != nil {
		reap(first)
		if second > 0 { // it ends with its input
			p.in.Close()
			reap(second)
		}
	}
	return first, second, err
}

// tell writes one number to the init's program.
func tell(w *os.File, word uint64) error {
	_, err := w.Write(binary.NativeEndian.AppendUint64(nil, word))
	return err
}

// born reads the number of the second process, or why there is none.
func born(r *os.File) (int, error) {
	r.SetReadDeadline(time.Now().Add(startTimeout))
	defer r.SetReadDeadline(time.Time{})
	var b [8]byte
	if n, err := r.Read(b[:]); n != len(b) {
		return 0, errors.Join(errors.New("the init ended before it was in its namespaces"), err)
	}
	pid := int64(binary.NativeEndian.Uint64(b[:]))
	if pid < 0 {
		return 0, syscall.Errno(-pid)
	}
	return int(pid), nil
}

// introduce gives a process in a new user namespace its uid and gid, and lets it
// go on (user_namespaces(7)).
func introduce(pid int, id identity, w *os.File) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	one := func(host int) string { return fmt.Sprintf("%d %d 1\n", insideUID, host) }
	var take uint64
	if id.change {
		take = insideUID
	} else if err := putWhole(dir+"setgroups", "deny"); err != nil {
		return err // else it could leave groups that are refused something
	}
	if err := putWhole(dir+"gid_map", one(id.gid)); err != nil {
		return err
	}
	if err := putWhole(dir+"uid_map", one(id.uid)); err != nil {
		return err
	}
	return tell(w, take)
}

// putWhole writes a file of the kernel's, which takes the whole in one call.
func putWhole(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// reap waits for the end of a child.
func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}
