package inside

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempts are all attempts, in the order of the catalogue.
func attempts() []attempt {
	return slices.Concat(reads(), writes(), later(), direct(), proxied(), services(), kernel(), machine(), exhaust())
}

// try makes an attempt that the control arm makes too.
func try(line, name string, do func(*attacker) (string, error)) attempt {
	return attempt{line: line, name: name, do: do}
}

// without makes an attempt that the control arm leaves out, and says why.
func without(left, line, name string, do func(*attacker) (string, error)) attempt {
	return attempt{line: line, name: name, left: left, do: do}
}

// Reasons why the control arm leaves out an attempt.
const (
	harm     = "its success would harm the machine"
	rootOnly = "only root of the machine could, and the control arm never is"
	noKernel = "the kernel refuses it by itself on many machines"
	noPlant  = "there is nothing of its own to plant there"
)

// steal reads a file and looks for the secret in it.
func (a *attacker) steal(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return a.search(f)
}

func (a *attacker) search(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if strings.Contains(string(b), a.Secret) {
		return "the secret", nil
	}
	if err != nil {
		return "", err
	}
	return "", refused("it can be read, and is not the secret")
}

// theft is steal as an attempt.
func theft(path func(*attacker) string) func(*attacker) (string, error) {
	return func(a *attacker) (string, error) { return a.steal(path(a)) }
}

// home gives the path of a file in the home of the host.
func home(name string) func(*attacker) string {
	return func(a *attacker) string { return filepath.Join(a.Home, name) }
}

// create makes a file that must not be there, and takes it away again.
func create(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	f.Close()
	os.Remove(path)
	return "made " + path, nil
}

// openTo opens a file for writing and writes nothing.
func openTo(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	f.Close()
	return "opened for writing", nil
}

// call makes a system call.
func call(nr uintptr, args ...uintptr) (uintptr, error) {
	var v [6]uintptr
	copy(v[:], args)
	r, _, errno := unix.Syscall6(nr, v[0], v[1], v[2], v[3], v[4], v[5])
	if errno != 0 {
		return 0, errno
	}
	return r, nil
}

// reached makes a system call with arguments that the kernel does not accept.
// Any error but a refusal says that the call came through to what it is about.
func reached(nr uintptr, args ...uintptr) (string, error) {
	_, err := call(nr, args...)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EACCES) {
		return "", err
	}
	return fmt.Sprint("the kernel looked at it: ", err), nil
}

func reaches(nr uintptr, args ...uintptr) func(*attacker) (string, error) {
	return func(*attacker) (string, error) { return reached(nr, args...) }
}

// made closes a descriptor that should not have been had.
func made(fd int, err error) (string, error) {
	if err != nil {
		return "", err
	}
	unix.Close(fd)
	return "made", nil
}

// word gives a C string for a system call. The caller keeps it alive.
func word(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err) // a mistake of ours: all words are constants or planted names
	}
	return uintptr(unsafe.Pointer(p))
}

// self runs this program again as a child, see child.
func (a *attacker) self(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{Verb}, args...)...)
	cmd.Env = os.Environ()
	return cmd
}

// run runs a program and says what it printed, or how it failed. One that does
// not come back, since only its thread was killed, has failed too.
func run(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stuck := time.AfterFunc(5*patience, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	err := cmd.Wait()
	text := strings.TrimSpace(out.String())
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return "it ran: " + text, nil
}

// descriptors lists the open descriptors beyond the standard three.
func descriptors() []int {
	var open []int
	for fd := 3; fd < 1024; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != syscall.EBADF {
			open = append(open, fd)
		}
	}
	return open
}

// number writes a process number as /proc has it.
func number(pid int) string { return strconv.Itoa(pid) }
