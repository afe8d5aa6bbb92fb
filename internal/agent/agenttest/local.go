package agenttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/wire"
)

// Local is a box without walls: processes are children of the test. It says that
// it is proven, unless Unproven is set.
type Local struct{ Unproven bool }

var _ agent.Box = Local{}

// Proven vouches for the test.
func (l Local) Proven() string {
	if l.Unproven {
		return ""
	}
	return "a test without walls"
}

// Exec starts a plain child in a process group of its own.
func (Local) Exec(_ context.Context, e wire.Exec) (agent.Process, error) {
	cmd := exec.Command(e.Argv[0], e.Argv[1:]...)
	cmd.Env, cmd.Dir = e.Env, e.Dir
	if e.Env == nil {
		cmd.Env = []string{}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &localProcess{cmd: cmd, ended: make(chan struct{})}
	theirs, err := p.stdio(e.Stdio)
	if err != nil {
		return nil, err
	}
	err = cmd.Start()
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", e.Argv[0], err)
	}
	go p.reap()
	return p, nil
}

type localProcess struct {
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr *os.File
	ended          chan struct{}
	exited         wire.Exited
}

// stdio makes the process's files and returns the ends that are the child's.
func (p *localProcess) stdio(mode wire.StdioMode) ([]*os.File, error) {
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.stderr, p.cmd.Stderr = errR, errW
	if mode == wire.Socketpair {
		ours, child, err := socketpair()
		if err != nil {
			return nil, err
		}
		p.stdin, p.stdout = halfCloser{ours}, ours
		p.cmd.Stdin, p.cmd.Stdout = child, child
		return []*os.File{child, errW}, nil
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.stdout = inW, outR
	p.cmd.Stdin, p.cmd.Stdout = inR, outW
	return []*os.File{inR, outW, errW}, nil
}

// socketpair gives our end, which can be waited for, and the child's.
func socketpair() (ours, child *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "stdio"), nil
}

// halfCloser closes only the writing half of a socket.
type halfCloser struct{ *os.File }

func (h halfCloser) Close() error {
	c, err := h.SyscallConn()
	if err != nil {
		return err
	}
	var shut error
	err = c.Control(func(fd uintptr) { shut = syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	return errors.Join(err, shut)
}

func (p *localProcess) reap() {
	p.cmd.Wait()
	st := p.cmd.ProcessState
	p.exited = wire.Exited{Code: st.ExitCode(), User: st.UserTime(), System: st.SystemTime()}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.exited.Code, p.exited.Signal = -1, int(ws.Signal())
	}
	close(p.ended)
}

func (p *localProcess) Stdin() io.WriteCloser { return p.stdin }
func (p *localProcess) Stdout() io.Reader     { return p.stdout }
func (p *localProcess) Stderr() io.Reader     { return p.stderr }

func (p *localProcess) Signal(s syscall.Signal) error {
	select {
	case <-p.ended:
		return nil
	default:
		return syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

func (p *localProcess) Wait(ctx context.Context) (wire.Exited, error) {
	select {
	case <-p.ended:
		return p.exited, nil
	case <-ctx.Done():
		return wire.Exited{}, context.Cause(ctx)
	}
}
