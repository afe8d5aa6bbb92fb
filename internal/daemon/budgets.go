package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/store"
)

// meter is what a live run uses up. The store has the same, a moment later.
type meter struct {
	group chat.Group
	day   string
	known bool // day, and what is set aside, were read

	grow sync.Mutex // held while more is set aside, and while the owner is asked
	over string     // why nothing more is, under grow

	writes sync.WaitGroup // of what was used

	mu sync.Mutex // guards all below
	// set is what the run has set aside, spent what it used, and aside what requests
	// that are under way may come to.
	set, spent, aside grant.Amount
	price             float64 // of a token, in millionths of a dollar, as last seen
}

func (l *limiter) meter(run chat.RunID, g chat.Group) *meter {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meters[run]
	if m == nil {
		m = &meter{group: g}
		l.meters[run] = m
	}
	return m
}

// Settled is runner.Limiter's.
func (l *limiter) Settled(run chat.RunID) {
	l.mu.Lock()
	m := l.meters[run]
	delete(l.meters, run)
	l.mu.Unlock()
	if m != nil {
		m.writes.Wait()
	}
}

// used notes what an answer of the model cost. It does not wait for the disk:
// Settled does.
func (l *limiter) used(g chat.Group, run chat.RunID, u egress.Usage) {
	use := store.Use{Model: u.Model, Input: u.Input, CacheRead: u.CacheRead, CacheWrite: u.CacheWrite, Output: u.Output}
	p, known := l.d.config.Budgets.Price(u.Model)
	if known {
		use.Micros = cost(p, u)
	} else {
		use.Unpriced = use.Tokens()
	}
	l.spend(g, run, use)
}

// cost is the price of an answer in millionths of a dollar, rounded up.
func cost(p config.Price, u egress.Usage) int64 {
	sum := float64(p.Input)*float64(u.Input) + float64(p.CacheRead)*float64(u.CacheRead) +
		float64(p.CacheWrite)*float64(u.CacheWrite) + float64(p.Output)*float64(u.Output)
	return int64((sum + 999_999) / 1_000_000)
}

func (l *limiter) spend(g chat.Group, run chat.RunID, use store.Use) {
	day, _ := l.today()
	l.mu.Lock()
	m := l.meters[run]
	if m == nil { // between runs nothing is kept
		m = &meter{}
	}
	m.writes.Add(1) // under mu, so that Settled either waits for it or came before
	l.mu.Unlock()
	m.mu.Lock()
	m.spent = m.spent.Plus(use.Amount())
	if n := use.Tokens(); n > 0 {
		m.price = float64(use.Micros) / float64(n)
	}
	m.mu.Unlock()
	go func() {
		defer m.writes.Done()
		if err := l.d.store.Spend(context.Background(), run, g, day, use); err != nil {
			l.d.log.Error("what the model cost could not be noted", "run", run, "err", err)
		}
	}()
}

// admit is asked before each message to the model. What a request may come to is
// guessed from its size, so that many at once cannot pass together; one is let
// pass as long as there is anything left.
func (l *limiter) admit(ctx context.Context, g chat.Group, run chat.RunID, size int) (done func(egress.Served), refusal string) {
	guess := grant.Amount{Tokens: int64(size)/4 + 1000}
	charge := func(r egress.Served) {
		if u := unsaid(size, r); u.Output > 0 {
			l.used(g, run, u)
		}
	}
	if run == "" {
		return charge, l.betweenRuns(ctx, g)
	}
	m := l.meter(run, g)
	m.mu.Lock()
	guess.Micros = int64(m.price * float64(guess.Tokens))
	m.mu.Unlock()
	if why := l.room(ctx, m, run, guess); why != "" {
		return nil, why
	}
	return func(r egress.Served) {
		charge(r)
		m.mu.Lock()
		m.aside = m.aside.Plus(grant.Amount{Micros: -guess.Micros, Tokens: -guess.Tokens})
		m.mu.Unlock()
	}, ""
}

