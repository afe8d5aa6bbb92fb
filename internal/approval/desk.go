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
	"nanoclaw/internal/steps"
)

// Bounds of a desk.
const (
	maxOpen    = 32              // questions at once that somebody waits for, and as many that nobody does
	maxOfGroup = 8               // of one group, each
	maxWrong   = 5               // wrong codes in a row
	lockTime   = 5 * time.Minute // after that many
)

// Options are what a desk works with.
type Options struct {
	// Store keeps questions and their record. What it fails to keep is refused.
	Store Store
	// Mask takes credentials out of what is recorded. The owner sees them.
	Mask func(string) string
	// Role is what somebody may answer for a group. Nil knows the owner alone, by
	// what the channel proved.
	Role func(Who, chat.Group) Role
	// Tell puts a question where the owner sees it. It is asked again about a
	// question that may have been told before a crash, and says the same then.
	Tell func(context.Context, Asked) error
	// Ended tells how a question ended that was Put. It may be asked again after a
	// crash, and says the same then. Nil tells nobody.
	Ended func(ctx context.Context, a Asked, s State, by Who)
	// Failed is told that what follows from an ending could not be done. Nil drops
	// it: the row stays, and it is tried at the next start.
	Failed func(Effect, State, error)
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
}

// Store is what a desk needs of the store. A method is durable when it returns.
type Store interface {
	// AskQuestion keeps an open question, with its audit entry, and gives its id.
	AskQuestion(context.Context, Kept, audit.Entry) (int64, error)
	// QuestionTold notes that the owner was told.
	QuestionTold(ctx context.Context, id int64) error
	// EndQuestions ends questions and, unless it is nil, sets the lock, in one
	// transaction: either all of it is kept or nothing.
	EndQuestions(context.Context, []Ended, *Lock) error
	// DropQuestion forgets one of which nothing is left to do.
	DropQuestion(ctx context.Context, id int64) error
	// TakeQuestions gives what is kept of those who cannot end it any more, oldest
	// first, and the lock. Each is given to one desk.
	TakeQuestions(context.Context) ([]Kept, Lock, error)
	// Record appends an audit entry.
	Record(context.Context, audit.Entry) error
}

// Kept is a question as it is kept.
type Kept struct {
	Asked
	// Live says that somebody of the process that asked waits for it.
	Live bool
	// Told says that the owner was told.
	Told bool
	// State is "" for an open one.
	State State
	// By answered it.
	By Who
}

// Ended is the end of a kept question. Without Follow nothing is left to do, and
// it is forgotten at once.
type Ended struct {
	ID     int64
	State  State
	By     Who
	Follow bool
	Entry  audit.Entry
}

// Lock is what wrong codes lead to.
type Lock struct {
	// Wrong is how many came in a row.
	Wrong int `json:"wrong,omitempty"`
	// Until is how long nothing is asked.
	Until time.Time `json:"until,omitzero"`
}

// Desk holds the open questions. It may be used from several goroutines.
type Desk struct {
	opt Options
	// handlers say what follows from an ending, by act. Fixed before Start.
	handlers map[string]func(context.Context, Effect, State, Who) error
	due      chan struct{} // holds one word for Run: there may be a nearer end

	order sync.Mutex // held while the lock is changed and kept; taken before mu

	mu    sync.Mutex // guards all below
	open  map[string]*question
	lock  Lock
	codes []string // of the last questions, open or not, see Hide
	// putting is held for each durable question until it is kept, by its hash.
	putting map[string]chan struct{}
}

// Asked is an open question.
type Asked struct {
	Effect
	// ID is the store's, and never used again.
	ID int64
	// Code answers it, in the form that people read.
	Code string
	// Shown is the effect, whole. Text is that and how to answer.
	Shown, Text string
	// Hash is the effect's.
	Hash  string
	Since time.Time
	Until time.Time
}

