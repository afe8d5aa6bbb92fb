package chat

import (
	"strconv"
	"strings"
	"time"
)

// TaskID names a scheduled task. It is short and random, as a run's name is.
type TaskID string

// NewTaskID makes a task's name.
func NewTaskID() TaskID { return TaskID("t" + random(10)) }

// TaskRef says for which due time of which task a message stands, with what of the
// task its run has to know.
type TaskRef struct {
	ID  TaskID    `json:"id"`
	Due time.Time `json:"due"`
	// HostModeAllowed is the task's own flag, without which it never runs in host
	// mode, whatever its group may.
	HostModeAllowed bool `json:"host_mode_allowed,omitempty"`
	// Context says which of the agent's conversations it belongs to.
	Context TaskContext `json:"context,omitempty"`
	// Script is run inside the boundary before the agent is woken, "" for none.
	Script string `json:"script,omitempty"`
	// OfOwner says that it was made on the owner's behalf, by an agent. That gives it
	// no right of the owner's.
	OfOwner bool `json:"of_owner,omitempty"`
}

// TaskContext says in which conversation a task is worked on.
type TaskContext string

// The contexts.
const (
	GroupContext    TaskContext = "group"    // the group's, as it stands
	IsolatedContext TaskContext = "isolated" // one of its own, each time
)

// taskPrefix begins the ids of messages that stand for tasks. No channel's message
// has one that begins so: the router puts something before it.
const taskPrefix = "task:"

// Message is the id of the message that stands for the due time, so that a second
// one is known as the same.
func (r TaskRef) Message() MessageID {
	return MessageID(taskPrefix + string(r.ID) + ":" + strconv.FormatInt(r.Due.Unix(), 10))
}

// FromNetwork gives a message's id as it is kept if a network chose it: none reads
// like that of a task.
func FromNetwork(id MessageID) MessageID {
	if strings.HasPrefix(string(id), taskPrefix) {
		return "~" + id
	}
	return id
}
