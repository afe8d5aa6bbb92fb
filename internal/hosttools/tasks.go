package hosttools

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

//go:embed schedule_task.md
var scheduleTaskText string

//go:embed update_task.md
var updateTaskText string

// Tasks are the scheduled tasks, as the tools ask for them. What they are asked was
// allowed, and is checked.
type Tasks interface {
	// Rules are those for a new task of a group.
	Rules(g chat.Group) TaskRules
	// Tasks lists the tasks of a group, "" for all.
	Tasks(ctx context.Context, g chat.Group) ([]task.Task, error)
	// Schedule keeps a new task, or if ask is set asks the owner whether it may run in
	// host mode. It gives the words for the agent.
	Schedule(ctx context.Context, from Identity, t task.Task, ask bool) (string, error)
	// Update gives a task what another has, and asks as Schedule does.
	Update(ctx context.Context, from Identity, t task.Task, ask bool) (string, error)
	// Act does something to a task.
	Act(ctx context.Context, from Identity, id chat.TaskID, verb TaskVerb) (string, error)
}

// TaskRules are what a task has to keep.
type TaskRules struct {
	// Zone is the one in which times are read that say none.
	Zone string
	// Most is how many tasks a group may have, Least how often they may come.
	Most  int
	Least time.Duration
	// HostMode says that the group runs in host mode, which a task needs the owner's
	// word for.
	HostMode bool
}

// TaskVerb is what is done to a task.
type TaskVerb string

// The verbs.
const (
	PauseTask  TaskVerb = "pause"
	ResumeTask TaskVerb = "resume"
	CancelTask TaskVerb = "cancel"
)

const (
	aboutType    = `"cron" (recurring at times of the day), "interval" (every so long) or "once".`
	aboutValue   = `cron: five fields, such as "0 9 * * 1-5", or six with the second first. interval: milliseconds, such as "300000", or "5m". once: a local time without Z, such as "2026-02-01T15:30:00".`
	aboutZone    = `The time zone by its name, such as "Europe/Berlin". Left out: the owner's.`
	aboutScript  = `Optional bash script that is run before the task, where you run, for at most 30 s. The last line that it prints is JSON: {"wakeAgent": false} and you are not called, or {"wakeAgent": true, "data": …} and you are given the data.`
	aboutContext = `"group" (default): in the conversation of the chat. "isolated": in one of its own, so the prompt has to say everything.`
	aboutMissed  = `What to do about times that passed while the machine was off: "skip", "once" (default) or "all".`
	aboutOverlap = `What to do if the task is due while it still runs: "skip" (default) or "queue".`
)

func scheduleTask() tool {
	return tool{
		name: "schedule_task", description: scheduleTaskText, act: authority.Schedule,
		schema: object(map[string]string{
			"prompt":           "What you will be asked to do when the task is due.",
			"schedule_type":    aboutType,
			"schedule_value":   aboutValue,
			"context_mode":     aboutContext,
			"target_group_jid": "The group, or a chat of it as CHANNEL:CHAT, that the task is for. Left out: the group you are in. Only main may name another.",
			"script":           aboutScript,
			"timezone":         aboutZone,
			"missed":           aboutMissed,
			"overlap":          aboutOverlap,
		}, "prompt", "schedule_type", "schedule_value"),
		judge: judgeSchedule,
	}
}

// scheduled is what the audit keeps of a call about a task.
type scheduled struct {
	Task   chat.TaskID `json:"task,omitempty"`
	Group  chat.Group  `json:"group,omitempty"`
	Type   string      `json:"type,omitempty"`
	Value  string      `json:"value,omitempty"`
	Zone   string      `json:"zone,omitempty"`
	Prompt string      `json:"prompt,omitempty"`
	Script string      `json:"script,omitempty"`
}

