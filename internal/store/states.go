package store

import (
	"slices"
	"strings"
)

// arrow is a change of a row's state. What is not in moves does not happen: the
// database refuses it, whatever the code does, and the typed methods refuse it
// before, in words. docs/state-machine.md is the same table, with what a crash
// leaves on each side of a move; a test compares the two, and tries every pair.
type arrow struct {
	// of is the table, and from and to are states; several are divided by a bar.
	of, from, to string
	by           string // the methods that make it
	entry        string // the audit entries of its transaction; "" for none
}

// made and gone stand for the state of a row that is not there yet, or no more.
const (
	made = "–"
	gone = "gone"
)

// moves are all there are. Read-only.
var moves = []arrow{
	{"inbox", made, "waiting|context|ignored|refused|host", "Accept", "inbound"},
	{"inbox", made, "waiting", "Fire", "inbound"},
	{"inbox", "context", "ignored", "Accept", "inbound"},
	{"inbox", "waiting|context", "claimed", "Claim", ""},
	{"inbox", "waiting|context", "claimed", "Join", "run.joined"},
	{"inbox", "claimed", "waiting|context", "Release, Recover", "run.ended"},
	{"inbox", "claimed", "waiting|context", "Hold", "run.held"},
	{"inbox", "claimed", "done|waiting|context|dead", "Finish", "run.ended, run.refused"},
	{"inbox", "claimed", "dead", "Recover", "run.ended"},
	{"inbox", "waiting", "refused", "EndHeld", "outbox"},
	{"inbox", "waiting|context", "refused", "ForgetStranger, DenyStranger, RefuseWaiting", "owner.acted"},
	{"inbox", "waiting|context|dead", "ignored", "EraseSender", "owner.acted"},
	{"inbox", "waiting", "ignored", "DropTask", "task.changed"},
	{"inbox", "dead", "waiting", "Unstick", "owner.acted"},
	{"inbox", "waiting|dead", "refused", "Unstick", "owner.acted"},
	{"inbox", "host", "done", "HostDone", ""},
	{"inbox", "host", "done", "EndQuestions", "approval.ended"},
	{"inbox", "ignored|refused|done|dead", gone, "Prune", "store.pruned"},

	{"runs", made, "queued", "Claim", ""},
	{"runs", "queued", "starting", "Start", "run.started"},
	{"runs", "starting", "running", "Running", "session.started"},
	{"runs", "running", "succeeded", "Finish", "run.ended"},
	{"runs", "queued|starting", "refused", "Finish", "run.refused"},
	{"runs", "queued|starting|running", "failed|cancelled|interrupted", "Finish", "run.ended"},
	{"runs", "starting|running", "interrupted", "Release", "run.ended"},
	{"runs", "queued|starting|running", "interrupted", "Recover", "run.ended"},
	{"runs", "queued", gone, "Release", ""},
	{"runs", "queued", gone, "Hold", "run.held"},
	{"runs", "succeeded|failed|refused|cancelled|interrupted", gone, "Prune", "store.pruned"},

	{"outbox", made, "pending", "Put, Finish, Accept, Hold, EndHeld", "outbox"},
	{"outbox", "pending", "sending", "Sending", ""},
	{"outbox", "sending", "pending", "Retry, Held, Recover", ""},
	{"outbox", "sending", "sent", "Sent", "delivered"},
	{"outbox", "pending|sending", "given_up", "GiveUp", "given_up"},
	{"outbox", "sent|given_up", gone, "Prune", "store.pruned"},

	{"questions", made, "open", "AskQuestion", "approval.asked"},
	{"questions", "open", "approved|denied|expired|withdrawn|refused|gone", "EndQuestions", "approval.ended"},
	{"questions", "approved|denied|expired|withdrawn|refused", gone, "DropQuestion", ""},
}

// may says that a row of a table may come from a state to another.
func may(of, from, to string) bool {
	return slices.ContainsFunc(moves, func(m arrow) bool { return m.of == of && has(m.from, from) && has(m.to, to) })
}

func has(states, one string) bool { return slices.Contains(strings.Split(states, "|"), one) }
