package agent

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"nanoclaw/internal/wire"
)

// Shell is the agent without a model: each message is a command, run inside
// the boundary. It lets an owner see and try the boundary with no account.
//
// Of the Options it heeds Env, Dir and MaxOutput.
//
// It is as powerful as what the grant gives and no more; who may use it is
// decided elsewhere (grant), because here every sender is a shell user.
type Shell struct{}

var _ Adapter = Shell{}

// Greeting is what the shell says of itself to somebody who meets it.
func Greeting() string {
	return `This is the shell agent: no model is connected, so what you write is run as a command inside the boundary.
Try:  id -u; ls -A ~; cat /etc/shadow
To talk with Claude instead: nanoclaw agent install claude, then nanoclaw login claude, then begin this chat anew.`
}

const (
	// maxCommand is below the kernel's limit on one argument (MAX_ARG_STRLEN,
	// 128 KiB with its final zero byte, execve(2)).
	maxCommand = 120 << 10
	// floodLimit is how much a command may write before it is stopped. What lies
	// between MaxOutput and this is read and thrown away.
	floodLimit = 64 << 20
	// interruptGrace is how long a command may take to heed SIGINT.
	interruptGrace = 2 * time.Second
	// afterExit is how long output may pause once the command has ended before
	// it is taken as complete, and latest how long it may go on: a process left in
	// the background could otherwise hold up the answer for ever.
	afterExit = 300 * time.Millisecond
	latest    = 5 * time.Second
)

// bootstrap joins stderr to stdout, so that both arrive in the order they were
// written, and prefers bash where there is one. The command is $1, never part
// of this text.
const bootstrap = `exec 2>&1; command -v bash >/dev/null && exec bash -c "$1" bash; exec sh -c "$1" sh`

// Open starts nothing yet: each turn is a process of its own.
func (Shell) Open(_ context.Context, box Box, o Options) (Conversation, error) {
	return &shell{box: box, o: o, over: make(chan struct{})}, nil
}

type shell struct {
	box Box
	o   Options

	mu     sync.Mutex
	turn   *shellTurn // nil between turns
	closed bool
	over   chan struct{} // closed with it
}

// shellTurn is one command.
type shellTurn struct {
	proc        Process
	interrupted bool          // guarded by shell.mu
	done        chan struct{} // closed when the turn is over
}

// Turn runs the command and returns what it wrote. A command that fails is an
// answer, not a failed turn.
func (s *shell) Turn(ctx context.Context, p Prompt, emit func(Event)) (Result, error) {
	if why := unfit(p.Text); why != "" {
		return Result{Failed: true, Class: ClassOther, Error: why}, nil
	}
	t, err := s.begin(ctx, p.Text)
	if err != nil {
		return Result{}, err
	}
	defer s.end(t)
	out := &shellOutput{text: bounded{max: s.o.maxOutput()}, emit: emit, proc: t.proc}
	exited, err := out.collect(ctx)
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("the command was stopped: %w", context.Cause(ctx))
	}
	if err != nil {
		return Result{}, &Error{Class: ClassEnded, Text: "the command's boundary ended", Detail: err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return out.result(exited, t.interrupted), nil
}

// unfit says why a text cannot be a command.
func unfit(text string) string {
	switch {
	case len(text) > maxCommand:
		return fmt.Sprintf("the command is longer than %d KiB: put it into a file and run that", maxCommand>>10)
	case strings.ContainsRune(text, 0):
		return "the command holds a zero byte, which no command can"
	}
	return ""
}

func (s *shell) begin(ctx context.Context, command string) (*shellTurn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.turn != nil {
		return nil, ErrBusy
	}
	proc, err := s.box.Exec(ctx, wire.Exec{
		Argv: []string{"/bin/sh", "-c", bootstrap, "sh", command}, Env: s.o.Env, Dir: s.o.Dir, Stdio: wire.Pipes,
	})
	if err != nil {
		return nil, &Error{Class: ClassStart, Text: "the shell did not start inside the boundary", Detail: err.Error()}
	}
	proc.Stdin().Close() // nobody is there to type
	s.turn = &shellTurn{proc: proc, done: make(chan struct{})}
	return s.turn, nil
}

func (s *shell) end(t *shellTurn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(t.done)
	s.turn = nil
}

// Interrupt sends SIGINT to the command's group, and SIGKILL if that does not
// end it.
func (s *shell) Interrupt(context.Context) error {
	s.mu.Lock()
	t := s.turn
	if t == nil {
		s.mu.Unlock()
		return nil
	}
	t.interrupted = true
	s.mu.Unlock()
	go func() {
		select {
		case <-t.done:
		case <-time.After(interruptGrace):
			t.proc.Signal(syscall.SIGKILL)
		}
	}()
	if err := t.proc.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("interrupt the command: %w", err)
	}
	return nil
}

