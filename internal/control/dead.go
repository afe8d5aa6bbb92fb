package control

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// Undertaker has the messages that do not go on by themselves. Its methods work on a
// host that was opened but does not run.
type Undertaker interface {
	// Dead lists messages that were given up and those that wait until something is
	// mended, the oldest first.
	Dead(ctx context.Context) ([]DeadLetter, error)
	// DeadAct retries or drops one, and gives it as it was. It is CodeNotFound if
	// there is none.
	DeadAct(ctx context.Context, r DeadAct) (DeadLetter, error)
}

// The states of a DeadLetter.
const (
	DeadState  = "dead"  // it was given up
	WaitsState = "waits" // it goes on by itself once what Why says is over
)

// DeadLetter is a message that does not go on. Text is its sender's own.
type DeadLetter struct {
	ID     int64      `json:"id"`
	State  string     `json:"state"`
	Group  chat.Group `json:"group"`
	From   string     `json:"from"`
	Sender string     `json:"sender"`
	At     time.Time  `json:"at"`
	// Until is when a waiting one is tried again.
	Until    time.Time  `json:"until,omitzero"`
	Attempts int        `json:"attempts"`
	Run      chat.RunID `json:"run,omitempty"` // the last that had it
	Why      string     `json:"why"`
	Text     string     `json:"text"`
}

// DeadAct names a message, and what to do with it.
type DeadAct struct {
	ID  int64  `json:"id"`
	Act string `json:"act"`
}

// The acts.
const (
	RetryDead = "retry" // as if it had never been tried
	DropDead  = "drop"  // it is over, and its chat is told
)

// Dead lists what does not go on.
func (c *Client) Dead(ctx context.Context) ([]DeadLetter, error) {
	return call[[]DeadLetter](ctx, c, "dead", nothing{})
}

// DeadAct retries or drops.
func (c *Client) DeadAct(ctx context.Context, r DeadAct) (DeadLetter, error) {
	return call[DeadLetter](ctx, c, "dead/act", r)
}
