// Package steps names the durable steps of the path that a message takes, so
// that the host can be killed at each of them by name, and has the clock by which the
// host decides what is due, so that it can be made to jump.
//
// Before and After stand around the one call that makes a step durable. In what
// we ship they are empty functions, which the compiler leaves out together with
// the names, and Now is the machine's: the program has no hook, and no variable turns one on. A build with
// the tag "chaos", which only tests make, kills itself there if it is told to
// (chaos.go).
//
// The list is held by tests: every step stands around something in the code, in
// one pair, and the driver in chaostest has a case that kills at it. What a kill
// must not break is that driver's matter.
package steps

// Step is the name of a step.
type Step string

// The steps, in the order in which a message meets them.
const (
	Recover Step = "recover"      // what an earlier process left is taken up
	Accept  Step = "inbox.accept" // a message is stored; after it the network is told so
	Fire    Step = "task.fire"    // a task that is due becomes a message, and its next time is set

	HostAct  Step = "host.act"   // what a message says to the host is done
	HostDone Step = "host.done"  // that is noted
	Paired   Step = "pair.tried" // a stranger's pairing code is used up, or counted as wrong

	Claim   Step = "queue.claim"  // messages are given to a new run
	Release Step = "run.release"  // they are given back, since we stop
	Hold    Step = "run.hold"     // they wait for a time or an answer
	Free    Step = "hold.free"    // they may go on
	Start   Step = "run.start"    // the run is written down with its grant
	Stand   Step = "boundary.run" // the boundary is started
	Running Step = "run.running"  // the boundary is written down
	Open    Step = "agent.open"   // the agent is started
	Ask     Step = "agent.ask"    // the agent is asked, and has answered
	Join    Step = "run.join"     // messages join the run
	Finish  Step = "run.finish"   // outcome, messages done and replies, in one
	End     Step = "session.end"  // the end of the session is written down

	ToolAsked Step = "tool.asked" // a call of a host tool is written down
	ToolActed Step = "tool.acted" // it is done

	Put      Step = "outbox.put" // a message to send is stored
	Sending  Step = "outbox.sending"
	Delivery Step = "outbox.deliver" // the network is given it
	Sent     Step = "outbox.sent"
	Retry    Step = "outbox.retry"
	Held     Step = "outbox.held" // nobody is there
	GiveUp   Step = "outbox.give-up"

	QuestionAsked    Step = "question.asked" // a question to the owner is kept
	QuestionTold     Step = "question.told"  // it is noted that the owner was told
	QuestionEnded    Step = "question.ended"
	QuestionFollowed Step = "question.followed" // what follows from the answer
	QuestionDropped  Step = "question.dropped"

	Sequence Step = "audit.sequence" // rows are put into the log, and signed

	BackupWritten Step = "backup.written" // a backup is whole, under another name
	BackupPlaced  Step = "backup.placed"  // it has its own
	Restored      Step = "restore.moved"  // one folder takes its place
)

// All gives every step. A test compares it with the constants.
func All() []Step {
	return []Step{
		Recover, Accept, Fire, HostAct, HostDone, Paired,
		Claim, Release, Hold, Free, Start, Stand, Running, Open, Ask, Join, Finish, End,
		ToolAsked, ToolActed,
		Put, Sending, Delivery, Sent, Retry, Held, GiveUp,
		QuestionAsked, QuestionTold, QuestionEnded, QuestionFollowed, QuestionDropped,
		Sequence,
		BackupWritten, BackupPlaced, Restored,
	}
}
