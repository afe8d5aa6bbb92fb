package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/store"
	"nanoclaw/internal/wire"
)

var (
	_ control.Host     = (*Daemon)(nil)
	_ control.Reporter = command{}
)

// known fails if there is no such group.
func (d *Daemon) known(g chat.Group) error {
	if _, ok := d.config.Groups[string(g)]; ok || g == chat.Main {
		return nil
	}
	return &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no group %q", g), Hint: "nanoclaw group list shows those there are"}
}

// Attach connects a terminal to a group's chat.
func (d *Daemon) Attach(_ context.Context, g chat.Group) (control.Terminal, error) {
	if err := d.known(g); err != nil {
		return nil, err
	}
	return d.console.Attach(g), nil
}

// Say stores a message of the owner.
func (d *Daemon) Say(ctx context.Context, r control.SayRequest) (chat.MessageID, error) {
	if err := d.known(r.Group); err != nil {
		return "", err
	}
	switch r.Ask.Conversation {
	case chat.Ongoing, chat.Anew, chat.Isolated:
	default:
		return "", &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("%q is no conversation", r.Ask.Conversation), Hint: `use "new" or "isolated"`}
	}
	return d.console.Say(ctx, r.Group, r.Text, r.Ask)
}

// Wait returns once it is final what became of a message: its run ended and
// what the run said is delivered, held or given up.
func (d *Daemon) Wait(ctx context.Context, g chat.Group, id chat.MessageID) (control.Answer, error) {
	for {
		changed := d.changed.wait()
		a, final, err := d.answer(ctx, g, id)
		if final || err != nil {
			return a, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return a, ctx.Err()
		}
	}
}

// answer is one look at the fate of a message that was written in a terminal.
func (d *Daemon) answer(ctx context.Context, g chat.Group, id chat.MessageID) (control.Answer, bool, error) {
	return d.answerAt(ctx, g, console.Address(g), id)
}

// answerAt is answer for a message of any chat.
func (d *Daemon) answerAt(ctx context.Context, g chat.Group, from chat.Address, id chat.MessageID) (a control.Answer, final bool, err error) {
	fate, err := d.store.Fate(ctx, from, id)
	if err != nil {
		return a, false, err
	}
	a = control.Answer{Message: id, Run: fate.Run, State: fate.State, Reason: fate.Reason}
	if fate.State == "host" {
		return a, false, nil
	}
	if fate.Reason == router.Answered {
		a.State = control.Taken
		if a.Reason = d.mistakes.take(id); a.Reason != "" {
			a.State = string(runner.Failed)
		}
		return a, true, nil
	}
	if fate.Reason == router.Commanded {
		a.State = control.Taken
		unsaid, err := d.store.UnsaidKey(ctx, commandKey(from, id))
		if unsaid > 0 || err != nil {
			return a, false, err
		}
		if a.Reason = d.mistakes.take(id); a.Reason != "" {
			a.State = string(runner.Failed)
		}
		return a, true, nil
	}
	switch fate.State {
	case "ignored", "refused", "context":
		return a, true, nil
	case "dead":
		unsaid, err := d.store.Unsaid(ctx, fate.Run)
		return a, unsaid == 0 && err == nil, err
	case "waiting":
		if held := d.queue.Rests(g); held != "" {
			a.State, a.Reason = "held", held
			return a, true, nil
		}
		held, err := d.limits.heldMessage(ctx, from, id)
		if err != nil || held != "" {
			a.State, a.Reason = "held", held
			untold, untoldErr := d.untold(ctx, from)
			return a, !untold, cmp.Or(err, untoldErr)
		}
		return a, false, nil
	case "claimed":
		return a, false, nil
	}
	run, err := d.store.Run(ctx, fate.Run)
	if err != nil {
		return a, false, err
	}
	a.State, a.Reason = string(run.State), run.Error
	unsaid, err := d.store.Unsaid(ctx, fate.Run)
	return a, unsaid == 0 && err == nil, err
}