// Done is closed by Close alone: each command is a process of its own.
func (s *shell) Done() <-chan struct{} { return s.over }

// Close kills a running command.
func (s *shell) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.over)
	}
	t := s.turn
	s.mu.Unlock()
	if t == nil {
		return nil
	}
	err := t.proc.Signal(syscall.SIGKILL)
	<-t.done
	return err
}

// shellOutput gathers what a command writes.
type shellOutput struct {
	text    bounded
	emit    func(Event)
	proc    Process
	total   int
	flooded bool
}

// collect reads until the command has ended and its output with it.
func (o *shellOutput) collect(ctx context.Context) (wire.Exited, error) {
	pieces, stop := make(chan []byte), make(chan struct{})
	defer release(o.proc)
	defer close(stop)
	go o.read(pieces, stop)
	go io.Copy(io.Discard, o.proc.Stderr()) // only what sh says before the redirection
	type end struct {
		wire.Exited
		err error
	}
	ended := make(chan end, 1)
	go func() {
		x, err := o.proc.Wait(ctx)
		ended <- end{x, err}
	}()
	var (
		decode      runes
		last        *end
		quiet, late <-chan time.Time
	)
	for pieces != nil || last == nil {
		select {
		case p, open := <-pieces:
			if !open {
				pieces = nil
				continue
			}
			o.take(decode.text(p), len(p))
			if last != nil {
				quiet = time.After(afterExit)
			}
		case e := <-ended:
			last, quiet, late = &e, time.After(afterExit), time.After(latest)
			if e.err != nil {
				o.proc.Signal(syscall.SIGKILL)
			}
		case <-quiet:
			pieces = nil
		case <-late:
			pieces = nil
		}
	}
	o.take(decode.flush(), 0)
	return last.Exited, last.err
}

func (o *shellOutput) read(pieces chan<- []byte, stop <-chan struct{}) {
	defer close(pieces)
	for {
		buf := make([]byte, 16<<10)
		n, err := o.proc.Stdout().Read(buf)
		if n > 0 {
			select {
			case pieces <- buf[:n]:
			case <-stop:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (o *shellOutput) take(s string, n int) {
	if kept := o.text.add(s); kept != "" {
		o.emit(Event{Kind: TextEvent, Text: kept})
	}
	if o.total += n; o.total > floodLimit && !o.flooded {
		o.flooded = true
		o.proc.Signal(syscall.SIGKILL)
	}
}

// result puts what is to be known into the text, since a chat has no exit code.
func (o *shellOutput) result(x wire.Exited, interrupted bool) Result {
	parts := []string{strings.TrimRight(o.text.b.String(), "\n")}
	if parts[0] == "" {
		parts = nil
	}
	switch {
	case interrupted: // Result says so
	case o.flooded:
		parts = append(parts, fmt.Sprintf("stopped: it wrote more than %d MiB", floodLimit>>20))
	case x.Signal != 0:
		parts = append(parts, fmt.Sprintf("killed by signal %d (%v)", x.Signal, syscall.Signal(x.Signal)))
	case x.Code != 0:
		parts = append(parts, fmt.Sprintf("exit %d", x.Code))
	case len(parts) == 0:
		parts = append(parts, "(no output)")
	}
	return Result{Text: strings.Join(parts, "\n"), Interrupted: interrupted, Truncated: o.text.cut, ToolCalls: 1}
}

// release lets go of a process's output, if its box can, so that no reader
// waits for a process that was left in the background.
func release(p Process) {
	for _, r := range []io.Reader{p.Stdout(), p.Stderr()} {
		if c, ok := r.(io.Closer); ok {
			c.Close()
		}
	}
}
