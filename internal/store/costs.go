package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

// errNotYet carries a judgement out of a transaction that it ended.
var errNotYet = errors.New("an account has no room")

// judged runs a change in which an account may refuse, and gives that refusal as
// it is.
func (s *Store) judged(ctx context.Context, what string, do func(ctx context.Context, t *tx, no *error) error) error {
	var no error
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
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

// allow asks the judge of a lease about each account.
func allow(ctx context.Context, t *tx, l runner.Lease) (no, err error) {
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

// reserve sets aside what a lease says, if its accounts allow it.
func reserve(ctx context.Context, t *tx, run chat.RunID, l runner.Lease) (no, err error) {
	r, err := runRow(ctx, t, run)
	if err != nil {
		return nil, err
	}
	if no, err = allow(ctx, t, l); err != nil || no != nil {
		return no, err
	}
	_, err = t.exec(ctx, `INSERT INTO leases (run, day, grp, task, micros, tokens) VALUES (?, ?, ?, ?, ?, ?)`,
		run, l.Day, r.Group, l.Task, l.Set.Micros, l.Set.Tokens)
	if err != nil {
		return nil, err
	}
	return nil, share(ctx, t, run, l.Askers)
}

// share notes for whom a run is, beside those who are noted.
func share(ctx context.Context, t *tx, run chat.RunID, askers []grant.Asker) error {
	for _, a := range askers {
		if _, err := t.exec(ctx, `INSERT INTO lease_senders (run, sender, runs, messages) VALUES (?, ?, ?, ?)
			ON CONFLICT (run, sender) DO UPDATE SET runs = runs + excluded.runs, messages = messages + excluded.messages`,
			run, a.Sender, a.Runs, a.Messages); err != nil {
			return err
		}
	}
	return nil
}

// Grow sets aside more for a run that goes on, up to set in all, if the accounts
// of the lease allow it.
func (s *Store) Grow(ctx context.Context, run chat.RunID, l runner.Lease) error {
	return s.judged(ctx, "set more aside for run "+string(run), func(ctx context.Context, t *tx, no *error) (err error) {
		if *no, err = allow(ctx, t, l); err != nil || *no != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE leases SET micros = max(micros, ?), tokens = max(tokens, ?) WHERE run = ?`, l.Set.Micros, l.Set.Tokens, run)
		return err
	})
}

// Leased gives the day on which a live run counts and among whom it is shared;
// "" if it has set nothing aside.
func (r *Reader) Leased(ctx context.Context, run chat.RunID) (day, task string, askers []grant.Asker, set grant.Amount, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT day, task, micros, tokens FROM leases WHERE run = ?`, run).Scan(&day, &task, &set.Micros, &set.Tokens)
	if err == nil {
		askers, err = leaseSenders(ctx, r.db, run)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("read what run %s set aside: %w", run, explain(r.path, err))
	}
	return day, task, askers, set, err
}

func leaseSenders(ctx context.Context, q querier, run chat.RunID) (out []grant.Asker, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var a grant.Asker
		err := rows.Scan(&a.Sender, &a.Runs, &a.Messages)
		out = append(out, a)
		return err
	}, `SELECT sender, runs, messages FROM lease_senders WHERE run = ? ORDER BY sender`, run)
	return out, err
}

// Use is what one answer of a model cost.
type Use struct {
	Model                                string
	Input, CacheRead, CacheWrite, Output int64
	// Micros is its price, and Unpriced its tokens if nobody knows one.
	Micros, Unpriced int64
}

// Tokens are all of them.
func (u Use) Tokens() int64 { return u.Input + u.CacheRead + u.CacheWrite + u.Output }

// Amount is what budgets count of it.
func (u Use) Amount() grant.Amount { return grant.Amount{Micros: u.Micros, Tokens: u.Tokens()} }

// Spend notes what an answer cost a run that goes on. Without such a run it counts
// for the group alone.
func (s *Store) Spend(ctx context.Context, run chat.RunID, g chat.Group, day string, u Use) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		res, err := t.exec(ctx, `INSERT INTO lease_models (run, model, input, cache_read, cache_write, output, micros, unpriced)
			SELECT run, ?, ?, ?, ?, ?, ?, ? FROM leases WHERE run = ?
			ON CONFLICT (run, model) DO UPDATE SET input = input + excluded.input, cache_read = cache_read + excluded.cache_read,
			cache_write = cache_write + excluded.cache_write, output = output + excluded.output, micros = micros + excluded.micros,
			unpriced = unpriced + excluded.unpriced`,
			u.Model, u.Input, u.CacheRead, u.CacheWrite, u.Output, u.Micros, u.Unpriced, run)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return addCost(ctx, t, costKey{day, g, "", ""}, u, 0)
	})
	if err != nil {
		return fmt.Errorf("note what the model cost: %w", err)
	}
	return nil
}

type costKey struct {
	day    string
	group  chat.Group
	sender string
	task   string
}