// unsaid is a guess at what an answer cost beyond what the provider said of it, so
// that breaking an answer off before its end, where the count comes, saves nothing.
// A token of a stream is some 32 bytes, with what is around it.
func unsaid(size int, r egress.Served) (u egress.Usage) {
	switch {
	case !r.Answered:
	case r.Usage == nil:
		u.Output = (int64(size) + r.Down) / 4
	case r.Usage.Partial:
		u.Model, u.Output = r.Usage.Model, max(0, r.Down/32-r.Usage.Output)
	}
	return u
}

// betweenRuns says why a request is refused that no run is charged for: it counts
// for the group.
func (l *limiter) betweenRuns(ctx context.Context, g chat.Group) string {
	day, ends := l.today()
	for _, a := range grant.Accounts(l.d.config, g, nil, "") {
		if a.Budget == (grant.Amount{}) {
			continue
		}
		u, err := l.d.store.UsedOn(ctx, day, a)
		if err != nil {
			return "the host cannot read the budget now"
		}
		if w := grant.CheckRun(a, u, grant.Amount{Micros: 1, Tokens: 1}, ends); w != nil {
			return w.Text
		}
	}
	return ""
}

// room sees to it that what a run has set aside covers one request more, and asks
// the owner where an account has no more. It gives words if that is the end. One
// request at a time comes to it, so that each finds what those before it took.
func (l *limiter) room(ctx context.Context, m *meter, run chat.RunID, guess grant.Amount) string {
	m.grow.Lock()
	defer m.grow.Unlock()
	for m.over == "" {
		if m.covers(guess) {
			return ""
		}
		m.writes.Wait() // so that the store knows what we know
		day, task, askers, set, err := l.d.store.Reserved(ctx, run)
		if err != nil {
			return "the host cannot read the budget now"
		}
		m.mu.Lock()
		if m.known, m.day = true, day; day == "" {
			set = grant.Amount{Micros: unbounded, Tokens: unbounded} // it has ended
		}
		m.set = m.set.Max(set)
		want := m.spent.Plus(m.aside).Plus(guess).Plus(grant.Estimate(grant.Amount{}))
		m.mu.Unlock()
		if m.covers(guess) {
			return ""
		}
		_, ends := l.today()
		reservation := runner.Reservation{Day: day, Set: want, Judge: judge(grant.Amount{Micros: 1, Tokens: 1}, ends)}
		for _, a := range grant.Accounts(l.d.config, m.group, l.withOwners(run, askers), task) {
			if a.Count = 0; a.Budget != (grant.Amount{}) {
				reservation.Accounts = append(reservation.Accounts, a)
			}
		}
		if len(reservation.Accounts) == 0 {
			want = grant.Amount{Micros: unbounded, Tokens: unbounded}
		} else if err = l.d.store.Grow(ctx, run, reservation); err != nil {
			w, ok := errors.AsType[*grant.Wait](err)
			if !ok {
				return "the host cannot read the budget now"
			}
			if why := l.askMore(ctx, m, run, w); why != "" {
				m.over = why
				l.d.runner.EndSpent(run, why)
			}
			continue
		}
		m.mu.Lock()
		m.set = m.set.Max(want)
		m.mu.Unlock()
	}
	return m.over
}

// unbounded is more than anything costs.
const unbounded = 1 << 60

// covers puts a request aside if what is set aside has room for it.
func (m *meter) covers(guess grant.Amount) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	need := m.spent.Plus(m.aside).Plus(guess)
	if !m.known || need.Tokens > m.set.Tokens || need.Micros > m.set.Micros {
		return false
	}
	m.aside = m.aside.Plus(guess)
	return true
}

// withOwners says of the askers of a run who is the owner: a run is the owner's or
// others', never both.
func (l *limiter) withOwners(run chat.RunID, askers []grant.Asker) []grant.Asker {
	owner := l.d.runner.OfOwner(run)
	for i := range askers {
		askers[i].Owner = owner
	}
	return askers
}

