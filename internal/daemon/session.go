package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hosttools"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/store"
)

// gateway makes a session's way out: rendered from its grant, and told by
// nobody inside who it is (I5).
func (d *Daemon) gateway(g grant.Grant, c runner.Caller) runner.Gateway {
	ask := d.askHost(g, c)
	o := egress.Options{Ask: ask, Group: c.Group, Session: c.Session, Hosts: g.Egress, Denied: g.Denied, Budget: g.Budget, RunTime: g.Limits.RunTime, Log: c.Log(d.log), Record: func(e egress.Event) error {
		if e.Spent != "" && d.runner != nil {
			d.runner.Spent(c.Run(), e.Spent)
		}
		if e.Allow != "" && d.runner != nil {
			d.runner.Refused(c.Run(), e.Allow)
		}
		return d.store.Record(context.Background(), audit.Entry{
			At: e.At, Kind: audit.EgressTried, Group: c.Group, Run: c.Run(), Session: c.Session, Data: e,
		})
	}}
	o.Refused = func(status int, retry time.Time) {
		if d.runner != nil {
			d.runner.Answered(c.Run(), status, retry)
		}
	}
	if g.Model != nil {
		// Asked for each request, so that a new login serves sessions that are warm.
		o.Model = func() *egress.Upstream { return d.models.of(g.Model.Provider) }
		o.ServerTools, o.Login = g.ServerTools(), func(u *egress.Upstream, text string) {
			d.runner.Answered(c.Run(), http.StatusUnauthorized, time.Time{})
			d.loginNeeded(u, text)
		}
		o.Used = func(u egress.Usage) {
			d.runner.Used(c.Run(), u)
			d.limits.used(c.Group, c.Run(), u)
		}
		o.Admit = func(ctx context.Context, size int) (func(egress.Served), string) {
			return d.limits.admit(ctx, c.Group, c.Run(), size)
		}
	}
	for _, s := range d.asked(g) {
		if server, ok := g.Server(s.As()); ok {
			o.Servers = append(o.Servers, s.Guarded(d.guardServer(g, c, server)))
		}
	}
	return egress.New(o)
}

// sessionEnded tells the owner why a session ended that no run was waiting for.
func (d *Daemon) sessionEnded(_ chat.Group, s chat.SessionID, text string) {
	d.tellOwner(context.Background(), "session:"+string(s), text)
	d.outbox.Wake()
}

// hostTools makes what a session may ask of the host.
func (d *Daemon) hostTools(g grant.Grant, c runner.Caller) runner.HostTools {
	id := hosttools.Identity{Group: c.Group, Session: c.Session, Run: c.Run, Consented: func(tool string, args json.RawMessage) bool {
		return !g.Judged(agent.ToolName(tool)) || d.mcp.permits.take(c.Session, grant.HostServer, tool, args)
	}}
	return hosttools.New(id, g.Tools, &toolHost{d: d})
}

// toolHost is the host as the tools of one session see it.
type toolHost struct {
	d    *Daemon
	sent atomic.Int64
}

// Groups lists the groups.
func (h *toolHost) Groups(context.Context) ([]hosttools.GroupInfo, error) {
	var out []hosttools.GroupInfo
	for _, name := range h.d.groupNames() {
		out = append(out, hosttools.GroupInfo{Name: name, Mode: h.d.modeOf(name)})
	}
	return out, nil
}

// Send puts a message of an agent into the outbox. The tools have checked who
// may send where; here is where it goes: to the group's first chat, which for a
// group without one is the owner's terminal.
func (h *toolHost) Send(ctx context.Context, from hosttools.Identity, to chat.Group, text string) error {
	address, err := h.d.chatOf(to)
	if err != nil {
		return err
	}
	if to == from.Group {
		address = h.threadOf(from, address)
	}
	_, err = h.d.outbox.Put(ctx, chat.Outbound{
		To: address, Kind: chat.Tool, Text: text, Run: from.Run(), Group: to,
		Key: cmp.Or(hosttools.EffectKey(ctx), fmt.Sprintf("tool:%s:%d", from.Session, h.sent.Add(1))),
	})
	return err
}

// Begin writes down that a call is about to have an effect.
func (h *toolHost) Begin(ctx context.Context, from hosttools.Identity, e hosttools.Effect) (hosttools.Begun, error) {
	b, err := h.d.store.BeginEffect(ctx, from.Run(), store.Call{Tool: e.Tool, Hash: e.Hash, Brief: h.d.mask.Text(e.Brief)})
	if err != nil {
		return hosttools.Begun{}, err
	}
	return hosttools.Begun{Key: b.Key, Done: b.Done, Answer: b.Answer, At: b.At, End: func(ctx context.Context, did bool, answer string) error {
		return h.d.store.EndEffect(ctx, b, did, answer)
	}}, nil
}

// GroupOf gives the group that has a chat.
func (h *toolHost) GroupOf(to chat.Address) (chat.Group, error) {
	for _, g := range h.d.groupNames() {
		if slices.Contains(h.d.addressesOf(g), to) {
			return g, nil
		}
	}
	if to.Channel == console.ID || h.d.channels[to.Channel] == nil {
		return "", fmt.Errorf("there is no chat %q here: its channel is not connected", to)
	}
	return "", nil
}

// Record writes an audit entry.
func (h *toolHost) Record(ctx context.Context, e audit.Entry) error { return h.d.store.Record(ctx, e) }

// chatOf is where a group is spoken to.
func (d *Daemon) chatOf(g chat.Group) (chat.Address, error) {
	group, ok := d.config.Groups[string(g)]
	if !ok && g != chat.Main {
		return chat.Address{}, fmt.Errorf("there is no group %q", g)
	}
	if len(group.Chats) > 0 {
		return chat.ParseAddress(group.Chats[0])
	}
	return console.Address(g), nil
}

func (d *Daemon) agentReason(g chat.Group, agent string) string {
	return grant.AgentReason(grant.Request{Config: d.config, Group: g, Machine: d.machineNow()}, agent)
}

// addressesOf are the chats of a group: its terminal, then those of the
// configuration.
func (d *Daemon) addressesOf(g chat.Group) []chat.Address {
	out := []chat.Address{console.Address(g)}
	for _, s := range d.config.Groups[string(g)].Chats {
		if a, err := chat.ParseAddress(s); err == nil && a != out[0] {
			out = append(out, a)
		}
	}
	return out
}

// markupOf is what the channels of a group's chats make of marks in a text.
func (d *Daemon) markupOf(g chat.Group) []chat.Markup {
	addresses := d.addressesOf(g)
	if len(addresses) > 1 {
		addresses = addresses[1:] // the terminal shows what it can of what is written for them
	}
	var out []chat.Markup
	for _, a := range addresses {
		if f, ok := d.channels[a.Channel].(channel.Formatter); ok && !slices.Contains(out, f.Markup()) {
			out = append(out, f.Markup())
		}
	}
	return out
}

func (d *Daemon) modeOf(g chat.Group) string {
	if m := d.config.Groups[string(g)].Mode; m != "" {
		return m
	}
	return d.config.ExecutionMode
}
