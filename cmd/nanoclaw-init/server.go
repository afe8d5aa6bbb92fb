//go:build linux || darwin

package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// maxProcesses is how many processes the host may have running at a time. What
// they start themselves is bounded by rlimits.
const maxProcesses = 64

// server starts processes for the host and tells how they end.
//
// All methods that begin with "on" run on the main thread, which alone touches
// the maps: it takes closures from work.
type server struct {
	mux       *wire.Mux
	control   *wire.Stream
	spec      *wire.Spec
	terminals *terminals
	work      chan func()
	out       chan wire.Message

	byID  map[uint32]*process
	byPID map[int]*process
}

// newServer takes standard input and output as the wire, and catches signals. It
// is to be called by the main thread, before anything of the agent runs.
func newServer(spec *wire.Spec) (*server, error) {
	mux, control, err := connect()
	if err != nil {
		return nil, err
	}
	s := &server{
		mux: mux, control: control, spec: spec, terminals: newTerminals(spec),
		work:  make(chan func()),
		out:   make(chan wire.Message, 2*maxProcesses),
		byID:  make(map[uint32]*process),
		byPID: make(map[int]*process),
	}
	go s.write()
	return s, s.catchSignals()
}

// send queues a message for the host. Messages keep their order.
func (s *server) send(m wire.Message) { s.out <- m }

func (s *server) write() {
	for m := range s.out {
		if err := wire.Send(s.control, m); err != nil {
			s.end(err)
		}
	}
}

// end ends the session: the init exits, and everything inside with it.
func (s *server) end(err error) {
	fmt.Fprintln(os.Stderr, "nanoclaw-init:", err)
	exit(1)
}

// serve never returns: the program exits when the wire does.
func (s *server) serve(listeners []listener) {
	for _, l := range listeners {
		go s.accept(l)
	}
	go s.read()
	for f := range s.work {
		f()
	}
}

// catchSignals reaps on SIGCHLD, and sees to it that no signal of a process
// inside ends the program: what the system does not keep from it is caught. It
// is not ignored, since what is ignored stays ignored in children.
func (s *server) catchSignals() error {
	rest := make(chan os.Signal, 1)
	for sig := syscall.Signal(1); sig <= lastSignal; sig++ {
		if sig == unix.SIGCHLD || sig == unix.SIGURG { // ours below; the runtime's own
			continue
		}
		harmless, err := giveBack(sig)
		if err != nil {
			return fmt.Errorf("give signal %d its default action: %w", sig, err)
		}
		if !harmless {
			signal.Notify(rest, sig)
		}
	}
	child := make(chan os.Signal, 1)
	signal.Notify(child, unix.SIGCHLD)
	go func() {
		for range child {
			s.work <- s.onChild
		}
	}()
	return nil
}

// onChild reaps every process that has ended: those of the host, and orphans
// that became ours.
func (s *server) onChild() {
	for {
		var status unix.WaitStatus
		var usage unix.Rusage
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, &usage)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if p := s.byPID[pid]; p != nil {
			delete(s.byPID, pid)
			delete(s.byID, p.id)
			close(p.done)
			s.send(wire.Message{Exited: exited(p.id, status, &usage)})
		}
	}
}

func exited(id uint32, status unix.WaitStatus, usage *unix.Rusage) *wire.Exited {
	e := &wire.Exited{
		ID: id, Code: status.ExitStatus(),
		User:   time.Duration(usage.Utime.Nano()),
		System: time.Duration(usage.Stime.Nano()),
		MaxRSS: usage.Maxrss * rssUnit,
	}
	if status.Signaled() {
		e.Code, e.Signal = -1, int(status.Signal())
	}
	return e
}

// read obeys the host.
func (s *server) read() {
	for {
		m, err := wire.Receive(s.control)
		if err != nil {
			s.end(fmt.Errorf("control stream: %w", err))
		}
		switch {
		case m.Exec != nil:
			go s.exec(m.Exec)
		case m.Signal != nil:
			s.work <- func() { s.onSignal(m.Signal) }
		case m.Resize != nil:
			s.work <- func() { s.onResize(m.Resize) }
		default:
			s.end(fmt.Errorf("the host sent a message that this version does not know"))
		}
	}
}

// onSignal signals the whole process group. The leader has not been reaped, so
// its number cannot have passed to another.
func (s *server) onSignal(m *wire.Signal) {
	if p := s.byID[m.ID]; p != nil && m.Signal > 0 {
		unix.Kill(-p.pid, syscall.Signal(m.Signal))
	}
}

func (s *server) onResize(m *wire.Resize) {
	if p := s.byID[m.ID]; p != nil && p.pty != nil {
		p.pty.resize(m.Rows, m.Cols)
	}
}

// onStart starts what p describes. A process that could not be started is told
// to the host and forgotten.
func (s *server) onStart(p *process, attr *syscall.ProcAttr) bool {
	started := &wire.Started{ID: p.id}
	defer s.send(wire.Message{Started: started})
	if len(s.byID) >= maxProcesses || s.byID[p.id] != nil {
		started.Err = fmt.Sprintf("more than %d processes, or two of one number", maxProcesses)
		return false
	}
	pid, err := limited(s.spec.Rlimits, func() (int, error) {
		return fork(p.path, p.argv, attr)
	})
	if err != nil && pid > 0 {
		s.end(fmt.Errorf("limit process %d: %w", pid, err))
	}
	if err != nil {
		explain(started, p.path, err)
		return false
	}
	p.pid, started.PID = pid, pid
	s.byID[p.id], s.byPID[pid] = p, p
	return true
}
