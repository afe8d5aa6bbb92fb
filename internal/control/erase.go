package control

import (
	"context"

	"nanoclaw/internal/chat"
)

// Eraser erases what a person wrote. Its method works on a host that was opened
// but does not run.
type Eraser interface {
	// Erase takes the words of a sender out of all that the host keeps, and records
	// that. CodeRefused says that nothing was done.
	Erase(ctx context.Context, r EraseRequest) (Erased, error)
}

// EraseRequest names whose words are erased.
type EraseRequest struct {
	// Sender is a sender's identity, as CHANNEL:ID.
	Sender string `json:"sender"`
	// Group bounds it to one group, "" for all.
	Group chat.Group `json:"group,omitempty"`
	// Runs erases also what agents said and did in the runs that nobody else began.
	Runs bool `json:"runs,omitempty"`
	// Try counts and changes nothing.
	Try bool `json:"try,omitempty"`
}

// Erased is what was erased, or would be.
type Erased struct {
	Messages int `json:"messages"`
	Waiting  int `json:"waiting"` // of them: nobody had answered these, and nobody will
	Quotes   int `json:"quotes"`  // of their words, in messages of others
	Runs     int `json:"runs"`
	Replies  int `json:"replies"`
	Entries  int `json:"entries"` // of the audit log; their places stay
	// Left says in words what is out of reach.
	Left []string `json:"left"`
}

// Erase takes the words of a sender out of all that the host keeps.
func (c *Client) Erase(ctx context.Context, r EraseRequest) (Erased, error) {
	return call[Erased](ctx, c, "erase", r)
}
