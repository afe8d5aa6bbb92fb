package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

// errNotYet carries a judgement out of a transaction that it ended.
var errNotYet = errors.New("an account has no room")

// judged runs a change in which an account may refuse, and gives that refusal as
// it is.
func (s *Store) judged(ctx context.Context, what string, by when, do func(ctx context.Context, t *tx, no *error) error) error {
	var no error
	err := s.w.write(ctx, by, func(ctx context.Context, t *tx) error {
		no = nil
		if err := do(ctx, t, &no); err != nil {
			return err
		}
		if no != nil {
			return errNotYet
		}
		return nil
	})
	if no != nil {
		return no
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// allow asks the judge of a reservation about each account.
func allow(ctx context.Context, t *tx, l runner.Reservation) (no, err error) {
	for _, a := range l.Accounts {
		u, err := usedOn(ctx, t, l.Day, a)
		if err != nil {
			return nil, err
		}
		if no := l.Judge(a, u); no != nil {
			return no, nil
		}
	}
	return nil, nil
}

// reserve sets aside what a reservation says, if its accounts allow it.
func reserve(ctx context.Context, t *tx, run chat.RunID, l runner.Reservation) (no, err error) {
	r, err := runRow(ctx, t, run)
	if err != nil {
		return nil, err
	}
	if no, err = allow(ctx, t, l); err != nil || no != nil {
		return no, err
	}
	_, err = t.exec(ctx, `INSERT INTO reservations (run, day, grp, task, micros, tokens) VALUES (?, ?, ?, ?, ?, ?)`,
		run, l.Day, r.Group, l.Task, l.Set.Micros, l.Set.Tokens)
	if err != nil {
		return nil, err
	}
	return nil, share(ctx, t, run, l.Askers)
}

// share notes for whom a run is, beside those who are noted.
func share(ctx context.Context, t *tx, run chat.RunID, askers []grant.Asker) error {
	for _, a := range askers {
		if _, err := t.exec(ctx, `INSERT INTO reservation_senders AS x (run, sender, runs, messages) VALUES (?, ?, ?, ?)
			ON CONFLICT (run, sender) DO UPDATE SET runs = x.runs + excluded.runs, messages = x.messages + excluded.messages`,
			run, a.Sender, a.Runs, a.Messages); err != nil {
			return err
		}
	}
	return nil
}

// Grow sets aside more for a run that goes on, up to set in all, if the accounts
// of the reservation allow it.
func (s *Store) Grow(ctx context.Context, run chat.RunID, l runner.Reservation) error {
	return s.judged(ctx, "set more aside for run "+string(run), atOnce, func(ctx context.Context, t *tx, no *error) (err error) {
		if _, err := s.ours(ctx, t, run); err != nil {
			return err
		}
		if *no, err = allow(ctx, t, l); err != nil || *no != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE reservations SET micros = CASE WHEN micros < ? THEN ? ELSE micros END,
			tokens = CASE WHEN tokens < ? THEN ? ELSE tokens END WHERE run = ?`, l.Set.Micros, l.Set.Micros, l.Set.Tokens, l.Set.Tokens, run)
		return err
	})
}

// Reserved gives the day on which a live run counts and among whom it is shared;
// "" if it has set nothing aside.
func (r *Reader) Reserved(ctx context.Context, run chat.RunID) (day, task string, askers []grant.Asker, set grant.Amount, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT day, task, micros, tokens FROM reservations WHERE run = ?`, run).Scan(&day, &task, &set.Micros, &set.Tokens)
	if err == nil {
		askers, err = reservedFor(ctx, r.db, run)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("read what run %s set aside: %w", run, explain(r.path, err))
	}
	return day, task, askers, set, err
}

func reservedFor(ctx context.Context, q querier, run chat.RunID) (out []grant.Asker, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var a grant.Asker
		err := rows.Scan(&a.Sender, &a.Runs, &a.Messages)
		out = append(out, a)
		return err
	}, `SELECT sender, runs, messages FROM reservation_senders WHERE run = ? ORDER BY sender`, run)
	return out, err
}

// dropReservation forgets what a run set aside: it never began.
func dropReservation(ctx context.Context, t *tx, run chat.RunID) error {
	for _, q := range []string{`DELETE FROM reservations WHERE run = ?`, `DELETE FROM reservation_senders WHERE run = ?`, `DELETE FROM reservation_models WHERE run = ?`} {
		if _, err := t.exec(ctx, q, run); err != nil {
			return err
		}
	}
	return nil
}

// settle turns what a run set aside into what it used. claim is what its agent
// says of its cost, which counts where no price is known.
func settle(ctx context.Context, t *tx, run chat.RunID, claim float64) error {
	var k costKey
	err := t.row(ctx, []any{&k.day, &k.group, &k.task}, `SELECT day, grp, task FROM reservations WHERE run = ?`, run)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	askers, err := reservedFor(ctx, t, run)
	if err != nil {
		return err
	}
	uses, err := reservedUse(ctx, t, run)
	if err != nil {
		return err
	}
	if len(uses) == 0 {
		uses = []Use{{}}
	}
	price(uses, claim)
	all, left := 0, append([]Use(nil), uses...)
	for _, a := range askers {
		all += a.Messages
	}
	for i, a := range askers {
		k.sender = a.Sender
		for j, u := range uses {
			mine := part(u, a.Messages, all)
			if i == len(askers)-1 {
				mine = left[j] // what the division left over
			}
			left[j] = minus(left[j], mine)
			runs := 0
			if j == 0 {
				runs = a.Runs
			}
			if err := addCost(ctx, t, k, mine, runs); err != nil {
				return err
			}
		}
	}
	return dropReservation(ctx, t, run)
}

// endReservation gives back what a run set aside: what it used stays used, and of a run
// that never began nothing does.
func endReservation(ctx context.Context, t *tx, r RunInfo, claim float64) error {
	if r.State == runner.Queued {
		return dropReservation(ctx, t, r.ID)
	}
	return settle(ctx, t, r.ID, claim)
}

// reservedUse are what a run used so far, the model with most tokens first.
func reservedUse(ctx context.Context, q querier, run chat.RunID) (out []Use, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var u Use
		err := rows.Scan(&u.Model, &u.Input, &u.CacheRead, &u.CacheWrite, &u.Output, &u.Micros, &u.Unpriced)
		out = append(out, u)
		return err
	}, `SELECT model, input, cache_read, cache_write, output, micros, unpriced FROM reservation_models WHERE run = ?
		ORDER BY input + cache_read + cache_write + output DESC, model`, run)
	return out, err
}

