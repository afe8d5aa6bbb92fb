package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/steps"
)

// hostRetry is how long a store that cannot be written is left alone.
const hostRetry = time.Second

// hostsOwn does what a message says to the host, an answer, a command or a stranger's
// pairing code, and notes that it is done. The message is stored, in a state of its own, so a crash before
// that has it done by the next start: a good answer counts in the transaction that
// ends its question and never twice; a command may be carried out again, and each
// has the same effect then. What is said about it has a key of its own.
func (d *Daemon) hostsOwn(ctx context.Context, in chat.Inbound, v router.Verdict) {
	steps.Before(steps.HostAct)
	switch v.Action {
	case router.Answer:
		d.answered(ctx, in, v)
	case router.Do:
		d.command(ctx, in, v)
	default:
		d.pair(ctx, in, v)
	}
	steps.After(steps.HostAct)
	d.hostDone(ctx, v.Row)
}

// hostDone notes that a message for the host is done. While the store cannot be
// written the channel waits, as it would for its next message; when that ends, the
// next start does the message again.
func (d *Daemon) hostDone(ctx context.Context, row int64) {
	for said := false; ; said = true {
		steps.Before(steps.HostDone)
		err := d.store.HostDone(context.WithoutCancel(ctx), row)
		steps.After(steps.HostDone)
		if err == nil {
			d.changed.fire()
			return
		}
		if !said {
			d.log.Error("that a message for the host is done could not be noted; it is tried again", "row", row, "err", err)
		}
		if !waited(ctx, hostRetry) {
			return
		}
	}
}

// takeUpHosts does what earlier processes did not come to the end of. It stands before
// the first channel, so that what was said first is done first.
func (d *Daemon) takeUpHosts(ctx context.Context) error {
	left, err := d.store.HostLeft(ctx)
	if err != nil {
		return err
	}
	for _, m := range left {
		d.takeUpHost(ctx, m)
	}
	return nil
}

// takeUpHost does one of them, if whoever wrote it may still say it. One during which
// the daemon ended again and again is given up in words, so that it cannot keep it
// from starting.
func (d *Daemon) takeUpHost(ctx context.Context, m queue.Message) {
	v := d.router.Rules().Decide(m.Inbound)
	v.Row, v.Again = m.Row, true
	_, pairs := approval.ParsePairing(m.Text)
	switch {
	case m.Attempts > queue.MaxAttempts && pairs:
		d.notice(ctx, m.Inbound, commandKey(m.From, m.ID), "The host could not try the pairing code. Ask the owner for another.", true)
	case m.Attempts > queue.MaxAttempts:
		d.notice(ctx, m.Inbound, commandKey(m.From, m.ID), fmt.Sprintf("Given up, since nanoclaw ended %d times before it was done: %s", queue.MaxAttempts, channel.OneLine(m.Text, 100)), true)
	case v.Action == router.Answer, v.Action == router.Do, v.Pairing != "":
		v.Command = d.again(ctx, v.Command)
		d.forHost(ctx, m.Inbound, v)
		return
	case v.Action == router.Ignore && pairs: // it may have let them in and not have told them
		d.pair(ctx, m.Inbound, v)
	case v.Action == router.Refuse:
		d.forHost(ctx, m.Inbound, v)
	}
	d.hostDone(ctx, m.Row)
}

// again is a command that an earlier process had begun. The run that it is to stop was
// cut off with that process, and its messages wait for another one: those are meant.
func (d *Daemon) again(ctx context.Context, c router.Command) router.Command {
	if c.Verb != router.Stop || c.Target == "" {
		return c
	}
	if run, err := d.store.Run(ctx, chat.RunID(strings.ToLower(c.Target))); err == nil && run.State == runner.Interrupted {
		c.Target = string(run.Group)
	}
	return c
}
