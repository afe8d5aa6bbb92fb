package grant

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

var (
	noon     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	midnight = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
)

func TestCheckMessage(t *testing.T) {
	c := config.Default()
	c.Groups["family"] = config.Group{Rates: config.Rates{Sender: config.Rate{MessagesPerMinute: 2}}}
	c.Groups["work"] = config.Group{}
	bob, owner := Asker{Sender: "wa:bob"}, Asker{Sender: "console:owner", Owner: true}
	tests := []struct {
		name          string
		g             chat.Group
		who           Asker
		group, sender int
		want          string
	}{
		{"few", "work", bob, 10, 10, ""},
		{"the last of a sender", "work", bob, 19, 19, ""},
		{"one more of a sender", "work", bob, 20, 20, "messages/work/wa:bob"},
		{"the group's own limit", "family", bob, 2, 2, "messages/family/wa:bob"},
		{"many senders of a group", "work", bob, 60, 1, "messages/work"},
		{"the owner is not held by others", "work", owner, 1000, 1, ""},
		{"nor by the senders' limit", "work", owner, 0, 100, ""},
		{"but by a limit of their own", "work", owner, 0, 120, "messages/work/console:owner"},
		{"main has no group's limit", chat.Main, owner, 1000, 5, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := CheckMessage(&c, tt.g, tt.who, Count{tt.group, noon}, Count{tt.sender, noon})
			if w == nil {
				w = &Wait{}
			}
			if w.Hold != tt.want || (tt.want != "") != w.Until.Equal(noon) {
				t.Errorf("got %+v, want %q", w, tt.want)
			}
		})
	}
	c.Rates = config.Rates{}
	if w := CheckMessage(&c, "work", bob, Count{1e6, noon}, Count{1e6, noon}); w != nil {
		t.Errorf("0 is no limit: %+v", w)
	}
}

func TestCheckRun(t *testing.T) {
	a := Account{Kind: GroupAccount, Of: "family", Part: 1, All: 1, Count: 1, Runs: 3, Budget: Amount{1000, 100}, Field: "budgets.group"}
	tests := []struct {
		name string
		edit func(*Account, *Used, *Amount)
		want string
	}{
		{"nothing used", func(*Account, *Used, *Amount) {}, ""},
		{"an estimate larger than the budget", func(_ *Account, _ *Used, w *Amount) { *w = Amount{1e9, 1e9} }, ""},
		{"but not beside something used", func(_ *Account, u *Used, w *Amount) { *w, u.Spent.Tokens = Amount{0, 1e9}, 1 }, "budget.group"},
		{"just enough", func(_ *Account, u *Used, w *Amount) { *w, u.Spent = Amount{400, 40}, Amount{600, 60} }, ""},
		{"one token too many", func(_ *Account, u *Used, w *Amount) { *w, u.Spent = Amount{400, 41}, Amount{600, 60} }, "budget.group"},
		{"a bit of money too much", func(_ *Account, u *Used, w *Amount) { *w, u.Spent = Amount{401, 40}, Amount{600, 60} }, "budget.group"},
		{"extended", func(_ *Account, u *Used, w *Amount) {
			*w, u.Spent, u.Extra = Amount{401, 41}, Amount{600, 60}, Amount{1, 1}
		}, ""},
		{"a part of it falls to the account", func(a *Account, u *Used, w *Amount) {
			*w, u.Spent, a.Part, a.All = Amount{800, 80}, Amount{600, 60}, 1, 2
		}, ""},
		{"no budget", func(a *Account, u *Used, _ *Amount) { a.Budget, u.Spent = Amount{}, Amount{1e9, 1e9} }, ""},
		{"an extension makes no budget", func(a *Account, u *Used, _ *Amount) {
			a.Budget, u.Spent, u.Extra = Amount{}, Amount{1e9, 1e9}, Amount{1, 1}
		}, ""},
		{"the last run", func(_ *Account, u *Used, _ *Amount) { u.Runs = 2 }, ""},
		{"one run more", func(_ *Account, u *Used, _ *Amount) { u.Runs = 3 }, "rate.group.runs"},
		{"runs do not matter for a request", func(a *Account, u *Used, _ *Amount) { a.Count, u.Runs = 0, 99 }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, u, want := a, Used{}, Amount{1, 1}
			tt.edit(&a, &u, &want)
			w := CheckRun(a, u, want, midnight)
			if w == nil {
				w = &Wait{}
			}
			if w.Rule != tt.want || tt.want != "" && (!w.Until.Equal(midnight) || w.Text == "") {
				t.Errorf("got %+v, want %q", w, tt.want)
			}
			if budget := strings.HasPrefix(tt.want, "budget"); budget != (w.Account != nil) {
				t.Errorf("account %+v", w.Account)
			}
		})
	}
}

