package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
)

// errUnproven is why an agent that works without asking does not start.
var errUnproven = &Error{
	Class: ClassStart,
	Text:  "Claude Code was not started: it would work without asking, and nothing proves that its boundary holds. nanoclaw doctor tries it; or set permissionMode to \"ask\"",
}

// hook answers Claude Code's question about a tool before the tool runs.
func (c *claude) hook(ctx context.Context, req controlRequest) any {
	var in hookInput
	if json.Unmarshal(req.Input, &in) != nil || req.CallbackID != hookID || in.Event != "PreToolUse" {
		return deny("this host did not ask to hear of this")
	}
	call := ToolCall{ID: in.ToolUseID, Name: in.ToolName, Input: in.ToolInput, Subagent: in.AgentID, Dir: in.Cwd}
	c.mu.Lock()
	if c.turn == nil {
		c.mu.Unlock()
		return deny(noTurn)
	}
	c.turn.toolCalls++
	c.turn.events.push(Event{Kind: ToolEvent, Tool: clip(call.Name, 200), Input: brief(call.Input)})
	c.mu.Unlock()
	v := c.verdict(ctx, call)
	switch {
	case v.Deny != "" && v.Stop:
		answer := deny(v.Deny)
		answer["continue"], answer["stopReason"] = false, v.Deny
		return answer
	case v.Deny != "":
		return deny(v.Deny)
	case c.o.Permission == Bypass && v.Input == nil:
		return map[string]any{}
	}
	allow := map[string]any{"hookEventName": "PreToolUse", "permissionDecision": "allow"}
	if v.Input != nil {
		allow["updatedInput"] = v.Input
	}
	c.passed(call.ID, cmpInput(v.Input, call.Input))
	return map[string]any{"hookSpecificOutput": allow}
}

var errToolTime = errors.New("the check took too long")

// verdict asks the host, and refuses in its name if it does not answer in time or
// fails to.
func (c *claude) verdict(ctx context.Context, call ToolCall) ToolVerdict {
	if c.o.Tool == nil {
		return ToolVerdict{}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.toolTime(), errToolTime)
	defer cancel()
	answer := make(chan ToolVerdict, 1)
	go func() {
		v := ToolVerdict{Deny: "the host failed to check this call, so it is refused"}
		defer func() {
			if p := recover(); p != nil {
				c.log.Error("the check of a tool call made the host panic", "tool", clip(call.Name, 200), "panic", p, "stack", string(debug.Stack()))
			}
			answer <- v
		}()
		v = c.o.Tool(ctx, call)
	}()
	select {
	case v := <-answer:
		return v
	case <-ctx.Done():
		return ToolVerdict{Deny: "the host did not check this call in time, so it is refused: " + context.Cause(ctx).Error()}
	}
}

// maxPassed bounds how many calls are remembered as passed.
const maxPassed = 64

// passed remembers that a call passed, with what input, in case Claude Code asks
// once more.
func (c *claude) passed(id string, input json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pass == nil || len(c.pass) >= maxPassed {
		c.pass = map[string]json.RawMessage{}
	}
	c.pass[id] = input
}

// question answers what Claude Code asks of a person: in the mode AskFirst every
// call that its hook did not decide, and always what it holds to be dangerous by
// itself. The hook has judged the call; only what it let pass explicitly, and as
// it was then, passes here too, once.
func (c *claude) question(req controlRequest) any {
	c.mu.Lock()
	input, known := c.pass[req.ToolUseID]
	delete(c.pass, req.ToolUseID)
	c.mu.Unlock()
	if known && c.o.Permission == AskFirst && sameJSON(input, req.Input) {
		return map[string]any{"behavior": "allow", "updatedInput": input}
	}
	return map[string]any{
		"behavior": "deny",
		"message":  "This needs a person's consent, and nobody is at the keyboard. Do it another way, or say in your answer what you would need.",
	}
}

func cmpInput(changed, own json.RawMessage) json.RawMessage {
	if changed != nil {
		return changed
	}
	return own
}

// sameJSON says whether two values are the same, whatever the spaces and the
// order of fields.
func sameJSON(a, b json.RawMessage) bool {
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func canonical(raw json.RawMessage) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// deny is the hook's answer that refuses a call.
func deny(why string) map[string]any {
	return map[string]any{"hookSpecificOutput": map[string]any{
		"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": why,
	}}
}
