package runner

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
)

// converse lets the agent answer: first what an earlier run was cut off with, as
// it was given then, and after that what is new.
func (r *Runner) converse(ctx context.Context, job queue.Job, s *session, l *live) (agent.Result, error) {
	progress := r.teller(job, l)
	progress(chat.Started, fmt.Sprintf("%s in %s mode (%s)", s.grant.Agent, s.grant.Mode, r.Reason(job.Group, s.grant.Agent)))
	defer progress(chat.Finished, "")
	if err := r.ready(ctx, s, l); err != nil {
		return agent.Result{}, err
	}
	var all agent.Result
	happened := r.happened(ctx, job, s) + pushedOut(job, s)
	parts := batches(job.Messages, s.grant.Agent)
	for i, part := range parts {
		p := r.prompt(job.Group, r.hear(ctx, s, job.Group, part, progress), s.grant.Agent)
		if !p.Command {
			p.Text = s.takeAnew() + s.note() + happened + p.Text
		}
		res, err := r.exchange(ctx, s, l, p, progress)
		if err == nil && !res.Failed && !p.Command && !s.talk.Isolated {
			r.told(s, res.SessionID)
		}
		if err == nil && len(res.Done) > 0 && !res.Interrupted {
			p := agent.Prompt{UUID: agent.UUID("lost", r.Install, string(job.Run), strconv.Itoa(i)), Text: agent.FormatNote(lostAnswer) + happened}
			before := res
			res, err = r.exchange(ctx, s, l, p, progress)
			res = joined(answered(before), res)
		}
		if p.Command && res.Text == "" && !res.Failed {
			res.Text = p.Text + " is done."
		}
		happened = ""
		all = joined(all, res)
		if err != nil || all.Interrupted {
			l.leave(parts[i+1:])
			return all, err
		}
	}
	return all, nil
}

// exchange gives the agent one prompt, and what follows while it works on it.
func (r *Runner) exchange(ctx context.Context, s *session, l *live, p agent.Prompt, progress func(chat.ProgressKind, string)) (agent.Result, error) {
	stop := r.follow(ctx, s, l, progress)
	res, err := r.turn(ctx, s, l, p, func(e agent.Event) {
		switch e.Kind {
		case agent.TextEvent:
			progress(chat.Text, e.Text)
		case agent.ToolEvent:
			progress(chat.ToolUse, e.Tool+": "+r.Mask.Text(e.Input))
		case agent.NoteEvent:
			progress(chat.Waiting, e.Text)
		}
	})
	stop() // from here on nothing joins this turn
	l.unread(res.Unread)
	return res, err
}

// teller tells the chat of the last message what goes on.
func (r *Runner) teller(job queue.Job, l *live) func(chat.ProgressKind, string) {
	return func(kind chat.ProgressKind, text string) {
		r.Progress(chat.Progress{Run: job.Run, Group: job.Group, To: l.whole(job).Last().From, Kind: kind, Text: text})
	}
}

// lostAnswer is said to an agent that had messages whose answer never left this
// host. It has them in its conversation, and what it did about them.
const lostAnswer = "Your work on the last messages of people was cut off, and nobody saw an answer. What you did then is done: " +
	"look before you do any of it again. Go on where you stopped, if you were not finished, and write your whole answer now."

// batches parts the messages of a job into those that one cut off run had, which
// must be given as they were then, and the new ones. A shell has no memory.
func batches(msgs []queue.Message, kind string) [][]queue.Message {
	var cut, fresh []queue.Message
	for _, m := range msgs {
		if m.Cut != "" && kind != grant.Shell {
			cut = append(cut, m)
		} else {
			fresh = append(fresh, m)
		}
	}
	var out [][]queue.Message
	for _, part := range [][]queue.Message{cut, fresh} {
		if len(part) > 0 {
			out = append(out, part)
		}
	}
	return out
}

// joined is what two turns of a run came to.
func joined(a, b agent.Result) agent.Result {
	out := b
	out.Text = strings.TrimSpace(strings.Join([]string{a.Text, b.Text}, "\n\n"))
	if b.SessionID == "" {
		out.SessionID = a.SessionID
	}
	if a.Failed && !b.Failed {
		out.Failed, out.Class, out.Error, out.Retry, out.Raw = true, a.Class, a.Error, a.Retry, a.Raw
	}
	out.CostUSD, out.ToolCalls = a.CostUSD+b.CostUSD, a.ToolCalls+b.ToolCalls
	out.InputTokens, out.OutputTokens = a.InputTokens+b.InputTokens, a.OutputTokens+b.OutputTokens
	out.Truncated = a.Truncated || b.Truncated
	return out
}

// answered is a result without the failure that its messages were done before.
func answered(res agent.Result) agent.Result {
	if res.Class == agent.ClassDone {
		res.Failed, res.Class, res.Error = false, "", ""
	}
	return res
}

// clears says that a job is the owner's wish for a new conversation.
func clears(job queue.Job) bool {
	last := job.Last()
	return last.Alone() && last.Task == nil && (last.Text == "/clear" || last.Text == "/new")
}

// clear ends the conversation. The agent is not asked: its own command
// would change its session behind our back.
func (r *Runner) clear(ctx context.Context, job queue.Job, g grant.Grant, t grant.Trigger, log *slog.Logger) {
	r.forgetWarm(ctx, job, g)
	at := steps.Now()
	err := r.Store.Start(ctx, job.Run, Start{Mode: string(g.Mode), Agent: g.Agent, At: at, Conversation: Conversation{Forget: true}, Standing: true},
		r.started(job, "", g, t, false, at))
	r.end(ctx, job, nil, agent.Result{Text: "A new conversation begins with your next message."}, err, log)
}

// joinedEntry is the entry about messages that join a run.
func (r *Runner) joinedEntry(job queue.Job, s *session, t grant.Trigger, next []queue.Message) audit.Entry {
	data := audit.RunJoinedData{Trigger: r.cause(job.Group, next[len(next)-1], s.grant, t, true)}
	for _, m := range next {
		data.Rows = append(data.Rows, m.Row)
	}
	return audit.Entry{At: steps.Now(), Kind: audit.RunJoined, Group: job.Group, Run: job.Run, Session: s.id, Data: data}
}
