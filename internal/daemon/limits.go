package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// limiter is what the daemon knows of limits for the runner and the gateways. What
// is decided is decided in grant, and what is counted is counted in the store.
type limiter struct {
	d *Daemon
	// told says that a chat was told while its message was stored.
	told atomic.Bool

	mu     sync.Mutex
	meters map[chat.RunID]*meter
}

func newLimiter(d *Daemon) *limiter { return &limiter{d: d, meters: map[chat.RunID]*meter{}} }

// zone is the owner's, in which days begin.
func (l *limiter) zone() *time.Location { return zone(l.d.machine.TimeZone) }

// today is the day and its end.
func (l *limiter) today() (day string, ends time.Time) {
	now := steps.Now().In(l.zone())
	y, m, d := now.Date()
	return store.DayOf(now, l.zone()), time.Date(y, m, d+1, 0, 0, 0, 0, l.zone())
}

// message judges how fast messages come. It is called as each is stored.
func (l *limiter) message(in chat.Inbound, g chat.Group, group, sender grant.Count, now time.Time) (*grant.Wait, chat.Outbound) {
	who := grant.Asker{Sender: string(in.From.Channel) + ":" + string(in.Sender.ID), Owner: in.Sender.Owner}
	w := grant.CheckMessage(l.d.config, g, who, group, sender)
	if w == nil {
		return nil, chat.Outbound{}
	}
	l.told.Store(true)
	return w, runner.HeldNotice(g, in.From, w, l.d.runner.When(w.Until, now))
}

// Consents is runner.Limiter's.
func (l *limiter) Consents(g chat.Group, m grant.Mode, t grant.Trigger) grant.Consent {
	return grant.Confirms(l.d.config, g, m, t)
}

// The rule of what waits for the owner's yes, and the first part of its hold. What
// came while a question of the group is open waits behind it, so that a group asks
// one thing at a time.
const (
	confirmRule = "hostmode.confirm"
	confirmHold = "confirm"
	behindHold  = "behind"
)

// Unconsented is runner.Limiter's.
func (l *limiter) Unconsented(e approval.Effect) error {
	until := steps.Now().Add(time.Duration(l.d.config.HostMode.ConfirmTime) + time.Minute) // past the question's own end
	w := &grant.Wait{Until: until, Window: until, Hold: grant.HoldKey(confirmHold, e.Hash()), Refusal: grant.Refusal{
		Rule: confirmRule, Text: fmt.Sprintf("Group %s runs natively on the owner's machine, so the owner is asked first.", e.Group),
		Hint: "The message waits for the answer.",
	}}
	for _, a := range l.d.desk.Open() {
		if a.Act == runner.HostRun && a.Group == e.Group && a.Hash != e.Hash() {
			w.Hold = grant.HoldKey(behindHold, string(e.Group))
		}
	}
	return w
}

// Held is runner.Limiter's: it asks the owner about what can be asked.
func (l *limiter) Held(job queue.Job, w *grant.Wait) {
	ctx := context.Background()
	var e approval.Effect
	wait := time.Duration(l.d.config.HostMode.ConfirmTime)
	switch {
	case strings.HasPrefix(w.Hold, confirmHold+"/"):
		e = runner.RunEffect(job)
	case w.Account != nil:
		day, ends := l.today()
		u, err := l.d.store.UsedOn(ctx, day, *w.Account)
		if err != nil {
			l.d.log.Error("what an account used cannot be read", "account", w.Account.Key(), "err", err)
			return
		}
		e, wait = l.extension(job.Group, "", day, *w.Account, u), ends.Sub(steps.Now())
	default:
		return
	}
	if _, err := l.d.desk.Put(ctx, e, wait, nil); err != nil {
		l.d.log.Warn("the owner cannot be asked", "act", e.Act, "err", err)
		if e.Act == runner.HostRun {
			l.ended(ctx, e, "The owner could not be asked: "+err.Error())
		}
	}
}

