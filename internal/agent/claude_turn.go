package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// turn is what was given to Claude Code at one time, with what followed while it
// worked, and what came of it. Its fields but events and done are guarded by
// claude.mu.
type turn struct {
	messages []*message
	events   *events
	done     chan struct{} // closed when result is there
	result   Result

	said        bounded // the text so far, internal parts left out
	told        int     // how much of said belongs to results that came
	parts       []string
	results     int
	failure     *resultLine
	aborted     bool // a result said that the interrupt was heeded
	cut         bool // a result was longer than the bound
	hide        quiet
	streamed    string // the message whose text came in pieces
	current     string // the message in the making
	toolCalls   int
	interrupted bool
	finished    bool
}

// maxFollowing bounds the messages that one turn takes in while it goes on.
const maxFollowing = 100

func newTurn(max int) *turn {
	return &turn{events: newEvents(), done: make(chan struct{}), said: bounded{max: max}}
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
func (t *turn) saw(in incoming) {
	switch in.Type {
	case "stream_event":
		if in.ParentToolUseID == "" {
			t.streamEvent(in.Event)
		}
	case "assistant":
		if in.ParentToolUseID == "" && isNull(in.Error) {
			t.assistant(in.Message)
		}
	case "tool_progress":
		if in.ToolName != "" && in.Elapsed > 0 && in.Elapsed < 1e6 {
			t.events.push(Event{Kind: NoteEvent, Text: fmt.Sprintf("%s has been at work for %.0f s", clip(in.ToolName, 100), in.Elapsed)})
		}
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
