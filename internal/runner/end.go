package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
)

// refuse ends a run that the policy does not allow. Nothing was started.
func (r *Runner) refuse(ctx context.Context, job queue.Job, err error, log *slog.Logger) {
	if ctx.Err() != nil || errors.Is(err, ErrHeld) {
		r.release(ctx, job, log)
		return
	}
	if w, ok := waits(err); ok {
		r.hold(ctx, job, w, log)
		return
	}
	var no *grant.Refusal
	if !errors.As(err, &no) {
		r.end(ctx, job, nil, agent.Result{}, err, log)
		return
	}
	log.Info("a run is refused", "rule", no.Rule)
	at := steps.Now()
	o := Outcome{State: Refused, At: at, Error: no.Error(), Task: job.Last().Task, TaskBroken: breaks(job, no)}
	if o.TaskBroken == "" { // else the store tells it, with what becomes of the task
		o.Replies = []chat.Outbound{notice(job, no.Error())}
	}
	r.finish(ctx, job, o,
		audit.Entry{At: at, Kind: audit.RunRefused, Group: job.Group, Run: job.Run, Data: audit.RunRefusedData{Rule: no.Rule, Text: no.Text}}, log)
}

// end stores how a run ended, keeps or closes its session, and says it to the
// chat. A run that ended because the daemon stops is released instead: it is
// answered after the next start.
func (r *Runner) end(ctx context.Context, job queue.Job, s *session, res agent.Result, err error, log *slog.Logger) {
	cause := context.Cause(ctx)
	cut := s.cut()
	if cut != nil && (err != nil || res.Failed) {
		err = cut // what the agent says of its end is only a consequence
	}
	spent, _ := errors.AsType[*spentError](cause)
	stopping := cause != nil && !errors.Is(cause, errStopped) && !errors.Is(cause, errTooLong) && spent == nil || lost(err)
	o := outcome(res, err, cause)
	o.At = steps.Now()
	if cause == nil && cut == nil && !res.Interrupted {
		r.afterwards(ctx, job, s, res, err, &o, log)
	}
	// An agent that is to go on where it was is started anew, and finds what it did.
	keep := s != nil && err == nil && cause == nil && !s.once() && !forgets(res) && (!s.asleep || s.conv != nil) && (o.Trouble == nil || o.Trouble.Anew)
	var found []string
	var notice string
	if s != nil {
		if !keep {
			s.ended = ending(cause, s.grant)
			if s.taken = lost(cause) || lost(err); s.taken {
				s.ended = takenOver
			}
			r.closeSession(s)
		}
		found, notice = s.guard.Check(context.WithoutCancel(ctx), s.caller(), job.Last().From, !keep)
	}
	if s != nil && s.box != nil && !stopping {
		r.changed(ctx, job, s)
	}
	if keep {
		s.serve("")
		r.keep(s)
	}
	if stopping {
		r.logEnded(job, s, res, Outcome{}, "put back, since nanoclaw stops: its messages wait")
		r.release(ctx, job, log)
		return
	}
	if s != nil && s.talk.Isolated {
		o.AgentSession, o.ForgetSession = "", false
	}
	if o.Task = job.Last().Task; s != nil && s.asleep && o.State == Succeeded {
		o.notWoken(s)
	}
	o.At, o.Unread = steps.Now(), r.notSeen(job.Run)
	used := r.used(job.Run)
	o.counted(used)
	o.Replies = replies(job, res, o, r.tell(job, res, err, o, o.At), r.wayOut(job.Run), notice)
	if o.Trouble == nil && s != nil && o.State == Succeeded {
		r.mended(job.Run, "")
	}
	data := audit.RunEndedData{
		State: string(o.State), Error: o.Error, Ms: o.At.Sub(job.Claimed).Milliseconds(),
		CostUSD: o.CostUSD, ToolCalls: o.ToolCalls, Model: used, Found: found,
	}
	if o.State == Failed || len(o.Dead) > 0 {
		data.Class, data.Raw = string(classOf(res, err)), rawOf(res, err)
	}
	if errors.Is(cause, errTooLong) {
		data.Class = string(agent.ClassTimeout)
	}
	entry := audit.Entry{At: o.At, Kind: audit.RunEnded, Group: job.Group, Run: job.Run, Data: data}
	if s != nil {
		entry.Session = s.id
	}
	r.logEnded(job, s, res, o, "")
	log.Info("a run ended", "state", o.State, "err", o.Error, "ms", data.Ms)
	r.finish(ctx, job, o, entry, log)
}

// changed writes down which files a run left changed. It is an explanation and
// never a condition: the run ends without it, too.
func (r *Runner) changed(ctx context.Context, job queue.Job, s *session) {
	ctx = context.WithoutCancel(ctx)
	folders := r.Touched(ctx, s.grant, s.served)
	if len(folders) == 0 {
		return
	}
	err := r.Store.Record(ctx, audit.Entry{
		At: steps.Now(), Kind: audit.FilesChanged, Group: job.Group, Run: job.Run, Session: s.id, Data: audit.FilesChangedData{Folders: folders},
	})
	if err != nil {
		r.Log.Error("the files that a run changed could not be recorded", "group", job.Group, "session", s.id, "run", job.Run, "err", err)
	}
}

// tell is what of a run's end is for its chat, "" for nothing.
func (r *Runner) tell(job queue.Job, res agent.Result, err error, o Outcome, now time.Time) string {
	switch {
	case o.Trouble != nil: // its own notice, once
		return ""
	case len(o.Dead) > 0:
		return deadWords(o)
	case o.State == Interrupted: // another run answers
		return ""
	}
	if o.State == Failed && classOf(res, err) == agent.ClassRateLimit {
		if _, retry := r.refusal(job.Run, res); retry.After(now) {
			return o.Error + "\nit opens again " + r.when(retry, now)
		}
	}
	return o.Error
}

