package mcpserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// GuardOptions say what a Guard holds. A nil function holds nothing.
type GuardOptions struct {
	// Server is its name, for messages.
	Server string
	// Accepted gives the hashes of the definitions that the agent may have, by their
	// tools, and that of the instructions. known is false while nothing is known of
	// the server: then everything passes.
	Accepted func() (a Accepted, known bool)
	// Asks says whether each call of a tool needs a yes of the owner, and of "" whether
	// everything else that is more than looking does.
	Asks func(tool string) bool
	// Consented takes one yes to exactly this call, and says whether there was one.
	Consented func(tool string, args json.RawMessage) bool
	// Left is told, each time, of what was left out of what the server said.
	Left func(tools []string)
}

// Accepted are the definitions that the agent may have.
type Accepted struct {
	Tools        map[string]string
	Instructions string
}

// Guard stands between one session's agent and one server, whichever way
// messages take. Requests are judged before they go out, and so is what the
// server says of its tools before an agent reads it: a definition that is not
// accepted does not get in, and what it describes is not called.
type Guard struct {
	o GuardOptions

	mu      sync.Mutex
	strange map[string]bool // tools that were left out of the last list that named them
}

// NewGuard makes a guard for one session.
func NewGuard(o GuardOptions) *Guard { return &Guard{o: o, strange: map[string]bool{}} }

// looking are requests that change nothing and tell nothing.
var looking = []string{"initialize", "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "logging/setLevel"}

// Request judges a request. It gives other params if they have to replace the
// request's own: those of a call that the owner said yes to have one reading.
func (g *Guard) Request(method string, params json.RawMessage) (json.RawMessage, error) {
	if method != "tools/call" {
		if g.o.Asks != nil && g.o.Asks("") && !slices.Contains(looking, method) && !strings.HasPrefix(method, "notifications/") {
			return nil, fmt.Errorf("the owner has to consent to each use of the MCP server %s, and %.60q cannot be put before them", g.o.Server, method)
		}
		return nil, nil
	}
	var call struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
		Meta      struct {
			Progress json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	}
	if err := json.Unmarshal(params, &call); err != nil || call.Name == "" {
		return nil, errors.New("the call names no tool")
	}
	if err := g.accepted(call.Name); err != nil {
		return nil, err
	}
	if g.o.Asks == nil || !g.o.Asks(call.Name) {
		return nil, nil
	}
	if len(call.Arguments) == 0 {
		call.Arguments = json.RawMessage("{}")
	}
	args, err := canonical(call.Arguments)
	if err != nil {
		return nil, err
	}
	if g.o.Consented == nil || !g.o.Consented(call.Name, args) {
		return nil, fmt.Errorf("the owner has to consent to each call of the tool %.100q of the MCP server %s, and has not to this one", call.Name, g.o.Server)
	}
	out := map[string]any{"name": call.Name, "arguments": json.RawMessage(args)}
	if len(call.Meta.Progress) > 0 && call.Meta.Progress[0] != '{' && call.Meta.Progress[0] != '[' {
		out["_meta"] = map[string]any{"progressToken": call.Meta.Progress}
	}
	return json.Marshal(out)
}

// accepted says whether a tool may be called.
func (g *Guard) accepted(tool string) error {
	if g.o.Accepted == nil {
		return nil
	}
	a, known := g.o.Accepted()
	if !known {
		return nil
	}
	g.mu.Lock()
	strange := g.strange[tool]
	g.mu.Unlock()
	if a.Tools[tool] == "" || strange {
		return fmt.Errorf("what the MCP server %s says of the tool %.100q is new, and the owner has not accepted it: nanoclaw mcp pin %s", g.o.Server, tool, g.o.Server)
	}
	return nil
}

// Said gives what an agent may hear of a message of the server: definitions that
// are not accepted are taken out of any result that lists tools, whatever it
// answers, and so are instructions. All else passes as it is.
func (g *Guard) Said(msg json.RawMessage) json.RawMessage {
	if g.o.Accepted == nil {
		return msg
	}
	var several []json.RawMessage
	if json.Unmarshal(msg, &several) == nil {
		for i := range several {
			several[i] = g.said(several[i])
		}
		return remade(msg, several)
	}
	return g.said(msg)
}

func (g *Guard) said(msg json.RawMessage) json.RawMessage {
	var message, result map[string]json.RawMessage
	if json.Unmarshal(msg, &message) != nil || json.Unmarshal(message["result"], &result) != nil {
		return msg
	}
	_, lists := result["tools"]
	_, instructs := result["instructions"]
	if !lists && !instructs {
		return msg
	}
	a, known := g.o.Accepted()
	if !known {
		return msg
	}
	var left []string
	if instructs && hashOf(result["instructions"]) != a.Instructions {
		delete(result, "instructions")
		left = append(left, instructionsName)
	}
	if lists {
		tools, more := g.filter(result["tools"], a)
		result["tools"], left = tools, append(left, more...)
	}
	if len(left) == 0 {
		return msg
	}
	if g.o.Left != nil {
		g.o.Left(left)
	}
	message["result"] = remade(nil, result)
	return remade(nil, message)
}

// filter keeps the definitions that are accepted, and names the others.
func (g *Guard) filter(raw json.RawMessage, a Accepted) (json.RawMessage, []string) {
	var tools []json.RawMessage
	if json.Unmarshal(raw, &tools) != nil {
		return json.RawMessage("[]"), []string{"a list that is none"}
	}
	kept, left := []json.RawMessage{}, []string{}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tool := range tools {
		text, err := canonical(tool)
		name := ""
		if err == nil {
			name, err = nameOf(text)
		}
		if err == nil && a.Tools[name] != "" && a.Tools[name] == hashOf(text) {
			kept = append(kept, json.RawMessage(text))
			delete(g.strange, name)
			continue
		}
		if name != "" && len(g.strange) < maxTools {
			g.strange[name] = true
		}
		left = append(left, clip(name, 100))
	}
	return remade(nil, kept), left
}

// remade writes what was read as JSON before.
func remade(was json.RawMessage, v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		return was
	}
	return out
}
