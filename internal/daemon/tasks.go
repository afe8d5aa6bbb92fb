package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hosttools"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
	"nanoclaw/internal/task"
)

// newScheduler makes the scheduler of this daemon.
func (d *Daemon) newScheduler() *task.Scheduler {
	return task.New(task.Options{
		Now:   steps.Now,
		Store: d.store, Rests: d.queue.Rests, Unfit: d.unfit, Queued: d.config.Limits.QueuedMessages,
		Fallback: console.Address(chat.Main), Log: d.log,
		Wake: func(chat.Group) { d.queue.Wake() },
		Told: d.replied,
	})
}

// unfit says why a task cannot go on whatever its schedule says: its group is gone, or
// whoever had it made may not speak there any more.
func (d *Daemon) unfit(t task.Task) (why string, gone bool) {
	if d.known(t.Group) != nil {
		return fmt.Sprintf("there is no group %s any more.", t.Group), true
	}
	who := t.By.Sender
	if who.Owner || t.By.OfOwner {
		return "", false
	}
	from := chat.Address{Channel: t.By.Channel, Chat: t.To.Chat}
	if d.router.Rules().RoleIn(from, who, t.Group) == authority.Nobody {
		return fmt.Sprintf("%s:%s, for whom it was made, may not speak there any more.", t.By.Channel, who.ID), false
	}
	return "", false
}

// taskZone is the zone of tasks that name none.
func (d *Daemon) taskZone() string {
	if _, err := schedule.Zone(d.machine.TimeZone); err != nil {
		return "UTC"
	}
	return d.machine.TimeZone
}

// Rules are what hosttools wants to know of tasks of a group.
func (h *toolHost) Rules(g chat.Group) hosttools.TaskRules { return h.d.taskRules(g) }

func (d *Daemon) taskRules(g chat.Group) hosttools.TaskRules {
	l := d.config.Limits
	return hosttools.TaskRules{
		Zone: d.taskZone(), Most: l.Tasks, Least: time.Duration(l.TaskInterval), HostMode: d.modeOf(g) == string(grant.HostMode),
	}
}

// Tasks lists the tasks of a group, "" for all.
func (h *toolHost) Tasks(ctx context.Context, g chat.Group) ([]task.Task, error) {
	return h.d.store.Tasks(ctx, g)
}

// creator is who makes a task by way of an agent: for whom its run works.
func (h *toolHost) creator(from hosttools.Identity) (task.Creator, chat.Address, error) {
	run := from.Run()
	at, who, owner, ok := h.d.runner.Maker(run)
	if !ok {
		return task.Creator{}, at, errors.New("the run is over")
	}
	return task.Creator{Channel: at.Channel, Sender: who, Run: run, OfOwner: owner}, at, nil
}

// Schedule keeps a task of an agent. Answers go to the chat of the run, or to that of
// the other group that it is for.
func (h *toolHost) Schedule(ctx context.Context, from hosttools.Identity, t task.Task, ask bool) (string, error) {
	by, to, err := h.creator(from)
	if err != nil {
		return "", err
	}
	if t.Group != from.Group {
		if to, err = h.d.chatOf(t.Group); err != nil {
			return "", err
		}
	}
	t.By, t.To = by, to
	if ask {
		t.Rest(task.Asked, "it waits for the owner's yes to host mode")
	}
	if err := h.d.store.AddTask(ctx, t, h.d.config.Limits.Tasks, changedTask("add", t, by.String(), to)); err != nil {
		return "", err
	}
	return h.d.taskMade(ctx, from, t, ask)
}

// taskMade says what became of a task, and asks the owner if that is to be.
func (d *Daemon) taskMade(ctx context.Context, from hosttools.Identity, t task.Task, ask bool) (string, error) {
	if !ask {
		d.tasks.Nudge()
		return hosttools.TellTask(t), nil
	}
	e := taskEffect(t)
	e.Run, e.Session = from.Run(), from.Session
	e.By, e.From = d.runner.Asking(e.Run)
	if _, err := d.put(ctx, e); err != nil {
		_, dropped := d.store.DropTask(ctx, t.ID, changedTask("cancel", t, "", chat.Address{}))
		return "", errors.Join(err, dropped)
	}
	return fmt.Sprintf("Task %s is not active yet: the owner is asked whether it may run in host mode, and it begins if they say yes.", t.ID), nil
}

// Update gives a task what another has. It is then made by whoever changed it: what
// the owner's name stood for was another task.
func (h *toolHost) Update(ctx context.Context, from hosttools.Identity, want task.Task, ask bool) (string, error) {
	by, _, err := h.creator(from)
	if err != nil {
		return "", err
	}
	t, err := h.d.store.ChangeTask(ctx, want.ID, func(t *task.Task) (audit.Entry, error) {
		if t.Rev != want.Rev {
			return audit.Entry{}, errors.New("it was changed meanwhile")
		}
		t.Prompt, t.Script, t.Context, t.Missed, t.Overlap = want.Prompt, want.Script, want.Context, want.Missed, want.Overlap
		t.Spec, t.Next, t.State, t.Reason, t.Failures = want.Spec, want.Next, want.State, want.Reason, want.Failures
		t.By, t.HostMode = by, false
		if ask {
			t.Rest(task.Asked, "it was changed, and waits for the owner's yes to host mode")
		}
		return changedTask("edit", *t, by.String(), chat.Address{}), nil
	})
	if err != nil {
		return "", err
	}
	return h.d.taskMade(ctx, from, t, ask)
}

