package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

func (a *app) taskCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "task",
		Short: "Schedule what an agent does later or again and again",
		Long: `Schedule what an agent does later or again and again. A task is due by a cron
expression, at an interval or once, in a time zone of its own. A group that runs in
host mode needs --host-mode for each task.`,
		Example: "  nanoclaw task add --group family --cron '0 9 * * 1-5' \"What is on today?\"\n  nanoclaw task list\n  nanoclaw task run t5k2m0qr1x",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.taskListCmd(), a.taskAddCmd(), a.taskShowCmd(), a.taskEditCmd(),
		a.taskActCmd(control.TaskPause, "Pause a task", "It is not due until you resume it."),
		a.taskActCmd(control.TaskResume, "Let a task go on", "Its next time is computed from now: what passed meanwhile is not made up for."),
		a.taskActCmd(control.TaskRun, "Run a task now", "Its next time stays as it is."),
		a.taskActCmd(control.TaskCancel, "Cancel a task for good", "If it runs now, the run is ended. Its history goes too; the audit log keeps all of it."),
		a.taskHistoryCmd())
	return cmd
}

func (a *app) taskListCmd() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the tasks, of all groups or of one",
		Example: "  nanoclaw task list --group family --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				all, err := s.Tasks(cmd.Context(), chat.Group(group))
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, all)
				}
				if len(all) == 0 {
					a.say("there are no tasks")
					return nil
				}
				return printTasks(a.out, all)
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	return cmd
}

func printTasks(w io.Writer, all []task.Task) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TASK\tGROUP\tSTATE\tNEXT\tSCHEDULE\tPROMPT")
	for _, one := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s %s\t%s\n", one.ID, one.Group, one.State, timeOf(one, one.Next), one.Spec.Kind, channel.OneLine(one.Spec.Value, 40), channel.OneLine(one.Prompt, 50))
	}
	return t.Flush()
}

// timeOf is a time as the task's own zone has it.
func timeOf(t task.Task, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	zone, err := schedule.Zone(t.Spec.Zone)
	if err != nil {
		zone = time.UTC
	}
	return at.In(zone).Format("2006-01-02 15:04 MST")
}

// taskFlags are the flags of "task add" and "task edit".
type taskFlags struct {
	cron, every, once, zone          string
	context, missed, overlap, script string
	chat, prompt                     string
	hostMode                         bool
}

func (f *taskFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cron, "cron", "", "five fields, minute hour day month weekday, or six with the second first")
	cmd.Flags().StringVar(&f.every, "every", "", "an interval, such as 90m")
	cmd.Flags().StringVar(&f.once, "once", "", "one time, such as 2026-02-01T15:30:00")
	cmd.Flags().StringVar(&f.zone, "zone", "", "the time zone, such as Europe/Berlin; without it, yours")
	cmd.Flags().StringVar(&f.context, "context", "", "group (in the group's conversation) or isolated (in one of its own)")
	cmd.Flags().StringVar(&f.missed, "missed", "", "what to do about times that were missed: skip, once or all")
	cmd.Flags().StringVar(&f.overlap, "overlap", "", "what to do while the task still runs: skip or queue")
	cmd.Flags().StringVar(&f.script, "script", "", "a file with a bash script that says whether the agent is woken; empty for none")
	cmd.Flags().StringVar(&f.chat, "chat", "", "the chat that gets the answers, one of the group's")
	cmd.Flags().BoolVar(&f.hostMode, "host-mode", false, "the task may run in host mode, natively on this machine")
}

// spec is what the flags say. What was not given stays out.
func (f *taskFlags) spec(cmd *cobra.Command) (control.TaskSpec, error) {
	var r control.TaskSpec
	given := 0
	for _, way := range []struct {
		flag  string
		kind  schedule.Kind
		value string
	}{{"cron", schedule.Cron, f.cron}, {"every", schedule.Interval, f.every}, {"once", schedule.Once, f.once}} {
		if cmd.Flags().Changed(way.flag) {
			kind := string(way.kind)
			r.Kind, r.Value = &kind, &way.value
			given++
		}
	}
	if given > 1 {
		return r, usageError(errors.New("say once when the task is due: --cron, --every or --once"), cmd)
	}
	for _, flag := range []struct {
		name string
		from *string
		to   **string
	}{
		{"zone", &f.zone, &r.Zone}, {"context", &f.context, &r.Context}, {"missed", &f.missed, &r.Missed},
		{"overlap", &f.overlap, &r.Overlap}, {"chat", &f.chat, &r.Chat}, {"prompt", &f.prompt, &r.Prompt},
	} {
		if cmd.Flags().Lookup(flag.name) != nil && cmd.Flags().Changed(flag.name) {
			*flag.to = flag.from
		}
	}
	if cmd.Flags().Changed("host-mode") {
		r.HostMode = &f.hostMode
	}
	if !cmd.Flags().Changed("script") {
		return r, nil
	}
	script := ""
	if f.script != "" {
		text, err := os.ReadFile(f.script)
		if err != nil {
			return r, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("--script: %v", err)}
		}
		script = string(text)
	}
	r.Script = &script
	return r, nil
}

