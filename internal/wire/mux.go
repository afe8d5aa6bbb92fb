package wire

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// patience is how long a session waits for its peer.
type patience struct {
	// header is how long a new stream may take to say what it is.
	header time.Duration
	// stall is how long a frame may wait for the peer to take it. A peer that
	// takes nothing for so long is not coming back, and yamux cannot withdraw a
	// frame, so the session ends. The clock stands still while the machine sleeps.
	stall time.Duration
}

func usual() patience { return patience{header: 10 * time.Second, stall: time.Minute} }

// The ends of a session.
var (
	// ErrClosed says that this side closed the session.
	ErrClosed = errors.New("wire: session closed")
	// ErrToken says that a stream did not carry the session's token.
	ErrToken = errors.New("wire: stream without the session's token")
	// ErrStalled says that the peer stopped reading.
	ErrStalled = errors.New("wire: peer takes no more data")
	// ErrTooMany says that no further stream may be opened now.
	ErrTooMany = errors.New("wire: too many streams open")
)

// PanicError is the end of a session in whose code something panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("wire: panic in the session's code: %v", e.Value)
}

// Mux is one end of a session's wire. Its methods may be called at the same
// time.
type Mux struct {
	link     *link
	sess     *yamux.Session
	patience patience

	accepted chan accepted
	dying    chan struct{} // closed when the session starts to end
	done     chan struct{} // closed when nothing of it runs any more
	wg       sync.WaitGroup

	openMu sync.Mutex // one Open at a time, so that stream numbers rise

	mu      sync.Mutex
	raw     io.Closer
	token   string
	control bool // the control stream exists
	err     error
}

type accepted struct {
	stream *Stream
	header Header
}

// Host takes the host's end of a wire. From then on rw belongs to the Mux.
// What comes out of rw is taken as hostile.
func Host(rw io.ReadWriteCloser) (*Mux, error) { return newMux(rw, true, usual()) }

// Inside takes the init's end of a wire. From then on rw belongs to the Mux.
func Inside(rw io.ReadWriteCloser) (*Mux, error) { return newMux(rw, false, usual()) }

func newMux(rw io.ReadWriteCloser, host bool, p patience) (*Mux, error) {
	m := &Mux{
		patience: p,
		raw:      rw,
		accepted: make(chan accepted),
		dying:    make(chan struct{}),
		done:     make(chan struct{}),
	}
	m.link = newLink(rw, host, m.fail)
	start := yamux.Client
	if host {
		start = yamux.Server
	}
	sess, err := start(m.link, &yamux.Config{
		AcceptBacklog:          MaxStreams,
		KeepAliveInterval:      time.Hour, // must be set; keep-alive is off
		ConnectionWriteTimeout: p.stall,
		MaxStreamWindowSize:    window,
		// Closing is half-closing for yamux, and half-closed streams may live
		// long: a process whose stdin has ended. So no timeout; Reset is ours.
		StreamCloseTimeout: 0,
		StreamOpenTimeout:  0,
		LogOutput:          io.Discard,
	})
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	m.sess = sess
	m.goOwn(func() { m.link.sendResets(m.dying) })
	if host {
		m.goOwn(m.acceptLoop)
	}
	go m.finish()
	return m, nil
}

// fail remembers the first cause of the end and brings it about.
func (m *Mux) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return
	}
	m.err = err
	close(m.dying)
	m.raw.Close()
}

// finish waits for the end and cleans up after it.
func (m *Mux) finish() {
	select {
	case <-m.dying:
	case <-m.sess.CloseChan():
		m.fail(fmt.Errorf("%w: refused by the multiplexer", ErrProtocol))
	}
	m.sess.Close()
	m.wg.Wait()
	close(m.done)
}

// Close ends the session at once: what was written but not yet sent is lost. It
// returns when nothing of the session runs any more, apart from functions
// started by Go.
func (m *Mux) Close() error {
	m.fail(ErrClosed)
	<-m.done
	return nil
}

// Done is closed when the session has ended, whoever ended it.
func (m *Mux) Done() <-chan struct{} { return m.done }

// Err says why the session ended: ErrClosed, io.EOF if the peer hung up,
// io.ErrUnexpectedEOF if it did so within a frame, or the breach. It is nil while
// the session lives.
func (m *Mux) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// SetToken sets the session's secret. On the host, streams must carry it; until
// it is set there is only the control stream. On the inside, Open adds it.
func (m *Mux) SetToken(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.token = token
}

// Go runs f, which serves this session, in a goroutine. If f panics, the session
// ends with a *PanicError and the process goes on.
func (m *Mux) Go(f func()) {
	go m.contain(f)
}

