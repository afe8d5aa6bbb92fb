package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds on what is decoded. They are the same for both directions.
const (
	// MaxMessage is the most bytes of JSON in a Message.
	MaxMessage = 1 << 20
	// MaxHeader is the most bytes of JSON in a Header.
	MaxHeader = 4 << 10

	maxDepth  = 16      // nesting of objects and arrays in either
	maxValues = 1 << 16 // values in either; bounds what 1 MiB can become in memory
)

// ErrMessage is wrapped by every error about a Header or Message that has
// arrived whole and is not acceptable.
var ErrMessage = errors.New("wire: refused message")

// Send writes m to a control stream: four bytes of length, most significant
// first, then JSON. It makes one Write. Callers that share a stream must not
// call it at the same time.
func Send(w io.Writer, m Message) error {
	return writeJSON(w, m, MaxMessage)
}

// Receive reads the next Message of a control stream. It returns io.EOF if the
// stream ended between two messages, io.ErrUnexpectedEOF if it ended within
// one, and an error wrapping ErrMessage for one that is too large, too deep, not
// JSON, or more than one message at once. A message of a kind that this version
// does not know is returned empty.
func Receive(r io.Reader) (Message, error) {
	var m Message
	if err := readJSON(r, &m, MaxMessage); err != nil {
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

func writeJSON(w io.Writer, v any, limit int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wire: encode: %w", err)
	}
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes to send, at most %d fit", ErrMessage, len(b), limit)
	}
	frame := make([]byte, 4+len(b))
	binary.BigEndian.PutUint32(frame, uint32(len(b)))
	copy(frame[4:], b)
	_, err = w.Write(frame)
	return err
}

func readJSON(r io.Reader, v any, limit int) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > uint32(limit) {
		return fmt.Errorf("%w: %d bytes announced, at most %d allowed", ErrMessage, n, limit)
	}
	b, err := readGrowing(r, int(n))
	if err != nil {
		return err
	}
	if err := checkShape(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMessage, err)
	}
	return nil
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

// checkShape bounds the nesting and the number of values of a JSON text before
// it is decoded. It does not check the syntax, which the decoder does: it only
// has to be right about where strings begin and end. Without it one megabyte of
// "{},{},…" becomes 350,000 structs.
func checkShape(b []byte) error {
	depth, values := 0, 1
	inString := false
	for i := 0; i < len(b); i++ {
		c := b[i]
		if inString {
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			depth++
			values++
		case '}', ']':
			depth--
		case ',':
			values++
		}
		if depth > maxDepth {
			return fmt.Errorf("%w: nested deeper than %d", ErrMessage, maxDepth)
		}
		if values > maxValues {
			return fmt.Errorf("%w: more than %d values", ErrMessage, maxValues)
		}
	}
	return nil
}