// answeredRun is called when a question about a run in host mode ended.
func (l *limiter) answeredRun(ctx context.Context, e approval.Effect, s approval.State, _ approval.Who) error {
	if s != approval.Approved {
		return l.ended(ctx, e, fmt.Sprintf("The owner did not allow this run (%s).", s))
	}
	steps.Before(steps.Free)
	_, err := l.d.store.Free(ctx, grant.HoldKey(confirmHold, e.Hash()), e.Hash())
	steps.After(steps.Free)
	return l.next(ctx, e.Group, err)
}

// ended refuses the messages that a question was about.
func (l *limiter) ended(ctx context.Context, e approval.Effect, why string) error {
	now := steps.Now()
	n, err := l.d.store.EndHeld(ctx, grant.HoldKey(confirmHold, e.Hash()), why, func(in chat.Inbound) chat.Outbound {
		return chat.Outbound{
			To: in.From, Kind: chat.Notice, Text: why + " The message is not answered.", Group: e.Group, Failed: true, Last: true,
			Key: fmt.Sprintf("unconfirmed:%s:%s", e.Hash(), in.From),
		}
	}, now)
	if err == nil && n > 0 {
		l.d.record(ctx, audit.Entry{At: now, Kind: audit.RunRefused, Group: e.Group, Data: audit.RunRefusedData{Rule: confirmRule, Text: why}})
	}
	return l.next(ctx, e.Group, err)
}

// next lets what waited behind a question of a group be taken up.
func (l *limiter) next(ctx context.Context, g chat.Group, err error) error {
	if err == nil {
		_, err = l.d.store.Free(ctx, grant.HoldKey(behindHold, string(g)), "")
	}
	l.d.queue.Wake()
	l.d.outbox.Wake()
	l.d.changed.fire()
	return err
}

// recover takes up what waited for a question that an earlier process did not come
// to ask.
func (l *limiter) recover(ctx context.Context) error {
	holds, err := l.d.store.Holds(ctx)
	if err != nil {
		return err
	}
	open := map[string]bool{}
	asked, err := l.d.openQuestions(ctx)
	if err != nil {
		return err
	}
	for _, a := range asked {
		open[grant.HoldKey(confirmHold, a.Hash)] = true
		if a.Act == runner.HostRun {
			open[grant.HoldKey(behindHold, string(a.Group))] = true
		}
	}
	for _, h := range holds {
		kind, _, _ := strings.Cut(h, "/")
		if (kind == confirmHold || kind == behindHold) && !open[h] {
			if _, err := l.d.store.Free(ctx, h, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reserve is runner.Limiter's. A session without a model costs nothing, and only
// counts as a run.
func (l *limiter) Reserve(ctx context.Context, g grant.Grant, t grant.Trigger, msgs []queue.Message, joins bool) (*runner.Reservation, error) {
	trying, err := l.untroubled(ctx, g, joins)
	if err != nil {
		return nil, err
	}
	askers := runner.Askers(msgs, joins)
	day, ends := l.today()
	out := &runner.Reservation{Trying: trying, Day: day, Task: t.Task, Askers: askers, Accounts: grant.Accounts(l.d.config, g.Group, askers, t.Task)}
	if g.Model == nil {
		for i := range out.Accounts {
			out.Accounts[i].Budget = grant.Amount{}
		}
	} else if !joins {
		average, err := l.d.store.Average(ctx, g.Group)
		if err != nil {
			return nil, err
		}
		out.Set = grant.Estimate(average)
	}
	out.Judge = judge(out.Set, ends)
	return out, nil
}

// judge asks grant, for the store's transaction.
func judge(want grant.Amount, ends time.Time) func(grant.Account, grant.Used) error {
	return func(a grant.Account, u grant.Used) error {
		if w := grant.CheckRun(a, u, want, ends); w != nil {
			return w
		}
		return nil
	}
}

// heldMessage says in words why a message waits; "" if it does not.
func (l *limiter) heldMessage(ctx context.Context, from chat.Address, id chat.MessageID) (string, error) {
	hold, until, err := l.d.store.HeldUntil(ctx, from, id)
	if err != nil || hold == "" || !until.After(steps.Now()) {
		return "", err
	}
	return "it waits (" + hold + ") and goes on by itself " + l.d.runner.When(until, steps.Now()), nil
}
