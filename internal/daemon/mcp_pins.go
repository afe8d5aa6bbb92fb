package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/mcpserver"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/store"
)

// pinAct is the act of a question about what a server says of its tools.
const pinAct = "mcp"

// pinTime is how long such a question waits. What it is about is left out
// meanwhile, and afterwards.
const pinTime = 7 * 24 * time.Hour

// pinned is what an answer is about: it is the key of the question.
type pinned struct {
	Server string `json:"server"`
	// Group is empty where all groups meet the same server.
	Group chat.Group `json:"group,omitempty"`
	Hash  string     `json:"hash"`
}

// pinOf names the definitions of a server as a group meets it.
func (d *Daemon) pinOf(t target, hash string) pinned {
	p := pinned{Server: t.server, Hash: hash}
	if d.pageOf(t) == t.key() {
		p.Group = t.group
	}
	return p
}

// page is where the book has it.
func (p pinned) page() string {
	if p.Group != "" {
		return target{p.Server, p.Group}.key()
	}
	return p.Server
}

// mustAsk says that a group may not have a server of which the owner accepted
// nothing: groups but main, if it is dangerous. Elsewhere what a server says
// first is trusted.
func (d *Daemon) mustAsk(t target) bool {
	s := d.config.MCPServers[t.server]
	return t.group != chat.Main && (s.Dangerous || len(s.DangerousTools) > 0)
}

// holds says whether what is pinned counts for a group.
func (d *Daemon) holds(t target, page mcpserver.Page) bool {
	if page.By == mcpserver.FirstUse && !d.mustAsk(t) {
		return true
	}
	p := d.pinOf(t, page.Hash)
	r, ok := d.right(store.RightMCP, p.Group, p.Server)
	return ok && r.Hash == page.Hash
}

// accepted gives the definitions that a group may have of a server; known is
// false while nothing is known of it and what it says first will be trusted.
func (d *Daemon) accepted(t target) (a mcpserver.Accepted, known bool) {
	page, ok := d.mcp.book.Page(d.pageOf(t))
	switch {
	case !ok:
		return mcpserver.Accepted{}, d.mustAsk(t)
	case !d.holds(t, page):
		return mcpserver.Accepted{}, true
	}
	return page.Accepted(), true
}

// judgePins notes in a grant what is accepted of its servers, and what waits. A
// server of which nothing is accepted is left out whole, and so is a program inside
// of which anything waits, since nobody could leave out parts of it.
func (d *Daemon) judgePins(g *grant.Grant) {
	for i := range g.Servers {
		s, t := &g.Servers[i], target{g.Servers[i].Name, g.Group}
		if !s.Active() {
			continue
		}
		page, ok := d.mcp.book.Page(d.pageOf(t))
		switch {
		case !ok && !d.mustAsk(t):
			continue
		case !ok:
			g.Fail(s.Name, "it is dangerous, and was not looked at yet: you accept first what it says of its tools", "nanoclaw mcp test "+s.Name)
			continue
		case !d.holds(t, page):
			g.Fail(s.Name, "you have not accepted what it says of its tools", "nanoclaw mcp pin "+s.Name)
			continue
		}
		s.Pin = page.Hash
		a := page.Accepted()
		for _, name := range page.Now().Names() {
			if a.Tools[name] == "" {
				s.Waiting = append(s.Waiting, name)
			}
		}
		if s.Transport == grant.ServerInside && len(s.Waiting) > 0 {
			g.Fail(s.Name, fmt.Sprintf("what it says of %d of its tools is new, and you have not accepted it", len(s.Waiting)), "nanoclaw mcp pin "+s.Name)
		}
	}
}

// guardServer stands between a session and one of its servers.
func (d *Daemon) guardServer(g grant.Grant, c runner.Caller, s grant.Server) *mcpserver.Guard {
	t := target{s.Name, g.Group}
	return mcpserver.NewGuard(mcpserver.GuardOptions{
		Server:   s.Name,
		Accepted: func() (mcpserver.Accepted, bool) { return d.accepted(t) },
		Asks: func(tool string) bool {
			if tool == "" {
				return s.Ask
			}
			return g.Judged(grant.ToolOf(s.As, tool))
		},
		Consented: func(tool string, args json.RawMessage) bool { return d.mcp.permits.take(c.Session, s.As, tool, args) },
		Left: func(tools []string) {
			c.Log(d.log).Warn("what an MCP server says of some tools is not accepted, and left out", "server", s.Name, "tools", tools)
			d.mcp.watch.Nudge(t.key())
		},
	})
}

