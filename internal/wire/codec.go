package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Bounds on what is decoded. They are the same for both directions.
const (
	// MaxMessage is the most bytes in a Message.
	MaxMessage = 1 << 20
	// MaxHeader is the most bytes in a Header.
	MaxHeader = 4 << 10

	maxValues = 1 << 16 // elements of slices in either; bounds what 1 MiB can become in memory
)

// ErrMessage is wrapped by every error about a Header or Message that has
// arrived whole and is not acceptable.
var ErrMessage = errors.New("wire: refused message")

// Send writes m to a control stream: four bytes of length, most significant
// first, then m in the form that flat.go describes. It makes one Write. Callers
// that share a stream must not call it at the same time.
func Send(w io.Writer, m Message) error {
	return write(w, m, MaxMessage)
}

// Receive reads the next Message of a control stream. It returns io.EOF if the
// stream ended between two messages, io.ErrUnexpectedEOF if it ended within
// one, and an error wrapping ErrMessage for one that is too large, of another form
// or version, or more than one message at once.
func Receive(r io.Reader) (Message, error) {
	var m Message
	if err := read(r, &m, MaxMessage); err != nil {
		return Message{}, err
	}
	if n := m.count(); n > 1 {
		return Message{}, fmt.Errorf("%w: %d messages in one", ErrMessage, n)
	}
	return m, nil
}

// count says how many of m's fields are set.
func (m *Message) count() int {
	n := 0
	for _, set := range [...]bool{
		m.Standing != nil, m.Ready != nil, m.Failed != nil, m.Started != nil, m.Exited != nil,
		m.Spec != nil, m.Rest != nil, m.Exec != nil, m.Signal != nil, m.Resize != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

func write(w io.Writer, v any, limit int) error {
	frame := flatten([]byte{0, 0, 0, 0, Version}, reflect.ValueOf(v))
	n := len(frame) - 4
	if n > limit {
		return fmt.Errorf("%w: %d bytes to send, at most %d fit", ErrMessage, n, limit)
	}
	binary.BigEndian.PutUint32(frame, uint32(n))
	_, err := w.Write(frame)
	return err
}

// read reads what write wrote of *v, which is zero.
func read(r io.Reader, v any, limit int) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > uint32(limit) {
		return fmt.Errorf("%w: %d bytes announced, at most %d allowed", ErrMessage, n, limit)
	}
	b, err := readGrowing(r, int(n))
	switch {
	case err != nil:
		return err
	case len(b) == 0:
		return fmt.Errorf("%w: it is empty", ErrMessage)
	case b[0] != Version:
		return fmt.Errorf("%w: version %d of the wire, and ours is %d; host and init do not belong together", ErrMessage, b[0], Version)
	}
	in := reader{b: b[1:], left: maxValues}
	in.read(reflect.ValueOf(v).Elem())
	if in.err == nil && len(in.b) > 0 {
		return fmt.Errorf("%w: %d bytes after its end", ErrMessage, len(in.b))
	}
	return in.err
}

// readGrowing reads n bytes and allocates as they arrive, so that announcing a
// megabyte costs the sender a megabyte.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	const step = 16 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		old := len(b)
		b = append(b, make([]byte, min(n-old, max(step, old)))...)
		if _, err := io.ReadFull(r, b[old:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return b, nil
}