// askMore asks the owner, while the run waits, to extend an account for the day.
// It gives words if that is not to be.
func (l *limiter) askMore(ctx context.Context, m *meter, run chat.RunID, w *grant.Wait) string {
	to, live := l.d.runner.To(run)
	if !live {
		return w.Text
	}
	u, err := l.d.store.UsedOn(ctx, m.day, *w.Account)
	if err != nil {
		return "the host cannot read the budget now"
	}
	e := l.extension(m.group, run, m.day, *w.Account, u)
	state, why := l.d.consent(ctx, e, time.Duration(l.d.config.Limits.AskTime), to)
	if state != approval.Approved {
		return fmt.Sprintf("%s The owner was asked to extend it: %s. The run is stopped.", w.Text, why)
	}
	if err := l.extend(ctx, m.group, m.day, *w.Account, "owner"); err != nil {
		return "the host cannot extend the budget now: " + err.Error()
	}
	return ""
}

// The acts of questions about a budget: by a run that waits, and by messages.
const (
	extendRun = "budget.run"
	extendDay = "budget"
)

// extension is the question whether an account may go on for a day. It is another
// one after each yes, since the limit is in it.
func (l *limiter) extension(g chat.Group, run chat.RunID, day string, a grant.Account, u grant.Used) approval.Effect {
	step := a.Step(l.d.config.Budgets.Step)
	e := approval.Effect{
		Act: extendDay, Group: g, Run: run, Title: fmt.Sprintf("The budget of this day for %s is used up. Extend it for today?", a.Name()),
		Parts: []approval.Part{
			{Name: "account", Value: a.Key()}, {Name: "day", Value: day},
			{Name: "limit", Value: amountWords(a.Limit(u.Extra))}, {Name: "would be added, for this day alone", Value: amountWords(step)},
		},
	}
	if run != "" {
		e.Act = extendRun
	}
	return e
}

// amountWords say an amount; what is not bounded is left out.
func amountWords(a grant.Amount) string {
	var parts []string
	if a.Micros > 0 {
		parts = append(parts, config.USD(a.Micros).String())
	}
	if a.Tokens > 0 {
		parts = append(parts, fmt.Sprintf("%d tokens", a.Tokens))
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing")
}

// answeredBudget is called when a question about an account ended. What is done is
// what was shown: if the account or its limit is another by now, nothing is.
func (l *limiter) answeredBudget(ctx context.Context, e approval.Effect, s approval.State, by approval.Who) error {
	if s != approval.Approved || len(e.Parts) < 2 {
		return nil
	}
	kind, of, _ := strings.Cut(e.Parts[0].Value, "/")
	day := e.Parts[1].Value
	a, ok := l.account(kind, of)
	if !ok {
		return fmt.Errorf("there is no account %s any more", e.Parts[0].Value)
	}
	u, err := l.d.store.UsedOn(ctx, day, a)
	if err != nil {
		return err
	}
	if l.extension(e.Group, "", day, a, u).Hash() != e.Hash() {
		return fmt.Errorf("the account %s is not as it was asked about, so it is not extended", a.Key())
	}
	return l.extend(ctx, e.Group, day, a, string(by.Sender.ID))
}

// account finds one by its key.
func (l *limiter) account(kind, of string) (grant.Account, bool) {
	group, askers, task := chat.Main, []grant.Asker(nil), ""
	switch kind {
	case grant.DayAccount:
	case grant.GroupAccount:
		group = chat.Group(of)
	case grant.SenderAccount:
		askers = []grant.Asker{{Sender: of, Messages: 1}}
	case grant.TaskAccount:
		task = of
	}
	for _, a := range grant.Accounts(l.d.config, group, askers, task) {
		if a.Kind == kind && (a.Of == of || kind == grant.DayAccount) {
			return a, true
		}
	}
	return grant.Account{}, false
}

// extend lets an account go on, and takes up what waited for it.
func (l *limiter) extend(ctx context.Context, g chat.Group, day string, a grant.Account, by string) error {
	step := a.Step(l.d.config.Budgets.Step)
	err := l.d.store.Extend(ctx, day, a, step, audit.Entry{At: time.Now(), Kind: audit.BudgetExtended, Group: g, Data: audit.BudgetExtendedData{
		Account: a.Key(), Day: day, Micros: step.Micros, Tokens: step.Tokens, By: by,
	}})
	if err == nil {
		_, err = l.d.store.Free(ctx, grant.HoldKey("budget", a.Key()), "")
	}
	l.d.queue.Wake()
	return err
}
