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

func (a *app) deadCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look at messages that do not go on, and take them up again",
		Long: `A message is given up when it was cut off several times, by the end of its agent or of
nanoclaw: it may be what ends them. Others wait until something is mended, such as the
model's account, and go on by themselves then. Both are listed here.`,
		Example: "  nanoclaw dead list\n  nanoclaw dead retry 4711",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.deadListCmd(),
		a.deadActCmd(control.RetryDead, "taken up again", "Take messages up again now", "Take messages up again now, as if they had never been tried. What waits for something\nthat is wrong is tried at once."),
		a.deadActCmd(control.DropDead, "dropped", "Give messages up for good", "Give messages up for good. Their chat is told."))
	return cmd
}

func (a *app) deadListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List messages that were given up or wait, the newest last",
		Example: "  nanoclaw dead list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				all, err := s.Dead(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, all)
				}
				if len(all) == 0 {
					a.say("every message goes on")
					return nil
				}
				return printDead(a.out, all)
			})
		},
	}
}

// printDead lists messages. What they and their agents say is clipped to a line.
func printDead(w io.Writer, all []control.DeadLetter) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tGROUP\tFROM\tTRIED AGAIN\tWHY\tTEXT")
	for _, l := range all {
		until := "no"
		if l.State == control.WaitsState {
			until = l.Until.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.State, l.Group, channel.OneLine(cmp.Or(l.Sender, l.From), 40), until,
			channel.OneLine(l.Why, 80), channel.OneLine(l.Text, 80))
	}
	return t.Flush()
}

func (a *app) deadActCmd(act, done, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:     act + " ID…",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  nanoclaw dead %s 4711", act),
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ids []int64
			for _, arg := range args {
				id, err := strconv.ParseInt(arg, 10, 64)
				if err != nil || id <= 0 {
					return usageError(fmt.Errorf("%q is no ID: nanoclaw dead list shows them", arg), cmd)
				}
				ids = append(ids, id)
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				var all []control.DeadLetter
				for _, id := range ids {
					l, err := s.DeadAct(cmd.Context(), control.DeadAct{ID: id, Act: act})
					if err != nil {
						return err
					}
					all = append(all, l)
					if !a.json {
						fmt.Fprintf(a.out, "%s %d %s\n", done, l.ID, channel.OneLine(l.Text, 80))
					}
				}
				if a.json {
					return printList(a, all)
				}
				return nil
			})
		},
	}
}
