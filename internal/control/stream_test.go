package control_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/control/controltest"
)

// next gives the next event of a conversation.
func next(t *testing.T, c *control.Conversation) control.Event {
	t.Helper()
	e, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConversation(t *testing.T) {
	term := controltest.NewTerminal()
	interrupted := make(chan chat.Group, 1)
	answers := make(chan control.Answer)
	host := &controltest.Host{
		OnAttach: func(_ context.Context, g chat.Group) (control.Terminal, error) { return term, nil },
		OnSay: func(_ context.Context, r control.SayRequest) (chat.MessageID, error) {
			if r.Text == "bad" {
				return "", errors.New("the disk is full")
			}
			return chat.MessageID(fmt.Sprint(r.Group, "/", r.Text, r.Ask.Mounts)), nil
		},
		OnWait: func(ctx context.Context, _ chat.Group, id chat.MessageID) (control.Answer, error) {
			a := <-answers
			a.Message = id
			return a, nil
		},
		OnInterrupt: func(_ context.Context, g chat.Group) error {
			interrupted <- g
			return errors.New("nothing to interrupt")
		},
	}
	c, s := inProcess(t, host)
	talk, err := c.Chat(deadline(t), "work")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Streams(); n != 1 {
		t.Errorf("%d streams, want 1", n)
	}
	if err := talk.Say(1, "hi", chat.Ask{Mounts: []string{"/src"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(control.Event{Said: &control.Said{Seq: 1, Message: "work/hi[/src]"}}, next(t, talk)); diff != "" {
		t.Error(diff)
	}
	progress := chat.Progress{Run: "r1", Kind: chat.Text, Text: "hel"}
	term.Progress <- progress
	if diff := cmp.Diff(control.Event{Progress: &progress}, next(t, talk)); diff != "" {
		t.Error(diff)
	}
	out := chat.Outbound{ID: 5, Run: "r1", Kind: chat.Reply, Text: "hello", Last: true}
	term.Out <- out
	if diff := cmp.Diff(control.Event{Outbound: &out}, next(t, talk)); diff != "" {
		t.Error(diff)
	}
	answers <- control.Answer{Run: "r1", State: control.Succeeded}
	want := control.Event{Answered: &control.Answered{Seq: 1, Answer: control.Answer{Message: "work/hi[/src]", Run: "r1", State: "succeeded"}}}
	if diff := cmp.Diff(want, next(t, talk)); diff != "" {
		t.Error(diff)
	}
	talk.Interrupt()
	if g := <-interrupted; g != "work" {
		t.Errorf("interrupted %q", g)
	}
	if e := next(t, talk); e.Problem == nil || e.Problem.Message != "nothing to interrupt" {
		t.Errorf("got %+v", e)
	}
	talk.Say(2, "bad", chat.Ask{})
	if e := next(t, talk); e.Said == nil || e.Said.Error == nil || e.Said.Error.Message != "the disk is full" {
		t.Errorf("got %+v", e)
	}
	talk.Close()
	<-term.Closed // leaving detaches the terminal
}

func TestConversationRefused(t *testing.T) {
	c, _ := inProcess(t, &controltest.Host{OnAttach: func(_ context.Context, g chat.Group) (control.Terminal, error) {
		return nil, &control.Error{Code: control.CodeNotFound, Message: "there is no group " + string(g)}
	}})
	_, err := c.Chat(deadline(t), "nope")
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeNotFound {
		t.Errorf("got %v, want that there is no such group", err)
	}
}

func TestConversationEndsWithTheHost(t *testing.T) {
	term := controltest.NewTerminal()
	c, _ := inProcess(t, &controltest.Host{OnAttach: func(context.Context, chat.Group) (control.Terminal, error) { return term, nil }})
	talk, err := c.Chat(deadline(t), "main")
	if err != nil {
		t.Fatal(err)
	}
	term.Close()
	_, err = talk.Next()
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeStopping {
		t.Errorf("got %v, want that the host stops", err)
	}
}

func TestConversationEndsWithItsContext(t *testing.T) {
	term := controltest.NewTerminal()
	c, _ := inProcess(t, &controltest.Host{OnAttach: func(context.Context, chat.Group) (control.Terminal, error) { return term, nil }})
	ctx, cancel := context.WithCancel(t.Context())
	talk, err := c.Chat(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := talk.Next(); err == nil {
		t.Error("the conversation goes on")
	}
	<-term.Closed
}

// start runs a command over a real socket.
func start(t *testing.T, main func(controltest.Stdio) control.Exit) (control.Process, *controltest.Process) {
	t.Helper()
	inside := make(chan *controltest.Process, 1)
	c, _ := onSocket(t, &controltest.Host{OnExec: func(ctx context.Context, r control.ExecRequest) (control.Process, error) {
		p := controltest.Start(ctx, main)
		inside <- p
		return p, nil
	}})
	p, err := c.Exec(deadline(t), control.ExecRequest{Group: "main", Argv: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, <-inside
}

func TestExecStreams(t *testing.T) {
	p, _ := start(t, func(s controltest.Stdio) control.Exit {
		io.WriteString(s.Err, "to stderr")
		io.Copy(s.Out, s.In) // until stdin is closed
		return control.Exit{Code: 42}
	})
	// More than every buffer on the way, in both directions at once.
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		p.Stdin().Write(data)
		p.Stdin().Close()
	}()
	var stderr []byte
	var wg sync.WaitGroup
	wg.Go(func() { stderr, _ = io.ReadAll(p.Stderr()) })
	stdout, err := io.ReadAll(p.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if sha256.Sum256(stdout) != sha256.Sum256(data) {
		t.Errorf("%d bytes came back, want the same %d", len(stdout), len(data))
	}
	if string(stderr) != "to stderr" {
		t.Errorf("stderr %q", stderr)
	}
	exit, err := p.Wait(deadline(t))
	if err != nil || exit != (control.Exit{Code: 42}) {
		t.Errorf("exit %+v, %v", exit, err)
	}
}

func TestExecSignalPassesAFullStdout(t *testing.T) {
	full := make(chan struct{})
	p, inside := start(t, func(s controltest.Stdio) control.Exit {
		go func() { // nobody reads this; it stops after what the way itself holds
			for n := 0; ; n++ {
				if n == 4 { // a whole window of the stream
					close(full)
				}
				if _, err := s.Out.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
		sig := <-s.Process.Signals
		return control.Exit{Signal: int(sig)}
	})
	<-full
	began := time.Now()
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(40, 100); err != nil {
		t.Fatal(err)
	}
	if got := <-inside.Sizes; got != [2]uint16{40, 100} {
		t.Errorf("size %v", got)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the signal took %v", took)
	}
	go io.Copy(io.Discard, p.Stdout())
	exit, err := p.Wait(deadline(t))
	if err != nil || exit != (control.Exit{Signal: int(syscall.SIGINT)}) {
		t.Errorf("exit %+v, %v", exit, err)
	}
}

// heldOpen is a process that ended while its stdout stays open.
type heldOpen struct{ *controltest.Process }

func (heldOpen) Stdout() io.Reader { r, _ := io.Pipe(); return r }

func TestExecEndsThoughStdoutStaysOpen(t *testing.T) {
	c, _ := inProcess(t, &controltest.Host{OnExec: func(ctx context.Context, _ control.ExecRequest) (control.Process, error) {
		return heldOpen{controltest.Start(ctx, func(controltest.Stdio) control.Exit { return control.Exit{Code: 3} })}, nil
	}})
	p, err := c.Exec(deadline(t), control.ExecRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	exit, err := p.Wait(deadline(t))
	if err != nil || exit.Code != 3 {
		t.Errorf("%+v, %v", exit, err)
	}
}

// cutShort is a process whose end nobody can know, since a limit ended all of its
// session.
type cutShort struct{ *controltest.Process }

func (p cutShort) Wait(ctx context.Context) (control.Exit, error) {
	p.Process.Wait(ctx)
	return control.Exit{}, &control.Error{Code: control.CodeFailed, Message: "too much"}
}

// Who asked reads all output before it asks how the command ended.
func TestExecTellsAnEndByALimit(t *testing.T) {
	c, _ := inProcess(t, &controltest.Host{OnExec: func(ctx context.Context, _ control.ExecRequest) (control.Process, error) {
		return cutShort{controltest.Start(ctx, func(s controltest.Stdio) control.Exit {
			io.WriteString(s.Out, "some")
			return control.Exit{}
		})}, nil
	}})
	p, err := c.Exec(deadline(t), control.ExecRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer context.AfterFunc(deadline(t), func() { t.Error("its output never ended"); p.Close() })()
	for _, r := range []io.Reader{p.Stderr(), p.Stdout()} {
		if out, err := io.ReadAll(r); err != nil || r == p.Stdout() && string(out) != "some" {
			t.Fatalf("read %q, %v", out, err)
		}
	}
	if exit, err := p.Wait(deadline(t)); err == nil || err.Error() != "too much" {
		t.Errorf("%+v, %v", exit, err)
	}
}

func TestExecEndsWithItsCaller(t *testing.T) {
	ended := make(chan struct{})
	p, _ := start(t, func(s controltest.Stdio) control.Exit {
		<-s.Ctx.Done()
		close(ended)
		return control.Exit{}
	})
	p.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the command outlived its caller")
	}
}

// reporting is a process about which the host has something to say once it is
// closed.
type reporting struct {
	*controltest.Process
	closed atomic.Bool
}

func (r *reporting) Close() error {
	r.closed.Store(true)
	return r.Process.Close()
}

func (r *reporting) Report() string {
	if !r.closed.Load() {
		return "too early"
	}
	return "files were moved\nlook at them"
}

// What the host finds out when it closes a process is on standard error before
// the exit status is there.
func TestExecReport(t *testing.T) {
	for _, tty := range []bool{false, true} {
		host := &controltest.Host{OnExec: func(ctx context.Context, _ control.ExecRequest) (control.Process, error) {
			p := controltest.Start(ctx, func(s controltest.Stdio) control.Exit {
				io.WriteString(s.Err, "own words\n")
				return control.Exit{Code: 3}
			})
			return &reporting{Process: p}, nil
		}}
		c, _ := inProcess(t, host)
		p, err := c.Exec(deadline(t), control.ExecRequest{Group: "work", Argv: []string{"x"}, TTY: tty})
		if err != nil {
			t.Fatal(err)
		}
		errs, _ := io.ReadAll(p.Stderr())
		exit, err := p.Wait(deadline(t))
		want := "own words\nnanoclaw: files were moved\nlook at them\n"
		if tty {
			want = "own words\nnanoclaw: files were moved\r\nlook at them\r\n"
		}
		if string(errs) != want || exit.Code != 3 || err != nil {
			t.Errorf("terminal %v: %q, %+v, %v", tty, errs, exit, err)
		}
		p.Close()
	}
}

func TestExecRefusals(t *testing.T) {
	for _, code := range []control.Code{control.CodeRefused, control.CodeBoundary, control.CodeNoCommand, control.CodeNotExecutable} {
		c, _ := inProcess(t, &controltest.Host{OnExec: func(context.Context, control.ExecRequest) (control.Process, error) {
			return nil, &control.Error{Code: code, Message: "no", Hint: "do this"}
		}})
		_, err := c.Exec(deadline(t), control.ExecRequest{})
		var e *control.Error
		if !errors.As(err, &e) || *e != (control.Error{Code: code, Message: "no", Hint: "do this"}) {
			t.Errorf("%s: got %#v", code, err)
		}
	}
}

func TestDrainWaitsForStreams(t *testing.T) {
	term := controltest.NewTerminal()
	c, s := inProcess(t, &controltest.Host{OnAttach: func(context.Context, chat.Group) (control.Terminal, error) { return term, nil }})
	talk, err := c.Chat(deadline(t), "main")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Drain gave %v while a terminal was there", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Drain(deadline(t)) }()
	talk.Close()
	if err := <-done; err != nil {
		t.Errorf("Drain: %v", err)
	}
	if _, err := c.Status(deadline(t)); err == nil {
		t.Error("a drained server still answers")
	}
}