func addCost(ctx context.Context, t *tx, k costKey, u Use, runs int) error {
	_, err := t.exec(ctx, `INSERT INTO costs (day, grp, sender, task, model, runs, input, cache_read, cache_write, output, micros, unpriced)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (day, grp, sender, task, model) DO UPDATE SET runs = runs + excluded.runs, input = input + excluded.input,
		cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write, output = output + excluded.output,
		micros = micros + excluded.micros, unpriced = unpriced + excluded.unpriced`,
		k.day, k.group, k.sender, k.task, u.Model, runs, u.Input, u.CacheRead, u.CacheWrite, u.Output, u.Micros, u.Unpriced)
	return err
}

// dropLease forgets what a run set aside: it never began.
func dropLease(ctx context.Context, t *tx, run chat.RunID) error {
	for _, q := range []string{`DELETE FROM leases WHERE run = ?`, `DELETE FROM lease_senders WHERE run = ?`, `DELETE FROM lease_models WHERE run = ?`} {
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
	err := t.row(ctx, []any{&k.day, &k.group, &k.task}, `SELECT day, grp, task FROM leases WHERE run = ?`, run)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	askers, err := leaseSenders(ctx, t, run)
	if err != nil {
		return err
	}
	uses, err := leaseModels(ctx, t, run)
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
	return dropLease(ctx, t, run)
}

// endLease gives back what a run set aside: what it used stays used, and of a run
// that never began nothing does.
func endLease(ctx context.Context, t *tx, r RunInfo, claim float64) error {
	if r.State == runner.Queued {
		return dropLease(ctx, t, r.ID)
	}
	return settle(ctx, t, r.ID, claim)
}

// leaseModels are what a run used so far, the model with most tokens first.
func leaseModels(ctx context.Context, q querier, run chat.RunID) (out []Use, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var u Use
		err := rows.Scan(&u.Model, &u.Input, &u.CacheRead, &u.CacheWrite, &u.Output, &u.Micros, &u.Unpriced)
		out = append(out, u)
		return err
	}, `SELECT model, input, cache_read, cache_write, output, micros, unpriced FROM lease_models WHERE run = ?
		ORDER BY input + cache_read + cache_write + output DESC, model`, run)
	return out, err
}

// maxClaim is the most that an agent may say a token cost, in millionths of a
// dollar: more than any model's. Without it an agent could use up a budget that
// others need by a word.
const maxClaim = 500

// price gives the money that an agent claims, beyond what is priced, to the model
// without a price that used most.
func price(uses []Use, claim float64) {
	var priced int64
	best := -1
	for i, u := range uses {
		priced += u.Micros
		if u.Unpriced > 0 && (best < 0 || u.Unpriced > uses[best].Unpriced) {
			best = i
		}
	}
	if best < 0 || !(claim > 0) {
		return
	}
	var unpriced int64
	for i := range uses {
		unpriced += uses[i].Unpriced
		uses[i].Unpriced = 0
	}
	extra := min(claim*1e6, float64(priced+unpriced*maxClaim))
	uses[best].Micros += max(0, int64(extra)-priced)
}

func part(u Use, n, all int) Use {
	if all <= 0 {
		return u
	}
	f := func(x int64) int64 { return x * int64(n) / int64(all) }
	return Use{u.Model, f(u.Input), f(u.CacheRead), f(u.CacheWrite), f(u.Output), f(u.Micros), f(u.Unpriced)}
}

func minus(a, b Use) Use {
	return Use{a.Model, a.Input - b.Input, a.CacheRead - b.CacheRead, a.CacheWrite - b.CacheWrite, a.Output - b.Output, a.Micros - b.Micros, a.Unpriced - b.Unpriced}
}

