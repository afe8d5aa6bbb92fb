package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// lingerBytes is how much a closed stream discards before it resets the peer.
const lingerBytes = 1 << 20

// ErrReset says that the peer abandoned the stream. What it sent before may be
// lost.
var ErrReset = errors.New("wire: stream reset by the peer")

// Stream is one stream of a session. It is a net.Conn.
type Stream struct {
	mux  *Mux
	ys   *yamux.Stream
	flow *flow

	closed atomic.Bool // by Close or Reset

	rmu sync.Mutex // held by a Read
	wmu sync.Mutex // held by a Write; guards fin
	fin bool       // we have ended our half
}

var _ net.Conn = (*Stream)(nil)

// adopt wraps a stream of yamux; nil if the peer has already reset it.
func (m *Mux) adopt(ys *yamux.Stream) *Stream {
	f := m.link.flow(ys.StreamID())
	if f == nil {
		return nil
	}
	return &Stream{mux: m, ys: ys, flow: f}
}

// Read implements net.Conn. It returns io.EOF only if the peer ended its half:
// if the session ended instead, that is an error.
func (s *Stream) Read(p []byte) (int, error) {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.read(p)
	if err != nil && s.closed.Load() {
		err = net.ErrClosed
	}
	return n, err
}

func (s *Stream) read(p []byte) (int, error) {
	n, err := s.ys.Read(p)
	s.mux.link.consumed(s.flow, n)
	switch {
	case err == nil:
	case err == io.EOF:
		if fin, _ := s.mux.link.ended(s.flow); !fin {
			err = s.mux.explain(io.ErrUnexpectedEOF)
		}
	case errors.Is(err, yamux.ErrTimeout):
		err = os.ErrDeadlineExceeded
	default:
		err = s.mux.explain(err)
	}
	return n, err
}

// Write implements net.Conn. It returns when the bytes are on the pipe, which
// may be long before the peer reads them, and waits while the peer's window is
// full.
func (s *Stream) Write(p []byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	total := 0
	for len(p) > 0 {
		if s.closed.Load() || s.fin {
			return total, net.ErrClosed
		}
		n, err := s.ys.Write(p[:min(len(p), maxFrame)])
		total += n
		p = p[n:]
		if err != nil {
			return total, s.writeError(err)
		}
	}
	return total, nil
}

func (s *Stream) writeError(err error) error {
	switch {
	case s.closed.Load():
		return net.ErrClosed
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	}
	return s.mux.explain(err)
}

// CloseWrite ends our half: the peer reads io.EOF after what was written, and
// may go on sending. It waits for a Write in progress.
func (s *Stream) CloseWrite() error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return s.closeWriteLocked()
}

func (s *Stream) closeWriteLocked() error {
	if s.fin {
		return nil
	}
	s.fin = true
	return s.mux.explain(s.ys.Close())
}

// Close ends both halves. What was written is still delivered, and followed by
// io.EOF. What the peer still sends is discarded; a peer that goes on for more
// than a megabyte is reset. A Write in progress is broken off, and then the
// stream is reset, so that the peer does not take half of it for the whole.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.wake()
	if !s.wmu.TryLock() {
		s.mux.link.reset(s.flow)
		return nil
	}
	err := s.closeWriteLocked()
	s.wmu.Unlock()
	if fin, empty := s.mux.link.ended(s.flow); !fin || !empty {
		s.mux.linger(s)
	}
	return err
}

// Reset abandons the stream in both directions. The peer's next Read and Write
// fail with ErrReset, and what it had not yet read is lost. It does not wait.
func (s *Stream) Reset() {
	s.closed.Store(true)
	s.wake()
	s.mux.link.reset(s.flow)
}

// wake ends a Read or Write in progress.
func (s *Stream) wake() {
	past := time.Unix(1, 0)
	s.ys.SetReadDeadline(past)
	s.ys.SetWriteDeadline(past)
}

// linger discards what arrives on a closed stream until the peer ends it too.
func (m *Mux) linger(s *Stream) {
	m.goOwn(func() {
		s.rmu.Lock() // a Read in progress has been woken
		defer s.rmu.Unlock()
		s.ys.SetReadDeadline(time.Time{})
		buf := make([]byte, 4<<10)
		for left := lingerBytes; left > 0; {
			n, err := s.read(buf)
			if err != nil {
				return
			}
			left -= n
		}
		m.link.reset(s.flow)
	})
}

// SetDeadline implements net.Conn. Like the two below it bounds the wait for the
// peer's data and window, not the wait for the pipe itself.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	if s.closed.Load() {
		return net.ErrClosed
	}
	return s.ys.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	if s.closed.Load() {
		return net.ErrClosed
	}
	return s.ys.SetWriteDeadline(t)
}

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return addr{} }

// RemoteAddr implements net.Conn. It says nothing about who the peer is: that
// is known by the session.
func (s *Stream) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "wire" }
func (addr) String() string  { return "wire" }
