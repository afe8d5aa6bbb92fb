// Package wiretest gives tests both ends of a wire.
//
// It promises ends that behave as the real ones, and that nothing is left when
// the test ends. It leaves what is said on the wire to the test.
package wiretest

import (
	"io"
	"os"
	"sync"
	"testing"

	"nanoclaw/internal/wire"
)

// Pair returns both ends of a wire in memory. They are closed when the test
// ends.
func Pair(t testing.TB) (host, inside *wire.Mux) {
	t.Helper()
	a, b := Memory()
	return join(t, a, b)
}

// Pipes returns both ends of a wire over a pair of real pipes.
func Pipes(t testing.TB) (host, inside *wire.Mux) {
	t.Helper()
	a, b := Files(t)
	return join(t, a, b)
}

func join(t testing.TB, a, b io.ReadWriteCloser) (host, inside *wire.Mux) {
	t.Helper()
	host, err := wire.Host(a)
	if err != nil {
		t.Fatal(err)
	}
	inside, err = wire.Inside(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		inside.Close()
		host.Close()
	})
	return host, inside
}

// Files returns the raw ends of a pair of real pipes.
func Files(t testing.TB) (a, b io.ReadWriteCloser) {
	t.Helper()
	ar, bw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	br, aw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return wire.Duplex(ar, aw), wire.Duplex(br, bw)
}

// Memory returns the raw ends of a duplex in memory, with the buffer of a pipe.
func Memory() (a, b io.ReadWriteCloser) {
	x, y := newHalf(), newHalf()
	return &end{x, y}, &end{y, x}
}

type end struct{ in, out *half }

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }

func (e *end) Close() error {
	e.in.shut(true)
	e.out.shut(false)
	return nil
}

// half is one direction: a bounded buffer.
type half struct {
	mu      sync.Mutex
	cond    sync.Cond
	buf     []byte
	eof     bool // the writer closed
	dropped bool // the reader closed
}

const halfSize = 64 << 10

func newHalf() *half {
	h := &half{}
	h.cond.L = &h.mu
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && !h.eof && !h.dropped {
		h.cond.Wait()
	}
	switch {
	case h.dropped:
		return 0, io.ErrClosedPipe
	case len(h.buf) == 0:
		return 0, io.EOF
	}
	n := copy(p, h.buf)
	h.buf = h.buf[:copy(h.buf, h.buf[n:])]
	h.cond.Broadcast()
	return n, nil
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	total := 0
	for len(p) > 0 {
		for len(h.buf) == halfSize && !h.eof && !h.dropped {
			h.cond.Wait()
		}
		if h.eof || h.dropped {
			return total, io.ErrClosedPipe
		}
		n := min(len(p), halfSize-len(h.buf))
		h.buf = append(h.buf, p[:n]...)
		p = p[n:]
		total += n
		h.cond.Broadcast()
	}
	return total, nil
}

func (h *half) shut(reader bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reader {
		h.dropped = true
	} else {
		h.eof = true
	}
	h.cond.Broadcast()
}
