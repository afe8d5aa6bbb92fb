package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

// shellConfig has a shell in family, where bob may speak too.
const shellConfig = `{
	"version": 1,
	"hostMode": {"enabled": true, %s},
	"agent": {"kind": "shell"},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"family": {"mode": "host", "hostModeAllowed": true, "trigger": "always", "senders": ["console:bob"], %s},
		"work": {"mode": "host", "hostModeAllowed": true},
	},
}`

// bobSays is a message of somebody else in family.
func bobSays(t *testing.T, d *Daemon, id, text string) chat.MessageID {
	t.Helper()
	must(t, sink{d}.Receive(t.Context(), chat.Inbound{
		From: console.Address("family"), ID: chat.MessageID(id), Sender: chat.Sender{ID: "bob"}, Text: text, Sent: time.Now(),
	}))
	return chat.MessageID(id)
}

// becomes waits until a message in family has a state.
func becomes(t *testing.T, d *Daemon, id chat.MessageID, want string) control.Answer {
	t.Helper()
	for {
		changed := d.changed.wait()
		a, _, err := d.answer(t.Context(), "family", id)
		must(t, err)
		if a.State == want {
			return a
		}
		select {
		case <-changed:
		case <-time.After(60 * time.Second):
			t.Fatalf("message %s is %+v, want %s", id, a, want)
		}
	}
}

// question waits for the question of an act and gives its code.
func question(t *testing.T, d *Daemon, act string) control.Approval {
	t.Helper()
	l := listening(t, d, chat.Main)
	for {
		for _, a := range d.desk.Open() {
			if a.Act == act {
				return control.Approval{Code: a.Code, Text: a.Text, Title: a.Title}
			}
		}
		l.hears(chat.Question)
	}
}

func answers(t *testing.T, d *Daemon, code string, yes bool) {
	t.Helper()
	_, err := d.Approve(t.Context(), control.ApproveRequest{Code: code, Yes: yes})
	must(t, err)
}

// told gives everything that the chat of a listener is told up to some words.
func (l *listener) told(last string) string {
	l.t.Helper()
	var all []string
	late := time.After(60 * time.Second)
	for {
		select {
		case m := <-l.said:
			if all = append(all, m.Text); strings.Contains(m.Text, last) {
				return strings.Join(all, "\n")
			}
		case <-late:
			l.t.Fatalf("the terminal of %s does not hear %q, but\n%s", l.g, last, strings.Join(all, "\n"))
		}
	}
}

// The eleventh run of an hour waits, also after a restart: it is counted in the
// store (I7). Its chat is told once, and when it goes on.
func TestHostRunsAreLimited(t *testing.T) {
	i := newInstall(t, strings.Replace(hostConfig, `{"enabled": true}`, `{"enabled": true, "runsPerHour": 2}`, 1))
	d, stop := i.run()
	for range 2 {
		if a := ask(t, d, "family", "true"); a.State != control.Succeeded {
			t.Fatalf("got %+v\n%s", a.Answer, a.text())
		}
	}
	stop()
	d, stop = i.run()
	var ids []chat.MessageID
	for range 3 {
		id := say(t, d, "family", "echo ran after all")
		ids = append(ids, id)
		if a := becomes(t, d, id, "held"); !strings.Contains(a.Reason, "goes on by itself") {
			t.Errorf("beyond the limit: %+v", a)
		}
	}
	for range 3 {
		if a := ask(t, d, chat.Main, "true"); a.State != control.Succeeded {
			t.Errorf("main has no such limit: %+v\n%s", a.Answer, a.text())
		}
	}
	stop()
	i.configure(strings.Replace(hostConfig, `{"enabled": true}`, `{"enabled": true, "runsPerHour": 9}`, 1))
	d, _ = i.run()
	l := listening(t, d, "family")
	if a := becomes(t, d, ids[0], "held"); a.Run != "" {
		t.Errorf("after a restart: %+v", a)
	}
	n, err := d.store.Free(t.Context(), grant.HoldKey("host", "family"), "")
	must(t, err)
	d.queue.Wake()
	if n != 3 {
		t.Errorf("%d messages wait", n)
	}
	for _, id := range ids {
		becomes(t, d, id, control.Succeeded)
	}
	if text := l.told("ran after all"); strings.Count(text, "used its 2 host runs of this hour") != 1 || !strings.Contains(text, "goes on by itself at ") {
		t.Errorf("the chat was told\n%s", text)
	}
}

