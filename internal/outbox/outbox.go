package outbox

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// Longest is more than any message waits for its next attempt. What is due only after
// that was written while the clock was ahead of what it is now, and is due at once.
const Longest = 5 * time.Minute

// Store is what the outbox needs of the store.
type Store interface {
	// Put stores a message with its audit entry. A message whose Key is already
	// stored changes nothing. ID is chosen by the store.
	Put(ctx context.Context, m chat.Outbound, at time.Time) (chat.Outbound, error)
	// Due lists messages to deliver now, oldest first, at most n, and never one
	// whose chat has an older undelivered message that is not due. What would be due
	// later than Longest from now is due.
	Due(ctx context.Context, now time.Time, n int) ([]Pending, error)
	// NextDue is when the next message becomes due; zero if none waits.
	NextDue(ctx context.Context) (time.Time, error)
	// Sending marks the attempt before it is made.
	Sending(ctx context.Context, id int64, at time.Time) error
	// Sent marks it delivered, with the network's own id, and audits it.
	Sent(ctx context.Context, id int64, network chat.MessageID, at time.Time) error
	// Retry puts it back until next. Held does so without counting an attempt:
	// nobody was connected.
	Retry(ctx context.Context, id int64, cause string, next time.Time) error
	Held(ctx context.Context, id int64) error
	// GiveUp ends it, audited.
	GiveUp(ctx context.Context, id int64, cause string, at time.Time) error
	// Unhold makes held messages of a chat due: somebody connected.
	Unhold(ctx context.Context, to chat.Address) error
}

// Pending is a message and how often it was tried.
type Pending struct {
	chat.Outbound
	Attempts int
}
