package agent

import (
	"slices"
	"strings"
)

// What was given to Claude Code and what it says came of it are matched by
// uuid, since they are not one to one: a message that comes while a tool runs is
// folded into the running turn, one that comes later waits for a turn of its own,
// and several that wait become one turn.
//
// A resumed process says of a message that it had: completed, and nothing more.
// It could run a turn that was cut off again by itself
// (CLAUDE_CODE_RESUME_INTERRUPTED_TURN), but then it forgets the tool that it was
// at and uses it a second time. So that is not set, and the caller asks.

// fate is what became of a message.
type fate int

const (
	given     fate = iota // nothing was heard of it
	queued                // it waits inside
	begun                 // the model has it
	completed             // so it says; the result that answers it is still to come
	answered              // a result lists it
	done                  // it was done before this process began, and is not done again
	cancelled
)

// message is one message of a turn.
type message struct {
	uuid string
	fate fate
	read bool // the model had it, whatever came of it
}

// settled says that nothing more comes of it.
func (m *message) settled(results int) bool {
	return m.fate >= answered || m.fate == completed && results > 0
}

func (t *turn) find(uuid string) *message {
	for _, m := range t.messages {
		if m.uuid == uuid {
			return m
		}
	}
	return nil
}

func (t *turn) settled() bool {
	return !slices.ContainsFunc(t.messages, func(m *message) bool { return !m.settled(t.results) })
}

// lifecycle takes what Claude Code says of one message. The caller holds c.mu.
func (c *claude) lifecycle(in incoming) {
	t := c.turn
	if t == nil {
		return
	}
	m := t.find(in.CommandUUID)
	if m == nil || m.fate >= answered {
		return
	}
	switch in.State {
	case "queued":
		m.fate = max(m.fate, queued)
	case "started":
		m.fate, m.read = max(m.fate, begun), true
	case "completed":
		if m.fate == given {
			m.fate = done // neither queued nor started by this process
		} else {
			m.fate = completed
		}
	case "cancelled":
		m.fate = cancelled
	}
	c.conclude(t)
}

// resulted takes a result. One of ours answers messages of the turn; any other
// is of a turn that nobody asked for.
func (c *claude) resulted(r resultLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.usage.add(r)
	t := c.turn
	if t == nil || t.finished || !t.owns(r) {
		c.unasked(r)
		return
	}
	for _, uuid := range r.MessageUUIDs {
		if m := t.find(uuid); m != nil {
			m.fate, m.read = answered, true
		}
	}
	t.results++
	t.take(r)
	if len(r.MessageUUIDs) == 0 { // it tells of the process, and no more will come
		t.giveUp()
	}
	c.conclude(t)
}

// owns reports whether a result is this turn's: it lists one of its messages, or
// it lists none, names no other origin, and tells a failure.
func (t *turn) owns(r resultLine) bool {
	if len(r.MessageUUIDs) > 0 {
		return slices.ContainsFunc(r.MessageUUIDs, func(uuid string) bool { return t.find(uuid) != nil })
	}
	return r.Origin.Kind == "" && r.IsError
}

// take keeps what a result says.
func (t *turn) take(r resultLine) {
	part := strings.TrimSpace(t.said.b.String()[t.told:])
	t.told = t.said.b.Len()
	switch {
	case r.IsError && t.interrupted:
		t.aborted = true
	case r.IsError:
		if t.failure == nil {
			t.failure = &r
		}
	default:
		text := bounded{max: t.said.max}
		text.add(StripInternal(r.Result))
		part, t.cut = text.b.String(), t.cut || text.cut
	}
	if part != "" {
		t.parts = append(t.parts, part)
	}
}

// giveUp ends what is not settled.
func (t *turn) giveUp() {
	for _, m := range t.messages {
		if !m.settled(t.results) {
			m.fate = cancelled
		}
	}
}

// conclude ends the turn once all its messages are settled. The caller holds c.mu.
func (c *claude) conclude(t *turn) {
	if t.finished || !t.settled() {
		return
	}
	out := Result{
		SessionID: c.session, ToolCalls: t.toolCalls,
		CostUSD: c.usage.cost, InputTokens: c.usage.input, OutputTokens: c.usage.output,
	}
	c.usage = usage{}
	for _, m := range t.messages {
		switch {
		case m.fate == done:
			out.Done = append(out.Done, m.uuid)
		case m.fate == cancelled && !m.read:
			out.Unread = append(out.Unread, m.uuid)
		}
	}
	text := bounded{max: t.said.max}
	text.add(strings.Join(t.parts, "\n\n"))
	out.Text, out.Truncated = text.b.String(), text.cut || t.cut || t.said.cut && (t.aborted || t.failure != nil)
	switch {
	case t.failure != nil:
		told := failed(*t.failure)
		out.Failed, out.Class, out.Error, out.Retry, out.Raw = true, told.Class, told.Error, told.Retry, told.Raw
	case t.aborted:
		out.Interrupted = true
	case t.results > 0:
	case len(out.Done) > 0:
		out.Failed, out.Class = true, ClassDone
		out.Error = "Claude Code had this message before it was restarted and does not do it twice; the answer is lost: ask again"
	default:
		out.Interrupted, out.Text = true, t.soFar()
	}
	t.finish(out)
}

// maxUnasked bounds how many turns that nobody asked for are told of one process.
const maxUnasked = 20

// unasked tells of a turn that nobody asked for, and keeps its cost for the next.
// The caller holds c.mu.
func (c *claude) unasked(r resultLine) {
	c.log.Debug("a result that belongs to no turn of ours", "subtype", r.Subtype, "origin", r.Origin.Kind, "said", clip(r.Result, 200))
	if len(r.MessageUUIDs) == 0 && r.Origin.Kind == "" {
		c.dropped = &r
	}
	text := strings.TrimSpace(StripInternal(r.Result))
	if text == "" || c.o.Unasked == nil || c.told >= maxUnasked {
		return
	}
	c.told++
	go c.o.Unasked(Unasked{Origin: clip(r.Origin.Kind, 100), Text: clip(text, 4<<10), More: c.told == maxUnasked})
}
