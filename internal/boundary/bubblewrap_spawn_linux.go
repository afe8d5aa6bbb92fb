package boundary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// wrapped is a session's tree that bwrap started: bwrap, which waits outside,
// and our init, its child. The init is process 1 of its PID namespace.
type wrapped struct {
	*child // bwrap
	init   int
	initfd *os.File
	gone   chan struct{}
}

var _ tree = (*wrapped)(nil)

// PID implements tree.
func (w *wrapped) PID() int { return w.init }

// Done implements tree.
func (w *wrapped) Done() <-chan struct{} { return w.gone }

// Kill implements tree. Each of the two ends the other: bwrap waits for the init,
// and the init is bound to bwrap by the parent death signal. Neither is relied on.
func (w *wrapped) Kill() {
	w.killInit()
	w.child.Kill()
}

func (w *wrapped) killInit() {
	if conn, err := w.initfd.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	}
}

// watch waits until both are dead. The init is not our child; its pidfd becomes
// readable when it, and so everything in its PID namespace, is dead.
func (w *wrapped) watch() {
	defer close(w.gone)
	go func() { // the init binds itself to bwrap, and is not there yet while bwrap builds
		<-w.child.Done()
		w.killInit()
	}()
	dead := func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return n > 0 || err != nil && err != unix.EINTR
	}
	if conn, err := w.initfd.SyscallConn(); err == nil {
		conn.Read(dead)
	}
	<-w.child.Done()
	w.initfd.Close()
}

// inheritance is the files of a process from descriptor 0 on.
type inheritance struct{ files []*os.File }

// add gives the number that a file will have.
func (i *inheritance) add(f *os.File) int {
	i.files = append(i.files, f)
	return len(i.files) - 1
}

// spawn starts bwrap, and returns when the init's process is known.
func (b *Bubblewrap) spawn(ctx context.Context, id identity, p *wrapPlan, log *slog.Logger) (*wrapped, error) {
	pipes, err := newPipes()
	if err != nil {
		return nil, err
	}
	info, tellInfo, err := os.Pipe()
	if err != nil {
		pipes.closeChilds()
		pipes.closeOurs()
		return nil, err
	}
	defer info.Close()
	in := &inheritance{files: append(pipes.childs(), p.pins...)}
	argv, ours, err := b.command(in, p, info, tellInfo)
	var c *child
	if err == nil {
		c, err = b.fork(id, p, in, argv, pipes)
	}
	closeAll(ours)
	tellInfo.Close()
	pipes.closeChilds()
	if err != nil {
		pipes.closeOurs()
		return nil, err
	}
	c.log.Store(log)
	go c.readStderr(pipes.err)
	w, err := c.wrapping(ctx, info)
	go c.wait()
	if err != nil {
		<-c.Done()
		c.wire.Close()
		return nil, b.explain(err, c, p)
	}
	go w.watch()
	return w, nil
}

// command makes bwrap's command line, and the files it needs beside the mounts.
// Nothing on it is of the session: bwrap reads that from a file, since everybody
// on this machine sees command lines.
func (b *Bubblewrap) command(in *inheritance, p *wrapPlan, readInfo, tellInfo *os.File) (argv []string, ours []*os.File, err error) {
	program := in.add(b.native.program)
	info := in.add(tellInfo)
	in.add(readInfo) // so that the pipe never breaks, whoever dies: that would kill bwrap
	data := make([]int, len(p.spec.Files))
	for i, f := range p.spec.Files {
		m, err := inMemory(f.Data)
		if err != nil {
			return nil, ours, err
		}
		ours, data[i] = append(ours, m), in.add(m)
	}
	source := func(i int) string { return "/proc/self/fd/" + strconv.Itoa(firstFD+i) }
	if p.lend != "" {
		source = func(i int) string { return p.lend + "/" + strconv.Itoa(i) }
	}
	args := wrap(&p.spec, b.setuid, b.native.opts.skip, source, func(i int) string { return strconv.Itoa(data[i]) })
	list, err := inMemory([]byte(strings.Join(args, "\x00") + "\x00"))
	if err != nil {
		return nil, ours, err
	}
	ours = append(ours, list)
	argv = []string{b.path, "--args", strconv.Itoa(in.add(list)), "--info-fd", strconv.Itoa(info), "--"}
	argv = append(argv, b.program(program, len(p.pins))...)
	if p.lend != "" {
		lend := []string{"nanoclaw-init", "lend", p.lend, strconv.Itoa(len(in.files)), strconv.Itoa(len(p.lent))}
		argv = append(lend, argv...)
		in.files = append(in.files, p.lent...)
	}
	return argv, ours, nil
}

