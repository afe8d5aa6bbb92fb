package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// tryTime is how long one run alone may try whether a trouble is over, until the
// next one may.
const tryTime = 5 * time.Minute

// untroubled says which troubles a run of a grant tries whether they are over. The
// error is the *grant.Wait for one that is not to be tried yet, or by another run now.
func (l *limiter) untroubled(ctx context.Context, g grant.Grant, joins bool) (trying []string, err error) {
	all, err := l.d.store.Troubles(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	keys := []string{runner.GroupTrouble(g.Group)}
	if g.Model != nil {
		keys = append(keys, runner.ModelTrouble(g.Model.Provider))
	}
	now := steps.Now()
	for _, t := range all {
		if !slices.Contains(keys, t.Key) {
			continue
		}
		if joins || t.Until.After(now) {
			return nil, l.d.runner.Waits(t, g.Group)
		}
		first, err := l.d.store.Try(ctx, t.Key, now, now.Add(tryTime))
		if err != nil {
			return nil, err
		}
		if !first {
			t.Until = now.Add(tryTime)
			return nil, l.d.runner.Waits(t, g.Group)
		}
		trying = append(trying, t.Key)
	}
	return trying, nil
}

// untold says that a chat is still to be told of a trouble.
func (d *Daemon) untold(ctx context.Context, to chat.Address) (bool, error) {
	all, err := d.store.Troubles(ctx)
	for _, t := range all {
		if n, err := d.store.UnsaidKey(ctx, t.NoticeKey(to.String())); n > 0 || err != nil {
			return true, err
		}
	}
	return false, err
}

// tryTroubles has what waits for troubles of some classes tried at once: something
// was done about them.
func (d *Daemon) tryTroubles(ctx context.Context, classes ...agent.Class) {
	all, err := d.store.Troubles(ctx)
	if err != nil {
		d.log.Error("what is wrong cannot be read; it is tried again when its time comes", "err", err)
	}
	for _, t := range all {
		if slices.Contains(classes, t.Class) {
			d.tryTrouble(ctx, t.Key)
		}
	}
	d.queue.Wake()
}

func (d *Daemon) tryTrouble(ctx context.Context, key string) {
	if _, err := d.store.TryNow(ctx, key); err != nil {
		d.log.Error("it is tried again when its time comes", "trouble", key, "err", err)
	}
}

// Dead lists the messages that do not go on by themselves, and those that wait for
// something that is wrong.
func (d *Daemon) Dead(ctx context.Context) ([]control.DeadLetter, error) {
	all, err := d.store.StuckMessages(ctx)
	if err != nil {
		return nil, err
	}
	troubles, err := d.store.Troubles(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]control.DeadLetter, len(all))
	for i, m := range all {
		out[i] = deadLetter(m, troubles)
	}
	return out, nil
}

func deadLetter(m store.Stuck, troubles []runner.Trouble) control.DeadLetter {
	l := control.DeadLetter{ID: m.Row, Group: m.Group, From: m.From.String(), Sender: string(m.Sender.ID), At: m.At, Attempts: m.Attempts, Run: m.Cut, Why: m.Reason, Text: m.Text}
	if m.Dead {
		l.State = control.DeadState
		return l
	}
	l.State, l.Until, l.Why = control.WaitsState, m.Until, m.Hold
	for _, t := range troubles {
		if t.Key == m.Hold {
			l.Why = t.Text
		}
	}
	return l
}

// DeadAct takes up a message again that was given up or waits, or drops it.
func (d *Daemon) DeadAct(ctx context.Context, r control.DeadAct) (control.DeadLetter, error) {
	act := map[string]string{control.RetryDead: store.Again, control.DropDead: store.Drop}[r.Act]
	if act == "" || r.ID <= 0 {
		return control.DeadLetter{}, &control.Error{Code: control.CodeUsage, Message: "say what to retry or to drop"}
	}
	troubles, err := d.store.Troubles(ctx)
	if err != nil {
		return control.DeadLetter{}, err
	}
	m, err := d.store.Unstick(ctx, r.ID, act, audit.Entry{At: steps.Now(), Kind: audit.OwnerActed, Data: audit.OwnerActedData{
		Act: "dead " + r.Act, Target: fmt.Sprint(r.ID),
	}})
	if errors.Is(err, store.ErrNotFound) {
		return control.DeadLetter{}, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("message %d was not given up and does not wait", r.ID), Hint: "nanoclaw dead list shows what there is"}
	}
	if err != nil {
		return control.DeadLetter{}, err
	}
	if act == store.Again && strings.Contains(m.Hold, "/") {
		d.tryTrouble(ctx, m.Hold)
	}
	d.queue.Wake()
	d.changed.fire()
	l := deadLetter(m, troubles)
	if act == store.Drop {
		d.tellDropped(ctx, m)
	}
	return l, nil
}

// tellDropped tells the chat of a message that nobody answers it any more.
func (d *Daemon) tellDropped(ctx context.Context, m store.Stuck) {
	_, err := d.outbox.Put(ctx, chat.Outbound{
		To: m.From, Kind: chat.Notice, Group: m.Group, Failed: true, Key: fmt.Sprintf("dropped:%d", m.Row),
		Text: fmt.Sprintf("The owner dropped a message that could not be answered: %.80q", m.Text),
	})
	if err != nil {
		d.log.Error("that a message was dropped could not be told", "message", m.Row, "err", err)
	}
}

// fullWindow is how often somebody is told that too much waits.
const fullWindow = 10 * time.Minute

// tellFull tells a chat that a message was not taken since too much waits.
func (d *Daemon) tellFull(ctx context.Context, in chat.Inbound, v router.Verdict, now time.Time) {
	key := fmt.Sprintf("full:%s:%s:%d", in.From, in.Sender.ID, now.Unix()/int64(fullWindow.Seconds()))
	d.notice(ctx, in, key, "A message was not taken: "+v.Reason+". Write it again once there were answers. More of this is not said each time.", true)
}
