// Package task is what a scheduled task is, and the scheduler that finds what is
// due. A due time becomes an ordinary message of the task's group, in the one
// transaction that sets the task's next time; from there on it is the queue's.
//
// It promises that a due time is taken up once, whatever the clock does, that a task
// which cannot go on rests and says so once, and that nothing is looked at more often
// than something can be due. When a task is due is package schedule's to say, what it
// may touch is package grant's, and who may make one package authority's.
package task

import (
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/schedule"
)

// State is where a task is.
type State string

// The states.
const (
	Active State = "active" // it has a next time
	Paused State = "paused" // somebody put it to rest
	Asked  State = "asked"  // it waits for the owner's yes to host mode
	Done   State = "done"   // its last time came
	Broken State = "broken" // it put itself to rest, with the reason
)

// Bounds of what a task holds, in bytes, and of its past.
const (
	MaxPrompt = 64 << 10
	MaxScript = 64 << 10
	// MaxFailures is how many runs in a row may fail before the task rests.
	MaxFailures = 5
	// KeepRuns is how many due times of a task are remembered.
	KeepRuns = 50
)

// Task is a scheduled task.
type Task struct {
	ID    chat.TaskID `json:"id"`
	Group chat.Group  `json:"group"`
	By    Creator     `json:"by"`
	// To is the chat that gets the answers.
	To       chat.Address     `json:"to"`
	Prompt   string           `json:"prompt"`
	Spec     schedule.Spec    `json:"schedule"`
	Missed   schedule.Missed  `json:"missed"`
	Overlap  schedule.Overlap `json:"overlap"`
	Context  chat.TaskContext `json:"context"`
	HostMode bool             `json:"host_mode_allowed"`
	// Script is run inside the boundary before the agent is woken, "" for none.
	Script string `json:"script,omitempty"`

	State State `json:"state"`
	// Reason says in words why it rests.
	Reason string `json:"reason,omitempty"`
	// Next is when it is due, zero if it is not; Last when it was due last.
	Next    time.Time `json:"next,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Created time.Time `json:"created"`
	// Runs counts the due times that were run, Skipped those left out, and Failures
	// the runs in a row that failed.
	Runs     int `json:"runs"`
	Skipped  int `json:"skipped"`
	Failures int `json:"failures"`
	// Rev changes with every change, so that nobody acts on what was before.
	Rev int64 `json:"-"`
}

// Creator is who made a task.
type Creator struct {
	Channel chat.ChannelID `json:"channel"`
	Sender  chat.Sender    `json:"sender"`
	// Run is the run whose agent made it, "" if the owner did.
	Run chat.RunID `json:"run,omitempty"`
	// OfOwner says that the run was the owner's.
	OfOwner bool `json:"of_owner,omitempty"`
}

// String tells the creator to people.
func (c Creator) String() string {
	who := string(c.Channel) + ":" + string(c.Sender.ID)
	if c.Run != "" {
		return "the agent, in run " + string(c.Run) + " for " + who
	}
	return who
}

// Check refuses what a task cannot be, whoever makes it, and fills in what was left
// out.
func (t *Task) Check() (err error) {
	if t.Prompt = strings.TrimSpace(t.Prompt); t.Prompt == "" {
		return fmt.Errorf("the prompt is missing: say what is to be done")
	}
	for _, of := range []struct {
		name, text string
		most       int
	}{{"prompt", t.Prompt, MaxPrompt}, {"script", t.Script, MaxScript}} {
		if len(of.text) > of.most {
			return fmt.Errorf("the %s is %d bytes, more than the %d that it may have: keep it in a file of the workspace", of.name, len(of.text), of.most)
		}
	}
	switch t.Context {
	case "":
		t.Context = chat.GroupContext
	case chat.GroupContext, chat.IsolatedContext:
	default:
		return fmt.Errorf("%.40q is no context: use group or isolated", string(t.Context))
	}
	if t.Missed, err = schedule.ParseMissed(string(t.Missed)); err != nil {
		return err
	}
	t.Overlap, err = schedule.ParseOverlap(string(t.Overlap))
	return err
}

// Begin sets the next time from now on. What passed while it rested is not made up
// for.
func (t *Task) Begin(now time.Time) error {
	s, err := schedule.Parse(t.Spec)
	if err != nil {
		return err
	}
	next, err := s.After(now)
	if err != nil {
		return err
	}
	t.Spec, t.Next, t.State, t.Reason, t.Failures = s.Spec(), next, Active, "", 0
	return nil
}

// Rest takes the next time away.
func (t *Task) Rest(s State, reason string) {
	t.State, t.Reason, t.Next = s, reason, time.Time{}
}

// Inbound is the message that stands for a due time.
func (t *Task) Inbound(due time.Time) chat.Inbound {
	ref := chat.TaskRef{ID: t.ID, Due: due.UTC(), HostModeAllowed: t.HostMode, Context: t.Context, Script: t.Script, OfOwner: t.By.OfOwner}
	return chat.Inbound{From: t.To, ID: ref.Message(), Sender: t.By.Sender, Text: t.Prompt, Sent: due.UTC(), Task: &ref}
}

// Run is what became of one due time.
type Run struct {
	Due time.Time `json:"due"`
	// State is waiting, running, skipped, or how it ended.
	State string     `json:"state"`
	Run   chat.RunID `json:"run,omitempty"`
	// Note says more in words.
	Note  string    `json:"note,omitempty"`
	Ended time.Time `json:"ended,omitzero"`
}

// Firing is what the scheduler found to do of a task, or the owner asked for.
type Firing struct {
	Task Task
	schedule.Plan
	// Now is the moment of it.
	Now time.Time
	// Manual says that somebody wants it to run now: its next time stays.
	Manual bool
	// Queued is how many messages may wait in the group, 0 for any number.
	Queued int
}

// Fired is what came of a Firing.
type Fired struct {
	// Started are the due times that wait for their run now.
	Started []time.Time
	// Skipped says why others do not, one line each.
	Skipped []string
	// Stale says that the task was changed meanwhile, and nothing was done.
	Stale bool
}
