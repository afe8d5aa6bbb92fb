package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the daemon's state",
		Long: `Show the daemon's state: what runs, what waits, what the boundary enforces. The
exit code is 1 if no daemon runs.`,
		Example: "  nanoclaw status\n  nanoclaw status --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), existing, func(s *session) error {
				st, err := s.Status(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(st)
				}
				return printStatus(a.out, st)
			})
		},
	}
}

func printStatus(w io.Writer, s control.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, channel.OneLine(fmt.Sprintf(format, args...), 500))
	}
	line("version", "%s", s.Version)
	line("process", "%d of uid %d, since %s", s.PID, s.UID, s.Started.Local().Format(time.DateTime))
	line("host mode", "%s", joined(": ", s.HostMode, s.HostModeReason))
	if len(s.Layers) > 0 {
		line("layers", "%s", strings.Join(s.Layers, ", "))
	}
	if len(s.Missing) > 0 {
		line("missing", "%s", strings.Join(s.Missing, ", "))
	}
	if s.Held != "" {
		line("held", "%s", s.Held)
	}
	if len(s.Nodes) > 1 {
		lives := 0
		for _, n := range s.Nodes {
			if n.Lives {
				lives++
			}
		}
		line("nodes", "%d of %d live (nanoclaw nodes)", lives, len(s.Nodes))
	}
	for _, p := range s.Paused {
		what := "group " + string(p.Group)
		if p.Group == "" {
			what = "all groups"
		}
		line("paused", "%s, since %s", joined(": ", what, p.Reason), p.At.Local().Format(time.DateTime))
	}
	line("waiting", "%d messages for a run, %d for delivery", s.Waiting, s.Outbox)
	for _, h := range s.HeldMessages {
		printHeld(line, h)
	}
	line("sessions", "%d, %d of them prepared, and %d boundaries stand ready", s.Sessions, s.Prepared, s.Spares)
	for _, text := range s.Servers {
		line("MCP server", "%s", text)
	}
	for _, c := range s.Channels {
		line("channel", "%s", joined(", ", string(c.Channel)+" "+c.State+" since "+c.Since.Local().Format(time.DateTime), c.Cause))
	}
	for i, m := range s.Modes {
		if i == maxModes {
			line("mode", "and %d more groups: nanoclaw status --json", len(s.Modes)-i)
			break
		}
		printMode(line, m)
	}
	line("config", "%s", s.Config)
	line("data", "%s", s.Data)
	for _, r := range s.Live {
		line("run", "%s of %s, %s since %s", r.ID, r.Group, r.State, r.Created.Local().Format(time.TimeOnly))
	}
	return t.Flush()
}

// printHeld tells of messages that wait for more than their turn.
func printHeld(line func(name, format string, args ...any), h control.HeldMessages) {
	text := fmt.Sprintf("%d of group %s: %s", h.Count, h.Group, h.Why)
	if !h.Until.IsZero() {
		text += ", until " + h.Until.Local().Format(time.DateTime) + " at the latest"
	}
	if h.Code != "" {
		text += "; nanoclaw approve " + h.Code
	}
	line("", "%s", text)
}

// maxModes bounds the groups whose modes are told.
const maxModes = 20

// printMode tells of one group.
func printMode(line func(name, format string, args ...any), m control.GroupMode) {
	by := "no engine"
	if m.Engine != "" {
		by = joined(": ", m.Engine, strings.Join(m.Layers, ", "))
	}
	line("mode", "%s is in %s mode (%s), by %s", m.Group, m.Mode, m.Reason, by)
	for _, l := range []struct{ word, text string }{
		{"but", m.Refusal}, {"lacks", strings.Join(m.Missing, ", ")},
		{"in " + m.Other + " mode it would lose", strings.Join(m.Loses, "; ")},
		{"in " + m.Other + " mode it would gain", strings.Join(m.Gains, "; ")},
		{"against " + m.Other + " mode", m.OtherRefusal},
	} {
		if l.text != "" {
			line("", "%s: %s", l.word, l.text)
		}
	}
}

// joined joins what is not empty.
func joined(between string, parts ...string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, between)
}