// What is held until a time goes on by itself, through the daemon's own queue.
func TestHeldMessageGoesOnByItself(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	d.store.OnMessage(func(in chat.Inbound, g chat.Group, _, _ grant.Count, now time.Time) (*grant.Wait, chat.Outbound) {
		until := now.Add(time.Second)
		return &grant.Wait{Until: until, Window: until, Hold: "messages/test"}, chat.Outbound{}
	})
	becomes(t, d, say(t, d, "family", "true"), control.Succeeded)
}

// A flood of one sender waits, is told once, and holds up nobody else.
func TestFloodIsHeld(t *testing.T) {
	d, _ := newInstall(t, fmt.Sprintf(shellConfig, "", `"confirm": "never", "rates": {"sender": {"messagesPerMinute": 1}}`)).run()
	bobSays(t, d, "m0", "true")
	for n := range 5 {
		bobSays(t, d, fmt.Sprint("flood", n), "true")
	}
	becomes(t, d, "m0", control.Succeeded)
	for n := range 5 {
		becomes(t, d, chat.MessageID(fmt.Sprint("flood", n)), "held")
	}
	l := listening(t, d, "family")
	say(t, d, "family", "echo the owner is heard")
	if text := l.told("the owner is heard"); strings.Count(text, "wrote more than 1 messages within a minute") != 1 {
		t.Errorf("the chat was told\n%s", text)
	}
}

// In a group that asks for each run the owner sees the message whole and decides,
// while nobody else waits; a yes is for those words alone, a no and silence end in
// words, and the question outlives the daemon.
func TestConfirmEach(t *testing.T) {
	i := newInstall(t, fmt.Sprintf(shellConfig, "", `"confirm": "each"`))
	d, stop := i.run()
	first := bobSays(t, d, "m1", "echo one >> ran; echo done")
	becomes(t, d, first, "held")
	second := bobSays(t, d, "m2", "echo two >> ran; cat ran")
	becomes(t, d, second, "held")
	q := question(t, d, "host-run")
	if !strings.Contains(q.Text, "echo one >> ran; echo done") || strings.Contains(q.Text, "two") {
		t.Errorf("the question is\n%s", q.Text)
	}
	if a := ask(t, d, "family", "ls; echo mine"); a.State != control.Succeeded || strings.Contains(a.text(), "ran") {
		t.Errorf("the owner's own message: %+v\n%s", a.Answer, a.text())
	}
	stop()

	d, _ = i.run()
	answers(t, d, question(t, d, "host-run").Code, true)
	becomes(t, d, first, control.Succeeded)
	q = question(t, d, "host-run") // about what came behind it
	if !strings.Contains(q.Text, "echo two >> ran; cat ran") {
		t.Errorf("the second question is\n%s", q.Text)
	}
	answers(t, d, q.Code, false)
	if a := becomes(t, d, second, "refused"); !strings.Contains(a.Reason, "did not allow") {
		t.Errorf("%+v", a)
	}
	l := listening(t, d, "family")
	say(t, d, "family", "cat ran; echo the end")
	text := l.told("the end")
	if strings.Count(text, "did not allow this run") != 1 || !strings.Contains(text, "one\nthe end") {
		t.Errorf("the chat was told\n%s", text)
	}
}

// Nobody answers: the message ends, with words.
func TestConfirmExpires(t *testing.T) {
	d, _ := newInstall(t, fmt.Sprintf(shellConfig, `"confirmTime": "10s"`, `"confirm": "session"`)).run()
	id := bobSays(t, d, "m1", "echo never")
	becomes(t, d, id, "held")
	if a := becomes(t, d, id, "refused"); !strings.Contains(a.Reason, "expired") {
		t.Errorf("%+v", a)
	}
}

