//go:build linux || darwin

package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// pty is the init's end of a terminal that belongs to the session alone, so that
// nothing inside ever holds a terminal of the host.
type pty struct{ master *os.File }

// terminal gives the process a terminal as all three.
func (d *stdio) terminal(e *wire.Exec) error {
	master, slave, err := d.terminals.open()
	if err != nil {
		return err
	}
	d.pty = &pty{master}
	d.in, d.out, d.child[0] = ptyInput{d.pty}, ptyOutput{d.pty}, slave
	for i := 1; i < 3; i++ {
		if d.child[i], err = dup(int(slave.Fd())); err != nil {
			return err
		}
	}
	d.pty.resize(e.Rows, e.Cols)
	return nil
}

func (p *pty) resize(rows, cols uint16) {
	if rows == 0 || cols == 0 {
		return
	}
	conn, err := p.master.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) {
		unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}

// ptyInput is the terminal as the host's keyboard. Its end is the character
// that ends the input of a program reading lines (termios(3), VEOF).
type ptyInput struct{ p *pty }

func (i ptyInput) Write(b []byte) (int, error) { return i.p.master.Write(b) }

func (i ptyInput) Close() error {
	_, err := i.p.master.Write([]byte{4})
	return err
}

// ptyOutput is the terminal as the host's screen. The kernel reports EIO when
// the last process has closed it, which is the end.
type ptyOutput struct{ p *pty }

func (o ptyOutput) Read(b []byte) (int, error) {
	n, err := o.p.master.Read(b)
	if errors.Is(err, unix.EIO) {
		err = io.EOF
	}
	return n, err
}

func (o ptyOutput) Close() error { return o.p.master.Close() }
