package boundary

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
)

// live is a question in the form in which the asker tries it.
type live struct {
	grant.Question
	Number uint32    // of a system call
	Args   [6]uint64 // of a system call
}

// lived is what came of trying. Error is the kernel's or the proxy's word.
type lived struct {
	Allowed bool
	Error   string
}

// playAsker is the asker, a process of the agent: it reads questions, does what each
// asks about and writes what came of it. It runs nowhere but inside.
func playAsker() int {
	name, err := os.Hostname()
	if err != nil || name != hostname || os.Getuid() != insideUID {
		fmt.Fprintln(os.Stderr, "this runs inside a boundary only")
		return 1
	}
	unix.Umask(0o022)
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var questions []live
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	answers := make([]lived, len(questions))
	for i, q := range questions {
		err := try(q)
		answers[i].Allowed = err == nil
		if err != nil {
			answers[i].Error = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		return 1
	}
	return 0
}

// furnish puts files into the folders that are the session's own.
func furnish() error {
	program, err := os.ReadFile("/usr/bin/true")
	if err != nil {
		return err
	}
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		if err := errors.Join(os.WriteFile(dir+"/file", []byte("x"), 0o600), os.WriteFile(dir+"/prog", program, 0o755)); err != nil {
			return err
		}
	}
	return nil
}

func try(q live) error {
	switch q.Kind {
	case grant.AboutPath:
		return tryPath(q.Op, q.Name)
	case grant.AboutHost:
		return tryHost(q.Name, q.Port)
	case grant.AboutVar:
		if _, there := os.LookupEnv(q.Name); !there {
			return errors.New("not set")
		}
		return nil
	case grant.AboutCall:
		return tryCall(q)
	}
	return errors.New("nobody can try this")
}

func tryPath(op grant.Op, p string) error {
	const flags = unix.O_NONBLOCK | unix.O_NOCTTY
	switch op {
	case grant.OpRead:
		f, err := os.OpenFile(p, os.O_RDONLY|flags, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err = f.Read(make([]byte, 1)); errors.Is(err, unix.EISDIR) {
			_, err = f.Readdirnames(1)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, unix.EAGAIN) {
			return nil
		}
		return err
	case grant.OpWrite:
		f, err := os.OpenFile(p, os.O_WRONLY|flags, 0)
		if err == nil {
			f.Close()
		}
		return err
	case grant.OpList:
		_, err := os.ReadDir(p)
		return err
	case grant.OpExec:
		err := exec.Command(p, "--help").Run()
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			return nil // it ran
		}
		return err
	}
	return tryName(op, p)
}

// tryName makes a file where there is none, does what is asked, and leaves
// everything as it was.
func tryName(op grant.Op, p string) error {
	_, err := os.Lstat(p)
	was := err == nil
	if !was || op == grant.OpCreate {
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		f.Close()
		defer os.Remove(p)
	}
	other := filepath.Join(filepath.Dir(p), "other name")
	switch op {
	case grant.OpRemove:
		return os.Remove(p)
	case grant.OpRename:
		return errors.Join(os.Rename(p, other), ignoreAbsent(os.Rename(other, p)))
	case grant.OpLink:
		return errors.Join(os.Link(p, other), ignoreAbsent(os.Remove(other)))
	}
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return nil // the first half failed already
	}
	return err
}

// tryHost asks the proxy for a tunnel, and the loopback itself directly. The
// name service of the test knows no name, so an allowed host ends with 502.
func tryHost(host, port string) error {
	if port == "" {
		port = "443"
	}
	if bare := strings.Trim(host, "[]"); strings.EqualFold(bare, "localhost") || net.ParseIP(bare).IsLoopback() {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(strings.Replace(bare, "localhost", "127.0.0.1", 1), port), 5*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", grant.ProxyPort), 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", host, port, host, port)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.HasPrefix(line, "HTTP/1.1 502 ") {
		return nil
	}
	return errors.New(strings.TrimSpace(line))
}

// tryCall makes a call that does no harm with its arguments. What the filter
// refuses, it refuses with one of few errors.
func tryCall(q live) error {
	r, _, errno := unix.RawSyscall6(uintptr(q.Number), uintptr(q.Args[0]), uintptr(q.Args[1]), uintptr(q.Args[2]),
		uintptr(q.Args[3]), uintptr(q.Args[4]), uintptr(q.Args[5]))
	if errno == 0 && q.Number == unix.SYS_SOCKET {
		unix.Close(int(r))
	}
	switch confine.Action(errno) {
	case confine.Refuse, confine.NoSuchCall, confine.Action(unix.EPROTONOSUPPORT), confine.Action(unix.EAFNOSUPPORT):
		return errno
	}
	return nil
}
