package runner

import (
	"slices"
	"strconv"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// prompt is what the agent is given for messages of a group. Claude gets them
// all, with who wrote them; a shell gets the text of those that call it, as one
// script.
func (r *Runner) prompt(g chat.Group, msgs []queue.Message, kind string) agent.Prompt {
	if kind == grant.Shell {
		var text []string
		for _, m := range msgs {
			if m.Trigger {
				text = append(text, m.Text)
			}
		}
		return agent.Prompt{Text: strings.Join(text, "\n")}
	}
	var all []agent.Prompt
	for _, line := range lines(msgs) {
		last := line[len(line)-1]
		if last.Alone() && last.Task == nil && slices.Contains(agent.Commands(), last.Text) {
			if len(line) > 1 {
				all = append(all, r.message(g, line[:len(line)-1]))
			}
			all = append(all, agent.Prompt{UUID: r.uuid(g, last), Text: last.Text, Command: true})
			continue
		}
		all = append(all, r.message(g, line))
	}
	p := all[len(all)-1]
	p.Before = all[:len(all)-1]
	return p
}

// lines parts messages into what goes to the agent as one: a message that calls
// it, with the context before.
func lines(msgs []queue.Message) [][]queue.Message {
	var out [][]queue.Message
	begin := 0
	for i, m := range msgs {
		if m.Trigger || i == len(msgs)-1 {
			out = append(out, msgs[begin:i+1])
			begin = i + 1
		}
	}
	return out
}

// message is one line as Claude is given it, under the name of its last message.
func (r *Runner) message(g chat.Group, msgs []queue.Message) agent.Prompt {
	shown := make([]agent.Line, len(msgs))
	for i, m := range msgs {
		shown[i] = agent.Line{
			Sender: r.hidden(nameOf(m)), Owner: m.Sender.Owner, Sent: m.Sent, Text: r.hidden(m.Text),
			Quotes: r.hiddenQuotes(m.Quotes), Context: !m.Trigger, Truncated: m.Truncated,
		}
		if r.Attach != nil && len(m.Files) > 0 {
			shown[i].Files = r.Attach(g, m)
		}
	}
	last := msgs[len(msgs)-1]
	p := agent.Prompt{UUID: r.uuid(g, last), Text: agent.FormatPrompt(shown, r.Zone)}
	if last.Task != nil {
		p.Text = taskNote(last.Task, r.Zone) + p.Text
	}
	return p
}

// hidden is a person's text without what is between them and the host.
func (r *Runner) hidden(text string) string {
	if r.Hide == nil {
		return text
	}
	return r.Hide(text)
}

func (r *Runner) hiddenQuotes(quotes []chat.Quote) []chat.Quote {
	out := slices.Clone(quotes)
	for i, q := range out {
		out[i].Author, out[i].Text = r.hidden(q.Author), r.hidden(q.Text)
	}
	return out
}

// uuid is the name of a stored message for an agent: the same one after a crash,
// so that it is not done twice. One that was put back unread gets another, since
// a live agent ignores what it was given once.
func (r *Runner) uuid(g chat.Group, m queue.Message) string {
	return agent.UUID("message", r.Install, string(g), strconv.FormatInt(m.Row, 10), strconv.Itoa(m.Again))
}

// nameOf is what the sender of a message is called: of a task's, who made it.
func nameOf(m queue.Message) string {
	if m.Task != nil {
		return "task " + string(m.Task.ID) + ", made for " + name(m.Sender)
	}
	return name(m.Sender)
}

// name is what a sender is called: the name it gave itself, else its identity.
func name(s chat.Sender) string {
	if s.Name != "" {
		return s.Name
	}
	return string(s.ID)
}