func (a *app) stopCmd() *cobra.Command {
	var group string
	var all, daemon bool
	cmd := &cobra.Command{
		Use:   "stop [RUN | --group G | --all | --daemon]",
		Short: "Stop a run, all runs of a group, all runs, or the daemon",
		Long: `Stop a run, all runs of a group, or all runs: with everything inside their
boundaries, at once. With --daemon, end the daemon too.

A group whose messages are waiting is paused, so that no other run takes the place
of the one that was stopped: nanoclaw resume lets it go on.`,
		Example: "  nanoclaw stop r4k2m9x7aq\n  nanoclaw stop --group family\n  nanoclaw stop --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := stopRequest(args, group, all)
			if err != nil {
				return err
			}
			if r == (control.StopRequest{}) && !daemon {
				return usageError(errors.New("say what to stop: a run, --group, --all or --daemon"), cmd)
			}
			return a.with(cmd.Context(), existing, func(s *session) error { return a.stop(cmd.Context(), s, r, daemon) })
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().BoolVar(&all, "all", false, "all runs")
	cmd.Flags().BoolVar(&daemon, "daemon", false, "the daemon")
	return cmd
}

func stopRequest(args []string, group string, all bool) (r control.StopRequest, err error) {
	if group != "" {
		if r.Group, err = parseGroup(group); err != nil {
			return r, err
		}
	}
	r.All = all
	if len(args) == 1 {
		r.Run = chat.RunID(args[0])
	}
	if r.All && r.Group != "" || r.Run != "" && (r.All || r.Group != "") {
		return r, &control.Error{Code: control.CodeUsage, Message: "say one thing to stop", Hint: "nanoclaw stop --help"}
	}
	return r, nil
}

func (a *app) stop(ctx context.Context, s *session, r control.StopRequest, daemon bool) error {
	stopped := control.Stopped{Runs: []chat.RunID{}}
	if r != (control.StopRequest{}) {
		var err error
		if stopped, err = s.Stop(ctx, r); err != nil {
			return err
		}
	}
	if daemon {
		if err := s.Shutdown(ctx); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(stopped)
	}
	for _, id := range stopped.Runs {
		fmt.Fprintf(a.out, "stopped %s\n", id)
	}
	for _, g := range stopped.Paused {
		fmt.Fprintf(a.out, "group %s has messages waiting and is paused: nanoclaw resume --group %s\n", g, g)
	}
	switch {
	case daemon:
		fmt.Fprintln(a.out, "the daemon stops")
	case len(stopped.Runs) == 0:
		fmt.Fprintln(a.out, "nothing was running")
	}
	return nil
}

func (a *app) runsCmd() *cobra.Command {
	var group string
	var q control.RunsQuery
	cmd := &cobra.Command{
		Use:     "runs [RUN]",
		Short:   "List runs, or tell one",
		Example: "  nanoclaw runs\n  nanoclaw runs --group family --limit 5\n  nanoclaw runs r4k2m9x7aq",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if group != "" {
				if q.Group, err = parseGroup(group); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				if len(args) == 1 {
					return a.oneRun(cmd.Context(), s, chat.RunID(args[0]))
				}
				runs, err := s.Runs(cmd.Context(), q)
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, runs)
				}
				return printRuns(a.out, runs)
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().BoolVar(&q.Live, "live", false, "only those that go on")
	cmd.Flags().IntVar(&q.Limit, "limit", 20, "at most so many")
	return cmd
}

func printRuns(w io.Writer, runs []control.RunInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tGROUP\tSTATE\tMODE\tAGENT\tWHEN\tTOOK\tTOKENS\tERROR")
	for _, r := range runs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Group, r.State, r.Mode, r.Agent,
			r.Created.Local().Format(time.DateTime), took(r), tokens(r), channel.OneLine(r.Error, 60))
	}
	return t.Flush()
}

// took is how long a run worked, "" if it did not end.
func took(r control.RunInfo) string {
	if r.Started.IsZero() || r.Ended.IsZero() {
		return ""
	}
	return r.Ended.Sub(r.Started).Round(10 * time.Millisecond).String()
}

// tokens are those into the model and out of it, as its provider counted them.
func tokens(r control.RunInfo) string {
	if r.InputTokens == 0 && r.OutputTokens == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", r.InputTokens, r.OutputTokens)
}

// oneRun tells a run and what the audit log says about it.
func (a *app) oneRun(ctx context.Context, s *session, id chat.RunID) error {
	r, err := s.RunByID(ctx, id)
	if err != nil {
		return err
	}
	entries, err := s.AuditList(ctx, control.AuditQuery{Run: id})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			control.RunInfo
			Audit []control.AuditEntry `json:"audit"`
		}{r, entries})
	}
	if err := printRuns(a.out, []control.RunInfo{r}); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return printEntries(a.out, entries)
}