// fork starts the command, from the thread that lives as long as we do.
func (b *Bubblewrap) fork(id identity, p *wrapPlan, in *inheritance, argv []string, pipes *pipes) (*child, error) {
	pidfd := -1
	attr := &syscall.ProcAttr{Dir: "/", Env: initEnv(), Sys: wrapAttr(id, p.lend != "", &pidfd)}
	for _, f := range in.files {
		attr.Files = append(attr.Files, f.Fd())
	}
	exec := b.path
	if p.lend != "" {
		exec = "/proc/self/fd/" + strconv.Itoa(firstFD+len(p.pins)) // the init's program, see command
	}
	var pid int
	var err error
	b.native.cloner.do(func() { pid, err = syscall.ForkExec(exec, argv, attr) })
	runtime.KeepAlive(in)
	if err != nil {
		return nil, err
	}
	c := &child{pid: pid, wire: wire.Duplex(pipes.out, pipes.in), done: make(chan struct{}), said: make(chan struct{})}
	c.pidfd = nonblocking(pidfd)
	return c, nil
}

// wrapAttr makes the process the group's. Where that takes privilege, it is in a
// user namespace that we own: who owns it may kill what is in it, without
// CAP_KILL, and so may the kernel in our name when we die.
func wrapAttr(id identity, lend bool, pidfd *int) *syscall.SysProcAttr {
	// No parent death signal, and not bwrap's --die-with-parent: if we die at the
	// wrong moment it would kill bwrap alone, and leave its child waiting for ever,
	// see wrapping. What stands then goes on to its init, which ends with its wire.
	attr := &syscall.SysProcAttr{Setsid: true, PidFD: pidfd}
	if !id.change {
		return attr
	}
	attr.Cloneflags = unix.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: id.uid, HostID: id.uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: id.gid, HostID: id.gid, Size: 1}}
	attr.GidMappingsEnableSetgroups = true
	attr.Credential = &syscall.Credential{Uid: uint32(id.uid), Gid: uint32(id.gid)} // and no further groups
	if lend {
		attr.Cloneflags |= unix.CLONE_NEWNS
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_SYS_RESOURCE}
	}
	return attr
}

// inMemory gives a file that holds data.
func inMemory(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("nanoclaw", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("nanoclaw", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "nanoclaw")
	_, err = f.Write(data)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// maxInfo bounds what bwrap tells of the process it made.
const maxInfo = 4 << 10

// wrapping takes hold of the init when bwrap has told its number. If that fails,
// or ctx ends first, all is killed.
//
// Until then bwrap's child waits for a word of bwrap's, would wait for ever if
// bwrap was killed alone, and has no number that we know. It is in the process
// group of bwrap, whose number nobody else has as long as bwrap is not reaped.
func (c *child) wrapping(ctx context.Context, info io.Reader) (*wrapped, error) {
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		unix.Kill(-c.pid, unix.SIGKILL)
	})
	w, err := c.hold(info)
	if !stop() {
		<-killed
	} else if err != nil {
		unix.Kill(-c.pid, unix.SIGKILL)
	}
	return w, err
}

func (c *child) hold(info io.Reader) (*wrapped, error) {
	var told struct {
		Child int `json:"child-pid"`
	}
	if err := json.NewDecoder(io.LimitReader(info, maxInfo)).Decode(&told); err != nil {
		return nil, errors.New("bwrap ended before it made a process")
	}
	fd, err := unix.PidfdOpen(told.Child, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("the process that bwrap made: %w", err)
	}
	// The number may have passed to another before we opened it. It had not if it
	// is still that of a child of bwrap, which has but one.
	if parent, err := parentOf(told.Child); err != nil || parent != c.pid {
		unix.Close(fd)
		return nil, errors.Join(fmt.Errorf("process %d is none of bwrap's", told.Child), err)
	}
	return &wrapped{child: c, init: told.Child, initfd: os.NewFile(uintptr(fd), "pidfd"), gone: make(chan struct{})}, nil
}

// parentOf reads a process's parent (proc_pid_stat(5)).
func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name is in parentheses and may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0, errors.New("the kernel says nothing of its parent")
	}
	return strconv.Atoi(fields[1])
}
