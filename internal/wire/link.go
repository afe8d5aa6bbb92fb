package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"syscall"
)

// flow is what link knows about one stream. It is guarded by link.mu.
type flow struct {
	id                    uint32
	finIn, finOut, rstOut bool
	// accepted is set on the host when the stream left yamux's backlog, and on
	// the inside from the start.
	accepted bool
	// reset says that the peer reset it.
	reset bool
	// credit is how much the peer may still send, sent how much it has not yet
	// credited to us.
	credit, sent uint32
	// unread is how much of it waits for a consumer.
	unread int
}

// link sits between the raw pipe and yamux, on both sides.
//
// Reading, it lets a frame through only if our own peer could have sent it in
// this state; anything else is an error, which ends the session. It therefore
// keeps the state of each stream: yamux's own checks come later and are fewer
// (it would grow a goroutine for each ping and accept any window).
//
// Writing, it joins a frame's header and payload into one write, and adds what
// yamux lacks: a way to reset one stream. A reset is answered by a reset, so
// both sides' yamux forget the stream.
type link struct {
	host bool
	raw  io.ReadWriteCloser
	fail func(error) // remembers the first cause

	// Only Read, which yamux calls from one goroutine, uses these.
	br      *bufio.Reader
	head    []byte // checked header bytes not yet handed over
	headBuf [frameHeader]byte
	payload uint32 // bytes of payload that follow

	wmu  sync.Mutex // held for one whole frame; before mu
	wbuf []byte     // header waiting for its payload, then both

	mu     sync.Mutex
	flows  map[uint32]*flow
	lastID uint32
	unread int
	resets []uint32 // to be sent

	kick chan struct{} // there are resets; capacity 1
}

func newLink(raw io.ReadWriteCloser, host bool, fail func(error)) *link {
	return &link{
		host: host, raw: raw, fail: fail,
		br:    bufio.NewReaderSize(raw, maxFrame+frameHeader),
		flows: make(map[uint32]*flow),
		kick:  make(chan struct{}, 1),
	}
}

// Close implements io.Closer for yamux.
func (l *link) Close() error { return l.raw.Close() }

// Read hands yamux checked bytes.
func (l *link) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, &PanicError{v, debug.Stack()}
		}
		if err != nil {
			l.fail(err)
		}
	}()
	if len(p) == 0 {
		return 0, nil
	}
	for len(l.head) == 0 && l.payload == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, l.head)
	l.head = l.head[n:]
	if len(l.head) > 0 || l.payload == 0 || n == len(p) || (n > 0 && l.br.Buffered() == 0) {
		return n, nil
	}
	got, err := l.br.Read(p[n:min(len(p), n+int(l.payload))])
	l.payload -= uint32(got)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n + got, err
}

// next reads and judges one header. It leaves head empty if yamux need not see
// the frame.
func (l *link) next() error {
	if _, err := io.ReadFull(l.br, l.headBuf[:]); err != nil {
		return err
	}
	f := parseFrame(l.headBuf[:])
	pass, err := l.admit(f)
	if err != nil {
		return err
	}
	if pass {
		l.head = l.headBuf[:]
		if f.kind == typeData {
			l.payload = f.length
		}
		return nil
	}
	if f.kind == typeData {
		if _, err := l.br.Discard(int(f.length)); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

func broken(f frame, why string) error {
	return fmt.Errorf("%w: %s (%v)", ErrProtocol, why, f)
}

// admit decides about a frame from the peer: pass it on, swallow it, or end the
// session.
func (l *link) admit(f frame) (pass bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case f.version != 0:
		return false, broken(f, "unknown version")
	case f.kind != typeData && f.kind != typeWindow:
		return false, broken(f, "type never sent")
	case f.id%2 == 0:
		return false, broken(f, "only the init opens streams")
	}
	if f.kind == typeData {
		return l.admitDataLocked(f)
	}
	if f.flags == flagSYN {
		return l.admitOpenLocked(f)
	}
	if f.id > l.lastID {
		return false, broken(f, "stream was never opened")
	}
	s := l.flows[f.id]
	if s != nil && s.reset {
		return false, broken(f, "after its own reset")
	}
	switch {
	case f.flags == 0, f.flags == flagACK && !l.host:
		return l.creditLocked(s, f)
	case f.length != 0:
		return false, broken(f, "length where none belongs")
	case f.flags == flagFIN:
		return l.finLocked(s, f)
	case f.flags == flagRST:
		return l.resetLocked(s), nil
	}
	return false, broken(f, "flags never sent")
}

func (l *link) admitDataLocked(f frame) (bool, error) {
	s := l.flows[f.id]
	switch {
	case f.flags != 0:
		return false, broken(f, "flags on data")
	case s == nil, s.reset, s.finIn:
		return false, broken(f, "data on a stream that is not open")
	case f.length == 0 || f.length > maxFrame:
		return false, broken(f, "frame of a size never sent")
	case f.length > s.credit:
		return false, broken(f, "data beyond the window")
	}
	s.credit -= f.length
	if s.rstOut {
		return false, nil
	}
	s.unread += int(f.length)
	l.unread += int(f.length)
	if l.unread > MaxUnread {
		return false, fmt.Errorf("%w: more than %d bytes unread", ErrExcess, MaxUnread)
	}
	return true, nil
}

func (l *link) admitOpenLocked(f frame) (bool, error) {
	switch {
	case !l.host:
		return false, broken(f, "the host opens no streams")
	case f.length != 0:
		return false, broken(f, "length where none belongs")
	case f.id <= l.lastID:
		return false, broken(f, "stream number used before")
	case len(l.flows) >= MaxStreams:
		return false, fmt.Errorf("%w: more than %d streams open", ErrExcess, MaxStreams)
	}
	l.lastID = f.id
	l.flows[f.id] = &flow{id: f.id, credit: window}
	return true, nil
}

// creditLocked lets us send more. The stream may be gone: the peer reads on
// after both sides have ended theirs.
func (l *link) creditLocked(s *flow, f frame) (bool, error) {
	if f.length > window {
		return false, broken(f, "window never granted")
	}
	if s == nil {
		return false, nil
	}
	if f.length > s.sent {
		return false, broken(f, "credit for more than was sent")
	}
	s.sent -= f.length
	return true, nil
}

func (l *link) finLocked(s *flow, f frame) (bool, error) {
	if s == nil || s.finIn {
		return false, broken(f, "end of a stream that is not open")
	}
	s.finIn = true
	if s.finOut {
		delete(l.flows, s.id)
	}
	return true, nil
}

// resetLocked takes the peer's reset, or its answer to ours. A stream that is
// still in yamux's backlog keeps its place, and the answer waits until it has
// left, so that opening and resetting cannot outrun the backlog.
func (l *link) resetLocked(s *flow) (pass bool) {
	if s == nil {
		return false
	}
	s.reset = true
	l.unread -= s.unread
	s.unread = 0
	if s.accepted {
		l.forgetLocked(s)
	}
	return true
}

// forgetLocked ends a flow that the peer has reset, and answers.
func (l *link) forgetLocked(s *flow) {
	delete(l.flows, s.id)
	if !s.rstOut {
		s.rstOut = true
		l.queueResetLocked(s.id)
	}
}

func (l *link) queueResetLocked(id uint32) {
	l.resets = append(l.resets, id)
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// flow returns the flow of a stream that was just opened or accepted, or nil if
// the peer has reset it already.
func (l *link) flow(id uint32) *flow {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.flows[id]
	if s == nil {
		return nil
	}
	s.accepted = true
	if s.reset {
		l.forgetLocked(s)
		return nil
	}
	return s
}

// open says how many streams are open.
func (l *link) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.flows)
}

