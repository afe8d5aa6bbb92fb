package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

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
// for the group alone, and so does what the agent of a run costs that was taken
// over: it was spent, and the run's reservation ended with it.
func (s *Store) Spend(ctx context.Context, run chat.RunID, g chat.Group, day string, u Use) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		res, err := t.exec(ctx, `INSERT INTO reservation_models AS m (run, model, input, cache_read, cache_write, output, micros, unpriced)
			SELECT run, ?, ?, ?, ?, ?, ?, ? FROM reservations WHERE run = ?
			ON CONFLICT (run, model) DO UPDATE SET input = m.input + excluded.input, cache_read = m.cache_read + excluded.cache_read,
			cache_write = m.cache_write + excluded.cache_write, output = m.output + excluded.output, micros = m.micros + excluded.micros,
			unpriced = m.unpriced + excluded.unpriced`,
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
	_, err := t.exec(ctx, `INSERT INTO costs AS c (day, grp, sender, task, model, runs, input, cache_read, cache_write, output, micros, unpriced)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (day, grp, sender, task, model) DO UPDATE SET runs = c.runs + excluded.runs, input = c.input + excluded.input,
		cache_read = c.cache_read + excluded.cache_read, cache_write = c.cache_write + excluded.cache_write, output = c.output + excluded.output,
		micros = c.micros + excluded.micros, unpriced = c.unpriced + excluded.unpriced`,
		k.day, k.group, k.sender, k.task, u.Model, runs, u.Input, u.CacheRead, u.CacheWrite, u.Output, u.Micros, u.Unpriced)
	return err
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
		_, err := t.exec(ctx, `INSERT INTO extensions AS x (day, account, micros, tokens) VALUES (?, ?, ?, ?)
			ON CONFLICT (day, account) DO UPDATE SET micros = x.micros + excluded.micros, tokens = x.tokens + excluded.tokens`,
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
	live, err := reservedOn(ctx, q, day)
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
