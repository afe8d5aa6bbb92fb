package control

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// Approval is a question that waits for the owner.
type Approval struct {
	Code  string     `json:"code"`
	Group chat.Group `json:"group"`
	Run   chat.RunID `json:"run,omitempty"`
	// Title says it in one line, Text whole, with how to answer.
	Title string    `json:"title"`
	Text  string    `json:"text"`
	Hash  string    `json:"hash"`
	Until time.Time `json:"until"`
}

// ApproveRequest is the owner's answer to a question.
type ApproveRequest struct {
	Code string `json:"code"`
	Yes  bool   `json:"yes"`
	// Choice is one of the words that the question offers, "" for the first.
	Choice string `json:"choice,omitempty"`
}

// Approved says in one line what was answered.
type Approved struct {
	Text string `json:"text"`
}

// Right is something that the owner allowed for longer than once.
type Right struct {
	ID int64 `json:"id"`
	// Kind is "sender", "egress", "mcp" or "chat", and Subject what exactly.
	Kind    string     `json:"kind"`
	Group   chat.Group `json:"group,omitempty"`
	Subject string     `json:"subject"`
	Hash    string     `json:"hash,omitempty"`
	Until   time.Time  `json:"until,omitzero"`
	// By allowed it, in the chat From.
	By   string    `json:"by"`
	From string    `json:"from"`
	At   time.Time `json:"at"`
}

// Rights lists what the owner allowed for longer than once.
func (c *Client) Rights(ctx context.Context) ([]Right, error) {
	return call[[]Right](ctx, c, "rights", nothing{})
}

// RemoveRight takes one of them back.
func (c *Client) RemoveRight(ctx context.Context, id int64) error {
	_, err := call[nothing](ctx, c, "rights/remove", rightRequest{id})
	return err
}

// Approvals lists the questions that wait for the owner.
func (c *Client) Approvals(ctx context.Context) ([]Approval, error) {
	return call[[]Approval](ctx, c, "approvals", nothing{})
}

// Approve answers one of them.
func (c *Client) Approve(ctx context.Context, r ApproveRequest) (Approved, error) {
	return call[Approved](ctx, c, "approve", r)
}
