package control

import (
	"time"

	"nanoclaw/internal/chat"
)

// TalkQuery bounds what is told of a group's talk. Limit is in runs; 0 is 20, and 50 is
// the most.
type TalkQuery struct {
	Group chat.Group `json:"group"`
	// Before asks for what was said before this run.
	Before chat.RunID `json:"before,omitempty"`
	Limit  int        `json:"limit,omitempty"`
	// Run asks for this run of the group alone.
	Run chat.RunID `json:"run,omitempty"`
}

// Exchange is one run with what was said to it and what it said.
type Exchange struct {
	Run     RunInfo `json:"run"`
	Said    []Words `json:"said"`
	Replies []Words `json:"replies,omitempty"`
}

// Words are a message that came, or one that went out.
type Words struct {
	// Name is who said it, as their network shows them; "" for the agent and the host.
	Name string `json:"name,omitempty"`
	// Owner says that the pipe proved it to be the owner; Host that the host's own words
	// follow, and not an agent's.
	Owner bool `json:"owner,omitempty"`
	Host  bool `json:"host,omitempty"`
	// Task is the scheduled task that asked, "" if a person did.
	Task chat.TaskID `json:"task,omitempty"`
	Chat string      `json:"chat"`
	At   time.Time   `json:"at,omitzero"` // by the network's clock; of an answer, not known
	Text string      `json:"text"`        // at most 16 KiB
	// Files are the names of those that came or went with it.
	Files []string `json:"files,omitempty"`
	// State is how far an answer got: pending, sending, sent or given_up.
	State string `json:"state,omitempty"`
}
