package egress

import (
	"strings"
	"time"
	"unicode/utf8"

	"nanoclaw/internal/chat"
)

// Gate says which of the ways out an Event is about.
type Gate string

// The gates.
const (
	ProxyGate Gate = "proxy" // the HTTP proxy, for hosts of the grant
	ModelGate Gate = "model" // the model endpoint
	MCPGate   Gate = "mcp"   // the owner's MCP servers
)

// Phase says when an Event was made.
type Phase string

// The phases. What is refused on its face has a Close alone; what is allowed has
// an Open before the first connection is made and a Close when it is over. So
// each connection through the proxy, and each request to the model, has exactly
// one Close.
const (
	Open  Phase = "open"
	Close Phase = "close"
)

// Verdict is the decision.
type Verdict string

// The verdicts. The Close of a connection that was allowed by name may still
// say Refused: its name led to an address that is never allowed, or what came
// through the tunnel was not TLS for that name, or a budget ended.
const (
	Allowed Verdict = "allowed"
	Refused Verdict = "refused"
)

// Event is one line of the audit about the way out. It is made by the gateway
// alone, holds no header, no query, no user name and no body, and every text in
// it that the agent chose is cut to size and free of control characters.
type Event struct {
	// ID counts within the session; Open and Close of one connection share it.
	ID      uint64         `json:"id"`
	Gate    Gate           `json:"gate"`
	Phase   Phase          `json:"phase"`
	Verdict Verdict        `json:"verdict"`
	At      time.Time      `json:"at"`
	Group   chat.Group     `json:"group"`
	Session chat.SessionID `json:"session"`

	Method string `json:"method,omitempty"` // CONNECT, GET, POST
	Host   string `json:"host,omitempty"`   // canonical, except where Reason says that it is not a name
	Port   int    `json:"port,omitempty"`
	// Path of a request that could be seen (plain, inspected, to the model),
	// without the query.
	Path string `json:"path,omitempty"`
	// Tunnel is the ID of the connection in which an inspected request was made.
	Tunnel uint64 `json:"tunnel,omitempty"`
	// Rule is the line of the grant that allowed it, as PATTERN:PORT, with the
	// host's rule after it where there is one.
	Rule string `json:"rule,omitempty"`
	// Addr is the address that was checked and dialled. Never one of a refused
	// host: the audit would then tell what a private name resolves to.
	Addr string `json:"addr,omitempty"`
	// Reason is why, in words.
	Reason string `json:"reason"`
	// Allow is the command that would allow what was refused, if one would.
	Allow string `json:"allow,omitempty"`

	// Spent says which budget is used up, if that is the reason.
	Spent string `json:"spent,omitempty"`

	// Up and Down are bytes towards and from the other side, of an inspected
	// request those of its bodies. Took is the whole duration. In a Close only.
	Up   int64         `json:"up,omitempty"`
	Down int64         `json:"down,omitempty"`
	Took time.Duration `json:"took,omitempty"`
	// Status is the HTTP status that the agent got, 0 if it got none.
	Status int `json:"status,omitempty"`
	// Model is the model that the request asks for, as the agent wrote it.
	Model string `json:"model,omitempty"`
	// Usage is what the answer cost, as the provider counted it; nil if it did not
	// say. In a Close only.
	Usage *Usage `json:"usage,omitempty"`
	// RPC is the method that an MCP server is asked for, and Tool the tool of a
	// call, as the agent wrote them.
	RPC  string `json:"rpc,omitempty"`
	Tool string `json:"tool,omitempty"`
	// ECH says that the ClientHello carried an encrypted one, whose inner name
	// cannot be seen. Clients also send it as padding without meaning.
	ECH bool `json:"ech,omitempty"`
	// Count is how many connections this stands for: more than 1 only for
	// connections beyond the limit, which are refused unread.
	Count int `json:"count,omitempty"`
}

// clean makes a text that the agent may have chosen fit for logs, answers and
// terminals: control characters (escape sequences among them), angle brackets
// and everything outside ASCII become '?', and it is cut at 200 characters.
func clean(s string) string {
	const most = 200
	cut := ""
	if len(s) > most {
		s, cut = s[:most], "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f || r == utf8.RuneError || r == '<' || r == '>' {
			return '?'
		}
		return r
	}, s) + cut
}
