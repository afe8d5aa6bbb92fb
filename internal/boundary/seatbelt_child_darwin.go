package boundary

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/wire"
)

// Times of an end. The init ends the session by itself, by a signal to all of its
// sandbox; what it leaves is looked for and killed.
const (
	initTime   = time.Second            // until the init is killed too
	sweepPause = 20 * time.Millisecond  // between two looks
	sweepTime  = 10 * time.Second       // until what does not die is left to the log
	lookPause  = 250 * time.Millisecond // between two looks while it lives
)

// macChild is a running init and what descends from it.
type macChild struct {
	process *os.Process
	mark    []byte // in the environment of every process of the session
	wire    io.ReadWriteCloser
	log     *slog.Logger
	end     chan struct{} // closed when the init is to end
	done    chan struct{} // closed when all are dead
	said    chan struct{} // closed at the end of its standard error
	tail    string        // the last line of that; read it after said

	once sync.Once

	mu      sync.Mutex
	kin     *kin
	since   int64
	members []int
}

var _ tree = (*macChild)(nil)

// spawn starts sandbox-exec, which becomes the init, with files as its
// descriptors from 3 on.
func (b *Seatbelt) spawn(profile, secret string, files []*os.File, log *slog.Logger) (*macChild, error) {
	var pipes [3][2]*os.File // reading and writing ends of standard input, output and error
	for i := range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			for _, p := range pipes {
				closeAll(p[:])
			}
			return nil, err
		}
		pipes[i] = [2]*os.File{r, w}
	}
	theirs := []*os.File{pipes[0][0], pipes[1][1], pipes[2][1]}
	attr := &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1", seatbelt.SecretVar + "=" + secret},
		Files: append(theirs[:3:3], files...), Sys: &syscall.SysProcAttr{Setsid: true},
	}
	argv := []string{"sandbox-exec", "-f", profile, b.path, strconv.Itoa(len(files))}
	process, err := os.StartProcess(sandboxExec, argv, attr)
	var first relative
	if err == nil {
		first, err = born(process)
	}
	closeAll(theirs)
	if err != nil {
		closeAll([]*os.File{pipes[0][1], pipes[1][0], pipes[2][0]})
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &macChild{
		process: process, mark: []byte("\x00" + seatbelt.SecretVar + "=" + secret + "\x00"),
		wire: wire.Duplex(pipes[1][0], pipes[0][1]), log: log,
		end: make(chan struct{}), done: make(chan struct{}), said: make(chan struct{}),
		kin: newKin(first), since: first.start,
	}
	go c.readStderr(pipes[2][0])
	go c.live()
	return c, nil
}

// born is what the kernel says of a process that was just started. Without it
// nobody would know what descends from it, so then it is killed.
func born(process *os.Process) (relative, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", process.Pid)
	if err != nil {
		process.Kill()
		process.Wait()
		return relative{}, fmt.Errorf("look at the process: %w", err)
	}
	return asRelative(k), nil
}

func asRelative(k *unix.KinfoProc) relative {
	r := relative{
		pid: int(k.Proc.P_pid), ppid: int(k.Eproc.Ppid), pgid: int(k.Eproc.Pgid),
		start: k.Proc.P_starttime.Nano() / 1000,
	}
	r.sid, _ = unix.Getsid(r.pid)
	return r
}

// look looks who is there now.
func (c *macChild) look() []int {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid())
	if err != nil {
		c.log.Warn("processes cannot be listed", "err", err)
		return c.now()
	}
	const zombie = 5 // SZOMB in sys/proc.h
	table := make([]relative, 0, len(list))
	for i := range list {
		if list[i].Proc.P_stat != zombie {
			table = append(table, asRelative(&list[i]))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = c.kin.look(table, c.since, c.marked)
	return c.members
}

// now is what the last look found.
func (c *macChild) now() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members
}

// marked looks for the session's secret in the environment that a process was
// started with (KERN_PROCARGS2 in sysctl(3)).
func (c *macChild) marked(pid int) bool {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	return err == nil && bytes.Contains(b, c.mark)
}

// PID implements tree.
func (c *macChild) PID() int { return c.process.Pid }

// Done implements tree.
func (c *macChild) Done() <-chan struct{} { return c.done }

// Kill implements tree.
func (c *macChild) Kill() { c.once.Do(func() { close(c.end) }) }

// live watches over the session until nothing of it is left.
func (c *macChild) live() {
	defer close(c.done)
	ended := make(chan struct{})
	go func() { defer close(ended); c.process.Wait() }()
	c.follow(ended)
	c.process.Signal(unix.SIGTERM) // the init kills its sandbox
	select {
	case <-ended:
	case <-time.After(initTime):
		c.process.Kill()
		<-ended
	}
	c.sweep()
}

// follow keeps the record of descent, until the session is to end.
func (c *macChild) follow(ended <-chan struct{}) {
	for {
		c.look()
		select {
		case <-ended:
			return
		case <-c.end:
			return
		case <-time.After(lookPause):
		}
	}
}

// sweep kills who is left, and looks again, until nobody is.
func (c *macChild) sweep() {
	for until := time.Now().Add(sweepTime); ; {
		left := c.look()
		if len(left) == 0 {
			return
		}
		if time.Now().After(until) {
			c.log.Error("processes of a session do not die", "pids", left)
			return
		}
		for _, pid := range left {
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(sweepPause)
	}
}

// maxStderr is how much of an init's standard error goes into the log.
const maxStderr = 64 << 10

// readStderr reads until the end, so that nobody waits for us.
func (c *macChild) readStderr(r *os.File) {
	defer close(c.said)
	defer r.Close()
	lines := bufio.NewScanner(io.LimitReader(r, maxStderr))
	for lines.Scan() {
		c.tail = plain(lines.Text())
		c.log.Warn("nanoclaw-init says", "text", c.tail)
	}
	io.Copy(io.Discard, r)
}

// lastWords is the last line that an init that has ended said.
func (c *macChild) lastWords() string {
	<-c.said
	return c.tail
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
