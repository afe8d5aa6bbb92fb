package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/watch"
)

// recordTime is how long the record of a tool call may take. A call that cannot
// be recorded by then is refused.
const recordTime = 30 * time.Second

// watch has every tool call of a session's agent judged by its grant: recorded,
// counted, and where a rule or the mode says so put before the owner.
func (r *Runner) watch(s *session, o *agent.Options) error {
	judge, taken, err := judgeOf(s.grant, s.seen())
	if err != nil {
		return err
	}
	o.Disallow = append(o.Disallow, taken...)
	o.Tool = func(ctx context.Context, c agent.ToolCall) agent.ToolVerdict { return r.toolUsed(ctx, s, judge, c) }
	o.ToolTime = 2 * recordTime
	if s.grant.Ask {
		o.Permission = agent.AskFirst
	}
	asks := func(t grant.ToolRule) bool { return t.Level == string(watch.Ask) }
	if s.grant.Ask || slices.ContainsFunc(s.grant.Rules, asks) || slices.ContainsFunc(s.grant.Servers, grant.Server.Dangerous) {
		o.ToolTime += s.grant.Limits.AskTime
	}
	return nil
}

// seen is the session's grant with the paths that its agent has.
func (s *session) seen() grant.Grant {
	if s.box == nil {
		return s.grant
	}
	return s.box.Seen(s.grant)
}

// judgeOf makes the judge of a grant, and names the tools that it takes away
// whole. seen is the grant with the paths that the agent has.
func judgeOf(g, seen grant.Grant) (j *watch.Judge, taken []string, err error) {
	p := watch.Policy{
		AskAll: g.Ask, Calls: g.Limits.ToolCalls, Same: g.Limits.SameCalls, InARow: g.Limits.SameCallsInARow,
		Dir: grant.Workspace, Home: grant.Home,
	}
	for i, m := range g.Mounts {
		switch m.Target {
		case grant.Workspace:
			p.Dir = seen.Mounts[i].Target
		case grant.Home:
			p.Home = seen.Mounts[i].Target
		}
	}
	for _, t := range g.Rules {
		rule, err := watch.Parse(watch.Level(t.Level), t.Rule)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", t.Reason, err)
		}
		p.Rules = append(p.Rules, rule)
		if name, whole := rule.Whole(); whole && rule.Level() == watch.Deny {
			taken = append(taken, name)
		}
	}
	return watch.New(p), taken, nil
}

// toolUsed judges a tool call of the agent and writes it down before it happens.
// What cannot be written down does not happen (I9).
func (r *Runner) toolUsed(ctx context.Context, s *session, judge *watch.Judge, c agent.ToolCall) agent.ToolVerdict {
	run := s.caller().Run()
	if run == "" { // no run would count it
		return agent.ToolVerdict{Deny: "no message is being worked on, so no tool may be used"}
	}
	v := judge.Judge(string(run), watch.Call{Tool: c.Name, Input: c.Input, Subagent: c.Subagent})
	data := audit.ToolCalledData{
		Tool: r.Mask.Text(clip(c.Name)), Input: r.Mask.Input(c.Input), Verdict: "allowed",
		Rule: v.Rule, Count: judge.Calls(string(run)), Subagent: clip(c.Subagent),
	}
	answer := agent.ToolVerdict{Deny: cmp.Or(v.Reason, "the host refuses this call"), Stop: v.Stop}
	_, _, dangerous := s.grant.AskedOf(c.Name)
	switch {
	case v.Level == watch.Ask, v.Level == watch.Allow && dangerous:
		answer = r.ask(ctx, s, run, c)
	case v.Level == watch.Allow:
		answer = agent.ToolVerdict{}
	}
	if answer.Deny != "" {
		data.Verdict, data.Reason = "denied", answer.Deny
	}
	if v.Stop {
		r.halt(run, v.Reason)
	}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err := r.recordCall(record, c, answer, audit.Entry{
		At: time.Now(), Kind: audit.ToolCalled, Group: s.grant.Group, Run: run, Session: s.id, Data: data,
	}); err != nil {
		r.log(s).Error("a tool call cannot be recorded and is refused", "err", err)
		return agent.ToolVerdict{Deny: "the host cannot record this call now, so it is refused"}
	}
	if answer.Deny == "" {
		r.permit(s, c, answer)
	}
	return answer
}

