package audit

import (
	"time"

	"nanoclaw/internal/chat"
)

// The payloads about scheduled tasks.
type (
	// TaskChangedData belongs to TaskChanged. Task is all of it afterwards.
	TaskChangedData struct {
		Act  string      `json:"act"` // add, edit, pause, resume, cancel, allow host mode, rest
		ID   chat.TaskID `json:"id"`
		Task any         `json:"task,omitempty"`
		// By is who did it: an agent in a run, or the owner. From is the chat.
		By     string `json:"by,omitempty"`
		From   string `json:"from,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	// TaskDueData belongs to TaskDue. Skipped says what is left out and why.
	TaskDueData struct {
		Task    chat.TaskID `json:"task"`
		Run     []time.Time `json:"run,omitempty"`
		Skipped []string    `json:"skipped,omitempty"`
		Next    time.Time   `json:"next,omitzero"`
		Manual  bool        `json:"manual,omitempty"`
	}
	// TaskCheckedData belongs to TaskChecked. Output is what the script wrote, bounded.
	TaskCheckedData struct {
		Task   chat.TaskID `json:"task"`
		Wake   bool        `json:"wake"`
		Exit   int         `json:"exit"`
		Ms     int64       `json:"ms"`
		Output string      `json:"output,omitempty"`
		Error  string      `json:"error,omitempty"`
	}
)

func describeTask(d TaskChangedData) string {
	return or(d.By, "nanoclaw") + pre(" in ", d.From) + ": " + d.Act + " task " + string(d.ID) + why(d.Reason)
}
