package control

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// TokenKeeper keeps the tokens of the HTTP API. Its methods work on a host that was
// opened but does not run.
type TokenKeeper interface {
	// Tokens lists them. What they are is known to nobody here.
	Tokens(ctx context.Context) ([]TokenInfo, error)
	// TokenAdd makes one. It is CodeRefused if there is one of that name.
	TokenAdd(ctx context.Context, r TokenSpec) (TokenMade, error)
	// TokenRemove ends one at once, with what waits of it.
	TokenRemove(ctx context.Context, r TokenSpec) error
}

// TokenInfo is a token of the HTTP API.
type TokenInfo struct {
	Name  string     `json:"name"`
	Group chat.Group `json:"group"`
	At    time.Time  `json:"at"`
}

// TokenSpec names a token; Group is for one that is made.
type TokenSpec struct {
	Name  string     `json:"name"`
	Group chat.Group `json:"group,omitempty"`
}

// TokenMade has the token itself, which nothing tells a second time.
type TokenMade struct {
	TokenInfo
	Token string `json:"token"`
}

// Tokens lists the tokens of the HTTP API.
func (c *Client) Tokens(ctx context.Context) ([]TokenInfo, error) {
	return call[[]TokenInfo](ctx, c, "tokens", nothing{})
}

// TokenAdd makes a token.
func (c *Client) TokenAdd(ctx context.Context, r TokenSpec) (TokenMade, error) {
	return call[TokenMade](ctx, c, "token/add", r)
}

// TokenRemove ends a token.
func (c *Client) TokenRemove(ctx context.Context, r TokenSpec) error {
	_, err := call[nothing](ctx, c, "token/remove", r)
	return err
}
