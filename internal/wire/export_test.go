package wire

import (
	"bytes"
	"io"
	"time"
)

// Impatient is Host, waiting only so long for headers and for a peer that does
// not read.
func Impatient(rw io.ReadWriteCloser, header, stall time.Duration) (*Mux, error) {
	return newMux(rw, true, patience{header, stall})
}

// Flows and Unread say what a session still holds.
func (m *Mux) Flows() int { return m.link.open() }

func (m *Mux) Unread() int {
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	return m.link.unread
}

// Panicking replaces the raw end of a wire by one that panics.
func Panicking(rw io.ReadWriteCloser) io.ReadWriteCloser { return panicking{rw} }

type panicking struct{ io.ReadWriteCloser }

func (panicking) Read([]byte) (int, error) { panic("oh dear") }

// Opening is what the init sends first on a stream.
func Opening(h Header) []byte {
	var b bytes.Buffer
	write(&b, h, MaxHeader)
	return b.Bytes()
}
