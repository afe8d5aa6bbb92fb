package queue

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// Message is one stored message as a run consumes it.
type Message struct {
	Row int64
	chat.Inbound
	// Trigger is false for context.
	Trigger bool
	// Attempts counts earlier runs that did not finish with this message.
	Attempts int
}

// Job is the work of one run: all waiting messages of one group, oldest first.
type Job struct {
	Run      chat.RunID
	Group    chat.Group
	Messages []Message
	Claimed  time.Time
}

// Last is the newest triggering message, whose chat gets the answer.
func (j Job) Last() Message {
	for i := len(j.Messages) - 1; i >= 0; i-- {
		if j.Messages[i].Trigger {
			return j.Messages[i]
		}
	}
	return Message{}
}

// Store is what the queue needs of the store.
type Store interface {
	// Waiting lists the groups that have a triggering message waiting and no
	// live run, the one whose message waited longest first.
	Waiting(ctx context.Context) ([]chat.Group, error)
	// Claim takes all waiting messages of a group (context included) for a new
	// run: the run's row is made in state "queued" and the messages are claimed by
	// it, in one transaction. It gives nil if there is nothing to do or a run of
	// the group is live.
	Claim(ctx context.Context, g chat.Group, run chat.RunID, at time.Time) (*Job, error)
	// Release puts a claimed job back as if it had never been claimed: the run
	// did not start. Attempts stay as they were.
	Release(ctx context.Context, run chat.RunID) error
	// Recover ends the runs that an earlier process left behind: they become
	// "interrupted", their messages wait again with one attempt more, or become
	// "dead" after maxAttempts. It gives the groups of dead messages' rows with an
	// address each, so that somebody can be told.
	Recover(ctx context.Context, maxAttempts int, at time.Time) ([]Lost, error)
}

// Lost is a message that was given up.
type Lost struct {
	Group chat.Group
	To    chat.Address
	Text  string
}
