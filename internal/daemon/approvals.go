package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/router"
	"nanoclaw/internal/steps"
)

// newDesk makes the desk for questions to the owner. What the configuration and
// the environment hold of credentials is taken out of what is recorded.
func (d *Daemon) newDesk() {
	d.mask.Learn(d.config.Secrets()...)
	for _, name := range []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"} {
		d.mask.Learn(d.opt.Getenv(name))
	}
	d.desk = approval.New(approval.Options{
		Now:   steps.Now,
		Store: d.store,
		Mask:  d.mask.Text,
		Role:  d.answerRole,
		Tell:  d.tellQuestion,
		Ended: d.tellEnd,
		Failed: func(e approval.Effect, s approval.State, err error) {
			d.log.Error("what follows from an answer of the owner failed", "question", e.Title, "state", s, "err", err)
			d.tellOwner(context.Background(), fmt.Sprintf("follow:%s:%d", e.Hash(), time.Now().UnixNano()), fmt.Sprintf("%s: %s But it could not be done: %v", s, e.Title, err))
			d.outbox.Wake()
		},
	})
	d.desk.Handle(pinAct, d.pinAnswered)
}

// place is a chat that is told of a question: whole, or in one line where others
// read along.
type place struct {
	to    chat.Address
	whole bool
}

// places are where the owner is asked: their own chat, and the chat of the run.
// That of a group may be read by others, who see that something waits and not
// what; its terminal is the owner's.
func (d *Daemon) places(g chat.Group, to chat.Address) ([]place, error) {
	main, err := d.chatOf(chat.Main)
	if err != nil {
		return nil, err
	}
	out := []place{{to, g == chat.Main || to.Channel == console.ID}}
	if to != main && g != chat.Main {
		out = append(out, place{main, true})
	}
	return out, nil
}

