package daemon

import (
	"bytes"
	"encoding/json"
	"sync"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// permits are calls of MCP tools, the host's own too, that an agent was let make,
// each for one call with exactly these arguments. The agent's hook asks; the guard on the
// way to the server takes the permit, so that what passes is what was shown, and
// who calls past the hook has none.
type permits struct {
	mu   sync.Mutex
	open map[chat.SessionID][]string
}

// maxPermits bounds those of a session that nobody takes.
const maxPermits = 64

// permitOf names a call. A tool goes by the name that agents have for it; no
// server has two that share one (mcpserver.Inspect).
func permitOf(server, tool string, args json.RawMessage) (string, bool) {
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	in := json.NewDecoder(bytes.NewReader(args))
	in.UseNumber()
	var v any
	if in.Decode(&v) != nil {
		return "", false
	}
	text, err := json.Marshal(v)
	return server + "\x00" + config.As(tool) + "\x00" + string(text), err == nil
}

// permit keeps a yes.
func (d *Daemon) permit(s chat.SessionID, server, tool string, args json.RawMessage) {
	key, ok := permitOf(server, tool, args)
	if !ok {
		return
	}
	p := &d.mcp.permits
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[chat.SessionID][]string{}
	}
	if p.open[s] = append(p.open[s], key); len(p.open[s]) > maxPermits {
		p.open[s] = p.open[s][1:]
	}
}

// take takes a yes to a call of a session, and says whether there was one.
func (p *permits) take(s chat.SessionID, server, tool string, args json.RawMessage) bool {
	key, ok := permitOf(server, tool, args)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, have := range p.open[s] {
		if ok && have == key {
			p.open[s] = append(p.open[s][:i:i], p.open[s][i+1:]...)
			return true
		}
	}
	return false
}

// end forgets those of a session.
func (p *permits) end(s chat.SessionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, s)
}
