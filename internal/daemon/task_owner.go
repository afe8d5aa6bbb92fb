package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
	"nanoclaw/internal/task"
)

// byOwner is how the owner in a terminal is called in the record of a task.
const byOwner = "the owner"

// Tasks lists the tasks of a group, "" for all.
func (d *Daemon) Tasks(ctx context.Context, g chat.Group) ([]task.Task, error) {
	if g != "" {
		if err := d.known(g); err != nil {
			return nil, err
		}
	}
	return d.store.Tasks(ctx, g)
}

// TaskAdd makes a task of the owner's.
func (d *Daemon) TaskAdd(ctx context.Context, r control.TaskSpec) (task.Task, error) {
	if err := d.known(r.Group); err != nil {
		return task.Task{}, err
	}
	to, err := d.chatOf(r.Group)
	if err != nil {
		return task.Task{}, err
	}
	now := steps.Now().UTC()
	t := task.Task{ID: chat.NewTaskID(), Group: r.Group, To: to, Created: now, Spec: schedule.Spec{Zone: d.taskZone(), Anchor: now}}
	if err := d.applyTask(&t, r); err != nil {
		return task.Task{}, err
	}
	if err := t.Begin(now); err != nil {
		return task.Task{}, badTask(err)
	}
	err = d.store.AddTask(ctx, t, d.config.Limits.Tasks, changedTask("add", t, byOwner, to))
	d.tasks.Nudge()
	return t, asTask(err)
}

// TaskEdit changes a task. It is then the owner's own, with all that it says.
func (d *Daemon) TaskEdit(ctx context.Context, r control.TaskSpec) (task.Task, error) {
	now := steps.Now().UTC()
	t, err := d.store.ChangeTask(ctx, r.ID, func(t *task.Task) (audit.Entry, error) {
		was := *t
		if t.Spec.Anchor.IsZero() {
			t.Spec.Anchor = now
		}
		if err := d.applyTask(t, r); err != nil {
			return audit.Entry{}, err
		}
		if err := t.Begin(now); err != nil {
			return audit.Entry{}, badTask(err)
		}
		if was.State == task.Paused {
			t.Rest(task.Paused, was.Reason)
		}
		return changedTask("edit", *t, byOwner, chat.Address{}), nil
	})
	d.tasks.Nudge()
	return t, asTask(err)
}

// applyTask gives a task what the owner says, and checks it.
func (d *Daemon) applyTask(t *task.Task, r control.TaskSpec) error {
	t.By = task.Creator{Channel: console.ID, Sender: chat.Sender{ID: "owner", Name: "owner", Owner: true}}
	set(&t.Prompt, r.Prompt)
	set(&t.Script, r.Script)
	set((*string)(&t.Spec.Kind), r.Kind)
	set(&t.Spec.Value, r.Value)
	set(&t.Spec.Zone, r.Zone)
	set((*string)(&t.Context), r.Context)
	set((*string)(&t.Missed), r.Missed)
	set((*string)(&t.Overlap), r.Overlap)
	set(&t.HostMode, r.HostMode)
	if err := d.taskChat(t, r.Chat); err != nil {
		return err
	}
	if err := t.Check(); err != nil {
		return badTask(err)
	}
	s, err := schedule.Parse(t.Spec)
	if err == nil {
		err = s.CheckEvery(time.Duration(d.config.Limits.TaskInterval), steps.Now())
	}
	if err != nil {
		return badTask(err)
	}
	if d.modeOf(t.Group) == string(grant.HostMode) && !t.HostMode {
		return &control.Error{
			Code:    control.CodeRefused,
			Message: fmt.Sprintf("group %s runs in host mode, and a task needs its own consent to that", t.Group),
			Hint:    "say --host-mode if it may run natively on this machine",
		}
	}
	return nil
}

