package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/store"
)

// actEgress is the question about a host that a group may not reach.
const actEgress = "egress"

// partHost is the host of such a question, as HOST:PORT.
const partHost = "host and port"

// The choices of the owner.
const (
	chooseOnce    = "once"
	chooseSession = "session"
	chooseGroup   = "group"
)

// Bounds of the questions about hosts.
const (
	askHostTime = 60 * time.Second // how long a connection waits for the answer
	maxAskHosts = 20               // hosts that one session may have asked about
)

// hostAsks are the sessions that asked about hosts, by the hash of the question.
type hostAsks struct {
	mu sync.Mutex
	by map[string][]*hostAsk
}

// hostAsk is what was answered about hosts for one session.
type hostAsk struct {
	d     *Daemon
	grant grant.Grant
	c     runner.Caller

	mu    sync.Mutex // guards all below
	hosts map[string]*askedHost
}

// askedHost is one host that a session asked about.
type askedHost struct {
	session bool          // allowed for as long as the session lives
	once    int           // connections that may still be made
	no      string        // why not, once it is decided
	changed chan struct{} // closed at each answer
}

// askHost gives the way in which a session's gateway asks about hosts, nil if it
// does not.
func (d *Daemon) askHost(g grant.Grant, c runner.Caller) func(context.Context, string, int) (grant.Host, bool, string) {
	if g.EgressAsk == "" {
		return nil
	}
	h := &hostAsk{d: d, grant: g, c: c, hosts: map[string]*askedHost{}}
	return h.ask
}

// ask says whether a connection to a host may be made that the grant lacks, after
// asking the owner if need be.
func (h *hostAsk) ask(ctx context.Context, host string, port int) (grant.Host, bool, string) {
	run := h.c.Run()
	rule, err := h.grant.MayAsk(h.d.config, host, port)
	switch {
	case err != nil:
		return grant.Host{}, false, err.Error()
	case run == "":
		return grant.Host{}, false, "no message is being answered, so nobody was asked"
	}
	key := fmt.Sprintf("%s:%d", host, port)
	if r, ok := h.d.right(store.RightEgress, h.grant.Group, key); ok {
		rule.Reason = reachedBy(r)
		return rule, true, ""
	}
	known, wait, why := h.look(key)
	switch {
	case known:
		rule.Reason = "the owner allowed it for this session"
		return rule, true, ""
	case why != "":
		return grant.Host{}, false, why
	}
	if err := h.put(ctx, run, key); err != nil {
		h.forget(key)
		return grant.Host{}, false, "the owner could not be asked: " + err.Error()
	}
	timer := time.NewTimer(askHostTime)
	defer timer.Stop()
	select {
	case <-wait:
	case <-timer.C:
		return grant.Host{}, false, "the owner was asked and has not answered yet, so go on with other work and try again later"
	case <-ctx.Done():
		return grant.Host{}, false, "the session ended"
	}
	if r, ok := h.d.right(store.RightEgress, h.grant.Group, key); ok {
		rule.Reason = reachedBy(r)
		return rule, true, ""
	}
	if ok, why := h.answered(key); !ok {
		return grant.Host{}, false, why
	}
	rule.Reason = "the owner allowed it when asked"
	return rule, true, ""
}

// look says whether a host is allowed by an earlier answer, or refused by one. If
// neither, wait is closed when the open question, or the one to be put, ends.
func (h *hostAsk) look(key string) (allowed bool, wait <-chan struct{}, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.hosts[key]
	if a == nil {
		if len(h.hosts) >= maxAskHosts {
			return false, nil, fmt.Sprintf("the owner was asked about %d hosts in this session already", maxAskHosts)
		}
		a = &askedHost{changed: make(chan struct{})}
		h.hosts[key] = a
	}
	switch {
	case a.session:
		return true, nil, ""
	case a.once > 0:
		a.once--
		return true, nil, ""
	case a.no != "":
		return false, nil, a.no
	}
	return false, a.changed, ""
}