// question is an open question. end is who waits for its end, nil for a durable
// one. kept says that the store has it: before that nobody knows its code.
type question struct {
	Asked
	end  chan ending
	kept bool
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

// Role is what somebody may answer.
type Role string

// The roles.
const (
	Owner  Role = "owner" // everything
	Admin  Role = "admin" // of the group: what lasts no longer than its question
	Nobody Role = ""      // nothing
)

// Who is somebody who answers. A channel proved what it says.
type Who struct {
	From   chat.Address `json:"from,omitzero"`
	Sender chat.Sender  `json:"sender,omitzero"`
	// Role is what they answered as, set by the desk.
	Role Role `json:"role,omitempty"`
	// Choice is the word that they gave with a yes, one of the effect's, set by the
	// desk.
	Choice string `json:"choice,omitempty"`
	// Row is the stored message that is the answer, 0 for none. It is done in the
	// transaction in which the question ends, so that a crash neither swallows an
	// answer nor gives it twice.
	Row int64 `json:"-"`
}

// New makes a desk. Start reads what is kept.
func New(o Options) *Desk {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mask == nil {
		o.Mask = func(s string) string { return s }
	}
	if o.Role == nil {
		o.Role = func(w Who, _ chat.Group) Role {
			if w.Sender.Owner {
				return Owner
			}
			return Nobody
		}
	}
	if o.Tell == nil {
		o.Tell = func(context.Context, Asked) error { return nil }
	}
	if o.Ended == nil {
		o.Ended = func(context.Context, Asked, State, Who) {}
	}
	if o.Failed == nil {
		o.Failed = func(Effect, State, error) {}
	}
	return &Desk{
		opt: o, open: map[string]*question{}, putting: map[string]chan struct{}{}, due: make(chan struct{}, 1),
		handlers: map[string]func(context.Context, Effect, State, Who) error{},
	}
}

// Ask asks about an effect and waits for the answer, for at most the given time.
// tell puts the question where the owner sees it. Only Approved is a yes; for
// anything else why says in words what happened. If ctx ends the question is
// withdrawn; if the process does, the next one records that.
func (d *Desk) Ask(ctx context.Context, e Effect, wait time.Duration, tell func(Asked) error) (s State, why string) {
	q, err := d.make(ctx, e, wait, make(chan ending, 1))
	switch {
	case errors.Is(err, errNotKept):
		return Refused, errNotKept.Error() // what went wrong in the host is none of the agent's business
	case err != nil:
		return Refused, err.Error()
	}
	if err := tell(q.Asked); err != nil {
		if d.take(q.Code) != nil {
			return d.end(ctx, q, ending{Refused, "the owner cannot be told now"})
		}
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
	return d.end(ctx, q, end)
}

// end records how a live question ended, when it was not with a yes: that needs no
// record to be so.
func (d *Desk) end(ctx context.Context, q *question, end ending) (State, string) {
	_ = d.opt.Store.EndQuestions(context.WithoutCancel(ctx), []Ended{d.ended(q, end, Who{})}, nil)
	return end.state, end.reason
}

// make gives an effect its code and keeps the question. What may not be asked is
// recorded as refused.
func (d *Desk) make(ctx context.Context, e Effect, wait time.Duration, end chan ending) (*question, error) {
	text, err := e.Show()
	if err != nil {
		return nil, d.refuse(ctx, e, fmt.Errorf("it was not asked, since %w. Take smaller steps", err))
	}
	q, err := d.enter(e, text, wait, end)
	if err != nil {
		return nil, d.refuse(ctx, e, err)
	}
	k := Kept{Asked: q.Asked, Live: end != nil}
	steps.Before(steps.QuestionAsked)
	id, err := d.opt.Store.AskQuestion(ctx, k, d.entry(audit.ApprovalAsked, q, ending{}, Who{}))
	steps.After(steps.QuestionAsked)
	if err != nil {
		d.drop(q)
		return nil, fmt.Errorf("%w: %w", errNotKept, err)
	}
	d.mu.Lock()
	q.ID, q.kept = id, true
	d.mu.Unlock()
	return q, nil
}

// refuse records a question that was not asked, and gives why.
func (d *Desk) refuse(ctx context.Context, e Effect, why error) error {
	q := &question{Asked: Asked{Effect: e, Hash: e.Hash()}}
	_ = d.opt.Store.Record(context.WithoutCancel(ctx), d.entry(audit.ApprovalEnded, q, ending{Refused, why.Error()}, Who{})) // a no needs no record to be one
	return why
}

// enter gives an effect its code.
func (d *Desk) enter(e Effect, text string, wait time.Duration, end chan ending) (*question, error) {
	now := d.opt.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.room(e.Group, end != nil, now); err != nil {
		return nil, err
	}
	code := newCode()
	for d.open[code] != nil {
		code = newCode()
	}
	q := &question{end: end, Asked: Asked{
		Effect: e, Code: spaced(code), Shown: text, Hash: e.Hash(), Since: now, Until: now.Add(wait),
	}}
	q.Text = text + howTo(q.Asked)
	d.open[code] = q
	d.remember(code)
	return q, nil
}

// room says why nothing more may be asked now. Those that nobody waits for have
// room of their own, so that strangers, who can cause them, do not keep a run
// from asking. d.mu is held.
func (d *Desk) room(g chat.Group, live bool, now time.Time) error {
	all, of := 0, 0
	for _, q := range d.open {
		if (q.end != nil) != live {
			continue
		}
		all++
		if q.Group == g {
			of++
		}
	}
	switch {
	case now.Before(d.lock.Until):
		return fmt.Errorf("nothing is asked until %s, since %d wrong codes were given in a row", d.lock.Until.Local().Format(time.TimeOnly), maxWrong)
	case all >= maxOpen, of >= maxOfGroup:
		return errTooMany
	}
	return nil
}

// take takes a question out, so that nobody else can end it; nil if it is gone.
func (d *Desk) take(code string) *question {
	code, _ = parseCode(code)
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.open[code]
	if q == nil || !q.kept {
		return nil
	}
	delete(d.open, code)
	return q
}

// drop forgets a question that could not be kept.
func (d *Desk) drop(q *question) {
	code, _ := parseCode(q.Code)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, code)
}

// Open lists the open questions, the oldest first.
func (d *Desk) Open() []Asked {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []Asked{}
	for _, q := range d.open {
		if q.kept {
			out = append(out, q.Asked)
		}
	}
	slices.SortFunc(out, func(a, b Asked) int { return a.Since.Compare(b.Since) })
	return out
}

// entry is the audit entry of a question or its end.
func (d *Desk) entry(k audit.Kind, q *question, end ending, by Who) audit.Entry {
	data := audit.ApprovalData{
		Act: q.Act, Title: q.Title, Hash: q.Hash, Until: q.Until, State: string(end.state), Reason: end.reason, Choice: by.Choice, Role: string(by.Role),
	}
	if k == audit.ApprovalAsked {
		data.Effect = d.opt.Mask(q.Shown)
	}
	if by.Sender.ID != "" {
		data.By, data.From = by.Sender.ID, by.From.String()
	}
	return audit.Entry{At: d.opt.Now(), Kind: k, Group: q.Group, Run: q.Run, Session: q.Session, Data: data}
}

// ended is what the store is told of an end.
func (d *Desk) ended(q *question, end ending, by Who) Ended {
	return Ended{ID: q.ID, State: end.state, By: by, Follow: q.end == nil, Entry: d.entry(audit.ApprovalEnded, q, end, by)}
}
