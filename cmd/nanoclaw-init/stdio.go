//go:build linux || darwin

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// stdio is what a process has as its standard input, output and error, and the
// streams that carry them.
type stdio struct {
	terminals *terminals
	child     [3]*os.File // the process's ends
	in        io.WriteCloser
	out       io.ReadCloser
	err       io.ReadCloser // nil with a terminal
	pty       *pty
	stream    *wire.Stream
	errors    *wire.Stream // nil with a terminal
	input     io.Reader    // what the process reads: stream, or a probe's task
}

// stdio makes the ends and opens the streams.
func (s *server) stdio(e *wire.Exec) (*stdio, error) {
	d := &stdio{terminals: s.terminals}
	make, ok := map[wire.StdioMode]func(*wire.Exec) error{
		wire.Pipes: d.pipes, wire.Socketpair: d.socketpair, wire.PTY: d.terminal,
	}[e.Stdio]
	if !ok {
		return nil, fmt.Errorf("unknown stdio %q", e.Stdio)
	}
	err := make(e)
	if err == nil {
		d.stream, err = s.mux.Open(wire.Header{Kind: wire.Stdio, Exec: e.ID})
	}
	if err == nil && d.err != nil {
		d.errors, err = s.mux.Open(wire.Header{Kind: wire.Stderr, Exec: e.ID})
	}
	d.input = d.stream
	if err == nil && e.Probe != nil {
		var task []byte
		task, err = json.Marshal(e.Probe)
		d.input = bytes.NewReader(task)
	}
	if err != nil {
		d.started()
		d.abandon()
		return nil, fmt.Errorf("prepare standard input and output: %w", err)
	}
	return d, nil
}

// files gives the process's descriptors.
func (d *stdio) files() []uintptr {
	return []uintptr{d.child[0].Fd(), d.child[1].Fd(), d.child[2].Fd()}
}

// started closes the process's ends: it has its own copies.
func (d *stdio) started() {
	for _, f := range d.child {
		if f != nil {
			f.Close()
		}
	}
}

// abandon lets go of everything after a start that failed.
func (d *stdio) abandon() {
	for _, c := range []io.Closer{d.in, d.out, d.err} {
		if c != nil {
			c.Close()
		}
	}
	for _, s := range []*wire.Stream{d.stream, d.errors} {
		if s != nil {
			s.Close()
		}
	}
}

// pipes makes three pipes.
func (d *stdio) pipes(*wire.Exec) error {
	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	d.child[0], d.in = inR, inW
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	d.child[1], d.out = outW, outR
	return d.stderr()
}

func (d *stdio) stderr() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	d.child[2], d.err = w, r
	return nil
}

// socketpair makes one socket for standard input and output. Unlike a pipe it
// cannot be opened through /proc/<pid>/fd, so a child of the process cannot
// write lines in its parent's name.
//
// On macOS there is no such path, and the same way keeps what is inside the same.
func (d *stdio) socketpair(*wire.Exec) error {
	fds, err := streamPair()
	if err != nil {
		return err
	}
	d.child[0] = os.NewFile(uintptr(fds[0]), "agent socket")
	if err := unix.SetNonblock(fds[1], true); err != nil {
		unix.Close(fds[1])
		return err
	}
	ours := &socket{os.NewFile(uintptr(fds[1]), "socket")}
	d.in, d.out = halfSocket{ours}, ours
	if d.child[1], err = dup(fds[0]); err != nil {
		return err
	}
	return d.stderr()
}

func dup(fd int) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(n), "dup"), nil
}

// socket is the init's end of a socketpair; halfSocket is the half that it
// writes.
type socket struct{ *os.File }

type halfSocket struct{ s *socket }

func (h halfSocket) Write(p []byte) (int, error) { return h.s.File.Write(p) }

func (h halfSocket) Close() error {
	conn, err := h.s.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// carry moves bytes until the process has ended and its output is drained.
// Each direction is its own, so that a full one holds up no other.
func (d *stdio) carry(ended <-chan struct{}) {
	inDone := make(chan struct{})
	go func() {
		defer close(inDone)
		io.Copy(d.in, d.input)
		d.in.Close()
	}()
	if d.err != nil {
		go func() {
			drain(d.errors, d.err)
			d.errors.Close()
		}()
	}
	drain(d.stream, d.out)
	// Output has ended, but the process may still read.
	select {
	case <-inDone:
	case <-ended:
	}
	d.stream.Close()
	d.out.Close()
}

// drain copies what a process writes to its stream. A host that takes no more
// of it is felt by the process as a closed pipe.
func drain(to *wire.Stream, from io.ReadCloser) {
	if _, err := io.Copy(to, from); err != nil {
		from.Close()
	}
	to.CloseWrite()
}
