package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
)

// turn gives the agent a prompt. Where the session cannot go on, the host begins
// a new one in the same boundary and gives it the prompt again, once.
func (r *Runner) turn(ctx context.Context, s *session, l *live, p agent.Prompt, emit func(agent.Event)) (agent.Result, error) {
	s.archived.Store(false)
	steps.Before(steps.Ask)
	res, err := s.conv.Turn(ctx, p, emit)
	steps.After(steps.Ask)
	class := classOf(res, err)
	if class.Recovery() != agent.NewSession || ctx.Err() != nil || res.Interrupted || !s.stands() {
		return res, err
	}
	r.Log.Warn("the agent's session cannot go on, and a new one begins", "session", s.id, "class", class)
	if class == agent.ClassTooLong && res.SessionID != "" && !s.archived.Load() {
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		r.archiver(s)(within, agent.ClaudeTranscript(res.SessionID))
		cancel()
	}
	s.conv.Close()
	s.conv, s.replaced = nil, true
	if err := r.startOver(ctx, s); err != nil {
		return res, err
	}
	if err := r.ready(ctx, s, l); err != nil {
		return res, err
	}
	p.Text = agent.FormatNote(begunAnew(class, res.ToolCalls)) + p.Text
	again, err := s.conv.Turn(ctx, p, emit)
	again.CostUSD += res.CostUSD
	again.InputTokens += res.InputTokens
	again.OutputTokens += res.OutputTokens
	again.ToolCalls += res.ToolCalls
	return again, err
}

// begunAnew tells the agent why it remembers nothing. These are our own words.
func begunAnew(class agent.Class, toolCalls int) string {
	text := "Your session here could not be taken up again, so this is a new one."
	if class == agent.ClassTooLong {
		text = "Your conversation here became too long for the model, so this is a new session."
	}
	text += " What was said before is not here; your memory and the files are, and " + archiveFolder + "/ may have it."
	if toolCalls > 0 {
		text += fmt.Sprintf(" The message below was begun already, with %d uses of tools: look at what is done before you do it again.", toolCalls)
	}
	return text
}

// classOf is the class of a failure, "" if there was none.
func classOf(res agent.Result, err error) agent.Class {
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

// refusedBy are the statuses with which a model refuses for a reason of the
// account.
var refusedBy = map[agent.Class][]int{
	agent.ClassCredential: {401, 403}, agent.ClassBilling: {400, 402, 403}, agent.ClassRateLimit: {429},
}

// trouble is a failure that meets every message until it is over, and whom it was
// told already.
type trouble struct {
	until time.Time // when it is over by itself; zero: not known
	told  map[chat.Address]bool
}

// troubles are those that go on, by class.
type troubles struct {
	mu   sync.Mutex
	open map[agent.Class]*trouble
}

// begin notes a failure of the account for a chat. It says whether the trouble is
// new, and whether the chat was not told yet.
func (t *troubles) begin(c agent.Class, to chat.Address, until, now time.Time) (isNew, untold bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[agent.Class]*trouble{}
	}
	known := t.open[c]
	if isNew = known == nil || !known.until.IsZero() && now.After(known.until); isNew {
		known = &trouble{told: map[chat.Address]bool{}}
		t.open[c] = known
	}
	known.until = until
	untold = !known.told[to]
	known.told[to] = true
	return isNew, untold
}

// over ends all troubles: the model answered.
func (t *troubles) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.open)
}

// tell looks at how a run ended, and says what of it is for its chat: with when to
// try again, and "" for what the chat was told already. A terminal is told each
// time, since somebody waits there.
func (r *Runner) tell(job queue.Job, res agent.Result, err error, o Outcome, now time.Time) string {
	class := classOf(res, err)
	if o.State == Succeeded && res.SessionID != "" {
		r.troubles.over()
	}
	if o.State != Failed || !class.Account() {
		return o.Error
	}
	r.mu.Lock()
	l := r.live[job.Run]
	status, retry := 0, res.Retry
	if l != nil {
		status = l.status
		if !l.retry.IsZero() {
			retry = l.retry
		}
	}
	r.mu.Unlock()
	text := o.Error
	if class == agent.ClassRateLimit && retry.After(now) {
		text += "\nit opens again " + r.when(retry, now)
	}
	if !slices.Contains(refusedBy[class], status) {
		return text
	}
	to := job.Last().From
	isNew, untold := r.troubles.begin(class, to, retry, now)
	if isNew && r.Troubled != nil {
		r.Troubled(class, to, text)
	}
	if !untold && to.Channel != chat.Console {
		return ""
	}
	return text
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