// noteTools writes down what a server says of its tools, and asks the owner about
// what nobody accepted: whoever runs the server can steer agents by it.
func (d *Daemon) noteTools(ctx context.Context, t target, found mcpserver.Definitions) {
	name := d.pageOf(t)
	c := d.mcp.book.Compare(name, found)
	if c.News {
		err := d.store.Record(ctx, audit.Entry{At: time.Now(), Kind: audit.MCPTools, Group: t.group, Data: audit.MCPToolsData{
			Server: t.server, Says: found.Server, Was: c.Was, Is: c.Is, Change: c.Words(), Tools: found.Tools,
		}})
		if err == nil {
			err = d.mcp.book.Keep(name, found, time.Now())
		}
		if err != nil {
			d.log.Error("the tools of an MCP server could not be written down", "server", t.server, "err", err)
			return
		}
	}
	page, _ := d.mcp.book.Page(name)
	switch first := !d.holds(t, page); {
	case c.News && (c.Grows() && !c.First || first), first && !d.askedFirst(name):
		d.askPin(ctx, t, page, first, c)
	case c.News && !c.First:
		d.tellOwner(ctx, "mcp:"+name+":"+c.Is, fmt.Sprintf("The MCP server %s changed its tools. %s. Nothing of it has to be accepted.", t.server, c.Words()))
		d.outbox.Wake()
	}
}

// askedFirst says whether this process asked already about a server of which
// nothing is accepted.
func (d *Daemon) askedFirst(page string) bool {
	d.mcp.permits.mu.Lock()
	defer d.mcp.permits.mu.Unlock()
	if d.mcp.asked == nil {
		d.mcp.asked = map[string]bool{}
	}
	was := d.mcp.asked[page]
	d.mcp.asked[page] = true
	return was
}

// askPin asks the owner about what a server says now, with the difference whole.
// What is too long for that is accepted at the terminal.
func (d *Daemon) askPin(ctx context.Context, t target, page mcpserver.Page, first bool, c mcpserver.Change) {
	d.askedFirst(d.pageOf(t))
	e, err := d.pinEffect(t, page, first)
	if err == nil {
		_, err = d.desk.Put(ctx, e, pinTime, nil)
	}
	if err != nil {
		d.tellOwner(ctx, "mcp:"+d.pageOf(t)+":"+page.Now().Hash, fmt.Sprintf("The MCP server %s changed its tools. %s. They are left out. You are not asked here, since %v. Look at it and accept it at the terminal: nanoclaw mcp pin %s",
			t.server, c.Words(), err, t.server))
	}
	d.outbox.Wake()
}

// pinEffect is what a yes accepts: each definition that is other than what was
// accepted, as it was and as it is.
func (d *Daemon) pinEffect(t target, page mcpserver.Page, first bool) (approval.Effect, error) {
	now := page.Now()
	p := d.pinOf(t, now.Hash)
	key, err := json.Marshal(p)
	if err != nil {
		return approval.Effect{}, err
	}
	what := "changed what it says of its tools"
	if first {
		what = "is dangerous, and nobody has accepted what it says of its tools"
	}
	e := approval.Effect{
		Act: pinAct, Title: fmt.Sprintf("The MCP server %s %s. Its agents read that. Shall they?", t.server, what),
		Group: t.group, Key: string(key), Grows: true,
		Parts: []approval.Part{{Name: "MCP server", Value: t.server + ", " + d.config.MCPServers[t.server].Where(t.server) + "; it calls itself " + now.Server}, {Name: "all its tools", Value: now.Hash}},
	}
	diff, err := page.Difference(first)
	for _, s := range diff {
		switch {
		case s.Was == "":
			e.Parts = append(e.Parts, approval.Part{Name: "new: " + s.What, Value: s.Is})
		case s.Is == "":
			e.Parts = append(e.Parts, approval.Part{Name: "gone", Value: s.What})
		default:
			e.Parts = append(e.Parts, approval.Part{Name: "was: " + s.What, Value: s.Was}, approval.Part{Name: "is: " + s.What, Value: s.Is})
		}
	}
	return e, err
}

// pinAnswered does what follows from the owner's answer.
func (d *Daemon) pinAnswered(ctx context.Context, e approval.Effect, s approval.State, by approval.Who) error {
	if s != approval.Approved {
		return nil
	}
	var p pinned
	if err := json.Unmarshal([]byte(e.Key), &p); err != nil {
		return err
	}
	return d.pin(ctx, p, by)
}