func (a *app) taskAddCmd() *cobra.Command {
	var f taskFlags
	var group string
	cmd := &cobra.Command{
		Use:   "add --group G (--cron C | --every D | --once T) PROMPT",
		Short: "Schedule a task",
		Long: `Schedule a task. When it is due the agent of the group is asked to do what PROMPT
says, and its answer goes to the chat.`,
		Example: "  nanoclaw task add --group family --cron '0 9 * * 1-5' \"What is on today?\"\n  nanoclaw task add --group main --host-mode --every 6h --script look.sh \"Tidy up\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if group == "" {
				return usageError(errors.New("say for which group: --group"), cmd)
			}
			r, err := f.spec(cmd)
			if err != nil {
				return err
			}
			if r.Kind == nil {
				return usageError(errors.New("say when the task is due: --cron, --every or --once"), cmd)
			}
			if r.Group, err = parseGroup(group); err != nil {
				return err
			}
			r.Prompt = &args[0]
			return a.with(cmd.Context(), reading, func(s *session) error {
				t, err := s.TaskAdd(cmd.Context(), r)
				if err != nil {
					return err
				}
				return a.tellTask(t)
			})
		},
	}
	f.flags(cmd)
	a.groupFlag(cmd, &group, "")
	return cmd
}

// tellTask says how a task stands.
func (a *app) tellTask(t task.Task) error {
	if a.json {
		return a.printJSON(t)
	}
	_, err := fmt.Fprintf(a.out, "%s is %s, next %s\n", t.ID, t.State, timeOf(t, t.Next))
	return err
}

func (a *app) taskEditCmd() *cobra.Command {
	var f taskFlags
	cmd := &cobra.Command{
		Use:   "edit TASK",
		Short: "Change a task",
		Long: `Change a task. Flags that are not given leave things as they are. The next time is
computed from now, and a task that is paused stays so. The task is then yours, with
all that it says, whoever made it: read it first.`,
		Example: "  nanoclaw task edit t5k2m0qr1x --cron '30 8 * * *'\n  nanoclaw task edit t5k2m0qr1x --prompt \"What is on today and tomorrow?\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.spec(cmd)
			if err != nil {
				return err
			}
			if r == (control.TaskSpec{}) {
				return usageError(errors.New("say what to change"), cmd)
			}
			r.ID = chat.TaskID(args[0])
			return a.with(cmd.Context(), reading, func(s *session) error {
				t, err := s.TaskEdit(cmd.Context(), r)
				if err != nil {
					return err
				}
				return a.tellTask(t)
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.prompt, "prompt", "", "what is to be done")
	return cmd
}

func (a *app) taskActCmd(act, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:     act + " TASK",
		Short:   short,
		Long:    short + ". " + long,
		Example: "  nanoclaw task " + act + " t5k2m0qr1x",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				done, err := s.TaskAct(cmd.Context(), control.TaskAct{ID: chat.TaskID(args[0]), Act: act})
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(done)
				}
				switch act {
				case control.TaskCancel:
					fmt.Fprintf(a.out, "%s is cancelled\n", done.Task.ID)
					if done.Stopped != "" {
						fmt.Fprintf(a.out, "run %s was stopped\n", done.Stopped)
					}
					return nil
				case control.TaskRun:
					_, err := fmt.Fprintf(a.out, "%s runs now\n", done.Task.ID)
					return err
				}
				return a.tellTask(done.Task)
			})
		},
	}
}

func (a *app) taskShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "show TASK",
		Short:   "Show all of a task",
		Example: "  nanoclaw task show t5k2m0qr1x",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				past, err := s.TaskHistory(cmd.Context(), chat.TaskID(args[0]))
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(past.Task)
				}
				return showTask(a.out, past.Task)
			})
		},
	}
}

// showTask shows what an agent may have written.
func showTask(w io.Writer, t task.Task) error {
	host := "no"
	if t.HostMode {
		host = "yes"
	}
	for _, l := range []struct{ name, value string }{
		{"task", string(t.ID)}, {"group", string(t.Group)}, {"chat", t.To.String()}, {"made by", t.By.String()},
		{"state", string(t.State)}, {"reason", t.Reason}, {"schedule", fmt.Sprintf("%s %s in %s", t.Spec.Kind, t.Spec.Value, t.Spec.Zone)},
		{"next", timeOf(t, t.Next)}, {"last", timeOf(t, t.Last)},
		{"runs", fmt.Sprintf("%d, left out %d, failed in a row %d", t.Runs, t.Skipped, t.Failures)},
		{"context", string(t.Context)}, {"missed", string(t.Missed)}, {"overlap", string(t.Overlap)}, {"host mode", host},
	} {
		if l.value != "" {
			fmt.Fprintf(w, "%-10s %s\n", l.name, channel.OneLine(l.value, 500))
		}
	}
	fmt.Fprintf(w, "\n%s\n", channel.SafeText(t.Prompt))
	if t.Script != "" {
		fmt.Fprintf(w, "\nscript:\n%s\n", channel.SafeText(t.Script))
	}
	return nil
}

func (a *app) taskHistoryCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "history TASK",
		Short:   "List what became of a task's due times",
		Example: "  nanoclaw task history t5k2m0qr1x",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				past, err := s.TaskHistory(cmd.Context(), chat.TaskID(args[0]))
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, past.Runs)
				}
				t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "DUE\tSTATE\tRUN\tENDED\tNOTE")
				for _, r := range past.Runs {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", timeOf(past.Task, r.Due), r.State, cmp.Or(string(r.Run), "-"), timeOf(past.Task, r.Ended), channel.OneLine(r.Note, 100))
				}
				return t.Flush()
			})
		},
	}
}
