package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/control/controltest"
	"nanoclaw/internal/store"
)

// fakeHost is a host of which a test writes the answers: reply is the agent.
type fakeHost struct {
	*controltest.Host
	hub   *console.Hub
	reply func(t turnOf) (state string)

	lock   *sync.Mutex // the store's lock
	stop   context.CancelFunc
	mu     sync.Mutex
	states map[chat.MessageID]chan control.Answer
	runs   int
	ints   chan struct{}
}

// turnOf is one message as the fake agent sees it.
type turnOf struct {
	host        *fakeHost
	in          chat.Inbound
	run         chat.RunID
	interrupted <-chan struct{}
}

func (t turnOf) progress(kind chat.ProgressKind, text string) {
	t.host.hub.Progress(context.Background(), chat.Progress{Run: t.run, Group: "main", To: t.in.From, Kind: kind, Text: text})
}

// say delivers a message of the run, as the outbox would.
func (t turnOf) say(kind chat.OutboundKind, text string) {
	t.host.deliver(chat.Outbound{To: t.in.From, Kind: kind, Text: text, Run: t.run})
}

func (h *fakeHost) deliver(m chat.Outbound) {
	if _, err := h.hub.Deliver(context.Background(), m); err != nil {
		panic(err)
	}
}

func newFakeHost(reply func(turnOf) string) *fakeHost {
	h := &fakeHost{
		hub: console.New(console.Options{}), reply: reply,
		states: map[chat.MessageID]chan control.Answer{}, ints: make(chan struct{}, 8),
	}
	h.Host = &controltest.Host{
		OnAttach: func(_ context.Context, g chat.Group) (control.Terminal, error) { return h.hub.Attach(g), nil },
		OnSay: func(ctx context.Context, r control.SayRequest) (chat.MessageID, error) {
			return h.hub.Say(ctx, r.Group, r.Text, r.Ask)
		},
		OnWait: func(ctx context.Context, _ chat.Group, id chat.MessageID) (control.Answer, error) {
			select {
			case a := <-h.answerOf(id):
				return a, nil
			case <-ctx.Done():
				return control.Answer{}, ctx.Err()
			}
		},
		OnInterrupt: func(context.Context, chat.Group) error { h.ints <- struct{}{}; return nil },
		OnShutdown:  func(context.Context) error { h.stop(); return nil },
	}
	return h
}

func (h *fakeHost) answerOf(id chat.MessageID) chan control.Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.states[id] == nil {
		h.states[id] = make(chan control.Answer, 1)
	}
	return h.states[id]
}

// Receive takes a message in and lets the fake agent answer it.
func (h *fakeHost) Receive(_ context.Context, in chat.Inbound) error {
	h.mu.Lock()
	h.runs++
	run := chat.RunID(fmt.Sprintf("r%d", h.runs))
	h.mu.Unlock()
	go func() {
		state, reason, _ := strings.Cut(h.reply(turnOf{h, in, run, h.ints}), ": ")
		h.answerOf(in.ID) <- control.Answer{Message: in.ID, Run: run, State: state, Reason: reason}
	}()
	return nil
}

func (h *fakeHost) Run(ctx context.Context, ready func()) error {
	ctx, h.stop = context.WithCancel(ctx)
	defer h.stop()
	done := make(chan error, 1)
	go func() { done <- h.hub.Run(ctx, h) }()
	ready()
	return <-done
}

func (h *fakeHost) Close() error {
	if h.lock != nil {
		h.lock.Unlock()
	}
	return nil
}

// bench is one installation with its fake host.
type bench struct {
	t    *testing.T
	home string
	host *fakeHost
	lock sync.Mutex
}

func newBench(t *testing.T, reply func(turnOf) string) *bench {
	t.Helper()
	home, err := os.MkdirTemp("", "nc") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	return &bench{t: t, home: home, host: newFakeHost(func(x turnOf) string {
		if reply == nil {
			return "succeeded"
		}
		return reply(x)
	})}
}

// app is a command line on this installation.
func (b *bench) app(in *os.File, out, errOut io.Writer) *app {
	a := newApp()
	a.in, a.out, a.err = in, out, errOut
	a.getenv = func(name string) string {
		return map[string]string{"NANOCLAW_HOME": b.home, "HOME": b.home, "TERM": "xterm"}[name]
	}
	a.open = func(context.Context, hostOptions) (host, error) {
		if !b.lock.TryLock() {
			return nil, fmt.Errorf("open: %w", &store.LockedError{Dir: b.home, PID: os.Getpid()})
		}
		b.host.lock, b.host.hub = &b.lock, console.New(console.Options{}) // a hub that ended takes nothing
		return b.host, nil
	}
	return a
}

// result is what a command line did.
type result struct {
	code        int
	out, errOut string
}

// run performs a command line with a text as its stdin.
func (b *bench) run(stdin string, args ...string) result {
	b.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	go func() {
		io.WriteString(w, stdin)
		w.Close()
	}()
	var out, errOut lockedBuffer
	code := b.app(r, &out, &errOut).run(args)
	return result{code, out.String(), errOut.String()}
}

// writeConfig puts a first configuration in its place.
func (b *bench) writeConfig() config.Paths {
	b.t.Helper()
	p, err := config.Locate(config.Options{Getenv: func(name string) string {
		return map[string]string{"NANOCLAW_HOME": b.home}[name]
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := p.EnsureDirs(); err != nil {
		b.t.Fatal(err)
	}
	if err := config.WriteDefault(p.Config, config.Template(config.Facts{HostMode: true})); err != nil {
		b.t.Fatal(err)
	}
	return p
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// expect waits until text is in the buffer.
func (l *lockedBuffer) expect(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(l.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not come; so far: %q", text, l.String())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var golden = os.Getenv("UPDATE_GOLDEN") != ""

// checkGolden compares with testdata/NAME; UPDATE_GOLDEN=1 writes it anew.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if golden {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}
