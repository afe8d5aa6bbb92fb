package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// program is one running program of a relay.
type program struct {
	process Process
	hello   envelope // its answer to initialize
	began   time.Time
	out     chan []byte   // lines on their way to it
	over    chan struct{} // closed when it has ended
	once    sync.Once

	mu     sync.Mutex
	why    error
	last   int64
	open   map[string]*question // by our number
	theirs map[string]string    // our number by the agent's
}

// question is a request without an answer.
type question struct {
	id     string // the agent's
	answer chan envelope
	cancel context.CancelFunc
}

func newProgram(process Process, work *sync.WaitGroup) *program {
	p := &program{process: process, began: time.Now(), out: make(chan []byte, maxOpen), over: make(chan struct{}),
		open: map[string]*question{}, theirs: map[string]string{}}
	work.Go(p.read)
	work.Go(p.write)
	return p
}

// end ends the program, with the reason of whoever was first.
func (p *program) end(why error) {
	p.once.Do(func() {
		p.mu.Lock()
		p.why = why
		p.mu.Unlock()
		close(p.over)
		p.process.Close()
	})
}

func (p *program) stop() { p.end(ErrClosed) }

func (p *program) reason() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why.Error()
}

// read takes what the program says, to its end.
func (p *program) read() {
	in := bufio.NewReader(p.process)
	for {
		line, err := readLine(in)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("its program ended")
			}
			p.end(err)
			return
		}
		e, err := read(line)
		switch {
		case err != nil: // some programs print other things too
		case e.Method == "" && e.ID != nil:
			p.answered(e)
		case e.ID != nil:
			p.refuse(e)
		}
	}
}

// readLine gives the next line, which is bounded.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxSaid {
			return nil, fmt.Errorf("it wrote a line of more than %d MiB", maxSaid>>20)
		}
		line = append(line, part...)
		if err == nil {
			return bytes.TrimSpace(line), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// write gives the program what it is told. One that does not read is ended.
func (p *program) write() {
	for {
		select {
		case line := <-p.out:
			stuck := time.AfterFunc(writeTime, func() { p.end(errors.New("it does not read what it is told")) })
			_, err := p.process.Write(line)
			stuck.Stop()
			if err != nil {
				p.end(fmt.Errorf("its program takes nothing: %w", err))
				return
			}
		case <-p.over:
			return
		}
	}
}

// writeTime is how long a program may leave what it is told unread.
const writeTime = 30 * time.Second

// tell puts a message into the queue for the program. A queue that is full ends
// the program: it does not read, and its questions are bounded.
func (p *program) tell(e envelope) {
	select {
	case p.out <- e.line():
	case <-p.over:
	default:
		p.end(errors.New("it does not read what it is told"))
	}
}

// refuse answers a request of the program: it may ask whether we are there, and
// nothing of the agent or its model.
func (p *program) refuse(e envelope) {
	if e.Method == "ping" {
		p.tell(envelope{ID: e.ID, Result: json.RawMessage("{}")})
		return
	}
	p.tell(envelope{ID: e.ID, Error: json.RawMessage(`{"code":-32601,"message":"this host passes on no requests of servers"}`)})
}

// ask passes a request on, under a number of ours, and waits for its answer.
func (p *program) ask(ctx context.Context, e envelope) (envelope, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := &question{id: string(e.ID), answer: make(chan envelope, 1), cancel: cancel}
	p.mu.Lock()
	if len(p.open) >= maxOpen {
		p.mu.Unlock()
		return envelope{}, fmt.Errorf("more than %d requests at once: wait for the answers", maxOpen)
	}
	p.last++
	id := strconv.FormatInt(p.last, 10)
	p.open[id] = q
	if q.id != "" {
		p.theirs[q.id] = id
	}
	p.mu.Unlock()
	defer p.forget(id)
	e.ID = json.RawMessage(id)
	p.tell(e)
	select {
	case a := <-q.answer:
		return a, nil
	case <-p.over:
		return envelope{}, fmt.Errorf("the MCP server ended: %s", p.reason())
	case <-ctx.Done():
		p.tell(envelope{Method: "notifications/cancelled", Params: json.RawMessage(`{"requestId":` + id + `}`)})
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return envelope{}, errors.New("the MCP server did not answer in time (timeout in its configuration)")
		}
		return envelope{}, errors.New("the request was withdrawn")
	}
}

func (p *program) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.open[id]; q != nil {
		delete(p.open, id)
		if p.theirs[q.id] == id {
			delete(p.theirs, q.id)
		}
	}
}

// answered gives an answer to whoever asked. Any other is dropped.
func (p *program) answered(e envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.open[string(e.ID)]; q != nil {
		delete(p.open, string(e.ID))
		q.answer <- e
	}
}

// withdraw ends the waiting for a request, by the agent's number.
func (p *program) withdraw(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.open[p.theirs[id]]; q != nil {
		q.cancel()
	}
}