func judgeSchedule(ctx context.Context, s *Server, raw json.RawMessage) (act, error) {
	var args struct {
		Prompt   string `json:"prompt"`
		Type     string `json:"schedule_type"`
		Value    string `json:"schedule_value"`
		Context  string `json:"context_mode"`
		Target   string `json:"target_group_jid"`
		Script   string `json:"script"`
		Timezone string `json:"timezone"`
		Missed   string `json:"missed"`
		Overlap  string `json:"overlap"`
	}
	if err := parse(raw, &args); err != nil {
		return act{}, err
	}
	a := act{note: scheduled{
		Group: chat.Group(clip(args.Target, 200)), Type: clip(args.Type, 20), Value: clip(args.Value, 200), Zone: clip(args.Timezone, 80),
		Prompt: clip(args.Prompt, 2000), Script: clip(args.Script, 2000),
	}}
	group, err := taskGroup(ctx, s, args.Target)
	if err != nil {
		return a, err
	}
	rules := s.host.Rules(group)
	t := task.Task{
		ID: chat.NewTaskID(), Group: group, Prompt: args.Prompt, Script: args.Script, Context: chat.TaskContext(args.Context),
		Missed: schedule.Missed(args.Missed), Overlap: schedule.Overlap(args.Overlap), Created: time.Now().UTC(),
	}
	t.Spec = schedule.Spec{Kind: schedule.Kind(args.Type), Value: args.Value, Zone: first(args.Timezone, rules.Zone), Anchor: t.Created}
	if err := fitTask(&t, rules); err != nil {
		return a, err
	}
	there, err := s.host.Tasks(ctx, group)
	if err != nil {
		return a, err
	}
	if n := open(there); n >= rules.Most {
		return a, refuse("there are %d tasks here, and more are not possible (limits.tasks): cancel one first", n)
	}
	ask, err := hostMode(s, rules.HostMode)
	if err != nil {
		return a, err
	}
	a.do = func(ctx context.Context) (string, error) { return s.host.Schedule(ctx, s.id, t, ask) }
	return a, nil
}

// open counts the tasks that are not over.
func open(all []task.Task) (n int) {
	for _, t := range all {
		if t.State != task.Done {
			n++
		}
	}
	return n
}

func first(words ...string) string {
	i := slices.IndexFunc(words, func(w string) bool { return w != "" })
	if i < 0 {
		return ""
	}
	return words[i]
}

// fitTask refuses in words what cannot be a task, and sets its first time.
func fitTask(t *task.Task, rules TaskRules) error {
	if err := t.Check(); err != nil {
		return refuse("%s", err)
	}
	now := time.Now()
	if err := t.Begin(now); err != nil {
		return refuse("%s", err)
	}
	s, err := schedule.Parse(t.Spec)
	if err == nil {
		err = s.CheckEvery(rules.Least, now)
	}
	if err != nil {
		return refuse("%s", err)
	}
	return nil
}

// hostMode says whether the owner has to be asked about a task, which is so where it
// would run in host mode.
func hostMode(s *Server, needed bool) (ask bool, err error) {
	if !needed {
		return false, nil
	}
	switch v := authority.Decide(authority.ScheduleHostMode, s.who()); v.Outcome {
	case authority.Allow:
		return false, nil
	case authority.Hold:
		return true, nil
	default:
		return false, refuse("this group runs in host mode, and %s (nanoclaw task add --host-mode)", v.Reason)
	}
}

// taskGroup is the group that a task is for. A group that names another learns
// nothing of whether that one exists.
func taskGroup(ctx context.Context, s *Server, name string) (chat.Group, error) {
	to, err := chat.ParseAddress(name)
	if name == "" || err != nil {
		if err := s.may(authority.Schedule.Toward(s.who(), chat.Group(first(name, string(s.id.Group))))); err != nil {
			return "", err
		}
		return known(ctx, s, name)
	}
	if err := s.may(authority.ScheduleOther); err != nil { // before anything is said of the chat
		return "", err
	}
	group, err := s.host.GroupOf(to)
	if err != nil || group == "" {
		return "", refuse("the chat %q belongs to no group: list_groups tells which groups there are", clip(name, 200))
	}
	return group, nil
}