// goOwn is Go for the session's own goroutines, which Close waits for. Once the
// session is ending it starts none.
func (m *Mux) goOwn(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return
	}
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		m.contain(f)
	}()
}

func (m *Mux) contain(f func()) {
	defer func() {
		if v := recover(); v != nil {
			m.fail(&PanicError{v, debug.Stack()})
		}
	}()
	f()
}

// Begin sends the Spec, with which the init knows what to do, ahead of all
// streams. Only the host may call it, and once: the init opens no stream before it
// has it, so nothing of ours can be on the pipe yet.
func (m *Mux) Begin(spec *Spec) error {
	return m.explain(write(bare{m.link}, Message{Spec: spec}, MaxMessage))
}

// Begun reads on the inside, from the bare pipe, what Begin has sent, and no byte
// more.
func Begun(r io.Reader) (*Spec, error) {
	m, err := Receive(r)
	switch {
	case err != nil:
		return nil, err
	case m.Spec == nil:
		return nil, fmt.Errorf("%w: the wire does not begin with a spec", ErrMessage)
	}
	return m.Spec, nil
}

// Open opens a stream and says what it is. Only the inside may call it. It
// returns ErrTooMany if the agent has too many connections open.
func (m *Mux) Open(h Header) (*Stream, error) {
	limit := MaxStreams
	switch h.Kind {
	case Control:
	case Stdio, Stderr:
		h.Token = m.secret()
	default:
		h.Token = m.secret()
		limit -= reservedStreams
	}
	s, err := m.openStream(limit)
	if err != nil {
		return nil, err
	}
	if err := write(s, h, MaxHeader); err != nil {
		s.Reset()
		return nil, err
	}
	return s, nil
}

func (m *Mux) secret() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token
}

func (m *Mux) openStream(limit int) (*Stream, error) {
	m.openMu.Lock()
	defer m.openMu.Unlock()
	if m.link.host {
		return nil, errors.New("wire: only the init opens streams")
	}
	if m.link.open() >= limit {
		return nil, ErrTooMany
	}
	ys, err := m.sess.OpenStream()
	if err != nil {
		return nil, m.explain(err)
	}
	s := m.adopt(ys)
	if s == nil {
		return nil, ErrReset
	}
	return s, nil
}

// Accept returns the next stream that has said what it is and proven that it
// belongs to this session. The host calls it in a loop; it returns Err's error
// when the session has ended.
func (m *Mux) Accept() (*Stream, Header, error) {
	select {
	case a := <-m.accepted:
		return a.stream, a.header, nil
	case <-m.dying:
		return nil, Header{}, m.Err()
	}
}

// acceptLoop empties yamux's backlog. Each stream's header is awaited in a
// goroutine of its own, so that a silent one holds up nobody.
func (m *Mux) acceptLoop() {
	for {
		ys, err := m.sess.AcceptStream()
		if err != nil {
			m.fail(m.explain(err))
			return
		}
		if s := m.adopt(ys); s != nil {
			m.goOwn(func() { m.greet(s) })
		}
	}
}

// greet reads a new stream's header and judges it. Streams that say nothing, or
// are gone before they did, are dropped; a wrong word ends the session.
func (m *Mux) greet(s *Stream) {
	s.SetReadDeadline(time.Now().Add(m.patience.header))
	var h Header
	if err := read(s, &h, MaxHeader); err != nil {
		if errors.Is(err, ErrMessage) {
			m.fail(fmt.Errorf("%w: header: %w", ErrProtocol, err))
		}
		s.Reset()
		return
	}
	if err := m.judge(h); err != nil {
		m.fail(err)
		return
	}
	s.SetReadDeadline(time.Time{})
	h.Token = ""
	select {
	case m.accepted <- accepted{s, h}:
	case <-m.dying:
	}
}

// judge decides whether a stream with this header belongs to the session.
func (m *Mux) judge(h Header) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch h.Kind {
	case Control:
		if m.control {
			return fmt.Errorf("%w: second control stream", ErrProtocol)
		}
		m.control = true
		return nil
	case Stdio, Stderr, Proxy, Model, Tools, MCP:
	default:
		return fmt.Errorf("%w: unknown kind of stream %.40q", ErrProtocol, h.Kind)
	}
	if m.token == "" || subtle.ConstantTimeCompare([]byte(h.Token), []byte(m.token)) != 1 {
		return ErrToken
	}
	return nil
}

// explain turns yamux's errors into ours.
func (m *Mux) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, yamux.ErrConnectionReset):
		return ErrReset
	case errors.Is(err, yamux.ErrConnectionWriteTimeout):
		m.fail(ErrStalled)
	}
	if cause := m.Err(); cause != nil {
		if cause == io.EOF { // the session's end is not this stream's
			return io.ErrUnexpectedEOF
		}
		return cause
	}
	return err
}