// budgetInstall has real Claude Code in family, with a budget and prices.
func budgetInstall(t *testing.T) (*install, *agenttest.Model) {
	t.Helper()
	i, m := claudeInstall(t)
	i.configure(fmt.Sprintf(`{
		"version": 1,
		"hostMode": {"enabled": true},
		"agent": {"claude": {"path": %q, "model": "claude-sonnet-4-5"}},
		"limits": {"askTime": "1h"},
		"budgets": {"step": {"tokens": 200000}, "prices": {"claude": {"input": "$3", "output": "$15"}}},
		"groups": {
			"main": {"mode": "host", "hostModeAllowed": true},
			"family": {"mode": "host", "hostModeAllowed": true, "trigger": "always", "senders": ["console:bob"], "budget": {"tokens": 100000}},
		},
	}`, agenttest.Claude(t)))
	return i, m
}

// costly answers each request with one more tool call and 40,000 tokens.
func costly(m *agenttest.Model, calls int) {
	n := 0
	m.Use(func(r agenttest.Request) agenttest.Step {
		if n++; n > calls {
			return agenttest.Step{Text: "all done", InputTokens: 40_000}
		}
		return agenttest.Step{Tools: []agenttest.ToolUse{agenttest.Bash(fmt.Sprint("echo ", n))}, InputTokens: 40_000}
	})
}

// A session is asked about once and serves the next message too. A run that comes
// to the end of its group's budget waits for the owner: a yes extends it for the
// day, a no ends the run, and what comes then waits.
func TestConsentAndBudgetOfClaude(t *testing.T) {
	i, m := budgetInstall(t)
	d, _ := i.run()
	first := bobSays(t, d, "m1", "say: hello")
	becomes(t, d, first, "held")
	answers(t, d, question(t, d, "host-run").Code, true)
	becomes(t, d, first, control.Succeeded)
	becomes(t, d, bobSays(t, d, "m2", "say: hello again"), control.Succeeded) // in the session that is warm

	costly(m, 3)
	loops := bobSays(t, d, "m3", "loop")
	q := question(t, d, extendRun)
	if !strings.Contains(q.Title, "group family") || !strings.Contains(q.Text, "100000 tokens") {
		t.Errorf("the question is\n%s", q.Text)
	}
	asked := len(m.Requests())
	answers(t, d, q.Code, true)
	becomes(t, d, loops, control.Succeeded)
	if now := len(m.Requests()); now <= asked {
		t.Errorf("%d requests before the yes, %d after it", asked, now)
	}
	costly(m, 100)
	loops = bobSays(t, d, "m4", "loop on")
	q = question(t, d, extendRun)
	asked = len(m.Requests())
	answers(t, d, q.Code, false)
	a := becomes(t, d, loops, "failed")
	if !strings.Contains(a.Reason, "budget of this day for group family is used up") {
		t.Errorf("%+v", a)
	}
	if now := len(m.Requests()); now != asked {
		t.Errorf("%d requests before the no, %d after it", asked, now)
	}
	waits := bobSays(t, d, "m5", "say: more")
	becomes(t, d, waits, "held") // for the owner's consent: the session is a new one
	answers(t, d, question(t, d, "host-run").Code, true)
	q = question(t, d, extendDay) // and then for the budget; the consent stays
	m.Use(agenttest.Puppet)
	answers(t, d, q.Code, true)
	becomes(t, d, waits, control.Succeeded)
	checkCost(t, d)
}