// recordCall writes a call down. What the tools of MCP servers do is out of the host's
// sight, so a run that takes up this one's messages is told of what it was let begin.
func (r *Runner) recordCall(ctx context.Context, c agent.ToolCall, v agent.ToolVerdict, e audit.Entry) error {
	as, _, mcp := grant.ServerTool(c.Name)
	if !mcp || as == grant.HostServer || v.Deny != "" {
		return r.Store.Record(ctx, e)
	}
	input := c.Input
	if v.Input != nil {
		input = v.Input
	}
	brief, err := json.Marshal(r.Mask.Input(input))
	if err != nil {
		return err
	}
	return r.Store.RecordCall(ctx, e, r.Mask.Text(clip(c.Name)), briefly(string(brief)))
}

// briefly bounds the arguments of a call as another run is told of them.
func briefly(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// permit tells the host of a call that its agent was let make, where the host is
// to let no other pass.
func (r *Runner) permit(s *session, c agent.ToolCall, v agent.ToolVerdict) {
	if r.Permit == nil || !s.grant.Judged(c.Name) {
		return
	}
	args := c.Input
	if v.Input != nil {
		args = v.Input
	}
	server, tool, _ := grant.ServerTool(c.Name)
	r.Permit(s.id, server, tool, args)
}

// ask puts a call before the owner. What is let pass are the very arguments that
// were shown.
func (r *Runner) ask(ctx context.Context, s *session, run chat.RunID, c agent.ToolCall) agent.ToolVerdict {
	to, live := r.chatOf(run)
	if !live {
		return agent.ToolVerdict{Deny: "This needs the owner's consent, and no message of theirs is being answered. Wait for one."}
	}
	e, input := effectOf(s.grant, s.id, run, c)
	r.bind(s, run, c, &e)
	state, why := r.Consent(ctx, e, s.grant.Limits.AskTime, to)
	if state != approval.Approved {
		return agent.ToolVerdict{Deny: fmt.Sprintf("This needs the owner's consent, and there is none: %s. Do not try again in the same way: go on without it, or say in your answer what you would need and why.", why)}
	}
	return agent.ToolVerdict{Input: input}
}

// effectOf is everything that a call would do, and its arguments exactly as they
// are shown.
func effectOf(g grant.Grant, s chat.SessionID, run chat.RunID, c agent.ToolCall) (approval.Effect, json.RawMessage) {
	var input json.RawMessage
	var fields map[string]json.RawMessage
	if json.Unmarshal(c.Input, &fields) == nil && fields != nil {
		// Of a field that is there twice, the last one is shown and passed on.
		if again, err := json.Marshal(fields); err == nil {
			input = again
		}
	}
	who := "The agent"
	parts := []approval.Part{{Name: "tool", Value: c.Name}}
	if c.Subagent != "" {
		who = "A subagent"
		parts = append(parts, approval.Part{Name: "subagent", Value: c.Subagent})
	}
	parts = append(parts, serverPart(g, c.Name)...)
	parts = append(parts, approval.Fields(c.Input)...)
	return approval.Effect{
		Act: "tool", Title: fmt.Sprintf("%s of group %s asks to use the tool %s.", who, g.Group, clip(c.Name)),
		Group: g.Group, Run: run, Session: s, Parts: append(parts, approval.Part{Name: "in the folder", Value: cmp.Or(c.Dir, grant.Workspace)}),
	}, input
}

// serverPart names the MCP server of a tool, how it is reached, and which
// definitions of its tools were accepted.
func serverPart(g grant.Grant, tool string) []approval.Part {
	as, _, ok := grant.ServerTool(tool)
	if !ok {
		return nil
	}
	s, ok := g.Server(as)
	if !ok {
		return nil
	}
	value := fmt.Sprintf("%s (%s, %s)", s.Name, s.Reason, s.Transport)
	if s.Pin != "" {
		value += "\ntools as accepted: " + s.Pin
	}
	return []approval.Part{{Name: "MCP server", Value: value}}
}

// chatOf is the chat that a run that goes on answers to.
func (r *Runner) chatOf(run chat.RunID) (chat.Address, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	if l == nil {
		return chat.Address{}, false
	}
	return l.to, true
}

// halt notes why a run was ended by a fuse.
func (r *Runner) halt(run chat.RunID, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.live[run]; l != nil && l.halted == "" {
		l.halted = why
	}
}

// halted makes a failure of a result that a fuse cut short.
func (r *Runner) halted(run chat.RunID, res agent.Result) agent.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.live[run]; l != nil && l.halted != "" && !res.Failed {
		res.Failed, res.Class = true, agent.ClassLimit
		res.Error = "The agent went round in circles and was stopped. It had been told: " + l.halted
	}
	return res
}

// clip bounds a name that comes from inside.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