// known finds a group of that name, "" for the caller's own.
func known(ctx context.Context, s *Server, name string) (chat.Group, error) {
	if name == "" || name == string(s.id.Group) {
		return s.id.Group, nil
	}
	groups, err := s.host.Groups(ctx)
	if err != nil {
		return "", err
	}
	for _, g := range groups {
		if string(g.Name) == name {
			return g.Name, nil
		}
	}
	return "", refuse("there is no group %q: list_groups tells which there are", clip(name, 100))
}

func listTasks() tool {
	return tool{
		name: "list_tasks", act: authority.TaskList, schema: object(nil), judge: judgeTasks,
		description: "List the scheduled tasks of your group, and in main of all groups: id, group, schedule, state, next time, prompt.",
	}
}

// listed is a task as an agent is told of it.
type listed struct {
	ID       chat.TaskID `json:"id"`
	Group    chat.Group  `json:"group"`
	Prompt   string      `json:"prompt"`
	Schedule string      `json:"schedule"`
	Context  string      `json:"context_mode"`
	Status   task.State  `json:"status"`
	Reason   string      `json:"reason,omitempty"`
	Next     time.Time   `json:"next_run,omitzero"`
	Last     time.Time   `json:"last_run,omitzero"`
	Script   bool        `json:"has_script,omitempty"`
}

func judgeTasks(_ context.Context, s *Server, raw json.RawMessage) (act, error) {
	if err := parse(raw, &struct{}{}); err != nil {
		return act{}, err
	}
	return act{do: func(ctx context.Context) (string, error) {
		group := s.id.Group
		if s.may(authority.TaskListOther) == nil {
			group = ""
		}
		all, err := s.host.Tasks(ctx, group)
		if err != nil {
			return "", err
		}
		out := []listed{}
		for _, t := range all {
			words := string(t.Spec.Kind) + " " + t.Spec.Value + " in " + t.Spec.Zone
			zone, err := schedule.Zone(t.Spec.Zone)
			if err != nil {
				zone = time.UTC
			}
			l := listed{ID: t.ID, Group: t.Group, Prompt: clip(t.Prompt, 500), Schedule: words, Context: string(t.Context), Status: t.State, Reason: t.Reason, Script: t.Script != ""}
			if !t.Next.IsZero() {
				l.Next = t.Next.In(zone)
			}
			if !t.Last.IsZero() {
				l.Last = t.Last.In(zone)
			}
			out = append(out, l)
		}
		b, err := json.Marshal(out)
		return string(b), err
	}}, nil
}

// actTask is the tool of a verb.
func actTask(verb TaskVerb, description string) tool {
	return tool{
		name: string(verb) + "_task", description: description, act: authority.TaskChange,
		schema: object(map[string]string{"task_id": "The id of the task, as list_tasks gives it."}, "task_id"),
		judge: func(ctx context.Context, s *Server, raw json.RawMessage) (act, error) {
			var args struct {
				ID string `json:"task_id"`
			}
			if err := parse(raw, &args); err != nil {
				return act{}, err
			}
			a := act{note: scheduled{Task: chat.TaskID(clip(args.ID, 40))}}
			t, err := oneTask(ctx, s, args.ID)
			if err != nil {
				return a, err
			}
			if verb == ResumeTask {
				if err := resumable(t); err != nil {
					return a, err
				}
			}
			a.do = func(ctx context.Context) (string, error) { return s.host.Act(ctx, s.id, t.ID, verb) }
			return a, nil
		},
	}
}

// resumable refuses in words what only the owner can let go on, or nobody.
func resumable(t task.Task) error {
	if t.State == task.Asked {
		return refuse("task %s waits for the owner's yes to host mode", t.ID)
	}
	if err := t.Begin(time.Now()); err != nil {
		return refuse("%s", err)
	}
	return nil
}

