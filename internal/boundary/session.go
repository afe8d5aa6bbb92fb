package boundary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"unicode"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/wire"
)

// ErrClosed is the end of a session that this side closed.
var ErrClosed = errors.New("the session was closed")

// tree is the process tree of a session, as a boundary's engine sees it.
type tree interface {
	// PID is the number of its first process on this machine.
	PID() int
	// Kill kills all of it. It does not wait.
	Kill()
	// Done is closed when all of it is dead and reaped.
	Done() <-chan struct{}
}

// Session is one live boundary. Its methods may be called at the same time.
type Session struct {
	engine  string
	attest  string
	tree    tree
	bounds  bounds
	mux     *wire.Mux
	control *wire.Stream
	serve   func(wire.Kind, net.Conn)
	kinds   map[wire.Kind]bool // that the grant's endpoints allow
	log     *slog.Logger
	ready   wire.Ready
	// prepared says that its init stood ready.
	prepared bool
	done     chan struct{}

	sendMu sync.Mutex // one message at a time on control

	// local is where the session has what the grant names, if elsewhere.
	local *seatbelt.Local

	mu    sync.Mutex
	err   error
	last  uint32
	procs map[uint32]*Process // asked for, and more may come of them
}

func newSession(engine string, t tree, b bounds, mux *wire.Mux, spec Spec) *Session {
	s := &Session{
		engine: engine, attest: spec.Attestation, tree: t, bounds: b, mux: mux, serve: spec.Serve, log: spec.Log,
		kinds: kindsOf(spec.Grant.Endpoints),
		done:  make(chan struct{}),
		procs: make(map[uint32]*Process),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	go s.watch()
	go s.police()
	return s
}

// establish makes a session of a tree that was just started and speaks with its
// init over conn until the boundary stands. If it does not, all is dead and freed
// on return.
func establish(ctx context.Context, engine string, t tree, conn io.ReadWriteCloser, b bounds, spec Spec, inside *wire.Spec) (*Session, error) {
	mux, err := wire.Host(conn)
	if err != nil {
		t.Kill()
		<-t.Done()
		b.free()
		return nil, &StartError{Step: "wire", Err: err}
	}
	s := newSession(engine, t, b, mux, spec)
	if err := within(ctx, mux, func() error { return s.handshake(inside) }); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// kindsOf gives the kinds of stream that a grant's endpoints lead to.
func kindsOf(endpoints []grant.Endpoint) map[wire.Kind]bool {
	kinds := make(map[wire.Kind]bool, len(endpoints))
	for _, e := range endpoints {
		kinds[wire.Kind(e.Name)] = true
	}
	return kinds
}

// watch ends what is left of the session when its wire or its tree has ended.
func (s *Session) watch() {
	select {
	case <-s.mux.Done():
	case <-s.tree.Done():
	}
	if s.Exceeded() == nil {
		s.fail(s.broken())
	}
	s.tree.Kill()
	<-s.tree.Done()
	s.mux.Close()
	s.bounds.free()
	close(s.done)
}

// broken is the wire's reason for its end. If the pipe just ended, or the wire
// has not noticed yet, the init is gone.
func (s *Session) broken() error {
	err := s.mux.Err()
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the init ended")
	}
	return err
}

// fail remembers the first cause of the end and brings it about.
func (s *Session) fail(err error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
	}
	s.mu.Unlock()
	if first {
		s.tree.Kill()
	}
}

// Engine is the name of the engine that built the boundary.
func (s *Session) Engine() string { return s.engine }

// Attestation names the record of the probe that the session rests on, "" if none.
func (s *Session) Attestation() string { return s.attest }

// Seen is a grant as this session's agent meets it: itself, but on macOS, where
// paths are the machine's own.
func (s *Session) Seen(g grant.Grant) grant.Grant {
	if s.local == nil {
		return g
	}
	return s.local.Seen(g)
}

// Layers are the layers of the boundary in force, in words.
func (s *Session) Layers() []string { return s.ready.Layers }

// Missing are layers that this machine does not have.
func (s *Session) Missing() []string { return s.ready.Missing }

// Prepared says that its init stood ready before it was asked for.
func (s *Session) Prepared() bool { return s.prepared }

// PID is the number of the session's first process on this machine.
func (s *Session) PID() int { return s.tree.PID() }

// Container is the name of the session's container, "" if it has none.
func (s *Session) Container() string {
	if c, ok := s.tree.(interface{ Container() string }); ok {
		return c.Container()
	}
	return ""
}

// Done is closed when everything of the session is dead and reaped.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session ended: ErrClosed if Close did it, a *LimitError if it
// used more than it may. It is nil while the session lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Breach is why the session ended, if its wire carried what our init never sends:
// then somebody inside has taken the init over, or it or we have a fault. It is nil
// for any other end.
func (s *Session) Breach() error {
	err := s.Err()
	var fault *wire.PanicError
	if errors.Is(err, wire.ErrProtocol) || errors.Is(err, wire.ErrToken) || errors.Is(err, wire.ErrExcess) || errors.As(err, &fault) {
		return err
	}
	return nil
}

// Close kills everything in the session, and returns when it is reaped.
func (s *Session) Close() error {
	s.fail(ErrClosed)
	<-s.done
	return nil
}

// handshake takes the init from its start to Ready. Until then nothing of the
// agent runs.
func (s *Session) handshake(spec *wire.Spec) error {
	control, err := open(s.mux, spec)
	if err != nil {
		return s.why(err)
	}
	s.mux.SetToken(spec.Token)
	return s.confirm(control)
}

