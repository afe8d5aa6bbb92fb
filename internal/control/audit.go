package control

import (
	"encoding/json"
	"time"

	"nanoclaw/internal/chat"
)

// ExportQuery says what to export: with a Run, that run's entries alone.
type ExportQuery struct {
	Run chat.RunID `json:"run,omitempty"`
}

// WhyQuery names what to explain: the id of a run, the number of an audit entry,
// or a message as its network knows it.
type WhyQuery struct {
	Name string `json:"name"`
}

// Why is an explanation. Text tells it to a person; Entry and Message are what
// was asked about, if it was not a run, and Account is the run it belongs to.
type Why struct {
	Entry   *AuditEntry     `json:"entry,omitempty"`
	Message *MessageFate    `json:"message,omitempty"`
	Account json.RawMessage `json:"account,omitempty"`
	Text    string          `json:"text,omitempty"`
}

// MessageFate is what became of a message.
type MessageFate struct {
	Chat   string     `json:"chat"`
	State  string     `json:"state"`
	Reason string     `json:"reason"`
	Run    chat.RunID `json:"run,omitempty"`
}

// AuditQuery bounds a list of entries. Limit 0 is 200; the newest that fit.
type AuditQuery struct {
	Group chat.Group `json:"group,omitempty"`
	Run   chat.RunID `json:"run,omitempty"`
	Kind  string     `json:"kind,omitempty"`
	ID    int64      `json:"id,omitempty"` // one entry alone
	// Since and Until bound the time: from Since, before Until.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Sender chooses what that sender wrote, and the runs that they began.
	Sender chat.SenderID `json:"sender,omitempty"`
	// Before asks for entries before this one; 0 ends at the newest.
	Before int64 `json:"before,omitempty"`
	Limit  int   `json:"limit,omitempty"`
}

// AuditEntry is one entry as the store has it.
type AuditEntry struct {
	ID      int64          `json:"id"`
	At      time.Time      `json:"at"`
	Kind    string         `json:"kind"`
	Group   chat.Group     `json:"group,omitempty"`
	Run     chat.RunID     `json:"run,omitempty"`
	Session chat.SessionID `json:"session,omitempty"`
	// Index is its place in the tamper-evident log, -1 before it is sequenced.
	Index int64           `json:"index"`
	Data  json.RawMessage `json:"data,omitempty"`
	// Whole is all of what Data holds in brief, where that was too long for one
	// entry; only if one entry was asked for.
	Whole json.RawMessage `json:"whole,omitempty"`
}

// VerifyQuery adds an anchor to those of the configuration: a file of them, by its
// absolute path, or one as SIZE:ROOT.
type VerifyQuery struct {
	Anchor string `json:"anchor,omitempty"`
}

// AuditReport is the outcome of a verification.
type AuditReport struct {
	OK bool `json:"ok"`
	// Entries is how many are in the log and covered by the checkpoint.
	Entries int64 `json:"entries"`
	// Unsequenced are rows that are not in the log yet.
	Unsequenced int64  `json:"unsequenced"`
	Checkpoint  string `json:"checkpoint,omitempty"`
	// Anchors is how many anchors the log agrees with, Anchored how many entries
	// the largest of them covers.
	Anchors  int   `json:"anchors,omitempty"`
	Anchored int64 `json:"anchored,omitempty"`
	// Bad names the first entry that does not hold, in words.
	Bad string `json:"bad,omitempty"`
}
