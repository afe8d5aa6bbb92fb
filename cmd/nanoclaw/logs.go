package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

func (a *app) logsCmd() *cobra.Command {
	var q control.LogsQuery
	var run, group string
	cmd := &cobra.Command{
		Use:   "logs [--run RUN | --group G]",
		Short: "List the files of runs, or show one",
		Long: `List the files of runs, the newest first, or show that of one run: why it was
started, in which mode, by which engine, with which layers and folders, under
which names of variables, how long it took and how it ended. What was asked and
answered is not in them, unless runLogs.content of the configuration is true. They
lie in the data folder, in groups/GROUP/logs, where no agent reads or writes.`,
		Example: "  nanoclaw logs --group family\n  nanoclaw logs --run r4k2m9x7aq",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Run = chat.RunID(run); group != "" {
				if q.Group, err = parseGroup(group); err != nil {
					return err
				}
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
