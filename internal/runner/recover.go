package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/steps"
)

// turn gives the agent a prompt. A conversation that is too long for the model is
// summarised by the agent itself, if it can. Where the session cannot go on, the
// host begins a new one in the same boundary and gives it the prompt again, once,
// with what was said before.
func (r *Runner) turn(ctx context.Context, s *session, l *live, p agent.Prompt, emit func(agent.Event)) (agent.Result, error) {
	s.archived.Store(false)
	steps.Before(steps.Ask)
	res, err := s.conv.Turn(ctx, p, emit)
	steps.After(steps.Ask)
	class := classOf(res, err)
	if class.Recovery() != agent.NewSession || ctx.Err() != nil || res.Interrupted || !s.stands() {
		return res, err
	}
	if class == agent.ClassTooLong && err == nil {
		if again, ok := r.compacted(ctx, s, p, res, emit); ok {
			return again, nil
		}
	}
	r.log(s).Warn("the agent's session cannot go on, and a new one begins", "class", class)
	if class == agent.ClassTooLong && res.SessionID != "" && !s.archived.Load() {
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		r.archiver(s)(within, agent.ClaudeTranscript(res.SessionID))
		cancel()
	}
	s.conv.Close()
	s.conv, s.replaced = nil, true
	if err := r.startOver(ctx, s, begunAnew(class, res.ToolCalls)); err != nil {
		return res, err
	}
	if err := r.ready(ctx, s, l); err != nil {
		return res, err
	}
	p.Text = s.takeAnew() + p.Text
	again, err := s.conv.Turn(ctx, p, emit)
	return added(res, again), err
}

// compacted has the agent summarise its conversation, unless it tried that by itself
// in this turn, and gives it the prompt again, under another name, since a live agent
// ignores what it was given once. It is not ok if that does not help.
func (r *Runner) compacted(ctx context.Context, s *session, p agent.Prompt, before agent.Result, emit func(agent.Event)) (agent.Result, bool) {
	if s.grant.Agent != grant.Claude || s.archived.Load() {
		return agent.Result{}, false
	}
	c, err := s.conv.Turn(ctx, agent.Prompt{UUID: agent.UUID("compact", p.UUID), Text: "/compact", Command: true}, emit)
	if err != nil || c.Failed || c.Interrupted || !s.archived.Load() { // it is archived right before
		return agent.Result{}, false
	}
	p.UUID, p.Before = agent.UUID("compacted", p.UUID), slices.Clone(p.Before)
	for i := range p.Before {
		p.Before[i].UUID = agent.UUID("compacted", p.Before[i].UUID)
	}
	again, err := s.conv.Turn(ctx, p, emit)
	if err != nil || again.Failed && again.Class == agent.ClassTooLong {
		return agent.Result{}, false
	}
	return added(before, added(c, again)), true
}

// added is a result with what others before it cost.
func added(before, res agent.Result) agent.Result {
	res.CostUSD += before.CostUSD
	res.InputTokens += before.InputTokens
	res.OutputTokens += before.OutputTokens
	res.ToolCalls += before.ToolCalls
	return res
}

// begunAnew tells the agent why it remembers nothing. These are our own words.
func begunAnew(class agent.Class, toolCalls int) string {
	text := "Your session here could not be taken up again, so this is a new one."
	switch class {
	case agent.ClassTooLong:
		text = "Your conversation here became too long for the model, so this is a new session."
	case agent.ClassPoison:
		text = "Work on the message below was cut off several times, and may be what ended it, so this is a new session with that message alone."
	}
	text += " Your memory and the files are here, and " + archiveFolder + "/ may have what was said before."
	if toolCalls > 0 {
		text += fmt.Sprintf(" The message below was begun already, with %d uses of tools: look at what is done before you do it again.", toolCalls)
	}
	return text
}

// classOf is the class of a failure, "" if there was none.
func classOf(res agent.Result, err error) agent.Class {
	if startOf(err) {
		return agent.ClassBoundary
	}
	if e, ok := errors.AsType[*agent.Error](err); ok {
		return e.Class
	}
	if res.Failed {
		return res.Class
	}
	return ""
}

// rawOf is what is kept of a failure for the record.
func rawOf(res agent.Result, err error) string {
	if e, ok := errors.AsType[*agent.Error](err); ok {
		return cmp.Or(e.Detail, e.Text)
	}
	return res.Raw
}

// Answered notes that the model refused a request of a run, and when it may be
// repeated. It comes from the host's own gateway: that an account is in trouble is
// believed only if this says so too, since what an agent says of its failure may
// be made up.
func (r *Runner) Answered(run chat.RunID, status int, retry time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.live[run]; l != nil {
		l.status, l.retry = status, retry
	}
}

// when says a time for people, and how far off it is.
func (r *Runner) when(at, now time.Time) string {
	zone := r.Zone
	if zone == nil {
		zone = time.UTC
	}
	form := "at 15:04"
	if at.Sub(now) > 20*time.Hour {
		form = "on Monday 2 January at 15:04"
	}
	return fmt.Sprintf("%s (in %s)", at.In(zone).Format(form), strings.TrimSuffix(max(at.Sub(now), time.Minute).Round(time.Minute).String(), "0s"))
}