// reservation is what a live run holds of the accounts.
type reservation struct {
	run         chat.RunID
	group, task string
	set, spent  grant.Amount
	askers      []grant.Asker
}

// of says by how many runs, and with which part of what it costs, a reservation counts on
// an account; all is 0 for not at all.
func (l reservation) of(a grant.Account) (runs, n, all int) {
	for _, who := range l.askers {
		all += who.Messages
		if a.Kind != grant.SenderAccount || who.Sender == a.Of {
			runs, n = runs+who.Runs, n+who.Messages
		}
	}
	mine := a.Kind == grant.DayAccount || a.Kind == grant.SenderAccount && n > 0 ||
		a.Kind == grant.GroupAccount && l.group == a.Of || a.Kind == grant.TaskAccount && l.task == a.Of
	if !mine {
		return 0, 0, 0
	}
	return runs, n, all
}

// reservedOn reads those of a day. There are no more than runs at once.
func reservedOn(ctx context.Context, q querier, day string) (out []reservation, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var l reservation
		err := rows.Scan(&l.run, &l.group, &l.task, &l.set.Micros, &l.set.Tokens)
		out = append(out, l)
		return err
	}, `SELECT run, grp, task, micros, tokens FROM reservations WHERE day = ?`, day)
	for i := range out {
		if err != nil {
			return nil, err
		}
		if out[i].askers, err = reservedFor(ctx, q, out[i].run); err != nil {
			return nil, err
		}
		var uses []Use
		uses, err = reservedUse(ctx, q, out[i].run)
		for _, u := range uses {
			out[i].spent = out[i].spent.Plus(u.Amount())
		}
	}
	return out, err
}
