package daemon

import (
	"context"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

const askConfig = `{
	"version": 1,
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"egress": {"ask": true, "deny": ["evil.example"]},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"family": {"mode": "host", "hostModeAllowed": true},
	},
}`

// tried is how a connection came out.
type tried struct {
	yes bool
	why string
}

// hostAsker is one session's way to ask about hosts.
type hostAsker struct {
	t   *testing.T
	ask func(context.Context, string, int) (grant.Host, bool, string)
}

func newHostAsker(t *testing.T, d *Daemon, g chat.Group) hostAsker {
	t.Helper()
	got, err := d.decide(t.Context(), g, grant.Trigger{Kind: "message", Owner: true})
	must(t, err)
	ask := d.askHost(got, runner.Caller{Group: g, Session: "s1", Run: func() chat.RunID { return "r1" }})
	return hostAsker{t, ask}
}

// reach tries a connection, which may wait.
func (a hostAsker) reach(host string) <-chan tried {
	out := make(chan tried, 1)
	go func() {
		rule, yes, why := a.ask(a.t.Context(), host, 443)
		if yes && (rule.Pattern != host || rule.Port != 443 || rule.Reason == "") {
			a.t.Errorf("the answer about %s is %+v", host, rule)
		}
		out <- tried{yes, why}
	}()
	return out
}

// The owner is asked about a host that a group may not reach, and what they choose
// holds: for one connection, for the session, or as a right of the group, which
// outlives the daemon, is a line of the grant, and can be taken back.
func TestAskHost(t *testing.T) {
	i := newInstall(t, askConfig)
	d, stop := i.run()
	owner := listening(t, d, chat.Main)
	answer := func(word string, yes bool) {
		t.Helper()
		q := owner.hears(chat.Question)
		if !strings.Contains(q.Text, ".example.com:443\n") || !strings.Contains(q.Text, "group family") {
			t.Errorf("the owner is shown %q", q.Text)
		}
		open, err := d.Approvals(t.Context())
		must(t, err)
		if len(open) != 1 {
			t.Fatalf("open: %+v", open)
		}
		_, err = d.Approve(t.Context(), control.ApproveRequest{Code: open[0].Code, Yes: yes, Choice: word})
		must(t, err)
		owner.hears(chat.Notice)
	}
	family := newHostAsker(t, d, "family")

	first := family.reach("once.example.com")
	answer("", true)
	if got := <-first; !got.yes {
		t.Errorf("once: %+v", got)
	}
	second := family.reach("once.example.com") // asks again
	answer("", false)
	if got := <-second; got.yes || !strings.Contains(got.why, "said no") {
		t.Errorf("a second connection: %+v", got)
	}
	if got := <-family.reach("once.example.com"); got.yes { // and nobody is asked a third time
		t.Errorf("a third connection: %+v", got)
	}

	first = family.reach("session.example.com")
	answer("session", true)
	if got, again := <-first, <-family.reach("session.example.com"); !got.yes || !again.yes {
		t.Errorf("session: %+v, %+v", got, again)
	}
	if other := <-newHostAskerWithoutRun(t, d).reach("session.example.com"); other.yes {
		t.Errorf("another session: %+v", other)
	}

	first = family.reach("group.example.com")
	answer("group", true)
	if got, other := <-first, <-newHostAsker(t, d, "family").reach("group.example.com"); !got.yes || !other.yes {
		t.Errorf("group: %+v, %+v", got, other)
	}
	if got := <-family.reach("evil.example"); got.yes || !strings.Contains(got.why, "denied") {
		t.Errorf("what is denied: %+v", got)
	}
	if n := auditCount(t, d, "right.allowed"); n != 1 {
		t.Errorf("%d rights in the audit", n)
	}
	stop()

	d, _ = i.run()
	g, err := d.decide(t.Context(), "family", grant.Trigger{Kind: "message", Owner: true})
	must(t, err)
	h, ok := grant.Match(g.Egress, "group.example.com", 443)
	if !ok || !strings.Contains(h.Reason, "right 1: allowed by owner in console:command") || len(g.Egress) != 1 {
		t.Fatalf("after a restart the grant has %+v", g.Egress)
	}
	if g, err = d.decide(t.Context(), chat.Main, grant.Trigger{Kind: "message", Owner: true}); err != nil || len(g.Egress) != 0 {
		t.Errorf("another group has %+v, %v", g.Egress, err)
	}
	rights, err := d.Rights(t.Context())
	must(t, err)
	if len(rights) != 1 || rights[0].Subject != "group.example.com:443" {
		t.Fatalf("rights %+v", rights)
	}
	must(t, d.RemoveRight(t.Context(), rights[0].ID))
	if g, err = d.decide(t.Context(), "family", grant.Trigger{Kind: "message", Owner: true}); err != nil || len(g.Egress) != 0 {
		t.Errorf("after it was taken back: %+v, %v", g.Egress, err)
	}
	if err := d.RemoveRight(t.Context(), rights[0].ID); code(err) != control.CodeNotFound {
		t.Errorf("taken back twice: %v", err)
	}
	if n := auditCount(t, d, "right.ended"); n != 1 {
		t.Errorf("%d ends in the audit", n)
	}
}

// newHostAskerWithoutRun is a session in which no message is answered.
func newHostAskerWithoutRun(t *testing.T, d *Daemon) hostAsker {
	a := newHostAsker(t, d, "family")
	g, err := d.decide(t.Context(), "family", grant.Trigger{Kind: "message", Owner: true})
	must(t, err)
	a.ask = d.askHost(g, runner.Caller{Group: "family", Session: "s2", Run: func() chat.RunID { return "" }})
	return a
}

func auditCount(t *testing.T, d *Daemon, kind string) int {
	t.Helper()
	all, err := d.AuditList(t.Context(), control.AuditQuery{Kind: kind})
	must(t, err)
	return len(all)
}

// One session cannot have the owner asked without end, and what a session that is
// over asked for allows nothing.
func TestAskHostIsBounded(t *testing.T) {
	i := newInstall(t, askConfig)
	d, _ := i.run()
	a := newHostAsker(t, d, "family")
	h := &hostAsk{d: d, hosts: map[string]*askedHost{}}
	for n := range maxAskHosts {
		if _, _, why := h.look(strings.Repeat("x", n+1)); why != "" {
			t.Fatal(why)
		}
	}
	if _, _, why := h.look("one more"); !strings.Contains(why, "already") {
		t.Errorf("one more: %q", why)
	}
	ctx, cancel := context.WithCancel(t.Context())
	owner := listening(t, d, chat.Main)
	done := make(chan bool)
	go func() { _, yes, _ := a.ask(ctx, "left.example.com", 443); done <- yes }()
	owner.hears(chat.Question)
	cancel()
	if <-done {
		t.Error("a connection that was given up was let through")
	}
	d.asking.take(d.desk.Open()[0].Hash) // as after a restart
	_, err := d.Approve(t.Context(), control.ApproveRequest{Code: d.desk.Open()[0].Code, Yes: true})
	must(t, err)
	if m := owner.hears(chat.Notice); !strings.Contains(m.Text, "Nothing was allowed") {
		t.Errorf("the owner is told %q", m.Text)
	}
}