// checkCost compares what the command shows with what the model counted.
func checkCost(t *testing.T, d *Daemon) {
	t.Helper()
	c, err := d.Cost(t.Context(), control.CostQuery{Group: "family"})
	must(t, err)
	var tokens, micros int64
	runs := 0
	for _, l := range c.Lines {
		if l.Sender == "console:bob" {
			tokens, micros, runs = tokens+l.Tokens(), micros+l.Micros, runs+l.Runs
		}
		if l.Unpriced != 0 {
			t.Errorf("a price is not known: %+v", l)
		}
	}
	var b control.CostBudget
	for _, x := range c.Budgets {
		if x.Account == "group family" {
			b = x
		}
	}
	if tokens < 320_000 || tokens > 480_000 || micros < tokens*3 || runs != 5 {
		t.Errorf("used %d tokens, %s, in %d runs", tokens, config.USD(micros), runs)
	}
	if b.MaxTokens != 500_000 || !b.Extended || b.Tokens < tokens {
		t.Errorf("the budget is %+v", b)
	}
	entries, err := d.AuditList(context.WithoutCancel(t.Context()), control.AuditQuery{Kind: string(audit.BudgetExtended)})
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("%d extensions in the record", len(entries))
	}
}

// Requests of a run that come at once find what those before them took: not all of
// them pass because each alone would.
func TestRequestsAtOnceDoNotRace(t *testing.T) {
	ctx := t.Context()
	i := newInstall(t, strings.Replace(hostConfig, `"family": {`, `"family": {"budget": {"tokens": 100000}, `, 1))
	d := i.open()
	defer d.Close()
	must(t, sink{d}.Receive(ctx, chat.Inbound{From: console.Address("family"), ID: "m", Sender: chat.Sender{ID: console.Owner, Owner: true}, Text: "true"}))
	j, err := d.store.Claim(ctx, "family", "r1", time.Now())
	must(t, err)
	l, err := d.limits.Reserve(ctx, grant.Grant{Group: "family", Model: &grant.Model{}}, grant.Trigger{Kind: "message", Owner: true}, j.Messages, false)
	must(t, err)
	must(t, d.store.Start(ctx, "r1", runner.Start{At: time.Now(), Reservation: l}, audit.Entry{At: time.Now(), Kind: audit.RunStarted}))
	var passed atomic.Int32
	var all sync.WaitGroup
	var ends []func(egress.Served)
	var mu sync.Mutex
	for range 20 {
		all.Go(func() {
			done, why := d.limits.admit(ctx, "family", "r1", 80_000) // some 21,000 tokens
			if (done == nil) != strings.Contains(why, "is used up") {
				t.Errorf("refused with %q", why)
			}
			if done != nil {
				passed.Add(1)
				mu.Lock()
				ends = append(ends, done)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if n := passed.Load(); n < 1 || n > 5 {
		t.Errorf("%d requests of 21,000 tokens passed a budget of 100,000", n)
	}
	for _, end := range ends {
		end(egress.Served{Answered: true, Usage: &egress.Usage{Input: 1000, Partial: true}, Down: 320_000})
	}
	d.limits.Settled("r1")
	u, err := d.store.UsedOn(ctx, l.Day, grant.Account{Kind: grant.GroupAccount, Of: "family", Part: 1, All: 1})
	must(t, err)
	if want := int64(len(ends)) * 10_000; u.Spent.Tokens < want {
		t.Errorf("answers that were broken off cost %d tokens, and had %d", u.Spent.Tokens, want)
	}
	if _, why := d.limits.admit(ctx, "family", "", 10); u.Spent.Tokens >= 100_000 && why == "" {
		t.Error("between runs a budget that is used up does not hold")
	}
}

// Runs of a day are counted for each sender, over restarts; the owner is not held by
// what others used.
func TestRunsPerDay(t *testing.T) {
	i := newInstall(t, fmt.Sprintf(shellConfig, `"runsPerHour": 100`, `"confirm": "never", "rates": {"group": {"runsPerDay": 2}}`))
	d, stop := i.run()
	for n := range 2 {
		becomes(t, d, bobSays(t, d, fmt.Sprint("m", n), "true"), control.Succeeded)
	}
	stop()
	d, _ = i.run()
	a := becomes(t, d, bobSays(t, d, "m2", "true"), "held")
	if !strings.Contains(a.Reason, "runs/group/family") {
		t.Errorf("%+v", a)
	}
	becomes(t, d, say(t, d, "family", "true"), control.Succeeded)
}
