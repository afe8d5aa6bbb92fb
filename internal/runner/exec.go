package runner

import (
	"context"
	"io"
	"sync"
	"syscall"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// box makes a boundary's session the Box that agents know.
type box struct{ s *boundary.Session }

// Proven names the attack that the session's boundary withstood.
func (b box) Proven() string { return b.s.Attestation() }

// Exec starts a process inside.
func (b box) Exec(ctx context.Context, e wire.Exec) (agent.Process, error) {
	p, err := b.s.Exec(ctx, e)
	if err != nil {
		return nil, err
	}
	return process{p}, nil
}

type process struct{ p *boundary.Process }

func (p process) Stdin() io.WriteCloser                         { return p.p.Stdin }
func (p process) Stdout() io.Reader                             { return p.p.Stdout }
func (p process) Stderr() io.Reader                             { return p.p.Stderr }
func (p process) Signal(s syscall.Signal) error                 { return p.p.Signal(s) }
func (p process) Wait(ctx context.Context) (wire.Exited, error) { return p.p.Wait(ctx) }

// Command is a command of the owner in a group's boundary.
type Command struct {
	*boundary.Process
	r     *Runner
	s     *session
	began time.Time
	once  sync.Once
	ended audit.ExecEndedData
	// Found is about files that were moved away, in words, once Close returned.
	Found string
}

// Exec starts a command of the owner in exactly the boundary that g describes:
// the same mounts, environment, egress and limits as the group's agent, in a
// session of its own. engine is "" for the host's own choice.
func (r *Runner) Exec(ctx context.Context, engine string, g grant.Grant, e wire.Exec) (*Command, error) {
	s, err := r.newSession(ctx, g)
	if err != nil {
		return nil, err
	}
	g = s.grant
	err = r.Store.Record(ctx, audit.Entry{
		At: time.Now(), Kind: audit.ExecStarted, Group: g.Group, Session: s.id,
		Data: audit.ExecStartedData{Argv: e.Argv, Grant: g}, Brief: audit.ExecStartedData{Argv: e.Argv, Grant: g.Brief()},
	})
	if err != nil {
		return nil, err
	}
	c := &Command{r: r, s: s, began: time.Now(), ended: audit.ExecEndedData{Exit: -1}}
	e.Env, e.Dir = environ(g), grant.Workspace
	if c.Process, err = r.execIn(ctx, engine, s, e); err != nil {
		c.ended.Error = err.Error()
		c.Close()
		return nil, err
	}
	return c, nil
}

func (r *Runner) execIn(ctx context.Context, engine string, s *session, e wire.Exec) (*boundary.Process, error) {
	if err := r.open(ctx, engine, s, e.Stdio == wire.PTY); err != nil {
		return nil, err
	}
	if err := r.Store.Record(ctx, s.started()); err != nil {
		return nil, err
	}
	return s.box.Exec(ctx, e)
}

// Wait returns when the command has ended.
func (c *Command) Wait(ctx context.Context) (wire.Exited, error) {
	e, err := c.Process.Wait(ctx)
	if cut := c.s.cut(); err != nil && cut != nil {
		err = cut
		c.ended.Error = cut.Error()
	}
	if err == nil {
		c.ended.Exit = e.Code
		if e.Signal != 0 {
			c.ended.Signal = syscall.Signal(e.Signal).String()
		}
	}
	return e, err
}

// Close ends the command and its boundary. What it left in folders of the owner
// was looked at when Close returns; Found says what that was, "" for nothing.
func (c *Command) Close() error {
	c.once.Do(func() {
		c.s.close()
		c.r.breached(c.s)
		c.ended.Found, c.Found = c.s.guard.Check(context.Background(), c.s.caller(), chat.Address{}, true)
		c.ended.Ms = time.Since(c.began).Milliseconds()
		err := c.r.Store.Record(context.Background(), audit.Entry{
			At: time.Now(), Kind: audit.ExecEnded, Group: c.s.grant.Group, Session: c.s.id,
			Data: c.ended,
		})
		if err != nil {
			c.r.log(c.s).Error("the end of a command could not be recorded", "err", err)
		}
	})
	return nil
}
