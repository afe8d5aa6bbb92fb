package approval

import (
	"context"
	"fmt"
	"time"

	"nanoclaw/internal/steps"
)

// Handle says what follows when a question about an act, one that was Put, ends.
// It is called once for each ending. If the process dies before f returned, the
// next one calls it again, so what f does must count once: in one transaction, or
// under a key of its own. f also gets the endings without an answer. All handlers
// are named before Start.
func (d *Desk) Handle(act string, f func(context.Context, Effect, State, Who) error) {
	d.handlers[act] = f
}

// Put asks about an effect that nobody waits for. The question is kept: it is open
// until it is answered or its time is over, whatever becomes of this process, and
// then the handler of its act is called. One question at a time is open about one
// effect: asking again gives that one. tell puts it where the owner sees it; nil is
// the desk's own way. Where the question may not be asked, the error says why and
// no handler is called.
func (d *Desk) Put(ctx context.Context, e Effect, wait time.Duration, tell func(Asked) error) (Asked, error) {
	done, err := d.putAlone(ctx, e.Hash())
	if err != nil {
		return Asked{}, err
	}
	defer done()
	if q := d.openAbout(e.Hash()); q != nil {
		return *q, nil
	}
	q, err := d.make(ctx, e, wait, nil)
	if err != nil {
		return Asked{}, err
	}
	if tell == nil {
		tell = func(a Asked) error { return d.opt.Tell(ctx, a) }
	}
	if err := tell(q.Asked); err != nil {
		if d.take(q.Code) != nil {
			end := d.ended(q, ending{Refused, "the owner cannot be told now"}, Who{})
			end.Follow = false // who asked is told here
			_ = d.opt.Store.EndQuestions(context.WithoutCancel(ctx), []Ended{end}, nil)
		}
		return Asked{}, fmt.Errorf("the owner cannot be told now: %w", err)
	}
	steps.Before(steps.QuestionTold)
	_ = d.opt.Store.QuestionTold(context.WithoutCancel(ctx), q.ID) // else it is told again after a restart
	steps.After(steps.QuestionTold)
	d.wake()
	return q.Asked, nil
}

// putAlone lets one Put at a time do its work for an effect.
func (d *Desk) putAlone(ctx context.Context, hash string) (done func(), err error) {
	for {
		d.mu.Lock()
		busy := d.putting[hash]
		if busy == nil {
			mine := make(chan struct{})
			d.putting[hash] = mine
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				delete(d.putting, hash)
				d.mu.Unlock()
				close(mine)
			}, nil
		}
		d.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// openAbout is the durable question that is open about an effect, nil for none.
func (d *Desk) openAbout(hash string) *Asked {
	now := d.opt.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.open {
		if q.kept && q.end == nil && q.Hash == hash && now.Before(q.Until) {
			a := q.Asked
			return &a
		}
	}
	return nil
}

// Start takes up what an earlier process left: what somebody waited for is
// withdrawn, what ended and was not followed up is, and what is open stays so, and
// is told if it was not. It is called before the first question, and
// again where a process that shares the store may have ended.
func (d *Desk) Start(ctx context.Context) error {
	kept, lock, err := d.opt.Store.TakeQuestions(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.lock = lock
	d.mu.Unlock()
	for _, k := range kept {
		if err := d.takeUp(ctx, k); err != nil {
			return fmt.Errorf("taking up the question %q: %w", k.Title, err)
		}
	}
	return nil
}

// takeUp takes up one question.
func (d *Desk) takeUp(ctx context.Context, k Kept) error {
	q := &question{Asked: k.Asked, kept: true}
	switch {
	case k.State != "":
		d.follow(ctx, q, k.State, k.By)
		return nil
	case k.Live:
		end := d.ended(q, ending{Withdrawn, "nanoclaw ended while the question was open"}, Who{})
		end.Follow = false
		return d.opt.Store.EndQuestions(ctx, []Ended{end}, nil)
	}
	text, err := k.Show()
	if err != nil || k.Hash != k.Effect.Hash() {
		// Somebody changed the row, or this program shows it in another way than the
		// one that asked: nobody may answer what they did not see.
		return d.finish(ctx, q, ending{Withdrawn, "the question is not the one that was asked any more"}, Who{})
	}
	q.Shown, q.Text = text, text+howTo(q.Asked)
	code, _ := parseCode(q.Code)
	d.mu.Lock()
	d.open[code] = q
	d.remember(code)
	d.mu.Unlock()
	if k.Told {
		return nil
	}
	if err := d.opt.Tell(ctx, q.Asked); err != nil {
		return err
	}
	return d.opt.Store.QuestionTold(ctx, q.ID)
}

// Run ends questions whose time is over, until ctx ends.
func (d *Desk) Run(ctx context.Context) {
	for {
		timer := time.NewTimer(d.expire(ctx))
		select {
		case <-timer.C:
		case <-d.due:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// idleTime is how long Run sleeps when nothing is open.
const idleTime = time.Hour

// expire ends what is over and says how long nothing else will be.
func (d *Desk) expire(ctx context.Context) time.Duration {
	now, next := d.opt.Now(), idleTime
	var over []*question
	d.mu.Lock()
	for code, q := range d.open {
		switch left := q.Until.Sub(now); {
		case !q.kept, q.end != nil: // who waits for it ends it
		case left <= 0:
			over = append(over, q)
			delete(d.open, code)
		default:
			next = min(next, left)
		}
	}
	d.mu.Unlock()
	for _, q := range over {
		if err := d.finish(ctx, q, ending{Expired, "the owner did not answer in time"}, Who{}); err != nil {
			next = min(next, time.Minute)
			d.back(q)
		}
	}
	return next
}

// finish ends a durable question that was taken out, and does what follows.
func (d *Desk) finish(ctx context.Context, q *question, end ending, by Who) error {
	e := d.ended(q, end, by)
	if err := d.opt.Store.EndQuestions(context.WithoutCancel(ctx), []Ended{e}, nil); err != nil {
		return err
	}
	d.follow(ctx, q, end.state, by)
	return nil
}

// follow calls the handler of a durable question whose end is kept, and forgets
// it then. What fails was told, and is not tried again unless that cannot be kept.
func (d *Desk) follow(ctx context.Context, q *question, s State, by Who) {
	ctx = context.WithoutCancel(ctx)
	if h := d.handlers[q.Act]; h != nil {
		steps.Before(steps.QuestionFollowed)
		err := h(ctx, q.Effect, s, by)
		steps.After(steps.QuestionFollowed)
		if err != nil {
			d.opt.Failed(q.Effect, s, err)
		}
	}
	d.opt.Ended(ctx, q.Asked, s, by)
	steps.Before(steps.QuestionDropped)
	_ = d.opt.Store.DropQuestion(ctx, q.ID) // else the next start calls the handler again
	steps.After(steps.QuestionDropped)
}

// back puts a question back that could not be ended.
func (d *Desk) back(q *question) {
	code, _ := parseCode(q.Code)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[code] = q
}

// wake tells Run that there may be a nearer end.
func (d *Desk) wake() {
	select {
	case d.due <- struct{}{}:
	default:
	}
}
