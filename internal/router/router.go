package router

import (
	"context"

	"nanoclaw/internal/chat"
)

// Action is what becomes of a message.
type Action string

// The actions.
const (
	Run     Action = "run"     // it starts a run of Group
	Context Action = "context" // kept, bounded, and shown to the agent at the next run
	Ignore  Action = "ignore"  // our own, empty, or from a chat nobody registered: stored, never shown
	Refuse  Action = "refuse"  // its sender may not speak here; never shown to the agent
)

// Verdict is the decision about one message, with its reason in words.
type Verdict struct {
	Group  chat.Group `json:"group,omitempty"`
	Action Action     `json:"action"`
	Reason string     `json:"reason"`
}

// Store is what the router needs of the store.
type Store interface {
	// Accept stores one message with its verdict and the audit entry in one
	// transaction. fresh is false, and nothing changes, if this message (channel,
	// chat, id) is already stored. For Context it also prunes the oldest context
	// of the group beyond keep. queued is false if the group already has max
	// messages waiting: then it is stored with Ignore and that reason.
	Accept(ctx context.Context, in chat.Inbound, v Verdict, keep, max int) (Accepted, error)
}

// Accepted says what Accept did.
type Accepted struct {
	Row   int64 // our own row id, which is the order of messages
	Fresh bool  // false: it was already there
	Full  bool  // true: the group's queue was full, the message is stored but starts nothing
}