// Who is limited by what: other people cannot lock the owner out of a group.
func TestAccounts(t *testing.T) {
	c := config.Default()
	c.Budgets.Day = config.Budget{USD: 5_000_000}
	c.Groups["family"] = config.Group{Budget: config.Budget{Tokens: 7}}
	bob, eve := Asker{Sender: "wa:bob", Runs: 1, Messages: 3}, Asker{Sender: "wa:eve", Runs: 2, Messages: 1}
	owner := Asker{Sender: "console:owner", Owner: true, Runs: 1, Messages: 1}
	tests := []struct {
		name   string
		g      chat.Group
		askers []Asker
		task   string
		want   []string
	}{
		{"others", "work", []Asker{bob, eve}, "", []string{
			"day/ 1/1 +3 runs 0 {5000000 0}", "group/work 1/1 +3 runs 1000 {0 100000000}",
			"sender/wa:bob 3/4 +1 runs 200 {0 50000000}", "sender/wa:eve 1/4 +2 runs 200 {0 50000000}"}},
		{"a group with a budget of its own", "family", []Asker{bob}, "", []string{
			"day/ 1/1 +1 runs 0 {5000000 0}", "group/family 1/1 +1 runs 1000 {0 7}", "sender/wa:bob 3/3 +1 runs 200 {0 50000000}"}},
		{"the owner in it", "family", []Asker{owner}, "", []string{
			"day/ 1/1 +1 runs 0 {5000000 0}", "group/family 1/1 +1 runs 0 {0 7}", "sender/console:owner 1/1 +1 runs 5000 {0 0}"}},
		{"main", chat.Main, []Asker{owner}, "", []string{
			"day/ 1/1 +1 runs 0 {5000000 0}", "group/main 1/1 +1 runs 0 {0 0}", "sender/console:owner 1/1 +1 runs 5000 {0 0}"}},
		{"a task", "work", nil, "news", []string{
			"day/ 1/1 +0 runs 0 {5000000 0}", "group/work 1/1 +0 runs 0 {0 100000000}", "task/news 1/1 +0 runs 0 {0 0}"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, a := range Accounts(&c, tt.g, tt.askers, tt.task) {
				got = append(got, strings.Join([]string{a.Key(), frac(a), "runs", num(a.Runs), amountText(a.Budget)}, " "))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A task needs a flag of its own for host mode (I7), and counts as a host run.
func TestTasksInHostMode(t *testing.T) {
	task := func(allowed bool, runs int, g chat.Group) error {
		_, err := Decide(request(func(r *Request) {
			r.Group, r.HostRuns = g, Count{N: runs}
			r.Trigger = Trigger{Kind: "task", Task: "news", HostModeAllowed: allowed}
		}))
		return err
	}
	rule := func(err error) string {
		if no, ok := errors.AsType[*Refusal](err); ok {
			return no.Rule
		}
		return ""
	}
	for _, g := range []chat.Group{chat.Main, "family"} {
		if got := rule(task(false, 0, g)); got != "hostmode.task" {
			t.Errorf("%s: a task without its flag: %q", g, got)
		}
		if err := task(true, 0, g); err != nil {
			t.Errorf("%s: a task with its flag: %v", g, err)
		}
	}
	if got := rule(task(true, 10, "family")); got != "hostmode.rate" {
		t.Errorf("the eleventh run of the hour: %q", got)
	}
	_, err := Decide(request(func(r *Request) {
		r.Group, r.HostRuns.N = "family", 5
		g := r.Config.Groups["family"]
		g.HostRunsPerHour = 5
		r.Config.Groups["family"] = g
	}))
	if rule(err) != "hostmode.rate" {
		t.Errorf("a group's own limit: %v", err)
	}
	_, err = Decide(request(func(r *Request) { r.Group, r.Config.HostMode.RunsPerHour = "family", 0 }))
	if _, later := errors.AsType[*Wait](err); later || rule(err) != "hostmode.rate" {
		t.Errorf("none at all is a no and not a later: %v", err)
	}
}

func TestConfirms(t *testing.T) {
	c := config.Default()
	for _, confirm := range []string{"", "each", "session", "never"} {
		c.Groups["g"+confirm] = config.Group{Confirm: confirm}
	}
	c.Groups["main"] = config.Group{Confirm: "each"}
	tests := []struct {
		name string
		g    chat.Group
		m    Mode
		t    Trigger
		want Consent
	}{
		{"somebody else's message", "g", HostMode, Trigger{Kind: "message"}, Session},
		{"each", "geach", HostMode, Trigger{Kind: "message"}, Each},
		{"never", "gnever", HostMode, Trigger{Kind: "message"}, Never},
		{"the owner's message is a yes", "geach", HostMode, Trigger{Kind: "message", Owner: true}, Never},
		{"a container", "geach", ContainerMode, Trigger{Kind: "message"}, Never},
		{"the owner's command", "geach", HostMode, Trigger{Kind: "exec"}, Never},
		{"a task is nobody's yes", "geach", HostMode, Trigger{Kind: "task", HostModeAllowed: true}, Each},
		{"main", chat.Main, HostMode, Trigger{Kind: "message"}, Never},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Confirms(&c, tt.g, tt.m, tt.t); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStepAndEstimate(t *testing.T) {
	a := Account{Budget: Amount{Tokens: 11}}
	if got := a.Step(config.Budget{USD: 5}); got != (Amount{Tokens: 6}) {
		t.Errorf("half of what is bounded, and nothing of what is not: %+v", got)
	}
	if got := a.Step(config.Budget{Tokens: 3}); got != (Amount{Tokens: 3}) {
		t.Errorf("the configured step: %+v", got)
	}
	if got := Estimate(Amount{Micros: 1, Tokens: 1e9}); got != (Amount{floor.Micros, 1e9}) {
		t.Errorf("estimate %+v", got)
	}
}

func frac(a Account) string { return num(a.Part) + "/" + num(a.All) + " +" + num(a.Count) }

func num(n int) string { return strconv.Itoa(n) }

func amountText(a Amount) string { return fmt.Sprint(a) }