// consumed says that n bytes of s left yamux's buffer.
func (l *link) consumed(s *flow, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, s.unread) // a reset has released them already
	s.unread -= n
	l.unread -= n
}

// ended says whether the peer ended s in order, and whether all of it was read.
func (l *link) ended(s *flow) (fin, empty bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.finIn, s.unread == 0
}

// reset abandons s: what is unread is dropped, what still arrives is discarded
// here, and the peer is told. It does not wait.
func (l *link) reset(s *flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread -= s.unread
	s.unread = 0
	if l.flows[s.id] != s || s.rstOut {
		return
	}
	s.rstOut = true
	l.queueResetLocked(s.id)
}

// sendResets writes queued resets until the session ends. They have a goroutine
// of their own because Read, which answers resets, must never wait for a write:
// two peers that do so wait for each other.
func (l *link) sendResets(done <-chan struct{}) {
	for {
		select {
		case <-l.kick:
		case <-done:
			return
		}
		l.mu.Lock()
		ids := l.resets
		l.resets = nil
		l.mu.Unlock()
		var b []byte
		for _, id := range ids {
			b = frame{kind: typeWindow, flags: flagRST, id: id}.append(b)
		}
		l.wmu.Lock()
		_, err := l.writeRaw(b, len(b))
		l.wmu.Unlock()
		if err != nil {
			return
		}
	}
}

// Write takes what yamux sends: a header alone in one call, and if it announces
// a payload, that in the next.
func (l *link) Write(p []byte) (int, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if len(l.wbuf) == 0 {
		f := parseFrame(p)
		if f.kind == typeData && f.length > 0 {
			l.wbuf = append(l.wbuf, p...)
			return len(p), nil
		}
		if !l.sending(f) {
			return len(p), nil
		}
		return l.writeRaw(p, len(p))
	}
	f := parseFrame(l.wbuf)
	l.wbuf = append(l.wbuf, p...)
	b := l.wbuf
	l.wbuf = l.wbuf[:0]
	if !l.sending(f) {
		return len(p), nil
	}
	return l.writeRaw(b, len(p))
}

// bare writes to the pipe itself, beside all streams.
type bare struct{ l *link }

func (b bare) Write(p []byte) (int, error) {
	b.l.wmu.Lock()
	defer b.l.wmu.Unlock()
	return b.l.writeRaw(p, len(p))
}

// writeRaw puts b on the pipe and reports n bytes as written. A peer that has
// closed its end is no error here: it may have left last words, which Read has
// yet to deliver before it meets the end.
func (l *link) writeRaw(b []byte, n int) (int, error) {
	_, err := l.raw.Write(b)
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrClosedPipe) {
		l.fail(err)
		return 0, err
	}
	return n, nil
}

// sending notes a frame on its way out and says whether to send it: after our
// own reset, and after both ends are closed, the peer expects nothing more of a
// stream.
func (l *link) sending(f frame) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.kind != typeData && f.kind != typeWindow {
		return false // yamux reports an error to the peer; the pipe's end says as much
	}
	if f.flags&flagSYN != 0 {
		l.lastID = max(l.lastID, f.id)
		l.flows[f.id] = &flow{id: f.id, credit: window, accepted: true}
		return true
	}
	s := l.flows[f.id]
	if s == nil || s.rstOut || s.reset {
		return false
	}
	if f.kind == typeData {
		s.sent += f.length
		return true
	}
	s.credit += f.length
	if f.flags&flagFIN != 0 {
		s.finOut = true
		if s.finIn {
			delete(l.flows, s.id)
		}
	}
	return true
}
