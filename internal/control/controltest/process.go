package controltest

import (
	"context"
	"io"
	"syscall"

	"nanoclaw/internal/control"
)

// Process is a command that is one function. It has pipes as a real one has.
type Process struct {
	// Signals and Sizes are what arrives. Both have room for a few.
	Signals chan syscall.Signal
	Sizes   chan [2]uint16

	stdinR, stdoutR, stderrR *io.PipeReader
	stdinW, stdoutW, stderrW *io.PipeWriter
	done                     chan struct{}
	exit                     control.Exit
	cancel                   context.CancelFunc
}

// Stdio is what the function of a Process sees.
type Stdio struct {
	Ctx     context.Context // ends with Close
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
	Process *Process
}

// Start runs main as a process.
func Start(ctx context.Context, main func(Stdio) control.Exit) *Process {
	p := &Process{Signals: make(chan syscall.Signal, 16), Sizes: make(chan [2]uint16, 16), done: make(chan struct{})}
	p.stdinR, p.stdinW = io.Pipe()
	p.stdoutR, p.stdoutW = io.Pipe()
	p.stderrR, p.stderrW = io.Pipe()
	ctx, p.cancel = context.WithCancel(ctx)
	go func() {
		p.exit = main(Stdio{ctx, p.stdinR, p.stdoutW, p.stderrW, p})
		p.stdinR.Close()
		p.stdoutW.Close()
		p.stderrW.Close()
		close(p.done)
	}()
	return p
}

// Stdin is the writing end.
func (p *Process) Stdin() io.WriteCloser { return p.stdinW }

// Stdout is the reading end.
func (p *Process) Stdout() io.Reader { return p.stdoutR }

// Stderr is the reading end.
func (p *Process) Stderr() io.Reader { return p.stderrR }

// Signal keeps s for the test.
func (p *Process) Signal(s syscall.Signal) error {
	p.Signals <- s
	return nil
}

// Resize keeps the size for the test.
func (p *Process) Resize(rows, cols uint16) error {
	p.Sizes <- [2]uint16{rows, cols}
	return nil
}

// Wait returns once main has returned.
func (p *Process) Wait(ctx context.Context) (control.Exit, error) {
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return control.Exit{}, ctx.Err()
	}
}

// Close ends the context of main and its pipes.
func (p *Process) Close() error {
	p.cancel()
	p.stdinW.CloseWithError(io.EOF)
	p.stdoutR.Close()
	p.stderrR.Close()
	return nil
}
