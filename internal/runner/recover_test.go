package runner

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func jobOf(run chat.RunID, address string) queue.Job {
	to, _ := chat.ParseAddress(address)
	return queue.Job{Run: run, Group: "family", Messages: []queue.Message{{Inbound: chat.Inbound{From: to}, Trigger: true}}}
}

// A trouble of the account is told once in each chat until it is over, and once to
// the owner; a terminal hears of it each time. What the host's own gateway has not
// seen is no trouble of the account, whatever an agent says.
func TestTroublesAreToldOnce(t *testing.T) {
	type step struct {
		chat   string
		class  agent.Class
		status int // what the gateway saw
		retry  time.Time
		after  time.Duration
		told   bool
		owner  bool
	}
	const over agent.Class = ""
	tests := []struct {
		name  string
		steps []step
	}{
		{"each chat once", []step{
			{chat: "x:1", class: agent.ClassBilling, status: 402, told: true, owner: true},
			{chat: "x:1", class: agent.ClassBilling, status: 402},
			{chat: "x:2", class: agent.ClassBilling, status: 402, told: true},
			{chat: "x:2", class: agent.ClassBilling, status: 402},
		}},
		{"again after it was over", []step{
			{chat: "x:1", class: agent.ClassCredential, status: 401, told: true, owner: true},
			{chat: "x:2", class: over},
			{chat: "x:1", class: agent.ClassCredential, status: 401, told: true, owner: true},
		}},
		{"over by itself", []step{
			{chat: "x:1", class: agent.ClassRateLimit, status: 429, retry: at.Add(time.Hour), told: true, owner: true},
			{chat: "x:1", class: agent.ClassRateLimit, status: 429, retry: at.Add(time.Hour), after: 59 * time.Minute},
			{chat: "x:1", class: agent.ClassRateLimit, status: 429, retry: at.Add(3 * time.Hour), after: 61 * time.Minute, told: true, owner: true},
		}},
		{"another trouble", []step{
			{chat: "x:1", class: agent.ClassBilling, status: 402, told: true, owner: true},
			{chat: "x:1", class: agent.ClassRateLimit, status: 429, told: true, owner: true},
		}},
		{"somebody waits at a terminal", []step{
			{chat: "console:main", class: agent.ClassBilling, status: 402, told: true, owner: true},
			{chat: "console:main", class: agent.ClassBilling, status: 402, told: true},
		}},
		{"made up", []step{
			{chat: "x:1", class: agent.ClassCredential, told: true},
			{chat: "x:1", class: agent.ClassCredential, status: 529, told: true},
		}},
		{"not of the account", []step{
			{chat: "x:1", class: agent.ClassOverloaded, status: 529, told: true},
			{chat: "x:1", class: agent.ClassOverloaded, status: 529, told: true},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			owner := 0
			r := New(Options{Troubled: func(agent.Class, chat.Address, string) { owner++ }})
			for i, s := range tt.steps {
				owner = 0
				job := jobOf("r1", s.chat)
				_, l := r.enter(t.Context(), job)
				if s.status != 0 {
					r.Answered(job.Run, s.status, s.retry)
				}
				res := agent.Result{SessionID: "s", Failed: s.class != over, Class: s.class, Error: "words"}
				o := outcome(res, nil, nil)
				text := r.tell(job, res, nil, o, at.Add(s.after))
				r.leave(job.Run, l)
				if told := text != ""; told != s.told || (owner == 1) != s.owner {
					t.Errorf("step %d: told %v (%q), the owner %d times", i, told, text, owner)
				}
			}
		})
	}
}

// A limit says when it opens again, in the owner's zone.
func TestLimitSaysWhen(t *testing.T) {
	zone := time.FixedZone("x", 3600)
	r := New(Options{Zone: zone})
	job := jobOf("r1", "x:1")
	_, l := r.enter(t.Context(), job)
	defer r.leave(job.Run, l)
	res := agent.Result{Failed: true, Class: agent.ClassRateLimit, Error: "the limit is reached", Retry: at.Add(100 * time.Minute)}
	if got := r.tell(job, res, nil, outcome(res, nil, nil), at); got != "the limit is reached\nit opens again at 14:40 (in 1h40m)" {
		t.Errorf("told %q", got)
	}
	r.Answered(job.Run, 429, at.Add(50*time.Hour)) // the gateway knows better
	if got := r.tell(job, res, nil, outcome(res, nil, nil), at); !strings.Contains(got, "on Tuesday 3 March at 15:00 (in 50h0m)") {
		t.Errorf("told %q", got)
	}
}

// A chat that was told already gets nothing, and the last of what a run does
// leave is marked.
func TestNothingIsSaidTwice(t *testing.T) {
	job := jobOf("r1", "x:1")
	if got := replies(job, agent.Result{}, Outcome{State: Failed, Error: "no"}, "", "", ""); len(got) != 0 {
		t.Errorf("left %+v", got)
	}
	got := replies(job, agent.Result{Text: "half"}, Outcome{State: Failed, Error: "no"}, "", "", "")
	if len(got) != 1 || !got[0].Last || got[0].Text != "half" {
		t.Errorf("left %+v", got)
	}
}

func TestClassOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		res  agent.Result
		err  error
		want agent.Class
		raw  string
	}{
		{name: "none", res: agent.Result{Text: "fine"}},
		{name: "of the turn", res: agent.Result{Failed: true, Class: agent.ClassModel, Raw: "{}"}, want: agent.ClassModel, raw: "{}"},
		{name: "of the end", res: agent.Result{Failed: true, Class: agent.ClassEnded}, err: &agent.Error{Class: agent.ClassStart, Text: "no", Detail: "bad flag"}, want: agent.ClassStart, raw: "bad flag"},
		{name: "ours", err: errors.New("the store is full")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, raw := classOf(tt.res, tt.err), rawOf(tt.res, tt.err); got != tt.want || raw != tt.raw {
				t.Errorf("got %q, %q", got, raw)
			}
		})
	}
}