// Act pauses, resumes or cancels a task for an agent.
func (h *toolHost) Act(ctx context.Context, from hosttools.Identity, id chat.TaskID, verb hosttools.TaskVerb) (string, error) {
	by, _, err := h.creator(from)
	if err != nil {
		return "", err
	}
	if verb == hosttools.CancelTask {
		_, err := h.d.cancelTask(ctx, id, by.String(), from.Run())
		return fmt.Sprintf("Task %s is cancelled.", id), err
	}
	t, err := h.d.changeTask(ctx, id, string(verb), by.String())
	return hosttools.TellTask(t), err
}

// The acts of changeTask.
const (
	pauseTask  = "pause"
	resumeTask = "resume"
)

// changeTask pauses a task, or lets it go on from now.
func (d *Daemon) changeTask(ctx context.Context, id chat.TaskID, verb, by string) (task.Task, error) {
	now := steps.Now()
	t, err := d.store.ChangeTask(ctx, id, func(t *task.Task) (audit.Entry, error) {
		switch {
		case t.State == task.Asked:
			return audit.Entry{}, fmt.Errorf("task %s waits for the owner's yes to host mode", id)
		case verb == pauseTask:
			t.Rest(task.Paused, "paused by "+by)
		default:
			if err := t.Begin(now); err != nil {
				return audit.Entry{}, err
			}
		}
		return changedTask(verb, *t, by, chat.Address{}), nil
	})
	d.tasks.Nudge()
	return t, err
}

// cancelTask forgets a task and ends what goes on of it, unless that is the very run
// that asks.
func (d *Daemon) cancelTask(ctx context.Context, id chat.TaskID, by string, asking chat.RunID) (chat.RunID, error) {
	t, err := d.store.Task(ctx, id)
	if err != nil {
		return "", err
	}
	run, err := d.store.DropTask(ctx, id, changedTask("cancel", t, by, chat.Address{}))
	if err != nil || run == "" || run == asking {
		return "", err
	}
	_, err = d.runner.Stop(ctx, run, "")
	return run, err
}

// changedTask is the entry about a change of a task.
func changedTask(act string, t task.Task, by string, from chat.Address) audit.Entry {
	d := audit.TaskChangedData{Act: act, ID: t.ID, Task: t, By: by, Reason: t.Reason}
	if from != (chat.Address{}) {
		d.From = from.String()
	}
	return audit.Entry{At: steps.Now(), Kind: audit.TaskChanged, Group: t.Group, Data: d, Brief: audit.TaskChangedData{Act: act, ID: t.ID, By: by, Reason: t.Reason}}
}

// actTask is the question whether a task may run in host mode.
const actTask = "task"

// taskEffect is everything that a yes to host mode for a task is about. Another prompt,
// script or schedule is another effect.
func taskEffect(t task.Task) approval.Effect {
	e := approval.Effect{
		Act: actTask, Group: t.Group, Key: string(t.ID), Grows: true,
		Title: fmt.Sprintf("The agent asks to schedule a task for group %s, which runs in host mode, natively on this machine.", t.Group),
		Parts: []approval.Part{
			{Name: "task", Value: string(t.ID)}, {Name: "schedule", Value: fmt.Sprintf("%s %s in %s", t.Spec.Kind, t.Spec.Value, t.Spec.Zone)},
			{Name: "prompt", Value: t.Prompt},
		},
	}
	if t.Script != "" {
		e.Parts = append(e.Parts, approval.Part{Name: "script", Value: t.Script})
	}
	return e
}

// taskAnswered lets a task begin that the owner said yes to, as it was shown, and puts
// one to rest to which they did not.
func (d *Daemon) taskAnswered(ctx context.Context, e approval.Effect, s approval.State, by approval.Who) error {
	id := chat.TaskID(e.Part("task"))
	_, err := d.store.ChangeTask(ctx, id, func(t *task.Task) (audit.Entry, error) {
		if t.State != task.Asked || !slices.Equal(taskEffect(*t).Parts, e.Parts) {
			return audit.Entry{}, errOtherTask
		}
		act := "allow host mode"
		if s != approval.Approved {
			act = "refuse host mode"
			t.Rest(task.Paused, fmt.Sprintf("the owner did not allow host mode (%s)", s))
		} else if err := t.Begin(steps.Now()); err != nil {
			t.Rest(task.Broken, err.Error())
		} else {
			t.HostMode = true
		}
		return changedTask(act, *t, string(by.Role), by.From), nil
	})
	d.tasks.Nudge()
	if errors.Is(err, errOtherTask) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

var errOtherTask = errors.New("the task is not the one that was shown")

// recoverTasks asks again about tasks that wait for the owner, where an earlier
// process did not come to ask.
func (d *Daemon) recoverTasks(ctx context.Context) error {
	all, err := d.store.Tasks(ctx, "")
	if err != nil {
		return err
	}
	open := map[string]bool{}
	asked, err := d.openQuestions(ctx)
	if err != nil {
		return err
	}
	for _, q := range asked {
		if q.Act == actTask {
			open[q.Part("task")] = true
		}
	}
	for _, t := range all {
		if t.State != task.Asked || open[string(t.ID)] {
			continue
		}
		if _, err := d.put(ctx, taskEffect(t)); err != nil {
			d.log.Error("the owner cannot be asked about a task", "task", t.ID, "err", err)
		}
	}
	return nil
}
