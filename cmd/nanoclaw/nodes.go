package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/control"
)

func (a *app) nodesCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "List the machines that share the database, and what each of them does",
		Long: `Several machines may share one PostgreSQL database (nodes.name). Each serves its groups;
the connection to a chat network, the schedules and the audit log are held by one at a time.`,
		Example: "  nanoclaw nodes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				all, err := s.Nodes(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, all)
				}
				if len(all) == 0 {
					a.say("this nanoclaw has its database to itself")
					return nil
				}
				return printNodes(a.out, all)
			})
		},
	}
}

func printNodes(w io.Writer, all []control.Node) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSTATE\tSINCE\tVERSION\tDOES\tGROUPS")
	for _, n := range all {
		state, since := "lives", n.Started
		switch {
		case n.Here:
			state = "here"
		case n.Lives:
		case n.Heard.IsZero():
			state = "ended"
		default:
			state, since = "not heard of", n.Heard
		}
		var duties, groups []string
		for _, d := range n.Duties {
			duties = append(duties, fmt.Sprintf("%s (%s)", d.Name, d.Since.Local().Format(time.DateTime)))
		}
		for _, g := range n.Groups {
			groups = append(groups, string(g))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, state, since.Local().Format(time.DateTime), n.Version,
			cmp.Or(strings.Join(duties, ", "), "-"), cmp.Or(strings.Join(groups, ", "), "-"))
	}
	return t.Flush()
}
