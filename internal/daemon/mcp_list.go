package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/doctor"
	"nanoclaw/internal/grant"
)

// Servers tells of the owner's MCP servers, for each group that has them.
func (d *Daemon) Servers(ctx context.Context, q control.ServersQuery) ([]control.ServerInfo, error) {
	if q.Group != "" {
		if err := d.known(q.Group); err != nil {
			return nil, err
		}
	}
	if _, ok := d.config.MCPServers[q.Name]; q.Name != "" && !ok {
		return nil, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no MCP server %q", q.Name), Hint: "nanoclaw mcp list shows those there are"}
	}
	var out []control.ServerInfo
	for _, g := range d.groupNames() {
		if q.Group != "" && g != q.Group {
			continue
		}
		list, err := d.serversOf(ctx, g, q)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// serversOf tells of the servers of one group.
func (d *Daemon) serversOf(ctx context.Context, g chat.Group, q control.ServersQuery) ([]control.ServerInfo, error) {
	r, err := d.request(ctx, g, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
	if err != nil {
		return nil, err
	}
	got, err := grant.Decide(r)
	var no *grant.Refusal
	if errors.As(err, &no) {
		return d.refusedServers(g, q, no), nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range got.Servers {
		if q.Test && s.Active() && (q.Name == "" || q.Name == s.Name) {
			d.mcp.watch.Check(ctx, target{s.Name, g}.key())
		}
	}
	d.judgeServers(&got)
	var out []control.ServerInfo
	for _, s := range got.Servers {
		if q.Name != "" && q.Name != s.Name {
			continue
		}
		info := control.ServerInfo{Name: s.Name, Group: g, As: s.As, Transport: string(s.Transport), State: s.State, Reason: s.Reason, Fix: s.Fix, Secrets: s.Secrets}
		info.Checked = d.mcp.watch.Health(target{s.Name, g}.key()).At
		if page, ok := d.mcp.book.Page(d.pageOf(target{s.Name, g})); ok {
			now := page.Now()
			info.Says, info.Hash, info.Tools, info.Since = now.Server, now.Hash, now.Tools, page.Since
			info.Pin, info.Waiting = s.Pin, s.Waiting
			if d.holds(target{s.Name, g}, page) {
				info.Pin, info.By = page.Hash, page.By
			}
		}
		info.Asks = s.Dangerous()
		out = append(out, info)
	}
	return out, nil
}

// refusedServers are those that a group would have if it had sessions.
func (d *Daemon) refusedServers(g chat.Group, q control.ServersQuery, no *grant.Refusal) []control.ServerInfo {
	var out []control.ServerInfo
	for _, name := range d.serverNames() {
		if (q.Name == "" || q.Name == name) && d.config.MCPServers[name].For(string(g)) {
			out = append(out, control.ServerInfo{Name: name, Group: g, State: "refused", Reason: no.Text, Fix: no.Hint})
		}
	}
	return out
}

// missingServers tells of the servers that a group has not, or not whole, each in a
// line. It looks at what is known, and asks nobody.
func (d *Daemon) missingServers() []string {
	var out []string
	for _, g := range d.groupNames() {
		for _, name := range d.serverNames() {
			s, t := d.config.MCPServers[name], target{name, g}
			if !s.For(string(g)) {
				continue
			}
			page, known := d.mcp.book.Page(d.pageOf(t))
			a, _ := d.accepted(t)
			waits := known && len(a.Tools) < len(page.Now().Tools)
			switch h := d.mcp.watch.Health(t.key()); {
			case !slices.Contains(s.Modes, d.modeOf(g)):
				out = append(out, fmt.Sprintf("%s of %s is left out: %s.modes has no %q", name, g, s.Where(name), d.modeOf(g)))
			case h.Failed != "":
				out = append(out, fmt.Sprintf("%s of %s cannot be had: %s", name, g, h.Failed))
			case waits:
				out = append(out, fmt.Sprintf("%s of %s: %d of %d tools wait until you accept them: nanoclaw mcp pin %s", name, g, len(page.Now().Tools)-len(a.Tools), len(page.Now().Tools), name))
			}
		}
	}
	return out
}

// checkServers are doctor's findings about the MCP servers. It looks at what is
// known, and asks nobody.
func (d *Daemon) checkServers(ctx context.Context) ([]control.Check, error) {
	list, err := d.Servers(ctx, control.ServersQuery{})
	var out []control.Check
	for _, s := range list {
		c := control.Check{Name: "MCP " + s.Name, State: string(doctor.OK), Detail: "group " + string(s.Group) + " has it"}
		switch {
		case s.State != grant.ServerActive:
			c.State, c.Detail, c.Fix = string(doctor.Note), fmt.Sprintf("group %s has it not: %s, %s", s.Group, s.State, s.Reason), s.Fix
			if s.State == grant.ServerFailed {
				c.State = string(doctor.Warn)
			}
		case len(s.Waiting) > 0:
			c.State, c.Detail, c.Fix = string(doctor.Warn), fmt.Sprintf("group %s has it without %d tools that you have not accepted", s.Group, len(s.Waiting)), "nanoclaw mcp pin "+s.Name
		case len(s.Secrets) > 0:
			c.State, c.Detail, c.Fix = string(doctor.Warn), secretsInside(s.Name, s.Secrets), fmt.Sprintf(`"own": true in mcpServers.%s`, s.Name)
		case s.Checked.IsZero():
			c.Detail += "; it was not looked at yet (nanoclaw mcp test " + s.Name + ")"
		}
		out = append(out, c)
	}
	return out, err
}
