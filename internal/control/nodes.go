package control

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// Census knows the processes that share a store. It works on a host that was opened but
// does not run.
type Census interface {
	// Nodes lists them by name; none if this host has its store to itself.
	Nodes(ctx context.Context) ([]Node, error)
}

// Node is one of several processes that share a store.
type Node struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Heard is when it was last heard of; zero if it ended in order.
	Heard time.Time `json:"heard,omitzero"`
	Lives bool      `json:"lives"`
	Here  bool      `json:"here"` // it is the one that tells this
	// Duties are what it alone does now, and Groups those that it serves.
	Duties []Duty       `json:"duties"`
	Groups []chat.Group `json:"groups"`
}

// Duty is what one node does at a time, such as to hold a chat network's connection.
type Duty struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

// Nodes lists who shares the store.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	return call[[]Node](ctx, c, "nodes", nothing{})
}
