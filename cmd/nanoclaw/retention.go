package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/control"
)

func (a *app) retentionCmd() *cobra.Command {
	var r control.RetainRequest
	cmd := &cobra.Command{
		Use:   "retention [--dry-run]",
		Short: "Remove what is over and older than you keep it",
		Long: `Remove what is over and older than the configuration keeps it (retention). The daemon
does that by itself several times a day; this does it now, and says for each kind of
thing what went and what stays. What waits, or goes on, is never removed. Of the audit
log no entry goes: old ones lose their words, and the log still verifies.

Conversations of Claude Code end by retention.sessions, files of runs by runLogs, and
what is in the quarantine by quarantine: these are not counted here.`,
		Example: "  nanoclaw retention --dry-run\n  nanoclaw retention",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				got, err := s.Retain(cmd.Context(), r)
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, got)
				}
				return tellRetained(a.out, r.Try, got)
			})
		},
	}
	cmd.Flags().BoolVar(&r.Try, "dry-run", false, "only count what would be removed")
	return cmd
}

func tellRetained(w io.Writer, try bool, all []control.Retained) error {
	verb := "REMOVED"
	if try {
		verb = "WOULD GO"
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "WHAT\t%s\tSTAYS\tKEPT FOR\n", verb)
	for _, k := range all {
		keep := fmt.Sprintf("%s (%s), since %s", k.Keep, k.Setting, k.Before.Local().Format(time.DateTime))
		if k.Before.IsZero() {
			keep = fmt.Sprintf("ever (%s is 0)", k.Setting)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", k.Kind, k.Gone, k.Kept, keep)
	}
	return t.Flush()
}
