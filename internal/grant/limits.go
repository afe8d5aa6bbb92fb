package grant

import (
	"fmt"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// Count is how often something happened within a window that ends now, and when
// the oldest of it leaves the window.
type Count struct {
	N       int
	Reopens time.Time
}

// Asker is somebody on whose behalf a run is.
type Asker struct {
	// Sender is the typed identity, CHANNEL:SENDER.
	Sender string
	// Owner says that the channel proved the owner.
	Owner bool
	// Runs is by how many the run counts for them: 1, and 1 for each message that
	// joins it.
	Runs int
	// Messages are how many of the run's messages are theirs, 1 or more. What the
	// run costs is shared among the askers by it.
	Messages int
}

// Wait is the answer "not yet": what was asked waits, and is taken up by itself.
type Wait struct {
	Refusal
	// Until is when it is taken up, and Window until when nobody is told again.
	Until, Window time.Time
	// Hold names what it waits for, and Of the sender whose messages wait, "" for all.
	Hold, Of string
	// Account is the one whose budget is used up, nil if it is not that.
	Account *Account
}

// Unwrap makes it a refusal where nothing can wait.
func (w *Wait) Unwrap() error { return &w.Refusal }

// CheckMessage says whether a message may be worked on at once, after so many of
// its group (the owner's not counted) and of its sender in it came within a minute.
// nil is yes. It is held otherwise and not refused: people who write fast lose
// nothing, and what waited is given to the agent together, as one run. (How many
// may wait is bounded elsewhere, for each sender too.)
func CheckMessage(c *config.Config, g chat.Group, who Asker, group, sender Count) *Wait {
	rates := c.RatesOf(string(g))
	limit, field := rates.Sender.MessagesPerMinute, "rates.sender"
	if who.Owner {
		limit, field = rates.Owner.MessagesPerMinute, "rates.owner"
	}
	if limit > 0 && sender.N >= limit {
		text := fmt.Sprintf("%s wrote more than %d messages within a minute, which is the limit (%s.messagesPerMinute).", who.Sender, limit, field)
		return &Wait{
			Refusal: Refusal{Rule: "rate.sender.messages", Text: text},
			Until:   sender.Reopens, Window: sender.Reopens, Hold: HoldKey("messages", string(g), who.Sender),
		}
	}
	limit = rates.Group.MessagesPerMinute
	if !who.Owner && g != chat.Main && limit > 0 && group.N >= limit {
		text := fmt.Sprintf("Group %s got more than %d messages within a minute, which is the limit (rates.group.messagesPerMinute).", g, limit)
		return &Wait{
			Refusal: Refusal{Rule: "rate.group.messages", Text: text},
			Until:   group.Reopens, Window: group.Reopens, Hold: HoldKey("messages", string(g)),
		}
	}
	return nil
}

// hostLimit is how many runs a group but main may begin in host mode in an hour.
func (r Request) hostLimit(g config.Group) int {
	if g.HostRunsPerHour > 0 {
		return g.HostRunsPerHour
	}
	return r.Config.HostMode.RunsPerHour
}

// hostRate holds a run in host mode that is beyond what a group may have within an
// hour. Main has no such limit, and a command of the owner is no run (I7).
func (r Request) hostRate(g config.Group) error {
	limit := r.hostLimit(g)
	switch {
	case r.Group == chat.Main || r.Trigger.Kind == "exec" || r.HostRuns.N < limit:
		return nil
	case limit == 0:
		return &Refusal{"hostmode.rate", fmt.Sprintf("group %s may have no host runs (hostMode.runsPerHour)", r.Group),
			"set hostMode.runsPerHour, or hostRunsPerHour of the group"}
	}
	return &Wait{
		Refusal: Refusal{Rule: "hostmode.rate", Text: fmt.Sprintf("Group %s used its %d host runs of this hour (hostMode.runsPerHour).", r.Group, limit)},
		Until:   r.HostRuns.Reopens, Window: r.HostRuns.Reopens.Add(time.Hour), Hold: HoldKey("host", string(r.Group)),
	}
}

// HoldKey names what a message waits for.
func HoldKey(parts ...string) string {
	key := ""
	for i, p := range parts {
		if i > 0 {
			key += "/"
		}
		key += p
	}
	return key
}

// Amount is what a model costs: money in millionths of a dollar, and tokens.
type Amount struct {
	Micros int64 `json:"micros"`
	Tokens int64 `json:"tokens"`
}

// Plus is the sum.
func (a Amount) Plus(b Amount) Amount { return Amount{a.Micros + b.Micros, a.Tokens + b.Tokens} }

// Part is what falls to n of all.
func (a Amount) Part(n, all int) Amount {
	if all <= 0 || n >= all {
		return a
	}
	return Amount{a.Micros * int64(n) / int64(all), a.Tokens * int64(n) / int64(all)}
}

// Max is the larger of each.
func (a Amount) Max(b Amount) Amount { return Amount{max(a.Micros, b.Micros), max(a.Tokens, b.Tokens)} }

// The kinds of account.
const (
	DayAccount    = "day"
	GroupAccount  = "group"
	SenderAccount = "sender"
	TaskAccount   = "task"
)

// Account is what a day's use is counted on.
type Account struct {
	// Kind is one of the above, and Of whose: the group, the sender, the task.
	Kind, Of string
	// Part of All is the share that falls to it of what a run costs, and Count by how
	// many runs that one counts on it.
	Part, All, Count int
	// Runs is the limit of runs, and Budget that of use; 0 is no bound.
	Runs   int
	Budget Amount
	// Field of the configuration has the budget, and RunsField the limit of runs.
	Field, RunsField string
}

// Name is the account in words.
func (a Account) Name() string {
	switch a.Kind {
	case DayAccount:
		return "this day, all groups together"
	default:
		return a.Kind + " " + a.Of
	}
}

// Key names the account.
func (a Account) Key() string { return HoldKey(a.Kind, a.Of) }

// Accounts are those that a run counts on. task is "" for a run of messages.
func Accounts(c *config.Config, g chat.Group, askers []Asker, task string) []Account {
	b := c.Budgets
	out := []Account{
		{Kind: DayAccount, Part: 1, All: 1, Budget: amountOf(b.Day), Field: "budgets.day"},
		GroupAccountOf(c, g, askers),
	}
	if task != "" {
		out = append(out, Account{Kind: TaskAccount, Of: task, Part: 1, All: 1, Budget: amountOf(b.Task), Field: "budgets.task"})
	}
	all := 0
	for _, a := range askers {
		all += a.Messages
		for i := range out {
			out[i].Count += a.Runs
		}
	}
	rates := c.RatesOf(string(g))
	for _, a := range askers {
		account := Account{Kind: SenderAccount, Of: a.Sender, Part: a.Messages, All: all, Count: a.Runs}
		if a.Owner {
			account.Runs, account.RunsField = rates.Owner.RunsPerDay, "rates.owner.runsPerDay"
		} else {
			account.Runs, account.RunsField = rates.Sender.RunsPerDay, "rates.sender.runsPerDay"
			account.Budget, account.Field = amountOf(b.Sender), "budgets.sender"
		}
		out = append(out, account)
	}
	return out
}

// GroupAccountOf is the account of a group. Its limit of runs is not for the owner,
// whom other people must not be able to lock out.
func GroupAccountOf(c *config.Config, g chat.Group, askers []Asker) Account {
	a := Account{Kind: GroupAccount, Of: string(g), Part: 1, All: 1}
	if own := c.Groups[string(g)].Budget; own != (config.Budget{}) {
		a.Budget, a.Field = amountOf(own), "groups."+string(g)+".budget"
	} else if g != chat.Main {
		a.Budget, a.Field = amountOf(c.Budgets.Group), "budgets.group"
	}
	for _, who := range askers {
		if !who.Owner && g != chat.Main {
			a.Runs, a.RunsField = c.RatesOf(string(g)).Group.RunsPerDay, "rates.group.runsPerDay"
		}
	}
	return a
}

func amountOf(b config.Budget) Amount { return Amount{int64(b.USD), int64(b.Tokens)} }

// Used is how an account stands on a day: what was used, what runs that go on have
// set aside, and by what the owner extended it.
type Used struct {
	Runs  int
	Spent Amount
	Extra Amount
}

// Limit is a budget with what the owner added; 0 stays without a bound.
func (a Account) Limit(extra Amount) Amount {
	out := a.Budget
	if out.Micros > 0 {
		out.Micros += extra.Micros
	}
	if out.Tokens > 0 {
		out.Tokens += extra.Tokens
	}
	return out
}

// CheckRun says whether another run may begin on an account and set aside so much.
// nil is yes. ends is the end of the day.
// While nothing was used a run may always begin: an estimate is no fact.
func CheckRun(a Account, u Used, want Amount, ends time.Time) *Wait {
	if a.Runs > 0 && a.Count > 0 && u.Runs+a.Count > a.Runs {
		text := fmt.Sprintf("The %d runs of this day are used up for %s (%s).", a.Runs, a.Name(), a.RunsField)
		return &Wait{
			Refusal: Refusal{Rule: "rate." + a.Kind + ".runs", Text: text},
			Until:   ends, Window: ends, Hold: HoldKey("runs", a.Key()), Of: a.only(),
		}
	}
	want = want.Part(a.Part, a.All)
	limit := a.Limit(u.Extra)
	for _, b := range []struct {
		limit, spent, want int64
		say                func(int64) string
	}{
		{limit.Micros, u.Spent.Micros, want.Micros, func(n int64) string { return config.USD(n).String() }},
		{limit.Tokens, u.Spent.Tokens, want.Tokens, func(n int64) string { return fmt.Sprintf("%d tokens", n) }},
	} {
		if b.limit > 0 && b.spent+min(b.want, b.limit) > b.limit {
			text := fmt.Sprintf("The budget of this day for %s is used up: %s of %s are gone or set aside (%s).", a.Name(), b.say(b.spent), b.say(b.limit), a.Field)
			return &Wait{
				Refusal: Refusal{Rule: "budget." + a.Kind, Text: text},
				Until:   ends, Window: ends, Hold: HoldKey("budget", a.Key()), Of: a.only(), Account: &a,
			}
		}
	}
	return nil
}

// only is whose messages wait: those of one sender, or "" for all.
func (a Account) only() string {
	if a.Kind == SenderAccount {
		return a.Of
	}
	return ""
}

// Step is by how much a yes of the owner extends an account for the day.
func (a Account) Step(step config.Budget) Amount {
	s := amountOf(step)
	if s.Micros == 0 {
		s.Micros = (a.Budget.Micros + 1) / 2
	}
	if s.Tokens == 0 {
		s.Tokens = (a.Budget.Tokens + 1) / 2
	}
	if a.Budget.Micros == 0 {
		s.Micros = 0
	}
	if a.Budget.Tokens == 0 {
		s.Tokens = 0
	}
	return s
}

// The least that a run is expected to cost.
var floor = Amount{Micros: 10_000, Tokens: 10_000}

// Estimate is what a run sets aside: what those before it cost on average, and
// never less than a floor, so that many that begin at once cannot all be free.
func Estimate(average Amount) Amount { return average.Max(floor) }

// Consent says when the owner is asked before a run in host mode.
type Consent string

// The consents.
const (
	Never   Consent = "never"
	Session Consent = "session" // before each new session; the default
	Each    Consent = "each"
)

// Confirms says which consent a run needs. The owner's own message is one, and
// main is the owner's own chat. A group in which nobody else may speak is never
// asked about by this; one where others may has its owner asked once for each
// session, since what others write is what steers the agent on the machine.
func Confirms(c *config.Config, g chat.Group, m Mode, t Trigger) Consent {
	if g == chat.Main || m != HostMode || t.Owner || t.Kind == "exec" {
		return Never
	}
	switch own := c.Groups[string(g)].Confirm; own {
	case "":
		return Session
	default:
		return Consent(own)
	}
}