// signal wakes all who wait for a change.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait gives a channel that is closed at the next fire.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Exec starts a command of the owner in a group's boundary.
func (d *Daemon) Exec(ctx context.Context, r control.ExecRequest) (control.Process, error) {
	if err := d.known(r.Group); err != nil {
		return nil, err
	}
	if _, err := d.engine(ctx, r.Boundary); err != nil {
		return nil, err
	}
	g, err := d.grantFor(ctx, r)
	if err != nil {
		return nil, asControl(err)
	}
	if r.TTY && plainTerm(r.Term) {
		for i, v := range g.Env {
			if v.Name == "TERM" {
				g.Env[i] = grant.Var{Name: "TERM", Value: r.Term, Reason: "the terminal that asks"}
			}
		}
	}
	e := wire.Exec{Argv: r.Argv, Stdio: wire.Pipes}
	if r.TTY {
		e.Stdio, e.Rows, e.Cols = wire.PTY, r.Rows, r.Cols
	}
	c, err := d.runner.Exec(ctx, r.Boundary, g, e)
	if err != nil {
		return nil, asControl(err)
	}
	return command{c}, nil
}

// plainTerm says that a terminal's name is one, and nothing cleverer.
func plainTerm(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+._") == ""
}

// grantFor decides as for the owner's own terminal.
func (d *Daemon) grantFor(ctx context.Context, e control.ExecRequest) (grant.Grant, error) {
	if err := d.checkConfig(ctx); err != nil {
		return grant.Grant{}, err
	}
	r, err := d.request(ctx, e.Group, grant.Trigger{Kind: "exec", Owner: true, Terminal: true, Mounts: e.Mounts})
	if err != nil {
		return grant.Grant{}, err
	}
	r.Mode = grant.Mode(e.Mode)
	d.fit(ctx, &r, e.Boundary)
	return d.granted(r)
}

// asControl gives errors the code that the command line's exit status comes from.
func asControl(err error) error {
	var no *grant.Refusal
	var start *boundary.StartError
	var exec *boundary.ExecError
	var limit *boundary.LimitError
	switch {
	case errors.As(err, &no):
		return &control.Error{Code: control.CodeRefused, Message: no.Text, Hint: no.Hint}
	case errors.As(err, &limit):
		return &control.Error{Code: control.CodeFailed, Message: limit.Error(), Hint: limit.Hint()}
	case errors.As(err, &start):
		return &control.Error{Code: control.CodeBoundary, Message: start.Error(), Hint: start.Hint}
	case errors.As(err, &exec) && exec.NotFound:
		return &control.Error{Code: control.CodeNoCommand, Message: exec.Error(), Hint: "nanoclaw doctor lists programs of yours that are not inside"}
	case errors.As(err, &exec) && exec.NotExecutable:
		return &control.Error{Code: control.CodeNotExecutable, Message: exec.Error()}
	case errors.Is(err, runner.ErrHeld):
		return &control.Error{Code: control.CodeRefused, Message: err.Error()}
	case errors.Is(err, store.ErrNotFound):
		return &control.Error{Code: control.CodeNotFound, Message: err.Error()}
	}
	return err
}

// command is a runner's command as the control socket sees it.
type command struct{ c *runner.Command }

func (c command) Stdin() io.WriteCloser          { return c.c.Stdin }
func (c command) Stdout() io.Reader              { return c.c.Stdout }
func (c command) Stderr() io.Reader              { return c.c.Stderr }
func (c command) Signal(s syscall.Signal) error  { return c.c.Signal(s) }
func (c command) Resize(rows, cols uint16) error { return c.c.Resize(rows, cols) }
func (c command) Close() error                   { return c.c.Close() }

// Report implements control.Reporter.
func (c command) Report() string { return c.c.Found }

// Wait returns once the process ended.
func (c command) Wait(ctx context.Context) (control.Exit, error) {
	e, err := c.c.Wait(ctx)
	return control.Exit{Code: e.Code, Signal: e.Signal}, asControl(err)
}

// Interrupt ends what a group's agent is doing now and keeps its session.
func (d *Daemon) Interrupt(ctx context.Context, g chat.Group) error {
	d.acted(ctx, "interrupt", string(g))
	return d.runner.Interrupt(ctx, g)
}

// Shutdown asks the daemon to end.
func (d *Daemon) Shutdown(ctx context.Context) error {
	d.acted(ctx, "shutdown", "")
	d.stopMu.Lock()
	defer d.stopMu.Unlock()
	if d.stop != nil {
		d.stop(errors.New("the owner asked it to stop"))
	}
	return nil
}

func (d *Daemon) acted(ctx context.Context, act, target string) {
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.OwnerActed, Data: audit.OwnerActedData{Act: act, Target: target}})
}
