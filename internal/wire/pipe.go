//go:build unix

package wire

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Duplex joins two ends of pipes (r to read from, w to write to) into a wire.
// They should come from os.Pipe or os.NewFile on a non-blocking descriptor, so
// that Close wakes a Read or Write in progress.
func Duplex(r, w *os.File) io.ReadWriteCloser {
	growPipe(r)
	growPipe(w)
	return &duplex{r, w}
}

type duplex struct{ r, w *os.File }

func (d *duplex) Read(p []byte) (int, error)  { return d.r.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.w.Write(p) }
func (d *duplex) Close() error                { return errors.Join(d.r.Close(), d.w.Close()) }

// StdioConn is the init's wire: its standard input and output. Nothing else may
// use them afterwards.
func StdioConn() (io.ReadWriteCloser, error) {
	for fd := range 2 {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("wire: standard input and output must be the host's pipes: %w", err)
		}
		unix.CloseOnExec(fd)
	}
	return &duplex{os.NewFile(0, "wire in"), os.NewFile(1, "wire out")}, nil
}
