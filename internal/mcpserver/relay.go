package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Process is a server's program that was started.
type Process interface {
	// Write gives it bytes on its standard input, and Read takes its standard
	// output, to the end when it has ended.
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// Close ends it and everything that it started.
	Close() error
}

// RelayOptions make a Relay.
type RelayOptions struct {
	// Name is the server's, for messages.
	Name string
	// Tools are the only ones that may be called; empty: all.
	Tools []string
	// Guard judges requests and what the server says of its tools. Nil: nobody does.
	Guard *Guard
	// Timeout bounds one request. 0 is no bound but the session's life.
	Timeout time.Duration
	// Start starts the program.
	Start func(ctx context.Context) (Process, error)
	// Called is told of each request before it is passed on, with "" or why it is
	// refused. If it fails, the request is refused: nothing happens unrecorded.
	Called func(method, tool, refused string) error
	// Log gets what nobody else is told. Nil discards it.
	Log *slog.Logger
}

// Bounds of a relay.
const (
	maxAsked  = 4 << 20     // bytes of a message to the program
	maxSaid   = 16 << 20    // bytes of one from it
	maxOpen   = 64          // requests without an answer
	backFirst = time.Second // from the end of a program to its next start
	backMost  = time.Minute //
	healthy   = time.Minute // what lived so long is started at once
	startTime = time.Minute // for a start
	burst     = 100         // requests at once, and then one each interval
	interval  = 50 * time.Millisecond
)

// ErrClosed says that the session is over.
var ErrClosed = errors.New("the session is over: its MCP server is closed")

// Relay passes messages between one session's agent and one program.
type Relay struct {
	o      RelayOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // programs and what serves them

	mu       sync.Mutex
	closed   bool
	program  *program        // nil: none runs
	starting chan struct{}   // closed when a start is over; nil: none goes on
	hello    json.RawMessage // the params with which the agent began
	fails    int             // programs in a row that ended soon
	again    time.Time       // no start before it
	why      string          // the last one ended
	paced    time.Time       // when the next request would come if all kept the pace
}

// NewRelay makes a relay. Nothing is started before the first message.
func NewRelay(o RelayOptions) *Relay {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Relay{o: o}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// envelope is a JSON-RPC message, as far as a relay looks into it.
type envelope struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// read reads a message so that it has one reading: what is passed on is made
// anew from what was read.
func read(raw []byte) (envelope, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return envelope{}, err
	}
	e := envelope{ID: fields["id"], Params: fields["params"], Result: fields["result"], Error: fields["error"]}
	if m, ok := fields["method"]; ok {
		if err := json.Unmarshal(m, &e.Method); err != nil {
			return envelope{}, err
		}
	}
	if bytes.Equal(e.ID, []byte("null")) {
		e.ID = nil
	}
	if len(e.ID) > 200 || len(e.ID) > 0 && (e.ID[0] == '{' || e.ID[0] == '[') {
		return envelope{}, errors.New("its id is none")
	}
	return e, nil
}

func (e envelope) line() []byte {
	e.Version = "2.0"
	b, err := json.Marshal(e)
	if err != nil {
		return nil // raw parts were read as JSON before
	}
	return append(b, '\n')
}

// Message answers one message of the agent. A request gets its response,
// whatever it is; a notification gets nil. An error means that there is no
// answer: the relay is closed, the message is none, or ctx has ended.
func (r *Relay) Message(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) > maxAsked {
		return nil, fmt.Errorf("the message is longer than %d MiB", maxAsked>>20)
	}
	e, err := read(raw)
	if err != nil {
		return nil, fmt.Errorf("this is not a JSON-RPC message: %w", err)
	}
	if !r.enter() {
		return nil, ErrClosed
	}
	defer r.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	switch {
	case e.Method == "":
		return nil, nil // an answer to nothing: servers ask agents nothing here
	case e.ID == nil:
		r.notify(e)
		return nil, nil
	}
	if r.o.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, r.o.Timeout)
		defer stop()
	}
	answer, err := r.ask(ctx, e)
	if err != nil {
		return failure(e.ID, err), nil
	}
	answer.ID = e.ID
	return bytes.TrimSpace(answer.line()), nil
}

func (r *Relay) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.work.Add(1)
	return true
}

// failure is an answer in words.
func failure(id json.RawMessage, err error) json.RawMessage {
	text, _ := json.Marshal(map[string]any{"code": -32000, "message": "nanoclaw: " + err.Error()}) // never fails
	return bytes.TrimSpace(envelope{ID: id, Error: text}.line())
}

// ask judges a request, records it, and has the program answer it.
func (r *Relay) ask(ctx context.Context, e envelope) (envelope, error) {
	tool, params, err := r.judge(e)
	e.Params = params
	refused := ""
	if err != nil {
		refused = err.Error()
	}
	if late := r.pace(ctx); late != nil {
		return envelope{}, late
	}
	if r.o.Called != nil {
		if rec := r.o.Called(clip(e.Method, 100), clip(tool, 200), refused); rec != nil {
			return envelope{}, errors.New("the host cannot record this, so it is refused")
		}
	}
	if err != nil {
		return envelope{}, err
	}
	p, err := r.running(ctx, e)
	if err != nil {
		return envelope{}, err
	}
	if e.Method == "initialize" {
		return r.heard(p.hello), nil
	}
	answer, err := p.ask(ctx, e)
	return r.heard(answer), err
}

