package boundary

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// namespaces are made for every session.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// cloner starts processes from one thread that lives as long as this program.
// The kernel sends the parent death signal when the cloning thread ends, and
// other threads of a Go program come and go.
type cloner struct{ jobs chan func() }

func newCloner() *cloner {
	c := &cloner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range c.jobs {
			f()
		}
	}()
	return c
}

func (c *cloner) do(f func()) {
	done := make(chan struct{})
	c.jobs <- func() { defer close(done); f() }
	<-done
}

// initEnv is the environment of the init, made for a start that takes little: one
// processor is enough to carry bytes, and makes fewer threads, and nobody profiles
// its memory. The agent's environment is not made from this one.
func initEnv() []string { return []string{"GOMAXPROCS=1", "GODEBUG=memprofilerate=0"} }

// identity is who the init is on this machine.
type identity struct {
	uid, gid int
	// change says that it is not who we are, which takes privilege.
	change bool
}

// child is a running init and the host's ends of its pipes.
type child struct {
	first int // the process that cloned it, if not we did; 0 if there is none
	pid   int
	pidfd *os.File
	wire  io.ReadWriteCloser
	done  chan struct{}

	log  atomic.Pointer[slog.Logger] // takes what it says
	said chan struct{}               // closed at the end of its standard error
	tail string                      // the last line of that; read it after said
}

var _ tree = (*child)(nil)

// clone starts the init with inherited as its descriptors from 3 on. mode are
// its first arguments.
func (n *Native) clone(id identity, inherited []*os.File, log *slog.Logger, mode ...string) (*child, error) {
	p, err := newPipes()
	if err != nil {
		return nil, err
	}
	files := append(p.childs(), inherited...)
	// Last, and closed by the init at once: the program itself. Its number must
	// be among those given, so that the runtime does not use it for another.
	exec := "/proc/self/fd/" + strconv.Itoa(len(files))
	files = append(files, n.program)
	var fds []uintptr
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	argv := slices.Concat([]string{"nanoclaw-init"}, mode, []string{strconv.Itoa(len(inherited))}, n.opts.skip)
	first, pid, err := n.fork(n.namespaces(), exec, argv, fds, id, p)
	runtime.KeepAlive(files)
	if err != nil {
		p.closeChilds()
		p.closeOurs()
		return nil, err
	}
	c := &child{first: first, pid: pid, wire: wire.Duplex(p.out, p.in), done: make(chan struct{}), said: make(chan struct{})}
	// Nobody but us reaps it, so its number is still its own.
	pidfd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		c.wire.Close()
		p.err.Close()
		reap(first)
		reap(pid)
		return nil, err
	}
	c.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	c.log.Store(log)
	go c.readStderr(p.err)
	go c.wait()
	return c, nil
}

// nonblocking makes a file that the runtime can wait for without a thread.
func nonblocking(fd int) *os.File {
	unix.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), "pidfd")
}

// PID implements tree.
func (c *child) PID() int { return c.pid }

// Done implements tree.
func (c *child) Done() <-chan struct{} { return c.done }

// Kill implements tree. The init is process 1 of its PID namespace: with it the
// kernel kills all others, and it is not dead before they are
// (pid_namespaces(7)).
func (c *child) Kill() {
	conn, err := c.pidfd.SyscallConn()
	if err != nil {
		return // reaped
	}
	conn.Control(func(fd uintptr) { unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
}

// wait reaps the init.
func (c *child) wait() {
	defer close(c.done)
	defer c.pidfd.Close()
	if c.first != 0 {
		reap(c.first)
	}
	reap := func(fd uintptr, flags int) bool {
		for {
			var info unix.Siginfo
			err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|flags, nil)
			if err == unix.EINTR {
				continue
			}
			// Nothing to reap leaves the whole of info zero.
			return err != nil && err != unix.EAGAIN || info.Signo != 0
		}
	}
	conn, err := c.pidfd.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool { return reap(fd, unix.WNOHANG) })
	}
	if err != nil { // the runtime cannot wait for this kind of file
		reap(c.pidfd.Fd(), 0)
	}
}

// maxStderr is how much of an init's standard error goes into the log. The init
// says little; a flood is not from us.
const maxStderr = 64 << 10

// readStderr reads until the end, so that the init never waits for us.
func (c *child) readStderr(r *os.File) {
	defer close(c.said)
	defer r.Close()
	lines := bufio.NewScanner(io.LimitReader(r, maxStderr))
	for lines.Scan() {
		text := plain(lines.Text())
		c.tail = text
		if log := c.log.Load(); log != nil {
			log.Warn("nanoclaw-init says", "text", text)
		}
	}
	io.Copy(io.Discard, r)
}

// lastWords is the last line of the standard error of an init that has ended.
func (c *child) lastWords() string {
	<-c.said
	return c.tail
}

// pipes are the init's standard input, output and error.
type pipes struct {
	in, out, err *os.File // ours
	child        [3]*os.File
}

func newPipes() (*pipes, error) {
	p := &pipes{}
	var errs [3]error
	p.child[0], p.in, errs[0] = os.Pipe()
	p.out, p.child[1], errs[1] = os.Pipe()
	p.err, p.child[2], errs[2] = os.Pipe()
	if err := errors.Join(errs[:]...); err != nil {
		p.closeChilds()
		p.closeOurs()
		return nil, err
	}
	return p, nil
}

func (p *pipes) childs() []*os.File { return p.child[:3:3] }

func (p *pipes) closeChilds() { closeAll(p.child[:]) }

func (p *pipes) closeOurs() { closeAll([]*os.File{p.in, p.out, p.err}) }

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
