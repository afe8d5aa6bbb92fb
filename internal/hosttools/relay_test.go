package hosttools

import (
	"context"
	"io"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// relay is the library's transport on top of Message, as an agent that relays
// its messages one by one.
type relay struct {
	s       *Server
	answers chan jsonrpc.Message
	closed  chan struct{}
}

func (r *relay) Connect(context.Context) (mcp.Connection, error) {
	r.answers, r.closed = make(chan jsonrpc.Message, 16), make(chan struct{})
	return r, nil
}

func (r *relay) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case m := <-r.answers:
		return m, nil
	case <-r.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *relay) Write(ctx context.Context, m jsonrpc.Message) error {
	raw, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	answer, err := r.s.Message(ctx, raw)
	if err != nil || answer == nil {
		return err
	}
	decoded, err := jsonrpc.DecodeMessage(answer)
	if err == nil {
		r.answers <- decoded
	}
	return err
}

func (r *relay) Close() error {
	select {
	case <-r.closed:
	default:
		close(r.closed)
	}
	return nil
}

func (r *relay) SessionID() string { return "" }
