package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

// execProtocol names the stream of a command. It is a yamux session in which
// the caller opens four streams in this order: control (JSON lines both ways),
// stdin, stdout, stderr. A full stdout so holds up neither a signal nor the
// exit status.
const execProtocol = "nanoclaw-exec/1"

// The streams, in the order in which they are opened.
const (
	execControl = iota
	execStdin
	execStdout
	execStderr
	execStreams
)

// idleDrain is how long output is waited for after the command has ended and
// nothing came: a process that it left behind may hold its output open.
const idleDrain = 500 * time.Millisecond

// execTowards is one frame towards the host: exactly one field is set. The
// first is Start.
type execTowards struct {
	Start  *ExecRequest `json:"start,omitempty"`
	Signal int          `json:"signal,omitempty"`
	Resize *size        `json:"resize,omitempty"`
}

type size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// execBack is one frame from the host: exactly one field is set.
type execBack struct {
	Started *nothing `json:"started,omitempty"`
	Exit    *Exit    `json:"exit,omitempty"`
	Failed  *Error   `json:"failed,omitempty"`
}

// muxConfig leaves liveness to the socket: the caller may be suspended for an
// hour (Ctrl-Z) and go on.
func muxConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 24 * time.Hour
	c.StreamCloseTimeout = 0
	c.AcceptBacklog = execStreams
	c.LogOutput = io.Discard
	return c
}

// exec serves one command.
func (s *Server) exec(ctx context.Context, conn net.Conn) {
	mux, err := yamux.Server(conn, muxConfig())
	if err != nil {
		s.log.Error("a command's stream cannot be served", "cause", err)
		return
	}
	defer mux.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the command does not outlive who asked for it
		select {
		case <-mux.CloseChan():
			cancel()
		case <-ctx.Done():
		}
	}()
	var streams [execStreams]net.Conn
	for i := range streams {
		if streams[i], err = mux.AcceptStreamWithContext(ctx); err != nil {
			return
		}
	}
	e := &execSession{host: s.host, streams: streams, in: newFrames(streams[execControl])}
	exit, err := e.run(ctx)
	back := execBack{Exit: exit}
	if err != nil {
		back = execBack{Failed: asError(err)}
	}
	if writeFrame(streams[execControl], back) == nil {
		<-ctx.Done() // the caller closes once it has read everything
	}
}

// execSession is the host's side of one command.
type execSession struct {
	host    Host
	streams [execStreams]net.Conn
	in      *frames
}

