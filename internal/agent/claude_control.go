package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
)

// handle takes one line. It never blocks, so that no line can hold up the
// answer to an interrupt.
func (c *claude) handle(line []byte) {
	var in incoming
	if err := json.Unmarshal(line, &in); err != nil {
		c.log.Debug("a line of Claude Code that is not understood", "line", clip(string(line), 200), "err", err)
		return
	}
	switch in.Type {
	case "control_request":
		c.answerTo(in)
	case "control_response":
		c.answered(in.Response)
	case "control_cancel_request":
		c.withdraw(in.RequestID)
	case "result":
		var r resultLine
		if err := json.Unmarshal(line, &r); err == nil {
			c.resulted(r)
		}
	case "command_lifecycle":
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lifecycle(in)
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.turn != nil {
			c.turn.saw(in)
		}
	}
}

// ask sends a request of ours. The channel gets its answer; it stays empty if
// none comes.
func (c *claude) ask(request any) (<-chan controlResponse, error) {
	answer := make(chan controlResponse, 1)
	c.mu.Lock()
	c.serial++
	id := fmt.Sprintf("host-%d", c.serial)
	c.asked[id] = answer
	c.mu.Unlock()
	err := c.send(map[string]any{"type": "control_request", "request_id": id, "request": request})
	return answer, err
}

func (c *claude) answered(raw json.RawMessage) {
	var r controlResponse
	if json.Unmarshal(raw, &r) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.asked[r.RequestID]; answer != nil {
		delete(c.asked, r.RequestID)
		answer <- r
	}
}

// answerTo works on a request of the process in a goroutine of its own: a slow
// host tool holds up neither other tools nor the reading of lines.
func (c *claude) answerTo(in incoming) {
	var req controlRequest
	if err := json.Unmarshal(in.Request, &req); err != nil || in.RequestID == "" {
		c.reply(in.RequestID, nil, fmt.Errorf("the request is not understood"))
		return
	}
	select {
	case c.slots <- struct{}{}:
	default:
		c.reply(in.RequestID, nil, fmt.Errorf("more than %d requests at once: wait for the answers", maxAsked))
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	c.mu.Lock()
	c.inwork[in.RequestID] = cancel
	c.mu.Unlock()
	go func() {
		defer func() { <-c.slots }()
		defer c.withdraw(in.RequestID)
		response, err := c.work(ctx, req)
		c.reply(in.RequestID, response, err)
	}()
}

// withdraw ends the work on a request.
func (c *claude) withdraw(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.inwork[id]; cancel != nil {
		cancel()
		delete(c.inwork, id)
	}
}

func (c *claude) reply(id string, response any, err error) {
	body := map[string]any{"subtype": "success", "request_id": id, "response": response}
	if err != nil {
		body = map[string]any{"subtype": "error", "request_id": id, "error": err.Error()}
	}
	c.send(map[string]any{"type": "control_response", "response": body})
}

// work does what the process asked for, as far as it may ask. A panic in a
// callback is the failure of this request alone.
func (c *claude) work(ctx context.Context, req controlRequest) (response any, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a request of the agent made the host panic", "request", req.Subtype, "panic", p, "stack", string(debug.Stack()))
			response, err = nil, fmt.Errorf("the host failed to answer")
		}
	}()
	switch req.Subtype {
	case "mcp_message":
		return c.relay(ctx, req)
	case "hook_callback":
		if req.CallbackID == compactID {
			return c.compacting(ctx, req), nil
		}
		return c.hook(ctx, req), nil
	case "can_use_tool":
		return c.question(req), nil
	}
	return nil, fmt.Errorf("this host does not answer %.40q", req.Subtype)
}

// relay passes a JSON-RPC message to a server of the host.
func (c *claude) relay(ctx context.Context, req controlRequest) (any, error) {
	if !c.o.answers(req.Server) {
		return nil, fmt.Errorf("this host has no MCP server %.40q", req.Server)
	}
	if c.idle() && callsTool(req.Message) {
		return nil, fmt.Errorf("%s", noTurn)
	}
	answer, err := c.o.MCP(ctx, req.Server, req.Message)
	if err != nil {
		return nil, err
	}
	if answer == nil { // a notification
		answer = json.RawMessage(`{"jsonrpc":"2.0","id":0,"result":{}}`)
	}
	return map[string]any{"mcp_response": answer}, nil
}

// noTurn is why nothing is done for a turn that nobody asked for: no run would
// count it.
const noTurn = "no message is being worked on, so no tool may be used: nobody asked for this"

func (c *claude) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turn == nil
}

// callsTool says whether a JSON-RPC message does more than ask what there is.
func callsTool(msg json.RawMessage) bool {
	var m struct {
		Method string `json:"method"`
	}
	return json.Unmarshal(msg, &m) != nil || m.Method == "tools/call"
}