// oneTask finds a task that the caller may change. Of one of another group a group
// learns no more than of one that is not there.
func oneTask(ctx context.Context, s *Server, id string) (task.Task, error) {
	group := s.id.Group
	if s.may(authority.TaskChangeOther) == nil {
		group = ""
	}
	all, err := s.host.Tasks(ctx, group)
	if err != nil {
		return task.Task{}, err
	}
	for _, t := range all {
		if string(t.ID) == strings.TrimSpace(id) {
			return t, s.may(authority.TaskChange.Toward(s.who(), t.Group))
		}
	}
	return task.Task{}, refuse("there is no task %q that you may change: list_tasks tells which there are", clip(id, 40))
}

func updateTask() tool {
	return tool{
		name: "update_task", description: updateTaskText, act: authority.TaskChange,
		schema: object(map[string]string{
			"task_id": "The id of the task, as list_tasks gives it.", "prompt": "The new prompt.",
			"schedule_type": aboutType, "schedule_value": aboutValue, "timezone": aboutZone,
			"context_mode": aboutContext, "missed": aboutMissed, "overlap": aboutOverlap,
			"script": aboutScript + ` "-" takes it away.`,
		}, "task_id"),
		judge: judgeUpdate,
	}
}

func judgeUpdate(ctx context.Context, s *Server, raw json.RawMessage) (act, error) {
	var args struct {
		ID       string `json:"task_id"`
		Prompt   string `json:"prompt"`
		Type     string `json:"schedule_type"`
		Value    string `json:"schedule_value"`
		Timezone string `json:"timezone"`
		Context  string `json:"context_mode"`
		Missed   string `json:"missed"`
		Overlap  string `json:"overlap"`
		Script   string `json:"script"`
	}
	if err := parse(raw, &args); err != nil {
		return act{}, err
	}
	a := act{note: scheduled{
		Task: chat.TaskID(clip(args.ID, 40)), Type: clip(args.Type, 20), Value: clip(args.Value, 200), Zone: clip(args.Timezone, 80),
		Prompt: clip(args.Prompt, 2000), Script: clip(args.Script, 2000),
	}}
	t, err := oneTask(ctx, s, args.ID)
	if err != nil {
		return a, err
	}
	if t.Script = first(args.Script, t.Script); args.Script == "-" {
		t.Script = ""
	}
	t.Prompt, t.Context = first(args.Prompt, t.Prompt), chat.TaskContext(first(args.Context, string(t.Context)))
	t.Missed, t.Overlap = schedule.Missed(first(args.Missed, string(t.Missed))), schedule.Overlap(first(args.Overlap, string(t.Overlap)))
	t.Spec.Kind, t.Spec.Value = schedule.Kind(first(args.Type, string(t.Spec.Kind))), first(args.Value, t.Spec.Value)
	t.Spec.Zone = first(args.Timezone, t.Spec.Zone)
	if t.Spec.Anchor.IsZero() {
		t.Spec.Anchor = time.Now().UTC()
	}
	was, rules := t, s.host.Rules(t.Group)
	if err := fitTask(&t, rules); err != nil {
		return a, err
	}
	if was.State == task.Paused || was.State == task.Broken { // resume_task begins it
		t.Rest(was.State, was.Reason)
	}
	ask, err := hostMode(s, rules.HostMode || was.HostMode)
	if err != nil {
		return a, err
	}
	a.do = func(ctx context.Context) (string, error) { return s.host.Update(ctx, s.id, t, ask) }
	return a, nil
}

// TellTask tells a task to an agent, in one line.
func TellTask(t task.Task) string {
	zone, err := schedule.Zone(t.Spec.Zone)
	if err != nil || t.Next.IsZero() {
		return fmt.Sprintf("Task %s is %s.", t.ID, t.State)
	}
	return fmt.Sprintf("Task %s is %s; it is due next at %s.", t.ID, t.State, t.Next.In(zone).Format(time.RFC3339))
}
