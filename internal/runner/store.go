package runner

import (
	"context"
	"fmt"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// State is where a run is.
type State string

// The states of a run. The first three are live.
const (
	Queued      State = "queued"
	Starting    State = "starting"
	Running     State = "running"
	Succeeded   State = "succeeded"
	Failed      State = "failed"
	Refused     State = "refused"
	Cancelled   State = "cancelled"
	Interrupted State = "interrupted"
)

// Store is what the runner needs of the store.
type Store interface {
	// Record appends an audit entry by itself.
	Record(ctx context.Context, e audit.Entry) error
	// RecordLater is Record for what nothing outside rests on: should the machine lose
	// its power before anything else was recorded, the entry may be lost.
	RecordLater(ctx context.Context, e audit.Entry) error
	// Start moves a run from queued to starting and records mode, agent, session,
	// conversation and the audit entry, in one transaction, before anything is done.
	// What its reservation sets aside is set aside in that transaction, if each account
	// allows it: what an account answers comes back as the error, and nothing is
	// changed. Finish settles it, and so do Release and the start after a crash.
	Start(ctx context.Context, run chat.RunID, s Start, e audit.Entry) error
	// Running moves a run whose boundary was made for it from starting to running
	// and records entries, in one transaction, before the agent is asked anything.
	Running(ctx context.Context, run chat.RunID, entries ...audit.Entry) error
	// Finish ends a run: its state, its messages done, its replies in the outbox,
	// the group's agent session, and the audit entry, in one transaction.
	Finish(ctx context.Context, run chat.RunID, o Outcome, e audit.Entry) error
	// Converse changes which conversation a run that goes on is part of.
	Converse(ctx context.Context, run chat.RunID, c Conversation) error
	// Next gives the messages that the next run of a group would take up.
	Next(ctx context.Context, g chat.Group) ([]queue.Message, error)
	// Join gives a run that goes on the messages that Next gave, counts them and
	// records the entry, in one transaction. It is false, and nothing changed, if
	// Next would give others now.
	//
	// The accounts of l, nil for none, are asked first, and it is shared with the
	// askers of l from then on. What an account answers comes back as the error.
	Join(ctx context.Context, run chat.RunID, next []queue.Message, l *Reservation, e audit.Entry) (bool, error)
	// Hold puts the messages of a queued run back, of which there is nothing left:
	// those of h.Rows until a time. Its notice goes out unless somebody was told of
	// the same within its window.
	Hold(ctx context.Context, run chat.RunID, h Hold, e audit.Entry) error
	// Release puts the job of a run back: its messages wait again and no attempt
	// is counted, since it was us who stopped.
	Release(ctx context.Context, run chat.RunID) error
	// HostRuns counts the host-mode runs of a group that began since then, with the
	// messages that joined them, and tells when the oldest of them was.
	HostRuns(ctx context.Context, g chat.Group, since time.Time) (n int, oldest time.Time, err error)
	// Remembered is what is remembered of a conversation between its runs: that of a
	// thread, or the group's own, whose thread is "".
	Remembered(ctx context.Context, g chat.Group, thread chat.Thread) (Remembered, error)
	// Ended remembers why a conversation's last session ended, for its agent; "" forgets
	// it, since the agent was told.
	Ended(ctx context.Context, g chat.Group, thread chat.Thread, why string) error
	// RecordCall is Record for a call of an MCP server's tool that a run is about to
	// make: if it is cut off, Effects tells of it.
	RecordCall(ctx context.Context, e audit.Entry, tool, brief string) error
	// Effects are what runs that had messages of this one, and were cut off, did
	// through the host's tools and began through those of MCP servers.
	Effects(ctx context.Context, run chat.RunID) ([]Effect, error)
	// Said is what was said in a conversation last, the oldest first: at most
	// n runs, none of them isolated, and none before the conversation began anew.
	Said(ctx context.Context, g chat.Group, thread chat.Thread, n int) ([]Exchange, error)
	// Began is what a thread of a group's chat began with: the message that others
	// answer in the thread, with its run. It is false if the group never had it.
	Began(ctx context.Context, g chat.Group, thread chat.Address) (Exchange, bool, error)
	// Troubles are those that go on.
	Troubles(ctx context.Context) ([]Trouble, error)
	// Try lets one run try whether a trouble is over, once its time has come: it is
	// true for the first to ask, and the time is the next one then.
	Try(ctx context.Context, key string, now, next time.Time) (bool, error)
	// Over ends a trouble: what waits for it goes on, and each chat that was told of
	// it is told the text. It is false if there was none.
	Over(ctx context.Context, key, text string, at time.Time) (bool, error)
	// Told remembers which session of a conversation was told which grant, as
	// Remembered gives it back.
	Told(ctx context.Context, g chat.Group, thread chat.Thread, mark string) error
	// UID gives the group's own uid from the recorded range, choosing the next
	// free one the first time.
	UID(ctx context.Context, g chat.Group, first, count int) (int, error)
}

// Reservation is what a run sets aside of the accounts that it counts on.
type Reservation struct {
	// Day is the one that the run counts for, and Task its task, "" for none.
	Day, Task string
	Askers    []grant.Asker
	Accounts  []grant.Account
	// Trying are the keys of troubles of which the run tries whether they are over.
	Trying []string
	// Set is how much is set aside.
	Set grant.Amount
	// Judge says why an account has no room, nil if it has. It sees no I/O.
	Judge func(a grant.Account, u grant.Used) error
}

// Hold is why and until when messages wait.
type Hold struct {
	// Key names what they wait for.
	Key  string
	Rows []int64
	// Until is when they are taken up by themselves.
	Until time.Time
	// Notice is for the chat, and goes out once within Window; if it has a key, once
	// for that.
	Notice chat.Outbound
	Window time.Time
}

// Trouble is why messages wait until something is mended: the account at the
// model, the model, or the boundary of a group.
type Trouble struct {
	// Key is ModelTrouble or GroupTrouble, and the hold of the messages.
	Key   string
	Class agent.Class
	// Text says what is wrong, in words for a chat.
	Text  string
	Since time.Time
	// Tries is how often it was met, and Until when it is tried again.
	Tries int
	Until time.Time
	// Notices tell of it. Each goes out once for its chat, under NoticeKey.
	Notices []chat.Outbound
	// Untouched says that the agent was asked nothing, and Anew that its messages are
	// given to it as new ones, since it did nothing about them.
	Untouched, Anew bool
}

// ModelTrouble is the key of a trouble with a provider, "" for the
// configuration's own model.
func ModelTrouble(provider string) string { return "model/" + provider }

// GroupTrouble is the key of a trouble of one group.
func GroupTrouble(g chat.Group) string { return "group/" + string(g) }

// NoticeKey is under which a chat is told of a trouble.
func (t Trouble) NoticeKey(to string) string {
	return fmt.Sprintf("trouble:%s:%d:%s", t.Key, t.Since.UnixNano(), to)
}

// Effect is something that a run did through the host's tools, or a call of an MCP
// server's that it was let make.
type Effect struct {
	// Tool is its name, for an MCP server's as the agent has it.
	Tool, Brief string
	// Sure says that it happened; else the host ended while it was done.
	Sure bool
	At   time.Time
}

// Exchange is what was asked and answered in one run.
type Exchange struct {
	Messages []queue.Message
	Answer   string
}

// Start is what is known when a run starts.
type Start struct {
	Mode, Agent string
	Session     chat.SessionID
	At          time.Time
	Conversation
	// Reservation is what it sets aside, nil for nothing.
	Reservation *Reservation
	// Standing says that the boundary stands already, or that none is needed: the run
	// moves on to running in the same transaction, and needs no Running.
	Standing bool
	// Idle says that the run can do nothing, inside or out, before another change of
	// the store was made and is on the disk: this one may get there with it.
	Idle bool
}

// Conversation is which of the agent's own sessions a run is part of. It is
// known before the agent is asked anything, so that a crash in the very first
// turn can be taken up where it was.
type Conversation struct {
	// Session is Claude Code's session id, "" for an agent that has none.
	Session string
	// Isolated says that it is not the group's, which stays as it is.
	Isolated bool
	// Forget says that the group has no conversation any more.
	Forget bool
}

// Outcome is how a run ended.
type Outcome struct {
	State   State
	At      time.Time
	Replies []chat.Outbound
	// Trouble is why the messages of the run wait; nil: they do not.
	Trouble *Trouble
	// Dead are the rows of messages that are given up, for the reason in Error.
	Dead []int64
	// Unread are the rows of messages that the agent never saw: they wait again.
	Unread []int64
	// AgentSession is the agent's own session to resume; "" keeps the old one.
	AgentSession string
	// ForgetSession drops the agent's session: it cannot be resumed.
	ForgetSession bool
	Error         string
	// CostUSD is what the agent claims.
	CostUSD float64
	// InputTokens, cached ones among them, and OutputTokens are what the model's
	// provider counted, 0 if it did not say.
	InputTokens  int64
	OutputTokens int64
	ToolCalls    int
	// Task is the due time that the run was for, nil for messages. TaskBroken says
	// why its task cannot go on, "" if it can, and Note what to remember of a run
	// that did not fail.
	Task       *chat.TaskRef
	TaskBroken string
	Note       string
}

// Remembered is what is remembered of a conversation between its runs.
type Remembered struct {
	// AgentSession is Claude Code's session id, "" for none.
	AgentSession string
	// Ended says why the last session ended, if the agent was not told yet.
	Ended string
	// Told says which session was told which grant last, "" for none.
	Told string
}