// Extend adds to an account's budget for one day, with the audit entry.
func (s *Store) Extend(ctx context.Context, day string, a grant.Account, by grant.Amount, e audit.Entry) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO extensions (day, account, micros, tokens) VALUES (?, ?, ?, ?)
			ON CONFLICT (day, account) DO UPDATE SET micros = micros + excluded.micros, tokens = tokens + excluded.tokens`,
			day, a.Key(), by.Micros, by.Tokens)
		if err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return fmt.Errorf("extend the budget of %s: %w", a.Name(), err)
	}
	return nil
}

// UsedOn says how an account stands on a day.
func (r *Reader) UsedOn(ctx context.Context, day string, a grant.Account) (grant.Used, error) {
	u, err := usedOn(ctx, r.db, day, a)
	if err != nil {
		return u, fmt.Errorf("read what %s used: %w", a.Name(), explain(r.path, err))
	}
	return u, nil
}

// ofAccount are the queries that sum up the settled part of each kind of account.
var ofAccount = map[string]string{
	grant.DayAccount:    `SELECT coalesce(sum(runs), 0), coalesce(sum(micros), 0), coalesce(sum(input + cache_read + cache_write + output), 0) FROM costs WHERE day = ? AND ? = ''`,
	grant.GroupAccount:  `SELECT coalesce(sum(runs), 0), coalesce(sum(micros), 0), coalesce(sum(input + cache_read + cache_write + output), 0) FROM costs WHERE day = ? AND grp = ?`,
	grant.SenderAccount: `SELECT coalesce(sum(runs), 0), coalesce(sum(micros), 0), coalesce(sum(input + cache_read + cache_write + output), 0) FROM costs WHERE day = ? AND sender = ?`,
	grant.TaskAccount:   `SELECT coalesce(sum(runs), 0), coalesce(sum(micros), 0), coalesce(sum(input + cache_read + cache_write + output), 0) FROM costs WHERE day = ? AND task = ?`,
}

func usedOn(ctx context.Context, q querier, day string, a grant.Account) (u grant.Used, err error) {
	query, ok := ofAccount[a.Kind]
	if !ok {
		return u, fmt.Errorf("store: %q is no kind of account; this is a fault of the caller", a.Kind)
	}
	err = each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&u.Runs, &u.Spent.Micros, &u.Spent.Tokens) }, query, day, a.Of)
	if err != nil {
		return u, err
	}
	err = each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&u.Extra.Micros, &u.Extra.Tokens) },
		`SELECT micros, tokens FROM extensions WHERE day = ? AND account = ?`, day, a.Key())
	if err != nil {
		return u, err
	}
	live, err := leasesOn(ctx, q, day)
	if err != nil {
		return u, err
	}
	for _, l := range live {
		if runs, n, all := l.of(a); all > 0 {
			u.Runs += runs
			u.Spent = u.Spent.Plus(l.set.Max(l.spent).Part(n, all))
		}
	}
	return u, nil
}

// lease is what a live run holds of the accounts.
type lease struct {
	run         chat.RunID
	group, task string
	set, spent  grant.Amount
	askers      []grant.Asker
}

// of says by how many runs, and with which part of what it costs, a lease counts on
// an account; all is 0 for not at all.
func (l lease) of(a grant.Account) (runs, n, all int) {
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

// leasesOn reads those of a day. There are no more than runs at once.
func leasesOn(ctx context.Context, q querier, day string) (out []lease, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var l lease
		err := rows.Scan(&l.run, &l.group, &l.task, &l.set.Micros, &l.set.Tokens)
		out = append(out, l)
		return err
	}, `SELECT run, grp, task, micros, tokens FROM leases WHERE day = ?`, day)
	for i := range out {
		if err != nil {
			return nil, err
		}
		if out[i].askers, err = leaseSenders(ctx, q, out[i].run); err != nil {
			return nil, err
		}
		var uses []Use
		uses, err = leaseModels(ctx, q, out[i].run)
		for _, u := range uses {
			out[i].spent = out[i].spent.Plus(u.Amount())
		}
	}
	return out, err
}

// Average is what the last runs of a group cost, as far as they asked a model.
func (r *Reader) Average(ctx context.Context, g chat.Group) (grant.Amount, error) {
	var usd, tokens float64
	err := r.db.QueryRowContext(ctx, averageQuery, g).Scan(&usd, &tokens)
	if err != nil {
		return grant.Amount{}, fmt.Errorf("read what runs of %s cost: %w", g, explain(r.path, err))
	}
	return grant.Amount{Micros: int64(min(usd*1e6, tokens*maxClaim)), Tokens: int64(tokens)}, nil
}

// averageQuery looks at the last 40 runs, and averages those that used a model.
const averageQuery = `SELECT coalesce(avg(cost), 0), coalesce(avg(tokens), 0) FROM
	(SELECT cost, tokens_in + tokens_out AS tokens FROM runs WHERE grp = ? ORDER BY row DESC LIMIT 40) WHERE tokens > 0`

// Cost is one line of what was used.
type Cost struct {
	Day    string
	Group  chat.Group
	Sender string // "" for what no message asked for
	Task   string
	Runs   int
	Use
}

// CostFilter chooses costs.
type CostFilter struct {
	Group  chat.Group // empty: all
	Sender string     // empty: all
	Since  string     // the first day, as 2006-01-02
}

// Costs lists what was settled, by day, group, sender and model.
func (r *Reader) Costs(ctx context.Context, f CostFilter) ([]Cost, error) {
	out := []Cost{}
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var c Cost
		err := rows.Scan(&c.Day, &c.Group, &c.Sender, &c.Task, &c.Model, &c.Runs, &c.Input, &c.CacheRead, &c.CacheWrite, &c.Output, &c.Micros, &c.Unpriced)
		out = append(out, c)
		return err
	}, `SELECT day, grp, sender, task, model, runs, input, cache_read, cache_write, output, micros, unpriced FROM costs
		WHERE day >= ? AND (? = '' OR grp = ?) AND (? = '' OR sender = ?) ORDER BY day, grp, sender, task, model`,
		f.Since, f.Group, f.Group, f.Sender, f.Sender)
	if err != nil {
		return nil, fmt.Errorf("list what was used: %w", explain(r.path, err))
	}
	return out, nil
}

// DayOf names the day of a moment, in a zone.
func DayOf(at time.Time, zone *time.Location) string { return at.In(zone).Format(time.DateOnly) }
