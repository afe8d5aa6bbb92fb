package boundary

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"

	"nanoclaw/internal/wire"
)

// Process is one process that was started inside. Its three streams need not be
// read: what is not read waits, and then the process does.
type Process struct {
	// Stdin ends the process's input when closed.
	Stdin io.WriteCloser
	// Stdout ends when the last process that holds it has closed it. With a
	// terminal it carries standard error too.
	Stdout io.Reader
	// Stderr is empty with a terminal.
	Stderr io.Reader

	session *Session
	id      uint32
	stdio   chan *wire.Stream // capacity 1
	errors  chan *wire.Stream // capacity 1; nil with a terminal
	started chan struct{}
	exited  chan struct{}

	// Under Session.mu; startErr and result are fixed once started and exited
	// are closed.
	announced bool // the init has answered
	ended     bool
	awaited   int // streams that are not here yet
	startErr  error
	result    wire.Exited
}

// Exec starts a process inside and returns when it runs. The ID of e is chosen
// here. An *ExecError says that the program cannot be run; the session goes on.
//
// If ctx ends while the process is being started, it is killed. Afterwards ctx
// has no meaning for it.
func (s *Session) Exec(ctx context.Context, e wire.Exec) (*Process, error) {
	if e.Stdio == "" {
		e.Stdio = wire.Pipes
	}
	if s.local != nil {
		e = s.local.Exec(e)
	}
	p := s.expect(&e)
	if err := s.send(wire.Message{Exec: &e}); err != nil {
		return nil, fmt.Errorf("start a process inside: %w", err)
	}
	if err := p.connect(ctx); err != nil {
		go p.abandon()
		return nil, err
	}
	return p, nil
}

// expect registers a process under a new number.
func (s *Session) expect(e *wire.Exec) *Process {
	p := &Process{
		session: s,
		stdio:   make(chan *wire.Stream, 1),
		started: make(chan struct{}),
		exited:  make(chan struct{}),
	}
	p.awaited = 1
	if e.Stdio != wire.PTY {
		p.errors = make(chan *wire.Stream, 1)
		p.awaited = 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	p.id, e.ID = s.last, s.last
	s.procs[p.id] = p
	return p
}

// take keeps a stream of the process, and says whether it may have one. The
// caller holds Session.mu.
func (p *Process) take(kind wire.Kind, stream *wire.Stream) bool {
	ch := p.stdio
	if kind == wire.Stderr {
		ch = p.errors
	}
	select {
	case ch <- stream: // never, if ch is nil
		p.awaited--
		return p.awaited >= 0
	default:
		return false
	}
}

// connect waits until the process runs and its streams are here.
func (p *Process) connect(ctx context.Context) error {
	if err := wait(ctx, p.session, p.started); err != nil {
		return err
	}
	if p.startErr != nil {
		return p.startErr
	}
	stdio, err := receive(ctx, p.session, p.stdio)
	if err != nil {
		return err
	}
	p.Stdin, p.Stdout, p.Stderr = stdin{stdio}, stdio, strings.NewReader("")
	if p.errors == nil {
		return nil
	}
	errors, err := receive(ctx, p.session, p.errors)
	if err != nil {
		stdio.Reset()
		return err
	}
	p.Stderr = errors
	return nil
}

// wait waits for ch to be closed.
func wait(ctx context.Context, s *Session, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-s.done:
		return fmt.Errorf("the session ended: %w", s.Err())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func receive(ctx context.Context, s *Session, ch <-chan *wire.Stream) (*wire.Stream, error) {
	select {
	case stream := <-ch:
		return stream, nil
	case <-s.done:
		return nil, fmt.Errorf("the session ended: %w", s.Err())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// abandon kills a process that nobody waits for, and drops its streams.
func (p *Process) abandon() {
	select {
	case <-p.started:
	case <-p.session.done:
		return
	}
	if p.startErr == nil {
		p.Signal(syscall.SIGKILL)
	}
	for _, ch := range []chan *wire.Stream{p.stdio, p.errors} {
		select {
		case stream := <-ch:
			stream.Reset()
		default:
		}
	}
}

// stdin is the half of a process's stream that we write.
type stdin struct{ stream *wire.Stream }

func (i stdin) Write(b []byte) (int, error) { return i.stream.Write(b) }
func (i stdin) Close() error                { return i.stream.CloseWrite() }

// Signal sends a signal to the process's group. A process that has ended takes
// none, which is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	return p.session.send(wire.Message{Signal: &wire.Signal{ID: p.id, Signal: int(sig)}})
}

// Resize sets the size of the process's terminal.
func (p *Process) Resize(rows, cols uint16) error {
	return p.session.send(wire.Message{Resize: &wire.Resize{ID: p.id, Rows: rows, Cols: cols}})
}

// Wait waits until the process has ended. Its output may still hold what was
// not read. An error means that the session ended first, or ctx.
func (p *Process) Wait(ctx context.Context) (wire.Exited, error) {
	select {
	case <-p.exited:
		return p.result, nil
	default:
	}
	if err := wait(ctx, p.session, p.exited); err != nil {
		return wire.Exited{}, err
	}
	return p.result, nil
}
