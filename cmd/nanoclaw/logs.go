package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/hostlog"
)

func (a *app) logsCmd() *cobra.Command {
	var q control.LogsQuery
	var run, group string
	var of hostLogFlags
	cmd := &cobra.Command{
		Use:   "logs [-f | --host] [--run RUN | --group G]",
		Short: "List the files of runs, show one, or follow what the daemon logs",
		Long: `List the files of runs, the newest first, or show that of one run: why it was
started, in which mode, by which engine, with which layers and folders, under
which names of variables, how long it took and how it ended. What was asked and
answered is not in them, unless runLogs.content of the configuration is true. They
lie in the data folder, in groups/GROUP/logs, where no agent reads or writes.

With --host it shows what the daemon logged last, of all that it does or of one run
or group, and with -f goes on until Ctrl-C, whether a daemon runs or not. With
--json the lines are as they were written. They are in the data folder, in log.`,
		Example: "  nanoclaw logs --group family\n  nanoclaw logs --run r4k2m9x7aq\n  nanoclaw logs -f --group family\n  nanoclaw logs --host --level warn --since 24h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Run = chat.RunID(run); group != "" {
				if q.Group, err = parseGroup(group); err != nil {
					return err
				}
			}
			if of.follow || of.host {
				return a.hostLog(cmd.Context(), of, q)
			}
			if of.level != "" || of.since != 0 {
				return &control.Error{Code: control.CodeUsage, Message: "--level and --since are for what the daemon logged", Hint: "give --host or -f too"}
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				logs, err := s.Logs(cmd.Context(), q)
				switch {
				case err != nil:
					return err
				case a.json:
					return printList(a, logs)
				case q.Run == "":
					return printLogs(a.out, logs)
				}
				for _, l := range logs {
					if _, err := fmt.Fprint(a.out, channel.SafeText(l.Text)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().StringVar(&run, "run", "", "show the file of this run")
	cmd.Flags().IntVar(&q.Limit, "limit", 20, "at most so many")
	cmd.Flags().BoolVarP(&of.follow, "follow", "f", false, "show what the daemon logs, and go on until Ctrl-C")
	cmd.Flags().BoolVar(&of.host, "host", false, "show what the daemon logged last")
	cmd.Flags().StringVar(&of.level, "level", "", "of the daemon's lines those from this level on: debug, info, warn, error")
	cmd.Flags().DurationVar(&of.since, "since", 0, "of the daemon's lines those of this long, such as 2h")
	cmd.MarkFlagsMutuallyExclusive("run", "group")
	return cmd
}

func printLogs(w io.Writer, logs []control.RunLog) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tGROUP\tMODE\tENGINE\tSTARTED\tTOOK\tEXIT\tFILE")
	for _, l := range logs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Run, l.Group, l.Mode, l.Engine, l.Started, l.Took, channel.OneLine(l.Exit, 40), l.File)
	}
	return t.Flush()
}

// hostLogFlags choose lines of the daemon's log.
type hostLogFlags struct {
	follow, host bool
	level        string
	since        time.Duration
}

// hostLog shows what the daemon logged. It needs no daemon: whoever may read the data
// folder may read that.
func (a *app) hostLog(ctx context.Context, of hostLogFlags, q control.LogsQuery) error {
	f := hostlog.Filter{Run: string(q.Run), Group: string(q.Group)}
	if of.level != "" {
		var level slog.Level
		if err := level.UnmarshalText([]byte(of.level)); err != nil {
			return &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("there is no level %q", of.level), Hint: "say debug, info, warn or error"}
		}
		f.Level = level
	}
	if of.since < 0 {
		return &control.Error{Code: control.CodeUsage, Message: "--since is how long ago, and not before now", Hint: "say 2h, or 30m"}
	}
	if of.since > 0 {
		f.Since = time.Now().Add(-of.since)
	}
	paths, err := a.paths()
	if err != nil {
		return err
	}
	dir := hostlog.Folder(paths.DataDir)
	if !of.follow {
		lines, err := hostlog.Last(dir, f, q.Limit)
		for _, l := range lines {
			if err := a.showLine(l); err != nil {
				return err
			}
		}
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return hostlog.Follow(ctx, dir, f, q.Limit, a.showLine)
}

func (a *app) showLine(l hostlog.Line) error {
	if a.json {
		_, err := fmt.Fprintf(a.out, "%s\n", l.Raw)
		return err
	}
	_, err := fmt.Fprintln(a.out, l.Text(func(s string) string { return channel.OneLine(s, maxLogValue) }))
	return err
}

// maxLogValue bounds a text of a line as it is shown, in characters.
const maxLogValue = 1000