// answered says what an answer that just came means for one connection.
func (h *hostAsk) answered(key string) (ok bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch a := h.hosts[key]; {
	case a == nil:
		return false, "nobody answered"
	case a.session:
		return true, ""
	case a.once > 0:
		a.once--
		return true, ""
	case a.no != "":
		return false, a.no
	}
	return false, "the owner allowed one connection, and another one had it"
}

// forget takes back that a host is being asked about.
func (h *hostAsk) forget(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.hosts, key)
}

// put asks the owner, once for a group and a host however many ask.
func (h *hostAsk) put(ctx context.Context, run chat.RunID, key string) error {
	e := approval.Effect{
		Act: actEgress, Group: h.grant.Group,
		Title: fmt.Sprintf("The agent of group %s wants to reach a host that its group may not.", h.grant.Group),
		Choices: []approval.Choice{
			{Word: chooseOnce, Says: "for one connection"},
			{Word: chooseSession, Says: "for as long as this session of the agent lives"},
			{Word: chooseGroup, Says: "for the group, until you take it back (nanoclaw rights)", Grows: true},
		},
		Parts: []approval.Part{
			{Name: partHost, Value: key},
			{Name: "a yes allows", Value: "whatever is sent to this host and port and no other, at a public address"},
		},
	}
	e.By, e.From = h.d.runner.Asking(run)
	h.d.demand(&e)
	h.d.asking.add(e.Hash(), h)
	_, err := h.d.put(ctx, e)
	return err
}

// add notes that a session waits for the answer to a question.
func (a *hostAsks) add(hash string, h *hostAsk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[string][]*hostAsk{}
	}
	for _, have := range a.by[hash] {
		if have == h {
			return
		}
	}
	a.by[hash] = append(a.by[hash], h)
}

// take gives the sessions that wait for the answer to a question.
func (a *hostAsks) take(hash string) []*hostAsk {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.by[hash]
	delete(a.by, hash)
	return out
}

// hostAnswered carries out an answer: a lasting one as a right, any other for the
// sessions that asked.
func (d *Daemon) hostAnswered(ctx context.Context, e approval.Effect, s approval.State, by approval.Who) error {
	key, asked := e.Part(partHost), d.asking.take(e.Hash())
	if s == approval.Approved && by.Choice == chooseGroup {
		err := d.allow(ctx, store.Right{Kind: store.RightEgress, Group: e.Group, Subject: key}, by, e.Title)
		if err != nil {
			return err
		}
	}
	for _, h := range asked {
		h.settle(key, s, by.Choice)
	}
	if s == approval.Approved && by.Choice != chooseGroup && len(asked) == 0 {
		return errors.New("the session that asked is over. Nothing was allowed; its agent may ask again")
	}
	return nil
}

// settle notes an answer and wakes who waits for it.
func (h *hostAsk) settle(key string, s approval.State, choice string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.hosts[key]
	if a == nil {
		return
	}
	switch {
	case s == approval.Approved && choice == chooseOnce:
		a.once++
	case s == approval.Approved && choice == chooseSession:
		a.session = true
	case s == approval.Denied:
		a.no = "the owner was asked and said no"
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// reached are the hosts that the owner allowed a group for good.
func (d *Daemon) reached(g chat.Group) []grant.Reached {
	var out []grant.Reached
	for _, r := range d.rightsNow() {
		if r.Kind == store.RightEgress && r.Group == g {
			out = append(out, grant.Reached{Host: r.Subject, Reason: reachedBy(r)})
		}
	}
	return out
}

// reachedBy is the reason of a host that the owner allowed.
func reachedBy(r store.Right) string {
	return fmt.Sprintf("right %d: allowed by %s in %s at %s", r.ID, r.By, r.From, r.At.Local().Format("2006-01-02 15:04"))
}
