package hosttools

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxMessage bounds one JSON-RPC message, in bytes. Escaped, a text of maxText
// may take six times its size.
const maxMessage = 512 << 10

// parseError answers what is no JSON-RPC message (JSON-RPC 2.0, 5.1).
const parseError = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"this is not a JSON-RPC message"}}`

// Message answers one JSON-RPC message. A request gets its response, whatever
// it is; a notification or a stray response gets nil. An error means that there
// is no answer: the server is closed, the message too long, or ctx has ended.
func (s *Server) Message(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
	leave, ok := s.enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	if len(raw) > maxMessage {
		s.odd(ctx, fmt.Sprintf("a message of %d bytes: it may have %d", len(raw), maxMessage))
		return nil, fmt.Errorf("the message is longer than %d KiB", maxMessage>>10)
	}
	msg, err := jsonrpc.DecodeMessage(raw)
	if err != nil || !json.Valid(raw) { // the library drops what follows a message
		s.odd(ctx, "not a message to host tools: it is no JSON-RPC")
		return json.RawMessage(parseError), nil
	}
	req, ok := msg.(*jsonrpc.Request)
	if !ok || !req.IsCall() {
		return nil, nil // no state: there is nothing to initialise or to cancel
	}
	if !s.spend(ctx) {
		return jsonrpc.EncodeMessage(&jsonrpc.Response{ID: req.ID, Error: errTooMany})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return s.exchange(ctx, req)
}

// exchange runs one request through a protocol session of its own.
func (s *Server) exchange(ctx context.Context, req *jsonrpc.Request) (json.RawMessage, error) {
	one := &single{request: req, closed: make(chan struct{}), answer: make(chan *jsonrpc.Response, 1)}
	state := &mcp.ServerSessionState{InitializedParams: &mcp.InitializedParams{}}
	if req.Method != "initialize" {
		state.InitializeParams = &mcp.InitializeParams{}
	}
	session, err := s.mcp().Connect(ctx, one, &mcp.ServerSessionOptions{State: state})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	select {
	case r := <-one.answer:
		return jsonrpc.EncodeMessage(r)
	case <-one.closed:
		return nil, fmt.Errorf("the request was not answered")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// errTooMany answers what comes too fast to be heeded.
var errTooMany = &jsonrpc.Error{Code: -32000, Message: "too many messages: wait, then go on"}

// single is a transport that carries one request and its response.
type single struct {
	request *jsonrpc.Request
	answer  chan *jsonrpc.Response
	closed  chan struct{}

	mu    sync.Mutex
	given bool
	once  sync.Once
}

var (
	_ mcp.Transport  = (*single)(nil)
	_ mcp.Connection = (*single)(nil)
)

func (c *single) Connect(context.Context) (mcp.Connection, error) { return c, nil }

// SessionID is empty: there is no session.
func (c *single) SessionID() string { return "" }

func (c *single) Read(ctx context.Context) (jsonrpc.Message, error) {
	c.mu.Lock()
	given := c.given
	c.given = true
	c.mu.Unlock()
	if !given {
		return c.request, nil
	}
	select {
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write keeps the response and drops what else the library has to say.
func (c *single) Write(_ context.Context, msg jsonrpc.Message) error {
	if r, ok := msg.(*jsonrpc.Response); ok {
		select {
		case c.answer <- r:
		default:
		}
	}
	return nil
}

func (c *single) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
