package runner

import (
	"context"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/queue"
)

// What an agent that has to begin anew is given of what was said: our own rows, and
// of these the newest.
const (
	// SummaryRuns is how many runs it goes back.
	SummaryRuns = 20
	// SummaryBytes bounds all of it, and SummaryText each message and answer.
	SummaryBytes = 16 << 10
	SummaryText  = 1 << 10
)

// startOver gives a session another conversation of the agent's: the one it has
// cannot go on. The words are for the agent, once it is given a message.
func (r *Runner) startOver(ctx context.Context, s *session, words string) error {
	s.talk.Session, s.resume, s.stale = agent.NewUUID(), false, false
	s.anew = agent.FormatNote(words) + r.summary(ctx, s)
	run := s.caller().Run()
	if run == "" {
		return nil // it is prepared: the run that uses it writes the conversation down
	}
	return r.Store.Converse(ctx, run, s.talk)
}

// beginning is what a thread of a chat began with, for an agent that meets it first: the
// chat is another conversation, of which it knows nothing. Like a summary it is a help.
func (r *Runner) beginning(ctx context.Context, job queue.Job, s *session) string {
	words := "This is a thread, and a conversation of its own: you know nothing of what is said elsewhere in this chat."
	x, ok, err := r.Store.Began(ctx, job.Group, job.Last().From)
	if err != nil {
		r.log(s).Warn("what a thread began with cannot be told to its agent", "err", err)
	}
	if !ok {
		return agent.FormatNote(words)
	}
	return agent.FormatNote(words+" It began with what is below as earlier.") + r.earlier([]Exchange{x})
}

// takeAnew gives what an agent that began anew is told, once.
func (s *session) takeAnew() string {
	text := s.anew
	s.anew = ""
	return text
}

// summary is what was said in the session's conversation last, "" for nothing. It is a
// help: that it cannot be read ends nothing.
func (r *Runner) summary(ctx context.Context, s *session) string {
	if s.talk.Isolated {
		return ""
	}
	said, err := r.Store.Said(ctx, s.grant.Group, s.thread, SummaryRuns)
	if err != nil {
		r.log(s).Warn("what was said before cannot be told to an agent that begins anew", "err", err)
		return ""
	}
	return r.earlier(said)
}

// earlier writes exchanges for an agent, the newest that fit.
func (r *Runner) earlier(said []Exchange) string {
	var all []agent.Line
	for _, x := range said {
		for _, m := range x.Messages {
			all = append(all, agent.Line{Sender: r.hidden(name(m.Sender)), Owner: m.Sender.Owner, Sent: m.Sent, Text: short(r.hidden(m.Text)), Truncated: len(m.Text) > SummaryText})
		}
		if x.Answer != "" {
			all = append(all, agent.Line{Answer: true, Text: short(x.Answer), Truncated: len(x.Answer) > SummaryText})
		}
	}
	size, begin := 0, len(all)
	for begin > 0 && size+len(all[begin-1].Text)+200 <= SummaryBytes {
		begin--
		size += len(all[begin].Text) + 200
	}
	return agent.FormatEarlier(all[begin:], begin > 0, r.Zone)
}

func short(s string) string {
	if len(s) <= SummaryText {
		return s
	}
	return strings.ToValidUTF8(s[:SummaryText], "")
}

// left bounds the context that a prompt has, the newest of it, and says how much
// stays out.
func left(msgs []agent.Line, most int) (kept []agent.Line, out int) {
	size := 0
	keep := make([]bool, len(msgs))
	for i := len(msgs) - 1; i >= 0; i-- {
		if !msgs[i].Context {
			keep[i] = true
			continue
		}
		n := len(msgs[i].Text)
		for _, q := range msgs[i].Quotes {
			n += len(q.Text)
		}
		if size += n; size > most {
			size = most // nothing older fits either
			out++
			continue
		}
		keep[i] = true
	}
	for i, l := range msgs {
		if keep[i] {
			kept = append(kept, l)
		}
	}
	return kept, out
}

// ContextBytes bounds the context that goes before one message.
const ContextBytes = 64 << 10