// consent asks the owner about an effect and waits for the answer. The questions
// go out while the run waits, and how they ended is said where they were asked.
func (d *Daemon) consent(ctx context.Context, e approval.Effect, wait time.Duration, to chat.Address) (approval.State, string) {
	places, err := d.places(e.Group, to)
	if err != nil {
		return approval.Refused, "there is no chat to ask in"
	}
	d.demand(&e)
	var key string
	state, why := d.desk.Ask(ctx, e, wait, func(a approval.Asked) error {
		key = "approval:" + string(a.Session) + ":" + a.Code
		for i, p := range places {
			m := chat.Outbound{To: p.to, Kind: chat.Question, Text: a.Text, Code: a.Code, Run: a.Run, Group: a.Group, Key: fmt.Sprintf("%s:%d", key, i)}
			if !p.whole {
				m.Kind, m.Code, m.Text = chat.Notice, "", a.Title+" The owner is asked in their own chat."
			}
			if _, err := d.outbox.Put(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if key == "" {
		return state, why // nobody was asked
	}
	for i, p := range places {
		_, err := d.outbox.Put(context.WithoutCancel(ctx), chat.Outbound{
			To: p.to, Kind: chat.Notice, Text: fmt.Sprintf("%s: %s (%s)", state, e.Title, why), Run: e.Run, Group: e.Group, Key: fmt.Sprintf("%s:end:%d", key, i),
		})
		if err != nil {
			d.log.Error("how a question to the owner ended could not be told", "err", err)
		}
	}
	return state, why
}

// demand sets what the configuration wants of a yes to an effect.
func (d *Daemon) demand(e *approval.Effect) {
	all, own := d.config.Approvals, d.config.Groups[string(e.Group)].Approvals
	e.FourEyes, e.OtherChat = all.FourEyes || own.FourEyes, all.OtherChat || own.OtherChat
}

// put asks a question that nobody waits for, with what the configuration wants of
// a yes to it.
func (d *Daemon) put(ctx context.Context, e approval.Effect) (approval.Asked, error) {
	d.demand(&e)
	return d.desk.Put(ctx, e, time.Duration(d.config.Approvals.Wait), nil)
}

// tellQuestion puts a question that nobody waits for into the owner's own chat,
// once however often it is called.
func (d *Daemon) tellQuestion(ctx context.Context, a approval.Asked) error {
	to, err := d.chatOf(chat.Main)
	if err != nil {
		return err
	}
	_, err = d.outbox.Put(ctx, chat.Outbound{To: to, Kind: chat.Question, Text: a.Text, Code: a.Code, Run: a.Run, Group: a.Group, Key: fmt.Sprintf("question:%d", a.ID)})
	d.outbox.Wake()
	return err
}

// tellEnd says how such a question ended, where it was asked.
func (d *Daemon) tellEnd(ctx context.Context, a approval.Asked, s approval.State, by approval.Who) {
	to, err := d.chatOf(chat.Main)
	if err == nil {
		_, err = d.outbox.Put(ctx, chat.Outbound{
			To: to, Kind: chat.Notice, Text: ended(s, by, a.Title), Run: a.Run, Group: a.Group, Key: fmt.Sprintf("question:%d:end", a.ID),
		})
	}
	if err != nil {
		d.log.Error("how a question to the owner ended could not be told", "err", err)
	}
	d.outbox.Wake()
}

// ended says in one line how a question ended.
func ended(s approval.State, by approval.Who, title string) string {
	switch {
	case by.Choice != "":
		return fmt.Sprintf("%s (%s): %s", s, by.Choice, title)
	case s == approval.Expired:
		return fmt.Sprintf("%s: %s Nobody answered, so it is a no.", s, title)
	}
	return fmt.Sprintf("%s: %s", s, title)
}

// answered takes the owner's answer that came as a chat message. What came of a
// good one is said where the question was asked. A terminal waits for its message
// and is told by that; in another chat a notice says what was wrong.
func (d *Daemon) answered(ctx context.Context, in chat.Inbound, v router.Verdict) {
	reply, _ := approval.ParseReply(in.Text)
	_, err := d.answerWhereAsked(ctx, reply, approval.Who{From: in.From, Sender: in.Sender, Row: v.Row})
	if err == nil {
		return
	}
	if in.From.Channel == console.ID && !v.Again {
		d.mistakes.put(in.ID, err.Error())
		return
	}
	d.notice(ctx, in, fmt.Sprintf("answer:%s:%s", in.From, in.ID), err.Error(), true)
}

// mistakes are answers from terminals that no question took, until the terminal
// was told.
type mistakes struct {
	mu  sync.Mutex
	why map[chat.MessageID]string
}

// maxMistakes bounds how many are kept.
const maxMistakes = 100

func (m *mistakes) put(id chat.MessageID, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.why == nil || len(m.why) >= maxMistakes {
		m.why = map[chat.MessageID]string{}
	}
	m.why[id] = why
}

// take gives what was wrong with a message, "" for nothing.
func (m *mistakes) take(id chat.MessageID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	why := m.why[id]
	delete(m.why, id)
	return why
}

// Approvals lists the questions that wait for the owner.
func (d *Daemon) Approvals(context.Context) ([]control.Approval, error) {
	out := []control.Approval{}
	for _, a := range d.desk.Open() {
		out = append(out, control.Approval{
			Code: a.Code, Group: a.Group, Run: a.Run, Title: a.Title, Text: a.Text, Hash: a.Hash, Until: a.Until,
		})
	}
	return out, nil
}

// atTheSocket is whoever is on the control socket: the owner, as the kernel says.
func atTheSocket() approval.Who {
	return approval.Who{From: chat.Address{Channel: console.ID, Chat: "command"}, Sender: chat.Sender{ID: console.Owner, Owner: true}}
}

// Approve answers one of them. Whoever is on the socket is the owner.
func (d *Daemon) Approve(ctx context.Context, r control.ApproveRequest) (control.Approved, error) {
	text, err := d.answerWhereAsked(ctx, approval.Reply{Code: r.Code, Yes: r.Yes, Choice: r.Choice}, atTheSocket())
	switch {
	case errors.Is(err, approval.ErrNoCode):
		return control.Approved{}, &control.Error{Code: control.CodeNotFound, Message: err.Error(), Hint: "nanoclaw approvals lists what is open"}
	case err != nil:
		return control.Approved{}, &control.Error{Code: control.CodeRefused, Message: err.Error()}
	}
	return control.Approved{Text: text}, nil
}
