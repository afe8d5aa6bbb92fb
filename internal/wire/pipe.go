//go:build unix

package wire

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Duplex joins two ends of pipes, r to read from and w to write to, into the raw
// end of a wire. They should come from os.Pipe or StdioConn, so that Close wakes
// a Read or Write in progress.
func Duplex(r, w *os.File) io.ReadWriteCloser {
	growPipe(r)
	growPipe(w)
	return &duplex{r, w}
}

type duplex struct{ r, w *os.File }

func (d *duplex) Read(p []byte) (int, error)  { return d.r.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.w.Write(p) }
func (d *duplex) Close() error                { return errors.Join(d.r.Close(), d.w.Close()) }

// StdioConn takes the standard input and output of the init as the raw end of
// its wire, and puts /dev/null in their place: a stray line printed there, or a
// child that inherits them, must not reach the wire.
func StdioConn() (io.ReadWriteCloser, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	defer null.Close()
	var files [2]*os.File
	for fd, name := range [...]string{"wire in", "wire out"} {
		f, err := takeOver(fd, name, null)
		if err != nil {
			return nil, fmt.Errorf("wire: take over descriptor %d, which the host should have made a pipe: %w", fd, err)
		}
		files[fd] = f
	}
	return &duplex{files[0], files[1]}, nil
}

func takeOver(fd int, name string, null *os.File) (*os.File, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	// Before os.NewFile, which then lets Close wake a Read.
	if err := unix.SetNonblock(own, true); err != nil {
		return nil, err
	}
	if err := replace(int(null.Fd()), fd); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(own), name), nil
}
