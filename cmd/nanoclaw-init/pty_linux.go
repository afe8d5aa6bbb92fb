package main

import (
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// pty is the init's end of a terminal made in the boundary's own devpts, so
// that nothing inside ever holds a terminal of the host.
type pty struct{ master *os.File }

// terminal makes a terminal.
func (d *stdio) terminal(e *wire.Exec) error {
	master, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	d.pty = &pty{os.NewFile(uintptr(master), "terminal")}
	d.in, d.out = ptyInput{d.pty}, ptyOutput{d.pty}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return err
	}
	slave, err := unix.Open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d.child[0] = os.NewFile(uintptr(slave), "agent terminal")
	for i := 1; i < 3; i++ {
		if d.child[i], err = dup(slave); err != nil {
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
