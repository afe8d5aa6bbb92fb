package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// turn is one prompt and what came of it. Its fields but events and done are
// guarded by claude.mu.
type turn struct {
	uuid   string
	events *events
	done   chan struct{} // closed when result is there
	result Result

	said        bounded // the text so far, internal parts left out
	hide        quiet
	streamed    string // the message whose text came in pieces
	current     string // the message in the making
	toolCalls   int
	interrupted bool
	finished    bool
}

func newTurn(uuid string, max int) *turn {
	return &turn{uuid: uuid, events: newEvents(), done: make(chan struct{}), said: bounded{max: max}}
}

// deliver passes on what waits. It is called by the goroutine of Turn alone.
func (t *turn) deliver(emit func(Event)) {
	for _, e := range t.events.take() {
		if emit != nil {
			emit(e)
		}
	}
}

// finish ends the turn, once.
func (t *turn) finish(r Result) {
	if t.finished {
		return
	}
	t.finished, t.result = true, r
	close(t.done)
}

// say adds a piece of the answer.
func (t *turn) say(s string) {
	if kept := t.said.add(s); kept != "" {
		t.events.push(Event{Kind: TextEvent, Text: kept})
	}
}

// soFar is the answer as far as it was said.
func (t *turn) soFar() string { return strings.TrimSpace(t.said.b.String()) }

// saw takes a line that is part of the turn.
func (t *turn) saw(in incoming, session string) {
	switch in.Type {
	case "stream_event":
		if in.ParentToolUseID == "" {
			t.streamEvent(in.Event)
		}
	case "assistant":
		if in.ParentToolUseID == "" && isNull(in.Error) {
			t.assistant(in.Message)
		}
	case "command_lifecycle":
		t.lifecycle(in, session)
	case "system":
		t.note(in)
	}
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func (t *turn) streamEvent(e streamEvent) {
	switch e.Type {
	case "message_start":
		t.current = e.Message.ID
	case "content_block_start":
		if e.ContentBlock.Type == "text" {
			t.paragraph()
		}
	case "content_block_delta":
		if e.Delta.Type == "text_delta" {
			t.streamed = t.current
			t.say(t.hide.add(e.Delta.Text))
		}
	case "content_block_stop":
		t.say(t.hide.flush())
	}
}

// paragraph parts what is said before a tool is used from what is said after.
func (t *turn) paragraph() {
	if t.soFar() != "" {
		t.say("\n\n")
	}
}

// assistant takes a whole block, if it did not come in pieces.
func (t *turn) assistant(raw json.RawMessage) {
	var m assistantMessage
	if json.Unmarshal(raw, &m) != nil || m.ID != "" && m.ID == t.streamed {
		return
	}
	for _, b := range m.Content {
		if b.Type == "text" && b.Text != "" {
			t.paragraph()
			t.say(StripInternal(b.Text))
		}
	}
}

// lifecycle notices a prompt that ends without a result: one that was done in
// an earlier life of this session, or one that was dropped before it began. In
// an ordinary turn the result comes first.
func (t *turn) lifecycle(in incoming, session string) {
	if in.CommandUUID != t.uuid {
		return
	}
	switch in.State {
	case "completed":
		t.finish(Result{SessionID: session, Failed: true, Class: ClassDone,
			Error: "Claude Code had this message before it was restarted and does not do it twice; the answer is lost: ask again"})
	case "cancelled":
		t.finish(Result{SessionID: session, Interrupted: true, Text: t.soFar(), ToolCalls: t.toolCalls})
	}
}

func (t *turn) note(in incoming) {
	switch in.Subtype {
	case "api_retry":
		t.events.push(Event{Kind: NoteEvent, Text: fmt.Sprintf("the model does not answer (%s): try %d of %d in %.0f s",
			cmp.Or(statusText(in.Status), "no connection"), in.Attempt, in.MaxRetries, math.Ceil(in.RetryDelay/1000))})
	case "compact_boundary":
		t.events.push(Event{Kind: NoteEvent, Text: "the conversation was summarised to make room"})
	}
}

func statusText(status int) string {
	if status == 0 {
		return ""
	}
	return fmt.Sprintf("status %d", status)
}

// usage is what turns cost, as the agent claims it.
type usage struct {
	cost          float64
	input, output int64
}

func (u *usage) add(r resultLine) {
	const most = 1 << 40 // a claim beyond this is nonsense
	for _, m := range r.Usage {
		if m.CostUSD > 0 && m.CostUSD < most {
			u.cost += m.CostUSD
		}
		for _, n := range []int64{m.Input, m.CacheRead, m.CacheCreate} {
			u.input += max(0, min(n, most))
		}
		u.output += max(0, min(m.Output, most))
	}
}

// resulted takes a result: ours ends the turn, any other is a turn that nobody
// asked for, of which only the cost is kept.
func (c *claude) resulted(r resultLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.usage.add(r)
	t := c.turn
	if t == nil || !t.owns(r) {
		c.log.Debug("a result that belongs to no turn of ours", "subtype", r.Subtype, "origin", r.Origin.Kind, "said", clip(r.Result, 200))
		if len(r.MessageUUIDs) == 0 && r.Origin.Kind == "" {
			c.dropped = &r
		}
		return
	}
	t.finish(c.conclude(t, r))
	c.usage = usage{}
}

// owns reports whether a result is this turn's: it lists the prompt, or it
// lists none, names no other origin, and tells a failure.
func (t *turn) owns(r resultLine) bool {
	if len(r.MessageUUIDs) > 0 {
		return slices.Contains(r.MessageUUIDs, t.uuid)
	}
	return r.Origin.Kind == "" && r.IsError
}

// conclude makes the Result of a turn. The caller holds c.mu.
func (c *claude) conclude(t *turn, r resultLine) Result {
	out := Result{
		SessionID: c.session, ToolCalls: t.toolCalls,
		CostUSD: c.usage.cost, InputTokens: c.usage.input, OutputTokens: c.usage.output,
	}
	if t.interrupted && r.IsError {
		out.Interrupted, out.Text, out.Truncated = true, t.soFar(), t.said.cut
		return out
	}
	if r.IsError {
		told := failed(r)
		out.Failed, out.Text, out.Truncated = true, t.soFar(), t.said.cut
		out.Class, out.Error, out.Retry, out.Raw = told.Class, told.Error, told.Retry, told.Raw
		return out
	}
	text := bounded{max: t.said.max}
	text.add(StripInternal(r.Result))
	out.Text, out.Truncated = text.b.String(), text.cut
	return out
}