// pin keeps the owner's yes, and pins what it was about.
func (d *Daemon) pin(ctx context.Context, p pinned, by approval.Who) error {
	page, ok := d.mcp.book.Page(p.page())
	if !ok || page.Now().Hash != p.Hash {
		return mcpserver.ErrOther
	}
	err := d.allow(ctx, store.Right{Kind: store.RightMCP, Group: p.Group, Subject: p.Server, Hash: p.Hash}, by, "what the MCP server says of its tools was accepted")
	if err == nil {
		err = d.mcp.book.Pin(p.page(), p.Hash, string(by.Sender.ID), time.Now())
	}
	return err
}

// takeUpPins pins what the owner accepted and an earlier process did not get to.
func (d *Daemon) takeUpPins() error {
	for _, r := range d.rightsNow() {
		p := pinned{Server: r.Subject, Group: r.Group, Hash: r.Hash}
		if r.Kind != store.RightMCP {
			continue
		}
		if page, ok := d.mcp.book.Page(p.page()); ok && page.Next != nil && page.Next.Hash == r.Hash {
			if err := d.mcp.book.Pin(p.page(), r.Hash, r.By, r.At); err != nil {
				return err
			}
		}
	}
	return nil
}

// PinServer shows what waits to be accepted of a server, or accepts it if its hash
// is named. Whoever is on the socket is the owner, at a terminal.
func (d *Daemon) PinServer(ctx context.Context, r control.PinRequest) (control.Pin, error) {
	t, page, err := d.waits(r)
	if err != nil {
		return control.Pin{}, err
	}
	out := control.Pin{Server: r.Name, Group: d.pinOf(t, "").Group, Hash: page.Now().Hash}
	first := !d.holds(t, page)
	if page.Next == nil && !first {
		out.Done = true
		return out, nil
	}
	diff, err := page.Difference(first)
	if err != nil { // here nobody has to read it in a chat
		out.Text = err.Error() + "\n"
	}
	for _, s := range diff {
		out.Text += s.What + "\n"
		for _, part := range []struct{ name, text string }{{"was", s.Was}, {"is", s.Is}} {
			if part.text != "" {
				out.Text += "  " + part.name + ": " + part.text + "\n"
			}
		}
	}
	if r.Hash == "" {
		return out, nil
	}
	err = mcpserver.ErrOther
	if r.Hash == out.Hash {
		err = d.pin(ctx, d.pinOf(t, out.Hash), approval.Who{
			From: chat.Address{Channel: console.ID, Chat: "command"}, Sender: chat.Sender{ID: console.Owner, Owner: true},
		})
	}
	if errors.Is(err, mcpserver.ErrOther) {
		return control.Pin{}, &control.Error{Code: control.CodeRefused, Message: err.Error(), Hint: "nanoclaw mcp pin " + r.Name + " shows it as it is now"}
	}
	out.Done = err == nil
	d.changed.fire()
	return out, err
}

// waits finds the server of a request, for a group of which something waits if
// there is one.
func (d *Daemon) waits(r control.PinRequest) (target, mcpserver.Page, error) {
	s, ok := d.config.MCPServers[r.Name]
	if !ok {
		return target{}, mcpserver.Page{}, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no MCP server %q", r.Name), Hint: "nanoclaw mcp list shows those there are"}
	}
	if r.Group != "" {
		if err := d.known(r.Group); err != nil {
			return target{}, mcpserver.Page{}, err
		}
	}
	var best target
	var found mcpserver.Page
	var several []string
	for _, g := range d.groupNames() {
		t := target{r.Name, g}
		page, ok := d.mcp.book.Page(d.pageOf(t))
		if !ok || !s.For(string(g)) || r.Group != "" && g != r.Group {
			continue
		}
		waiting := page.Next != nil || !d.holds(t, page)
		if waiting && d.pageOf(t) == t.key() {
			several = append(several, string(g))
		}
		if best.server == "" || waiting {
			best, found = t, page
		}
	}
	switch {
	case best.server == "":
		return best, found, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("the MCP server %q was not looked at yet", r.Name), Hint: "nanoclaw mcp test " + r.Name}
	case len(slices.Compact(several)) > 1:
		return best, found, &control.Error{Code: control.CodeUsage, Message: "each group has its own: " + strings.Join(several, ", "), Hint: "name one with --group"}
	}
	return best, found, nil
}