// taskChat sets the chat that a task answers to, which has to be one of its group's.
func (d *Daemon) taskChat(t *task.Task, to *string) error {
	if to == nil {
		return nil
	}
	a, err := chat.ParseAddress(*to)
	if err != nil {
		return badTask(err)
	}
	for _, known := range d.addressesOf(t.Group) {
		if a == known {
			t.To = a
			return nil
		}
	}
	return badTask(fmt.Errorf("%s is no chat of group %s", a, t.Group))
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

func badTask(err error) error { return &control.Error{Code: control.CodeUsage, Message: err.Error()} }

// asTask gives errors of the store about tasks their code.
func asTask(err error) error {
	var spoken *control.Error
	switch {
	case errors.As(err, &spoken):
		return spoken
	case errors.Is(err, store.ErrFull):
		return &control.Error{Code: control.CodeRefused, Message: err.Error(), Hint: "cancel one, or raise the limit"}
	case errors.Is(err, store.ErrNotFound):
		return &control.Error{Code: control.CodeNotFound, Message: "there is no such task", Hint: "nanoclaw task list shows those there are"}
	}
	return err
}

// TaskAct pauses, resumes, runs or cancels a task.
func (d *Daemon) TaskAct(ctx context.Context, r control.TaskAct) (control.TaskDone, error) {
	var done control.TaskDone
	t, err := d.store.Task(ctx, r.ID)
	if err != nil {
		return done, asTask(err)
	}
	switch r.Act {
	case control.TaskPause, control.TaskResume:
		done.Task, err = d.changeTask(ctx, r.ID, r.Act, byOwner)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			err = badTask(err)
		}
	case control.TaskCancel:
		done.Task = t
		done.Stopped, err = d.cancelTask(ctx, r.ID, byOwner, "")
	case control.TaskRun:
		done.Task = t
		err = d.runTask(ctx, t)
	default:
		err = badTask(fmt.Errorf("%q is nothing that is done to a task", r.Act))
	}
	return done, asTask(err)
}

// runTask has a task run now, whatever its schedule says. Its next time stays.
func (d *Daemon) runTask(ctx context.Context, t task.Task) error {
	if t.State == task.Asked {
		return badTask(fmt.Errorf("task %s waits for your yes to host mode: nanoclaw approvals", t.ID))
	}
	now := steps.Now().UTC()
	f := task.Firing{Task: t, Now: now, Manual: true, Queued: d.config.Limits.QueuedMessages}
	f.Run = []time.Time{now.Truncate(time.Second)}
	fired, err := d.store.Fire(ctx, f)
	d.queue.Wake()
	if err == nil && len(fired.Started) == 0 {
		return &control.Error{Code: control.CodeRefused, Message: "the task is not run: " + strings.Join(fired.Skipped, "; ")}
	}
	return err
}

// TaskHistory tells a task and its past.
func (d *Daemon) TaskHistory(ctx context.Context, id chat.TaskID) (control.TaskPast, error) {
	t, err := d.store.Task(ctx, id)
	if err != nil {
		return control.TaskPast{}, asTask(err)
	}
	runs, err := d.store.TaskRuns(ctx, id, task.KeepRuns)
	return control.TaskPast{Task: t, Runs: runs}, err
}

// maxTaskLines bounds what /tasks says.
const maxTaskLines = 30

// obeyTasks tells a chat of the tasks of its group, or of all.
func (d *Daemon) obeyTasks(ctx context.Context, g chat.Group) (string, error) {
	if g == queue.AllGroups {
		g = ""
	}
	all, err := d.store.Tasks(ctx, g)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "There are no tasks.", nil
	}
	var lines []string
	for i, t := range all {
		if i == maxTaskLines {
			lines = append(lines, fmt.Sprintf("and %d more: nanoclaw task list", len(all)-i))
			break
		}
		lines = append(lines, d.taskLine(t))
	}
	return strings.Join(lines, "\n"), nil
}

func (d *Daemon) taskLine(t task.Task) string {
	when := string(t.State)
	if zone, err := schedule.Zone(t.Spec.Zone); err == nil && !t.Next.IsZero() {
		when = "next " + t.Next.In(zone).Format("Mon 2006-01-02 15:04 MST")
	}
	return fmt.Sprintf("%s (%s): %s; %s %s: %s", t.ID, t.Group, when, t.Spec.Kind, t.Spec.Value, channel.OneLine(t.Prompt, 60))
}
