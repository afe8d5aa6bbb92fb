package daemon

import (
	"context"
	"slices"

	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/store"
)

// Cost tells what models cost, by day, group, sender and model, and how the
// accounts stand today.
func (d *Daemon) Cost(ctx context.Context, q control.CostQuery) (control.Cost, error) {
	if q.Group != "" {
		if err := d.known(q.Group); err != nil {
			return control.Cost{}, err
		}
	}
	day, _ := d.limits.today()
	since := day
	if !q.Since.IsZero() {
		since = store.DayOf(q.Since, d.limits.zone())
	}
	costs, err := d.store.Costs(ctx, store.CostFilter{Group: q.Group, Sender: q.Sender, Since: since})
	if err != nil {
		return control.Cost{}, err
	}
	out := control.Cost{Day: day, Lines: []control.CostLine{}, Budgets: []control.CostBudget{}}
	for _, c := range costs {
		out.Lines = append(out.Lines, control.CostLine{
			Day: c.Day, Group: c.Group, Sender: c.Sender, Task: c.Task, Model: c.Model, Runs: c.Runs,
			Input: c.Input, CacheRead: c.CacheRead, CacheWrite: c.CacheWrite, Output: c.Output, Micros: c.Micros, Unpriced: c.Unpriced,
		})
	}
	for _, a := range d.accounts(q, day, costs) {
		u, err := d.store.UsedOn(ctx, day, a)
		if err != nil {
			return control.Cost{}, err
		}
		limit := a.Limit(u.Extra)
		out.Budgets = append(out.Budgets, control.CostBudget{
			Account: a.Name(), Runs: u.Runs, MaxRuns: a.Runs, Micros: u.Spent.Micros, MaxMicros: limit.Micros,
			Tokens: u.Spent.Tokens, MaxTokens: limit.Tokens, Extended: u.Extra != grant.Amount{},
		})
	}
	return out, nil
}

// accounts are those that a question is about: the day's, those of the groups, and
// those of the senders who used something today.
func (d *Daemon) accounts(q control.CostQuery, day string, costs []store.Cost) []grant.Account {
	var out []grant.Account
	add := func(accounts []grant.Account, kind string) {
		for _, a := range accounts {
			known := slices.ContainsFunc(out, func(b grant.Account) bool { return a.Key() == b.Key() })
			if a.Kind == kind && !known {
				out = append(out, a)
			}
		}
	}
	stranger := []grant.Asker{{Messages: 1}}
	add(grant.Accounts(d.config, chat.Main, nil, ""), grant.DayAccount)
	for _, g := range d.groupNames() {
		if q.Group == "" || q.Group == g {
			add(grant.Accounts(d.config, g, stranger, ""), grant.GroupAccount)
		}
	}
	for _, c := range costs {
		if c.Day == day && c.Sender != "" {
			add(grant.Accounts(d.config, c.Group, []grant.Asker{{Sender: c.Sender, Owner: d.ownerSender(c.Sender), Messages: 1}}, ""), grant.SenderAccount)
		}
	}
	return out
}

// ownerSender says that an identity is the owner's.
func (d *Daemon) ownerSender(sender string) bool {
	return sender == string(console.ID)+":"+string(console.Owner) || d.config.People[sender].Role == "owner"
}