// open sends an init its spec, and takes its control stream.
func open(mux *wire.Mux, spec *wire.Spec) (*wire.Stream, error) {
	if err := mux.Begin(spec); err != nil {
		return nil, err
	}
	control, h, err := mux.Accept()
	if err != nil {
		return nil, err
	}
	if h.Kind != wire.Control {
		return nil, fmt.Errorf("the init's first stream is %q", h.Kind)
	}
	return control, nil
}

// confirm waits until an init that knows all is confined.
func (s *Session) confirm(control *wire.Stream) error {
	s.control = control
	m, err := wire.Receive(control)
	switch {
	case err != nil:
		return s.why(err)
	case m.Failed != nil:
		return &initError{*m.Failed}
	case m.Ready == nil:
		return errors.New("the init's answer is neither ready nor failed")
	}
	s.ready = *m.Ready
	layers, missing := s.bounds.words()
	s.ready.Layers = append(plainAll(s.ready.Layers), layers...)
	s.ready.Missing = append(plainAll(s.ready.Missing), missing...)
	s.mux.Go(s.accept)
	s.mux.Go(s.read)
	return nil
}

// why prefers the cause of the session's end over the error it led to.
func (s *Session) why(err error) error {
	if cause := s.Err(); cause != nil {
		return cause
	}
	return err
}

// initError is a step that failed inside.
type initError struct{ wire.Failed }

func (e *initError) Error() string { return plain(e.Err) }

// accept hands each stream to whom it belongs.
func (s *Session) accept() {
	for {
		stream, h, err := s.mux.Accept()
		if err != nil {
			return
		}
		switch h.Kind {
		case wire.Stdio, wire.Stderr:
			s.deliver(stream, h)
		default:
			s.dispatch(stream, h.Kind)
		}
	}
}

// dispatch serves one connection of the agent.
func (s *Session) dispatch(stream *wire.Stream, kind wire.Kind) {
	if s.serve == nil || !s.kinds[kind] {
		s.log.Warn("refused a connection that the grant does not have", "kind", string(kind))
		stream.Reset()
		return
	}
	s.mux.Go(func() {
		defer stream.Close()
		s.serve(kind, stream)
	})
}

// deliver hands a stream to the process it belongs to.
func (s *Session) deliver(stream *wire.Stream, h wire.Header) {
	s.mu.Lock()
	p, known := s.procs[h.Exec], h.Exec != 0 && h.Exec <= s.last
	taken := p != nil && p.take(h.Kind, stream)
	if taken {
		s.forgetLocked(p)
	}
	s.mu.Unlock()
	switch {
	case taken:
	case p == nil && known: // it could not be started
		stream.Reset()
	default:
		s.fail(fmt.Errorf("%w: %s stream of process %d", wire.ErrProtocol, h.Kind, h.Exec))
	}
}

// forgetLocked forgets a process of which nothing more can come. Its streams
// may arrive after its end: each has a goroutine of its own in the wire.
func (s *Session) forgetLocked(p *Process) {
	if p.ended && p.awaited == 0 {
		delete(s.procs, p.id)
	}
}

// read takes the init's messages.
func (s *Session) read() {
	for {
		m, err := wire.Receive(s.control)
		if err != nil && s.mux.Err() == nil { // the stream ended, and not the wire
			s.fail(fmt.Errorf("control stream: %w", err))
		}
		if err != nil {
			return
		}
		switch {
		case m.Started != nil:
			err = s.started(m.Started)
		case m.Exited != nil && m.Exited.Code != 0 && s.Exceeded() != nil:
			return // the kernel killed it, or one of its children, for the limit
		case m.Exited != nil:
			err = s.exited(m.Exited)
		default:
			err = fmt.Errorf("%w: unexpected message", wire.ErrProtocol)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Session) started(m *wire.Started) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.procs[m.ID]
	if p == nil || p.announced {
		return fmt.Errorf("%w: process %d was not asked for", wire.ErrProtocol, m.ID)
	}
	p.announced = true
	if m.Err != "" {
		delete(s.procs, m.ID)
		p.startErr = &ExecError{Text: plain(m.Err), NotFound: m.NotFound, NotExecutable: m.NotExecutable}
	}
	close(p.started)
	return nil
}

func (s *Session) exited(m *wire.Exited) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.procs[m.ID]
	if p == nil || !p.announced || p.ended || m.Code < -1 || m.Code > 255 || m.Signal < 0 || m.Signal > 64 {
		return fmt.Errorf("%w: end of process %d", wire.ErrProtocol, m.ID)
	}
	p.result, p.ended = *m, true
	s.forgetLocked(p)
	close(p.exited)
	return nil
}

// send sends one message to the init.
func (s *Session) send(m wire.Message) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := wire.Send(s.control, m); err != nil {
		return s.why(err)
	}
	return nil
}

// within runs f, and closes the wire if ctx ends first.
func within(ctx context.Context, mux *wire.Mux, f func() error) error {
	stop := context.AfterFunc(ctx, func() { mux.Close() })
	err := f()
	if !stop() && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Bounds on words from inside that are shown to people.
const (
	maxWords = 300
	maxLines = 64
)

// plain makes a text from inside fit for a log or a terminal.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxWords {
		s = string(r[:maxWords]) + "…"
	}
	return s
}

func plainAll(list []string) []string {
	var out []string
	for _, s := range list[:min(len(list), maxLines)] {
		out = append(out, plain(s))
	}
	return out
}
