package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxBody bounds a request, and a frame of a stream, in bytes.
const maxBody = 1 << 20

// decodeStrict reads one JSON value and nothing else. Fields that v does not
// have are an error: a request of another version must not half-work.
func decodeStrict(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// frames reads a stream of JSON values, one on each line.
type frames struct{ lines *bufio.Scanner }

func newFrames(r io.Reader) *frames {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxBody)
	return &frames{s}
}

// next reads one frame; io.EOF if the stream ended between two.
func (f *frames) next(v any) error {
	if !f.lines.Scan() {
		if err := f.lines.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	if err := decodeStrict(bytes.NewReader(f.lines.Bytes()), v); err != nil {
		return fmt.Errorf("a frame that cannot be understood: %w", err)
	}
	return nil
}

// writeFrame writes v and a line end in one call.
func writeFrame(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
