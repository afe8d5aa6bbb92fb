package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) rightsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rights",
		Short: "Show what you allowed for longer than once, and take it back",
		Long: `Show what you allowed for longer than once when nanoclaw asked you, such as a host
for a group. It lies beside the configuration, which only you write. A run that goes
on keeps what it was granted; the next one has not what you took back.`,
		Example: "  nanoclaw rights\n  nanoclaw rights remove 3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), existing, func(s *session) error {
				rights, err := s.Rights(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, rights)
				}
				if len(rights) == 0 {
					a.say("nothing is allowed beside the configuration")
					return nil
				}
				return printRights(a.out, rights)
			})
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "remove ID",
		Short:   "Take back what you allowed",
		Example: "  nanoclaw rights remove 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("%q is no ID", args[0]), Hint: "nanoclaw rights lists them"}
			}
			return a.with(cmd.Context(), existing, func(s *session) error {
				if err := s.RemoveRight(cmd.Context(), id); err != nil {
					return err
				}
				a.say("right %d is taken back", id)
				return nil
			})
		},
	})
	return cmd
}

func printRights(w io.Writer, rights []control.Right) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tKIND\tGROUP\tWHAT\tUNTIL\tALLOWED")
	for _, r := range rights {
		until := "you take it back"
		if !r.Until.IsZero() {
			until = r.Until.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s by %s in %s\n", r.ID, r.Kind, cmp.Or(string(r.Group), "-"), channel.OneLine(r.Subject, 100), until,
			r.At.Local().Format(time.DateTime), channel.OneLine(r.By, 60), channel.OneLine(r.From, 60))
	}
	return t.Flush()
}
