package hosttools

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// Identity is who is asking. It comes from the wire that the host made.
type Identity struct {
	Group   chat.Group
	Session chat.SessionID
	// Run gives the run that is going on, or "" between runs, when nothing is
	// done. A nil Run is for sessions that have no runs.
	Run func() chat.RunID
	// Consented says whether this call, with exactly these arguments, is one that the
	// session's agent was let make. It is asked once for a call. Nil: nothing needs
	// that.
	Consented func(tool string, args json.RawMessage) bool
}

// GroupInfo tells the owner's agent of a group.
type GroupInfo struct {
	Name chat.Group `json:"name"`
	Mode string     `json:"mode,omitempty"`
}

// Host does what was asked and allowed.
type Host interface {
	// Groups lists all groups.
	Groups(ctx context.Context) ([]GroupInfo, error)
	// Send stores a message to the chat of a group, once for an EffectKey. When it returns, the message
	// will be delivered or given up loudly.
	Send(ctx context.Context, from Identity, to chat.Group, text string) error
	// GroupOf gives the group that has a chat, "" for none. It fails, in words for
	// the agent, if nothing can be delivered there.
	GroupOf(to chat.Address) (chat.Group, error)
	// AskToSend asks the owner whether a message may go to a chat that belongs to no
	// group, and has it sent if they say yes, whenever that is. It gives the words
	// for the agent.
	AskToSend(ctx context.Context, from Identity, to chat.Address, text string) (string, error)
	// SendFile has a file of the group sent to its chat, with the words that go with
	// it. An image must be one. It gives the words for the agent, and a refusal as one.
	SendFile(ctx context.Context, from Identity, f OutFile) (string, error)
	// React gives the message that the agent is answering a reaction, once for an
	// EffectKey. It gives the words for the agent, and a refusal as one.
	React(ctx context.Context, from Identity, emoji string) (string, error)
	Registrar
	Tasks
	// Begin writes down that a call is about to have an effect, and says whether it
	// had it before.
	Begin(ctx context.Context, from Identity, e Effect) (Begun, error)
	// Record writes an audit entry. When it returns, the entry is durable.
	Record(ctx context.Context, e audit.Entry) error
}

// ErrClosed says that the session is over.
var ErrClosed = errors.New("the session is over: its host tools are closed")

// Server is the host tools of one session.
type Server struct {
	id    Identity
	host  Host
	tools map[string]tool
	mcp   func() *mcp.Server // made when the first message comes, which a shell never sends
	http  *http.Server
	conns *connQueue
	calls limiter // of tools
	talk  limiter // messages of any kind

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	working sync.WaitGroup // calls in work; added to under mu
}

// New makes the server of one session. Of the granted tools it offers those
// that it knows and that the group may have.
func New(id Identity, granted []grant.Tool, host Host) *Server {
	s := &Server{id: id, host: host, tools: map[string]tool{}, conns: newConnQueue(), calls: newLimiter(burst, refill), talk: newLimiter(talkBurst, talkRefill)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, t := range all() {
		if named(granted, t.name) && authority.Decide(t.act, s.who()).Outcome != authority.Deny {
			s.tools[t.name] = t
		}
	}
	s.mcp = sync.OnceValue(s.newMCP)
	s.http = newHTTP(s)
	go s.http.Serve(s.conns)
	return s
}

// newMCP makes what speaks the protocol.
func (s *Server) newMCP() *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "nanoclaw", Version: "1"}, &mcp.ServerOptions{
		Logger: slog.New(slog.DiscardHandler), // its words would come from inside
		// Tools alone, and a list that never changes: no logging, nothing to subscribe to.
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
	})
	for _, t := range s.tools {
		m.AddTool(&mcp.Tool{Name: t.name, Description: t.description, InputSchema: t.schema}, nothing)
	}
	m.AddReceivingMiddleware(s.guard)
	return m
}

// Names are the tools that there can be, for the grant to choose from.
func Names() []string {
	var names []string
	for _, t := range all() {
		names = append(names, t.name)
	}
	return names
}

func named(granted []grant.Tool, name string) bool {
	for _, g := range granted {
		if g.Name == name {
			return true
		}
	}
	return false
}

// nothing stands where the protocol's library wants a handler: guard answers
// every call before it.
func nothing(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return nil, errors.New("bug: a call passed the guard")
}

// Close ends all connections and returns when no call is in work. After it,
// every message is refused.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.http.Close()
	s.conns.Close()
	s.working.Wait()
}

// enter admits one piece of work, unless the server is closed.
func (s *Server) enter() (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.working.Add(1)
	return s.working.Done, true
}