// run starts the command and returns when it has ended and its output is sent.
func (e *execSession) run(ctx context.Context) (*Exit, error) {
	var first execTowards
	if err := e.in.next(&first); err != nil || first.Start == nil {
		return nil, &Error{Code: CodeUsage, Message: fmt.Sprintf("a command's stream begins with start (%v)", err)}
	}
	p, err := e.host.Exec(ctx, *first.Start)
	if err != nil {
		return nil, err
	}
	end := sync.OnceFunc(func() { p.Close() })
	defer end()
	if err := writeFrame(e.streams[execControl], execBack{Started: &nothing{}}); err != nil {
		return nil, err
	}
	go e.obey(p)
	go func() {
		io.Copy(p.Stdin(), e.streams[execStdin])
		p.Stdin().Close()
	}()
	stdout := startPump(e.streams[execStdout], p.Stdout())
	stderr := startPump(e.streams[execStderr], p.Stderr())
	exit, err := p.Wait(ctx)
	// However it ended: the caller reads both to their end before it asks how.
	drain(ctx, stdout, stderr)
	end() // what the host finds out by it comes before the exit status
	if r, ok := p.(Reporter); ok && r.Report() != "" {
		text := "nanoclaw: " + r.Report() + "\n"
		if first.Start.TTY { // the caller's terminal takes each byte as it is
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		io.WriteString(e.streams[execStderr], text)
	}
	e.streams[execStdout].Close()
	e.streams[execStderr].Close()
	if err != nil {
		return nil, err
	}
	return &exit, nil
}

// obey passes signals and sizes on until the stream ends.
func (e *execSession) obey(p Process) {
	for {
		var f execTowards
		if err := e.in.next(&f); err != nil {
			return
		}
		// Neither can fail in a way that the caller could act on: the process has
		// ended, and its exit status is on the way.
		switch {
		case f.Signal > 0:
			p.Signal(syscall.Signal(f.Signal))
		case f.Resize != nil:
			p.Resize(f.Resize.Rows, f.Resize.Cols)
		}
	}
}

// pump copies output and knows since when it waits for more.
type pump struct {
	done    chan struct{}
	waiting atomic.Int64 // Unix nanoseconds since when it reads; 0 while it writes
}

func startPump(w io.Writer, r io.Reader) *pump {
	p := &pump{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		buf := make([]byte, 32<<10)
		for {
			p.waiting.Store(time.Now().UnixNano())
			n, err := r.Read(buf)
			p.waiting.Store(0)
			if n > 0 {
				if _, werr := w.Write(buf[:n]); werr != nil {
					// The caller closed this stream. Reading goes on, so that the command
					// is not stopped by a full pipe of which it learns nothing.
					w = io.Discard
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

// over tells whether nothing more will come, or nothing came for a while.
func (p *pump) over() bool {
	select {
	case <-p.done:
		return true
	default:
	}
	since := p.waiting.Load()
	return since != 0 && time.Since(time.Unix(0, since)) > idleDrain
}

func drain(ctx context.Context, pumps ...*pump) {
	for _, p := range pumps {
		for !p.over() {
			select {
			case <-p.done:
			case <-time.After(idleDrain / 10):
			case <-ctx.Done():
				return
			}
		}
	}
}

// Exec starts a command in a group's boundary; see Executor. The process ends
// with ctx.
func (c *Client) Exec(ctx context.Context, r ExecRequest) (Process, error) {
	conn, err := c.upgrade(ctx, "exec", execProtocol)
	if err != nil {
		return nil, err
	}
	mux, err := yamux.Client(conn, muxConfig())
	if err != nil {
		conn.Close()
		return nil, err
	}
	p := &remoteProcess{mux: mux, exited: make(chan struct{})}
	p.stop = context.AfterFunc(ctx, func() { mux.Close() })
	if err := p.start(r); err != nil {
		p.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	go p.follow()
	return p, nil
}

// remoteProcess is a command as its caller sees it.
type remoteProcess struct {
	mux     *yamux.Session
	streams [execStreams]net.Conn
	in      *frames
	stop    func() bool

	exited chan struct{} // closed when exit and err are set
	exit   Exit
	err    error

	mu sync.Mutex // one frame at a time onto control
}

func (p *remoteProcess) start(r ExecRequest) (err error) {
	for i := range p.streams {
		if p.streams[i], err = p.mux.Open(); err != nil {
			return fmt.Errorf("reach the daemon: %w", err)
		}
	}
	p.in = newFrames(p.streams[execControl])
	if err := p.write(execTowards{Start: &r}); err != nil {
		return fmt.Errorf("reach the daemon: %w", err)
	}
	var back execBack
	if err := p.in.next(&back); err != nil {
		return errWentAway
	}
	if back.Failed != nil {
		return back.Failed
	}
	if back.Started == nil {
		return errors.New("the daemon's answer cannot be understood")
	}
	return nil
}

var errWentAway = &Error{Code: CodeStopping, Message: "the host went away, and the command with it"}

// follow waits for the exit status.
func (p *remoteProcess) follow() {
	defer close(p.exited)
	var back execBack
	err := p.in.next(&back)
	switch {
	case err != nil:
		p.err = errWentAway
	case back.Failed != nil:
		p.err = back.Failed
	case back.Exit != nil:
		p.exit = *back.Exit
	default:
		p.err = errors.New("the daemon's answer cannot be understood")
	}
}

func (p *remoteProcess) Stdin() io.WriteCloser { return p.streams[execStdin] }
func (p *remoteProcess) Stdout() io.Reader     { return p.streams[execStdout] }
func (p *remoteProcess) Stderr() io.Reader     { return p.streams[execStderr] }

func (p *remoteProcess) Signal(s syscall.Signal) error {
	return p.write(execTowards{Signal: int(s)})
}

func (p *remoteProcess) Resize(rows, cols uint16) error {
	return p.write(execTowards{Resize: &size{rows, cols}})
}

func (p *remoteProcess) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.exited:
		return p.exit, p.err
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}

// Close ends the stream, and with it the command if it lives.
func (p *remoteProcess) Close() error {
	p.stop()
	return p.mux.Close()
}

func (p *remoteProcess) write(f execTowards) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return writeFrame(p.streams[execControl], f)
}