// heard is what the agent may hear of an answer.
func (r *Relay) heard(e envelope) envelope {
	if r.o.Guard == nil || e.Result == nil {
		return e
	}
	var out envelope
	if json.Unmarshal(r.o.Guard.Said(envelope{ID: json.RawMessage("0"), Result: e.Result}.line()), &out) == nil && out.Result != nil {
		e.Result = out.Result
	}
	return e
}

// pace lets burst requests through at once, and then one each interval: each
// costs the host an entry in its audit.
func (r *Relay) pace(ctx context.Context) error {
	r.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-burst * interval); r.paced.Before(earliest) {
		r.paced = earliest
	}
	r.paced = r.paced.Add(interval)
	wait := r.paced.Sub(now)
	r.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return errors.New("the request was withdrawn")
	}
}

// judge says whether a request may be passed on, and gives its params so that
// they have one reading.
func (r *Relay) judge(e envelope) (tool string, params json.RawMessage, err error) {
	if e.Method != "tools/call" {
		return "", e.Params, r.guarded(e.Method, e.Params, new(json.RawMessage))
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(e.Params, &fields); err != nil || json.Unmarshal(fields["name"], &tool) != nil || tool == "" {
		return "", nil, errors.New("the call names no tool")
	}
	for key := range fields {
		if key != "name" && strings.EqualFold(key, "name") {
			return tool, nil, fmt.Errorf("the key %.20q could be read as name", key)
		}
	}
	if len(r.o.Tools) > 0 && !slices.Contains(r.o.Tools, tool) {
		return tool, nil, fmt.Errorf("the owner has not allowed the tool %.100q of the MCP server %s: there are %s", tool, r.o.Name, strings.Join(r.o.Tools, ", "))
	}
	if params, err = json.Marshal(fields); err == nil {
		err = r.guarded(e.Method, params, &params)
	}
	return tool, params, err
}

// guarded has the guard judge a request, which may give it other params.
func (r *Relay) guarded(method string, given json.RawMessage, params *json.RawMessage) error {
	if r.o.Guard == nil {
		return nil
	}
	other, err := r.o.Guard.Request(method, given)
	if other != nil {
		*params = other
	}
	return err
}

// notify passes on what has a meaning without an answer: that a request was
// withdrawn. That the agent is initialised is said by us.
func (r *Relay) notify(e envelope) {
	r.mu.Lock()
	p := r.program
	r.mu.Unlock()
	if p == nil || e.Method != "notifications/cancelled" {
		return
	}
	var c struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	if json.Unmarshal(e.Params, &c) == nil {
		p.withdraw(string(c.RequestID))
	}
}

// running gives the program, started and initialised. After one ended, the next
// waits a while, longer each time. Whoever asked may give up waiting; the start
// goes on without them.
func (r *Relay) running(ctx context.Context, e envelope) (*program, error) {
	for {
		p, starting, err := r.need(e)
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-starting:
		case <-ctx.Done():
			return nil, fmt.Errorf("the MCP server %s is not ready yet", r.o.Name)
		}
	}
}

// need gives the program, or a start that goes on.
func (r *Relay) need(e envelope) (*program, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Method == "initialize" && r.hello == nil {
		if r.hello = e.Params; r.hello == nil {
			r.hello = json.RawMessage("{}")
		}
	}
	wait := time.Until(r.again)
	switch {
	case r.program != nil:
		return r.program, nil, nil
	case r.starting != nil:
		return nil, r.starting, nil
	case r.hello == nil:
		return nil, nil, errors.New("the first request has to be initialize")
	case wait > 0:
		return nil, nil, fmt.Errorf("the MCP server %s cannot be had (%s) and is started again in %v", r.o.Name, r.why, wait.Round(time.Second))
	}
	over := make(chan struct{})
	r.starting = over
	hello := r.hello
	r.work.Go(func() { r.launch(hello, over) })
	return nil, over, nil
}

// launch starts a program and follows it to its end.
func (r *Relay) launch(hello json.RawMessage, over chan struct{}) {
	ctx, cancel := context.WithTimeout(r.ctx, startTime)
	defer cancel()
	began := time.Now()
	p, err := r.start(ctx, hello)
	if err != nil {
		r.o.Log.Warn("an MCP server did not start", "server", r.o.Name, "err", err)
		r.ended(began, "it did not start: "+err.Error())
	}
	r.mu.Lock()
	r.program, r.starting = p, nil
	r.mu.Unlock()
	close(over)
	if p == nil {
		return
	}
	<-p.over
	r.o.Log.Info("an MCP server ended", "server", r.o.Name, "why", p.reason())
	r.ended(began, p.reason())
	r.mu.Lock()
	r.program = nil
	r.mu.Unlock()
}

// start starts a program and initialises it as the agent did first.
func (r *Relay) start(ctx context.Context, hello json.RawMessage) (*program, error) {
	process, err := r.o.Start(ctx)
	if err != nil {
		return nil, err
	}
	p := newProgram(process, &r.work)
	context.AfterFunc(r.ctx, p.stop)
	p.hello, err = p.ask(ctx, envelope{Method: "initialize", Params: hello})
	if err == nil && p.hello.Error != nil {
		err = errors.New("it refused to be initialised: " + clip(string(p.hello.Error), 200))
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	p.tell(envelope{Method: "notifications/initialized"})
	return p, nil
}

// ended notes the end of a program that began then.
func (r *Relay) ended(began time.Time, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(began) > healthy {
		r.fails = 0
	}
	r.again = time.Now().Add(min(backMost, backFirst<<min(r.fails, 10)))
	r.fails++
	r.why = clip(why, 200)
}

// Close ends the program and returns when nothing is in work any more. After it
// every message is refused.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
}