// notSeen are the rows that a live run puts back.
func (r *Runner) notSeen(run chat.RunID) []int64 {
	r.mu.Lock()
	l := r.live[run]
	r.mu.Unlock()
	if l == nil {
		return nil
	}
	return l.notSeen()
}

// ending is why a run's session ends with it, for the group's next agent.
func ending(cause error, g grant.Grant) string {
	spent, _ := errors.AsType[*spentError](cause)
	switch {
	case spent != nil:
		return spent.text
	case errors.Is(cause, errTooLong):
		return fmt.Sprintf("a run took longer than %v (limits.runTime)", g.Limits.RunTime)
	case errors.Is(cause, errStopped):
		return "the owner stopped it"
	}
	return ""
}

// finish stores an end even if the run's own context is over: what happened
// happened.
func (r *Runner) finish(ctx context.Context, job queue.Job, o Outcome, e audit.Entry, log *slog.Logger) {
	if r.Limits != nil {
		r.Limits.Settled(job.Run)
	}
	steps.Before(steps.Finish)
	err := persist(ctx, log, func() error { return r.Store.Finish(context.WithoutCancel(ctx), job.Run, o, e) })
	steps.After(steps.Finish)
	if err != nil {
		// The run stays claimed and is taken up again after the next start.
		notKept(log, "the end of a run could not be stored", err)
		return
	}
	r.Replied()
}

func (r *Runner) release(ctx context.Context, job queue.Job, log *slog.Logger) {
	if r.Limits != nil {
		r.Limits.Settled(job.Run)
	}
	steps.Before(steps.Release)
	err := persist(ctx, log, func() error { return r.Store.Release(context.Background(), job.Run) })
	steps.After(steps.Release)
	if err != nil {
		notKept(log, "an interrupted run could not be put back; the next start does it", err)
	}
}

// outcome is the state and the words of an end. Pure.
func outcome(res agent.Result, err, cause error) Outcome {
	o := Outcome{
		State: Succeeded, AgentSession: res.SessionID,
		CostUSD: res.CostUSD, InputTokens: res.InputTokens, OutputTokens: res.OutputTokens, ToolCalls: res.ToolCalls,
	}
	var start *boundary.StartError
	var limit *boundary.LimitError
	var spent *spentError
	switch {
	case errors.As(cause, &spent):
		o.State, o.Error = Failed, spent.text
	case errors.Is(cause, errStopped):
		o.State, o.Error = Cancelled, "stopped by the owner"
	case errors.Is(cause, errTooLong):
		o.State, o.Error = Failed, "the run took longer than its limit and was stopped\nlimits.runTime in the configuration sets it"
	case errors.As(err, &start):
		o.State, o.Error = Failed, "the boundary could not be started, so nothing was: "+start.Error()
	case errors.As(err, &limit):
		o.State, o.Error = Failed, limit.Error()+"\n"+limit.Hint()
	case err != nil:
		o.State, o.Error = Failed, err.Error()
	case res.Interrupted:
		o.State, o.Error = Cancelled, "interrupted"
	case res.Failed:
		o.State, o.Error = Failed, res.Error
		o.ForgetSession = forgets(res)
	}
	return o
}

// forgets says that a conversation cannot go on.
func forgets(res agent.Result) bool {
	return res.Failed && res.Class.Recovery() == agent.NewSession
}

// replies are the messages that a run leaves: what the agent said, and, where
// it did not succeed, a notice in our own words, unless failed is "". The last
// one is marked.
func replies(job queue.Job, res agent.Result, o Outcome, failed, wayOut, found string) []chat.Outbound {
	var out []chat.Outbound
	silent := job.Last().Task != nil && res.Text == "" // nobody waits for words of a task that has none
	if o.State == Succeeded && !silent || res.Text != "" && o.State != Interrupted && o.Trouble == nil && o.Dead == nil {
		text := res.Text
		if res.Truncated {
			text += "\n[the answer was longer and is cut here]"
		}
		out = append(out, chat.Outbound{
			To: job.Last().From, Kind: chat.Reply, Text: text, Run: job.Run, Group: job.Group, Key: "run:" + string(job.Run) + ":reply",
		})
	}
	if wayOut != "" {
		hosts := notice(job, wayOut)
		hosts.Key, hosts.Failed, hosts.Last = hosts.Key+":egress", false, false
		out = append(out, hosts)
	}
	if found != "" {
		files := notice(job, found)
		files.Key, files.Failed, files.Last = files.Key+":found", false, false
		out = append(out, files)
	}
	switch {
	case o.State != Succeeded && failed != "":
		out = append(out, notice(job, failed))
	}
	if len(out) > 0 {
		out[len(out)-1].Last = true
	}
	return out
}

// wayOut says what a run was refused on the way out: hosts, with the commands that
// would allow them, and what it used up.
func (r *Runner) wayOut(run chat.RunID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	if l == nil {
		return ""
	}
	var parts []string
	if len(l.refused) > 0 {
		parts = append(parts, "The agent tried to reach hosts that its group may not reach. To allow them:\n"+strings.Join(l.refused, "\n"))
	}
	if len(l.spent) > 0 {
		parts = append(parts, "Connections were ended: "+strings.Join(l.spent, "; ")+". A new session begins with the next message.")
	}
	return strings.Join(parts, "\n")
}

func notice(job queue.Job, text string) chat.Outbound {
	return chat.Outbound{
		To: job.Last().From, Kind: chat.Notice, Text: text, Run: job.Run, Group: job.Group,
		Key: fmt.Sprintf("run:%s:notice", job.Run), Failed: true, Last: true,
	}
}
