package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// Bounds of a desk.
const (
	maxOpen    = 32              // questions at once
	maxOfGroup = 8               // of one group
	maxWrong   = 5               // wrong codes in a row
	lockTime   = 5 * time.Minute // after that many
)

// Options are what a desk works with.
type Options struct {
	// Record appends an audit entry. What it fails to record is refused.
	Record func(context.Context, audit.Entry) error
	// Mask takes credentials out of what is recorded. The owner sees them.
	Mask func(string) string
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
}

// Desk holds the open questions. It may be used from several goroutines.
type Desk struct {
	opt Options

	mu     sync.Mutex // guards all below
	open   map[string]*question
	wrong  int       // codes in a row
	locked time.Time // until then nothing is asked
}

// Asked is an open question.
type Asked struct {
	Effect
	// Code answers it, in the form that people read.
	Code string
	// Shown is the effect, whole. Text is that and how to answer.
	Shown, Text string
	// Hash is the effect's.
	Hash  string
	Since time.Time
	Until time.Time
}

// question is an open question and who waits for its end.
type question struct {
	Asked
	end chan ending
}

// ending is how a question ended.
type ending struct {
	state  State
	reason string // for who asked
}

// State is how a question ended.
type State string

// The states.
const (
	Approved  State = "approved"
	Denied    State = "denied"
	Expired   State = "expired"   // nobody answered
	Withdrawn State = "withdrawn" // nobody waits for the answer any more
	Refused   State = "refused"   // it was not asked
)

// Who is somebody who answers. A channel proved what it says.
type Who struct {
	From   chat.Address
	Sender chat.Sender
}

// New makes a desk without questions.
func New(o Options) *Desk {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mask == nil {
		o.Mask = func(s string) string { return s }
	}
	return &Desk{opt: o, open: map[string]*question{}}
}

// Ask asks about an effect and waits for the answer, for at most the given time.
// tell puts the question where the owner sees it. Only Approved is a yes; for
// anything else why says in words what happened. If ctx ends the question is
// withdrawn.
func (d *Desk) Ask(ctx context.Context, e Effect, wait time.Duration, tell func(Asked) error) (s State, why string) {
	text, err := e.Show()
	if err != nil {
		return d.refuse(ctx, e, "it was not asked, since "+err.Error()+". Take smaller steps")
	}
	q, err := d.enter(e, text, wait)
	if err != nil {
		return d.refuse(ctx, e, err.Error())
	}
	if err := d.record(ctx, audit.ApprovalAsked, q, ending{}, Who{}); err != nil {
		d.take(q.Code)
		return Refused, "the host cannot record the question now"
	}
	if err := tell(q.Asked); err != nil {
		d.take(q.Code)
		return d.refuse(ctx, e, "the owner cannot be told now")
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case end := <-q.end:
		return end.state, end.reason
	case <-timer.C:
		return d.give(ctx, q, ending{Expired, fmt.Sprintf("the owner did not answer within %v", wait)})
	case <-ctx.Done():
		return d.give(ctx, q, ending{Withdrawn, "nobody waits for the answer any more"})
	}
}

// give ends a question from the side of who asked, unless an answer came first.
func (d *Desk) give(ctx context.Context, q *question, end ending) (State, string) {
	if d.take(q.Code) == nil {
		end = <-q.end
		return end.state, end.reason
	}
	d.record(context.WithoutCancel(ctx), audit.ApprovalEnded, q, end, Who{}) // a no needs no record to be one
	return end.state, end.reason
}

// refuse ends a question that was not asked.
func (d *Desk) refuse(ctx context.Context, e Effect, why string) (State, string) {
	q := &question{Asked: Asked{Effect: e, Hash: e.Hash()}}
	d.record(context.WithoutCancel(ctx), audit.ApprovalEnded, q, ending{Refused, why}, Who{})
	return Refused, why
}

