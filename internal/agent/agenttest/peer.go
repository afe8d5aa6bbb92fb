package agenttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/wire"
)

// Act is a box in which every process is played by a function of the test. The
// process ends with the code that the function returns, or by SIGKILL.
func Act(play func(p *Peer) (code int)) agent.Box { return box(play) }

type box func(*Peer) int

// Proven says that a play needs no walls.
func (play box) Proven() string { return "a play in a test" }

// Exec starts the play.
func (play box) Exec(_ context.Context, e wire.Exec) (agent.Process, error) {
	p := &Peer{Exec: e, Signals: make(chan syscall.Signal, 16), ended: make(chan struct{})}
	p.hear, p.stdin = io.Pipe()
	p.stdout, p.say = io.Pipe()
	p.stderr, p.cry = io.Pipe()
	p.lines = bufio.NewReader(p.hear)
	go func() { p.end(wire.Exited{Code: play(p)}) }()
	return (*played)(p), nil
}

// Peer is the inside of a process that a test plays.
type Peer struct {
	// Exec is how the process was started.
	Exec wire.Exec
	// Signals are what was sent to it, SIGKILL excepted.
	Signals chan syscall.Signal

	hear   *io.PipeReader
	lines  *bufio.Reader
	say    *io.PipeWriter
	cry    *io.PipeWriter
	stdin  *io.PipeWriter
	stdout *io.PipeReader
	stderr *io.PipeReader

	once   sync.Once
	ended  chan struct{}
	exited wire.Exited
}

// Say writes a line to the host: a text as it is, anything else as JSON.
func (p *Peer) Say(line any) error {
	text, ok := line.(string)
	if !ok {
		b, err := json.Marshal(line)
		if err != nil {
			return err
		}
		text = string(b)
	}
	_, err := io.WriteString(p.say, text+"\n")
	return err
}

// Cry writes to stderr.
func (p *Peer) Cry(text string) { io.WriteString(p.cry, text) }

// Hear reads the next line of the host.
func (p *Peer) Hear() (Line, error) {
	b, err := p.lines.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var l Line
	return l, json.Unmarshal(b, &l)
}

// Killed is closed when the process has ended.
func (p *Peer) Killed() <-chan struct{} { return p.ended }

func (p *Peer) end(x wire.Exited) {
	p.once.Do(func() {
		p.exited = x
		p.say.Close()
		p.cry.Close()
		p.hear.CloseWithError(syscall.EPIPE)
		close(p.ended)
	})
}

// Line is a line of the host.
type Line map[string]any

// Get gives what lies at the path of keys, as text, or "".
func (l Line) Get(path ...string) string {
	var v any = map[string]any(l)
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[key]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// played is a Peer seen from the host.
type played Peer

func (p *played) Stdin() io.WriteCloser { return p.stdin }
func (p *played) Stdout() io.Reader     { return p.stdout }
func (p *played) Stderr() io.Reader     { return p.stderr }

func (p *played) Signal(s syscall.Signal) error {
	if s == syscall.SIGKILL {
		(*Peer)(p).end(wire.Exited{Code: -1, Signal: int(s)})
		return nil
	}
	select {
	case p.Signals <- s:
		return nil
	default:
		return errors.New("too many signals")
	}
}

func (p *played) Wait(ctx context.Context) (wire.Exited, error) {
	select {
	case <-p.ended:
		return p.exited, nil
	case <-ctx.Done():
		return wire.Exited{}, context.Cause(ctx)
	}
}
