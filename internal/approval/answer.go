package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/steps"
)

// Errors of an answer. They are words for whoever gave it.
var (
	ErrNotOwner = errors.New("only the owner answers questions of the host")
	ErrNoCode   = errors.New("no open question has this code: it may have been answered, or its time is over")
	// ErrElsewhere says that the question is open and this is not the place, or not
	// the person, for its answer.
	ErrElsewhere = errors.New("this cannot be answered here")

	errNotKept = errors.New("the host cannot record the question now")
	errTooMany = errors.New("too many questions wait for the owner already")
)

// Answer takes an answer to a question. It gives what was answered in one line.
// The code is used up, whatever the answer was, unless the error is ErrElsewhere:
// then the question stays open for somebody, or some place, that may answer it.
func (d *Desk) Answer(ctx context.Context, r Reply, by Who) (string, error) {
	if d.opt.Role(by, "") != Owner && !d.mayAnswer(r, by) {
		return "", ErrNotOwner
	}
	q := d.peek(r.Code)
	if q == nil {
		return "", d.miss(ctx, by)
	}
	choice, err := d.check(q, r, &by)
	if err != nil {
		return "", err
	}
	if d.take(r.Code) == nil { // somebody was faster
		return "", ErrNoCode
	}
	end := ending{Denied, "the owner said no"}
	if r.Yes {
		end = ending{Approved, "the owner said yes"}
		by.Choice = choice
	}
	if by.Role == Admin {
		end.reason = strings.Replace(end.reason, "the owner", "an admin of the group", 1)
	}
	if !d.opt.Now().Before(q.Until) {
		end = ending{Expired, "the answer came too late"}
	}
	return d.settle(ctx, q, end, by)
}

// settle ends a question that was taken out with an answer.
func (d *Desk) settle(ctx context.Context, q *question, end ending, by Who) (string, error) {
	e := d.ended(q, end, by)
	err := d.endAll(ctx, []Ended{e}, func(l *Lock) { l.Wrong = 0 })
	switch {
	case err != nil && q.end == nil:
		d.back(q)
		return "", fmt.Errorf("the answer could not be recorded, and the question is still open: %w", err)
	case err != nil:
		end = ending{Refused, "the answer could not be recorded"}
	}
	if q.end != nil {
		q.end <- end
	} else if e.Follow {
		d.follow(ctx, q, end.state, by)
	}
	if end.state == Expired || end.state == Refused {
		return "", errors.New(end.reason)
	}
	if by.Choice != "" {
		return fmt.Sprintf("%s (%s): %s", end.state, by.Choice, q.Title), nil
	}
	return fmt.Sprintf("%s: %s", end.state, q.Title), nil
}

// Has says that a question with this code is open at this desk.
func (d *Desk) Has(code string) bool { return d.peek(code) != nil }

// peek finds an open question.
func (d *Desk) peek(code string) *question {
	code, _ = parseCode(code)
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.open[code]; q != nil && q.kept {
		return q
	}
	return nil
}

// mayAnswer says that somebody who is not the owner has a role for the question
// that they name. To anybody else no code is right or wrong.
func (d *Desk) mayAnswer(r Reply, by Who) bool {
	q := d.peek(r.Code)
	return q != nil && d.opt.Role(by, q.Group) != Nobody
}

// check says whether this person may give this answer here, and what they chose.
// A no may come from everywhere: it grows nothing.
func (d *Desk) check(q *question, r Reply, by *Who) (choice string, err error) {
	by.Role = d.opt.Role(*by, q.Group)
	if by.Role == Nobody {
		return "", ErrNotOwner
	}
	if !r.Yes {
		return "", nil
	}
	grows := q.Grows
	if len(q.Choices) == 0 && r.Choice != "" {
		return "", fmt.Errorf("%w so: %q is no choice of this question", ErrElsewhere, r.Choice)
	}
	if len(q.Choices) > 0 {
		i := slices.IndexFunc(q.Choices, func(c Choice) bool { return c.Word == r.Choice })
		if r.Choice == "" {
			i = 0
		}
		if i < 0 {
			return "", fmt.Errorf("%w so: %q is no choice of this question", ErrElsewhere, r.Choice)
		}
		choice, grows = q.Choices[i].Word, grows || q.Choices[i].Grows
	}
	switch requester := q.askedBy(*by); {
	case grows && by.Role != Owner:
		return "", fmt.Errorf("%w: only the owner makes rights last", ErrElsewhere)
	case grows && by.From.Channel != chat.Console && by.From == q.From:
		return "", fmt.Errorf("%w: it would last, so say it in the terminal or in another chat of yours: approve %s %s", ErrElsewhere, q.Code, r.Choice)
	case q.OtherChat && by.From == q.From:
		return "", fmt.Errorf("%w: it is asked for in this chat, so say it in another one of yours, or in the terminal: nanoclaw approve %s", ErrElsewhere, q.Code)
	case q.FourEyes && requester:
		return "", fmt.Errorf("%w: it takes four eyes, and you asked for it yourself", ErrElsewhere)
	}
	return choice, nil
}

// askedBy says that somebody is among those on whose behalf the question is. The
// owner is one person in every chat.
func (e Effect) askedBy(who Who) bool {
	if who.Role == Owner && slices.Contains(e.By, OwnerSelf) {
		return true
	}
	return slices.Contains(e.By, Identity(who.From.Channel, who.Sender.ID))
}

// OwnerSelf stands for the owner among those on whose behalf something is.
const OwnerSelf = "owner"

// Identity is how somebody else is named there.
func Identity(c chat.ChannelID, s chat.SenderID) string { return string(c) + ":" + string(s) }

// miss counts a code that no question has. One too many ends them all.
func (d *Desk) miss(ctx context.Context, by Who) error {
	now := d.opt.Now()
	end := ending{Denied, fmt.Sprintf("%d wrong codes were given in a row", maxWrong)}
	var over []*question
	var ends []Ended
	d.order.Lock()
	defer d.order.Unlock()
	d.mu.Lock()
	d.lock.Wrong++
	if d.lock.Wrong >= maxWrong {
		d.lock = Lock{Until: now.Add(lockTime)}
		for code, q := range d.open {
			if q.kept {
				over, ends = append(over, q), append(ends, d.ended(q, end, by))
				delete(d.open, code)
			}
		}
	}
	lock := d.lock
	d.mu.Unlock()
	// Without a record it is so in this process all the same.
	err := d.opt.Store.EndQuestions(context.WithoutCancel(ctx), ends, &lock)
	for i, q := range over {
		switch {
		case q.end != nil:
			q.end <- end
		case err != nil:
			d.back(q) // it is open after a restart too
		case ends[i].Follow:
			d.follow(ctx, q, end.state, by)
		}
	}
	if now.Before(lock.Until) {
		return fmt.Errorf("%w. After %d wrong codes every open question is refused, and for %v nothing is asked", ErrNoCode, maxWrong, lockTime)
	}
	return ErrNoCode
}

// endAll keeps the end of questions together with a change of the lock.
func (d *Desk) endAll(ctx context.Context, ends []Ended, change func(*Lock)) error {
	d.order.Lock()
	defer d.order.Unlock()
	d.mu.Lock()
	lock := d.lock
	d.mu.Unlock()
	change(&lock)
	steps.Before(steps.QuestionEnded)
	err := d.opt.Store.EndQuestions(context.WithoutCancel(ctx), ends, &lock)
	steps.After(steps.QuestionEnded)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.lock = lock
	d.mu.Unlock()
	return nil
}