// enter gives an effect its code.
func (d *Desk) enter(e Effect, text string, wait time.Duration) (*question, error) {
	now := d.opt.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	of := 0
	for _, q := range d.open {
		if q.Group == e.Group {
			of++
		}
	}
	switch {
	case now.Before(d.locked):
		return nil, fmt.Errorf("nothing is asked until %s, since %d wrong codes were given in a row", d.locked.Local().Format(time.TimeOnly), maxWrong)
	case len(d.open) >= maxOpen, of >= maxOfGroup:
		return nil, errors.New("too many questions wait for the owner already")
	}
	code := newCode()
	for d.open[code] != nil {
		code = newCode()
	}
	q := &question{end: make(chan ending, 1), Asked: Asked{
		Effect: e, Code: spaced(code), Shown: text, Hash: e.Hash(), Since: now, Until: now.Add(wait),
	}}
	q.Text = text + fmt.Sprintf("To allow this once, answer: approve %s\nTo refuse it: deny %s\nNo answer until %s is a no. (%s)",
		q.Code, q.Code, q.Until.Local().Format(time.TimeOnly), q.Hash[:12])
	d.open[code] = q
	return q, nil
}

// take takes a question out, so that nobody else can end it; nil if it is gone.
func (d *Desk) take(code string) *question {
	code, _ = parseCode(code)
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.open[code]
	delete(d.open, code)
	return q
}

// Errors of an answer. They are words for whoever gave it.
var (
	ErrNotOwner = errors.New("only the owner answers questions of the host")
	ErrNoCode   = errors.New("no open question has this code: it may have been answered, or its time is over")
)

// Answer takes the owner's answer to a question. It gives what was answered in
// one line. The code is used up, whatever the answer was.
func (d *Desk) Answer(ctx context.Context, code string, yes bool, by Who) (string, error) {
	if !by.Sender.Owner {
		return "", ErrNotOwner
	}
	q := d.take(code)
	if q == nil {
		return "", d.miss(ctx, by)
	}
	d.mu.Lock()
	d.wrong = 0
	d.mu.Unlock()
	end := ending{Denied, "the owner said no"}
	if yes {
		end = ending{Approved, "the owner said yes"}
	}
	if !d.opt.Now().Before(q.Until) {
		end = ending{Expired, "the answer came too late"}
	}
	if err := d.record(context.WithoutCancel(ctx), audit.ApprovalEnded, q, end, by); err != nil {
		end = ending{Refused, "the answer could not be recorded"}
	}
	q.end <- end
	if end.state == Expired || end.state == Refused {
		return "", errors.New(end.reason)
	}
	return fmt.Sprintf("%s: %s", end.state, q.Title), nil
}

// miss counts a code that no question has. One too many ends them all.
func (d *Desk) miss(ctx context.Context, by Who) error {
	d.mu.Lock()
	d.wrong++
	var ended []*question
	if d.wrong >= maxWrong {
		for code, q := range d.open {
			ended = append(ended, q)
			delete(d.open, code)
		}
		d.wrong, d.locked = 0, d.opt.Now().Add(lockTime)
	}
	locked := d.opt.Now().Before(d.locked)
	d.mu.Unlock()
	end := ending{Denied, fmt.Sprintf("%d wrong codes were given in a row", maxWrong)}
	for _, q := range ended {
		d.record(context.WithoutCancel(ctx), audit.ApprovalEnded, q, end, by)
		q.end <- end
	}
	if locked {
		return fmt.Errorf("%w. After %d wrong codes every open question is refused, and for %v nothing is asked", ErrNoCode, maxWrong, lockTime)
	}
	return ErrNoCode
}

// Open lists the open questions, the oldest first.
func (d *Desk) Open() []Asked {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []Asked{}
	for _, q := range d.open {
		out = append(out, q.Asked)
	}
	slices.SortFunc(out, func(a, b Asked) int { return a.Since.Compare(b.Since) })
	return out
}

func (d *Desk) record(ctx context.Context, k audit.Kind, q *question, end ending, by Who) error {
	data := audit.ApprovalData{
		Act: q.Act, Title: q.Title, Hash: q.Hash, Until: q.Until, State: string(end.state), Reason: end.reason,
	}
	if k == audit.ApprovalAsked {
		data.Effect = d.opt.Mask(q.Shown)
	}
	if by.Sender.ID != "" {
		data.By, data.From = by.Sender.ID, by.From.String()
	}
	return d.opt.Record(ctx, audit.Entry{At: d.opt.Now(), Kind: k, Group: q.Group, Run: q.Run, Session: q.Session, Data: data})
}
