package daemon

import (
	"context"
	"errors"
	"fmt"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/hosttools"
)

// actMessage is the question about a message to a chat that belongs to no group.
const actMessage = "message"

// handleAnswers names what follows from answers to questions that nobody waits
// for.
func (d *Daemon) handleAnswers() {
	d.desk.Handle(actMessage, d.sendAllowed)
	d.desk.Handle(actEgress, d.hostAnswered)
	d.desk.Handle(actTask, d.taskAnswered)
	d.desk.Handle(actMissed, d.missedAnswered)
}

// The parts of such a question, which are all that is sent.
const (
	partTo   = "to the chat"
	partText = "text"
)

// AskToSend asks the owner about a message of an agent to a chat that belongs to
// no group. It is asked about each one, with all of its text.
func (h *toolHost) AskToSend(ctx context.Context, from hosttools.Identity, to chat.Address, text string) (string, error) {
	e := approval.Effect{
		Act: actMessage, Group: from.Group, Run: from.Run(), Session: from.Session, Key: fmt.Sprint(h.sent.Add(1)),
		Title: fmt.Sprintf("The agent of %s asks to write to a chat that belongs to no group.", from.Group),
		Parts: []approval.Part{{Name: partTo, Value: to.String()}, {Name: partText, Value: text}},
	}
	e.By, e.From = h.d.runner.Asking(e.Run)
	_, err := h.d.put(ctx, e)
	switch {
	case errors.Is(err, approval.ErrTooLong):
		return "Not sent, and the owner was not asked: the text is too long for a person to review. Send it in shorter parts.", nil
	case err != nil:
		return "", err
	}
	return "Not sent yet: the owner is asked in their own chat, and it is sent if they say yes.", nil
}

// sendAllowed sends what the owner approved, the very text that was shown. A
// message of the same question goes out once.
func (d *Daemon) sendAllowed(ctx context.Context, e approval.Effect, s approval.State, _ approval.Who) error {
	if s != approval.Approved {
		return nil
	}
	to, err := chat.ParseAddress(e.Part(partTo))
	if err != nil {
		return err
	}
	_, err = d.outbox.Put(ctx, chat.Outbound{
		To: to, Kind: chat.Tool, Text: e.Part(partText), Run: e.Run, Group: e.Group, Key: "allowed:" + e.Hash(),
	})
	return err
}
