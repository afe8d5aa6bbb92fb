package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
)

// Limiter says what a run has to have beside its grant: the owner's consent, and
// room in the accounts that it counts on. All of it waits without holding a place
// in the queue.
type Limiter interface {
	// Consents says which consent of the owner a run needs. It sees no I/O.
	Consents(g chat.Group, m grant.Mode, t grant.Trigger) grant.Consent
	// Unconsented gives the *grant.Wait under whose Hold messages wait for the
	// owner's answer about a run of theirs. The owner is asked by Held.
	Unconsented(e approval.Effect) error
	// Reserve gives what a run of these messages sets aside; joins says that they
	// join one that goes on. nil is nothing.
	Reserve(ctx context.Context, g grant.Grant, t grant.Trigger, msgs []queue.Message, joins bool) (*Reservation, error)
	// Held is told that messages wait, once that is stored.
	Held(job queue.Job, w *grant.Wait)
	// Settled returns when everything that a run used is stored.
	Settled(run chat.RunID)
}

// reservation gives what a run sets aside when it begins, after the consent that each run
// may need.
func (r *Runner) reservation(ctx context.Context, job queue.Job, t grant.Trigger, g grant.Grant) (*Reservation, error) {
	if r.Limits == nil {
		return nil, nil
	}
	if err := r.consented(job, t, g, grant.Each); err != nil {
		return nil, err
	}
	return r.Limits.Reserve(ctx, g, t, job.Messages, false)
}

// giveBack leaves a session whose run has to wait: a warm one stays, and of another
// nothing was started yet.
func (r *Runner) giveBack(s *session, warm bool) {
	s.serve("")
	if warm {
		r.keep(s)
	}
}

// consented asks for the owner's consent, if it is of that kind and the messages
// do not have it.
func (r *Runner) consented(job queue.Job, t grant.Trigger, g grant.Grant, kind grant.Consent) error {
	if r.Limits == nil || r.Limits.Consents(job.Group, g.Mode, t) != kind {
		return nil
	}
	e := RunEffect(job)
	hash := e.Hash()
	for _, m := range job.Messages {
		if m.Trigger && m.Consent != hash {
			return r.Limits.Unconsented(e)
		}
	}
	return nil
}

// HostRun is the act of a question about a run in host mode.
const HostRun = "host-run"

// RunEffect is everything that a run would be about: the messages that start it,
// whole, by their rows. The same messages are the same effect, in whatever run.
func RunEffect(job queue.Job) approval.Effect {
	e := approval.Effect{
		Act: HostRun, Group: job.Group,
		Title: fmt.Sprintf("A message in group %s asks for a run in host mode, natively on this machine.", job.Group),
	}
	for _, m := range job.Messages {
		if !m.Trigger {
			continue
		}
		text := m.Text
		for _, q := range m.Quotes {
			text += "\n> " + strings.ReplaceAll(q.Author+": "+q.Text, "\n", "\n> ")
		}
		e.Parts = append(e.Parts, approval.Part{Name: fmt.Sprintf("message %d of %s", m.Row, senderKey(m)), Value: text})
	}
	return e
}

func senderKey(m queue.Message) string { return string(m.From.Channel) + ":" + string(m.Sender.ID) }

// Askers are those whose messages start a run, with how many each wrote. Each counts
// as one run of theirs; a message that joins one counts by itself.
func Askers(msgs []queue.Message, joins bool) []grant.Asker {
	var out []grant.Asker
	at := map[string]int{}
	for _, m := range msgs {
		if !m.Trigger {
			continue
		}
		key := senderKey(m)
		i, known := at[key]
		if !known {
			i, at[key] = len(out), len(out)
			out = append(out, grant.Asker{Sender: key, Owner: ofOwner(m), Runs: 1})
		} else if joins {
			out[i].Runs++
		}
		out[i].Messages++
	}
	return out
}

// hold lets the messages of a job wait that may not be worked on yet. Others of the
// job are taken up again at once.
func (r *Runner) hold(ctx context.Context, job queue.Job, w *grant.Wait, log *slog.Logger) {
	now := steps.Now()
	h := Hold{Key: w.Hold, Until: w.Until, Window: w.Window, Notice: HeldNotice(job.Group, job.Last().From, w, r.when(w.Until, now))}
	if t := r.troubleOf(ctx, w); t != nil {
		h.Notice.Text, h.Notice.Key = r.troubleWords(*t, now), t.NoticeKey(job.Last().From.String())
	}
	for _, m := range job.Messages {
		if m.Trigger && (w.Of == "" || senderKey(m) == w.Of) {
			h.Rows, h.Notice.To = append(h.Rows, m.Row), m.From
		}
	}
	if len(h.Rows) == 0 { // nobody's would be taken up again at once, for ever
		h.Rows = triggering(job)
	}
	log.Info("messages wait", "rule", w.Rule, "until", w.Until)
	steps.Before(steps.Hold)
	entry := audit.Entry{At: now, Kind: audit.RunHeld, Group: job.Group, Run: job.Run, Data: audit.RunHeldData{Rule: w.Rule, Text: w.Text, Rows: h.Rows, Until: w.Until}}
	err := persist(ctx, log, func() error { return r.Store.Hold(context.WithoutCancel(ctx), job.Run, h, entry) })
	steps.After(steps.Hold)
	if err != nil {
		notKept(log, "messages that have to wait could not be put back; the next start does it", err)
		return
	}
	r.Limits.Held(job, w)
	r.Replied()
}

func triggering(job queue.Job) (rows []int64) {
	for _, m := range job.Messages {
		if m.Trigger {
			rows = append(rows, m.Row)
		}
	}
	return rows
}

// HeldNotice tells a chat that messages wait and until when.
func HeldNotice(g chat.Group, to chat.Address, w *grant.Wait, when string) chat.Outbound {
	text := w.Text + " What is beyond waits and goes on by itself " + when + "."
	if w.Hint != "" {
		text = w.Text + " " + w.Hint
	}
	return chat.Outbound{To: to, Kind: chat.Notice, Text: text, Group: g}
}

// waits finds the answer "not yet" in an error.
func waits(err error) (w *grant.Wait, ok bool) { return w, errors.As(err, &w) }

// joinReserve is what messages need that would join a run. Where each run is asked
// about none may join.
func (r *Runner) joinReserve(ctx context.Context, l *live, t grant.Trigger, g grant.Grant, next []queue.Message) (reservation *Reservation, may bool, err error) {
	if r.Limits == nil {
		return nil, true, nil
	}
	if r.Limits.Consents(l.group, g.Mode, t) == grant.Each {
		return nil, false, nil
	}
	reservation, err = r.Limits.Reserve(ctx, g, t, next, true)
	return reservation, err == nil, err
}

// spentError is why a run ended that used up a budget.
type spentError struct{ text string }

func (e *spentError) Error() string { return e.text }

// EndSpent ends a run that used up a budget, with the words for its chat.
func (r *Runner) EndSpent(run chat.RunID, text string) {
	for _, l := range r.find(func(id chat.RunID, _ *live) bool { return id == run }) {
		l.cancel(&spentError{text})
	}
}

// To is the chat that a run that goes on answers to.
func (r *Runner) To(run chat.RunID) (chat.Address, bool) { return r.chatOf(run) }

// OfOwner says that a run that goes on is the owner's: its messages are all of the
// same rights.
func (r *Runner) OfOwner(run chat.RunID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	return l != nil && l.owner
}

// When says a time for people, and how far off it is.
func (r *Runner) When(at, now time.Time) string { return r.when(at, now) }
