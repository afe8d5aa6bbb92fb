package audit

import (
	"time"

	"nanoclaw/internal/chat"
)

// Kind names what an entry records. The list is closed: a reader of an export
// finds each word here.
type Kind string

// The kinds of entry.
const (
	HostStarted     Kind = "host.started"     // the daemon began; version, uid, layers of this machine
	HostStopped     Kind = "host.stopped"     //
	StoreRestored   Kind = "store.restored"   // the folders come from a backup; what happened after it is not here
	ConfigChanged   Kind = "config.changed"   // the fingerprint differs; new runs are held
	ConfigRestored  Kind = "config.restored"  // it is as it was, or was reloaded; runs go on
	ConfigAccepted  Kind = "config.accepted"  // the owner took a changed config: by which act, and what it means
	ProbeRan        Kind = "probe.ran"        // what was tried and whether it held
	Inbound         Kind = "inbound"          // a message was stored, with the verdict and its reason
	RunStarted      Kind = "run.started"      // trigger and whole grant, before the act
	SessionPrepared Kind = "session.prepared" // a session is made before anybody wrote: the whole grant, before the act
	SessionStarted  Kind = "session.started"  // a boundary stands: engine, layers, init pid
	SessionEnded    Kind = "session.ended"    //
	ToolCalled      Kind = "tool.called"      // the agent used a tool of its own
	HostToolCalled  Kind = "host_tool.called" // the agent asked the host for something, and the answer
	MCPCalled       Kind = "mcp.called"       // the agent asked an MCP server that the host passes messages on to
	MCPTools        Kind = "mcp.tools"        // what an MCP server says of its tools is new
	RunJoined       Kind = "run.joined"       // messages were taken into a run that goes on
	AgentUnasked    Kind = "agent.unasked"    // what an agent said in a turn that nobody asked for: it goes nowhere else
	EgressTried     Kind = "egress"           // one connection, allowed or refused
	FilesChanged    Kind = "files.changed"    // files that a run left new or changed, with their hashes
	RunEnded        Kind = "run.ended"        // outcome, duration, cost
	RunRefused      Kind = "run.refused"      // rule and words
	RunHeld         Kind = "run.held"         // messages wait for a time or for the owner: by which rule, until when
	TaskChanged     Kind = "task.changed"     // a scheduled task was made, changed, paused, resumed or cancelled, or rests by itself
	TaskDue         Kind = "task.due"         // due times of a task came: which are run, what is left out
	TaskChecked     Kind = "task.checked"     // a task's own script said whether the agent is woken
	BudgetExtended  Kind = "budget.extended"  // the owner let an account go on for a day
	Outbox          Kind = "outbox"           // a message waits for delivery
	Delivered       Kind = "delivered"        //
	GivenUp         Kind = "given_up"         //
	ExecStarted     Kind = "exec.started"     // the owner ran a command in a group's boundary
	ExecEnded       Kind = "exec.ended"       //
	DelayedOdd      Kind = "delayed.odd"      // a lent folder holds files that reach elsewhere
	DelayedFound    Kind = "delayed.found"    // files that run code later were left in a folder of the owner; before they are moved
	DelayedMoved    Kind = "delayed.moved"    // where they are now, or why they could not be moved
	DelayedExpired  Kind = "delayed.expired"  // what was removed from the quarantine, for its age or its amount
	WireFailed      Kind = "wire.failed"      // a session's wire carried something it must not
	Part            Kind = "part"             // a part of what the next entry of another kind holds in brief
	ApprovalAsked   Kind = "approval.asked"   // the owner was asked about an effect, before it
	ApprovalEnded   Kind = "approval.ended"   // answered by whom, expired, withdrawn, or never asked
	RightAllowed    Kind = "right.allowed"    // a lasting answer of the owner is kept
	RightEnded      Kind = "right.ended"      // it was taken back
	Pairing         Kind = "pairing"          // a code that lets somebody in was made, used, or wrong
	OwnerActed      Kind = "owner.acted"      // a privileged act by the owner: stop, group set
)

// Entry is one line of the log as its writer gives it.
type Entry struct {
	At      time.Time
	Kind    Kind
	Group   chat.Group
	Run     chat.RunID
	Session chat.SessionID
	// Data is marshalled as JSON. It may hold a person's words: only a salted
	// commitment to it enters the tamper-evident log.
	Data any
	// Brief is an object that takes the place of Data if that is too long for one
	// entry, and then Data is kept in parts. Without it Data is cut.
	Brief any
}
