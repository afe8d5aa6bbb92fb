package runner

import (
	"crypto/rand"
	"fmt"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// prompt is what the agent is given for a job. Claude gets all messages with
// who wrote them; a shell gets the text of those that call it, as one script.
func (r *Runner) prompt(job queue.Job, kind string) agent.Prompt {
	p := agent.Prompt{UUID: newUUID()}
	if kind == grant.Shell {
		var lines []string
		for _, m := range job.Messages {
			if m.Trigger {
				lines = append(lines, m.Text)
			}
		}
		p.Text = strings.Join(lines, "\n")
		return p
	}
	lines := make([]agent.Line, len(job.Messages))
	for i, m := range job.Messages {
		lines[i] = agent.Line{
			Sender: name(m.Sender), Owner: m.Sender.Owner, Sent: m.Sent, Text: m.Text,
			Quotes: m.Quotes, Context: !m.Trigger, Truncated: m.Truncated,
		}
	}
	p.Text = agent.FormatPrompt(lines, r.Zone)
	return p
}

// name is what a sender is called: the name it gave itself, else its identity.
func name(s chat.Sender) string {
	if s.Name != "" {
		return s.Name
	}
	return string(s.ID)
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
