package control

import (
	"context"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/task"
)

// Tasker manages scheduled tasks for the owner. Its methods work on a host that was
// opened but does not run; a task that is to run now waits for one that does.
type Tasker interface {
	// Tasks lists the tasks of a group, "" for all.
	Tasks(ctx context.Context, g chat.Group) ([]task.Task, error)
	// TaskAdd makes a task of the owner's.
	TaskAdd(ctx context.Context, r TaskSpec) (task.Task, error)
	// TaskEdit changes what is given of a task. It then is the owner's.
	TaskEdit(ctx context.Context, r TaskSpec) (task.Task, error)
	// TaskAct pauses, resumes, runs or cancels a task.
	TaskAct(ctx context.Context, r TaskAct) (TaskDone, error)
	// TaskHistory tells a task and what became of its due times, the youngest first.
	TaskHistory(ctx context.Context, id chat.TaskID) (TaskPast, error)
}

// TaskSpec says what a task is to be. In an edit nil leaves a thing as it is.
type TaskSpec struct {
	ID       chat.TaskID `json:"id,omitempty"`
	Group    chat.Group  `json:"group,omitempty"`
	Chat     *string     `json:"chat,omitempty"` // as CHANNEL:CHAT
	Prompt   *string     `json:"prompt,omitempty"`
	Kind     *string     `json:"kind,omitempty"`
	Value    *string     `json:"value,omitempty"`
	Zone     *string     `json:"zone,omitempty"`
	Context  *string     `json:"context,omitempty"`
	Script   *string     `json:"script,omitempty"`
	Missed   *string     `json:"missed,omitempty"`
	Overlap  *string     `json:"overlap,omitempty"`
	HostMode *bool       `json:"host_mode_allowed,omitempty"`
}

// The acts of TaskAct.
const (
	TaskPause  = "pause"
	TaskResume = "resume"
	TaskRun    = "run"
	TaskCancel = "cancel"
)

// TaskAct does something to a task.
type TaskAct struct {
	ID  chat.TaskID `json:"id"`
	Act string      `json:"act"`
}

// TaskDone is what came of it.
type TaskDone struct {
	Task task.Task `json:"task"`
	// Stopped is the run that a cancel ended.
	Stopped chat.RunID `json:"stopped,omitempty"`
}

// TaskPast is a task and its past.
type TaskPast struct {
	Task task.Task  `json:"task"`
	Runs []task.Run `json:"runs"`
}

type taskRequest struct {
	ID chat.TaskID `json:"id"`
}

// Tasks lists tasks.
func (c *Client) Tasks(ctx context.Context, g chat.Group) ([]task.Task, error) {
	return call[[]task.Task](ctx, c, "tasks", groupRequest{g})
}

// TaskAdd makes a task.
func (c *Client) TaskAdd(ctx context.Context, r TaskSpec) (task.Task, error) {
	return call[task.Task](ctx, c, "task/add", r)
}

// TaskEdit changes a task.
func (c *Client) TaskEdit(ctx context.Context, r TaskSpec) (task.Task, error) {
	return call[task.Task](ctx, c, "task/edit", r)
}

// TaskAct does something to a task.
func (c *Client) TaskAct(ctx context.Context, r TaskAct) (TaskDone, error) {
	return call[TaskDone](ctx, c, "task/act", r)
}

// TaskHistory tells a task's past.
func (c *Client) TaskHistory(ctx context.Context, id chat.TaskID) (TaskPast, error) {
	return call[TaskPast](ctx, c, "task/history", taskRequest{id})
}
