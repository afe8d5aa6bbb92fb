package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) approvalsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "approvals",
		Short: "Show what waits for your yes",
		Long: `Show what agents want to do and may not do without you, each with its code. A
question that nobody answers in time (limits.askTime) is refused.`,
		Example: "  nanoclaw approvals\n  nanoclaw approve k4m2-9x7a",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), existing, func(s *session) error {
				open, err := s.Approvals(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, open)
				}
				return a.printApprovals(open)
			})
		},
	}
}

func (a *app) printApprovals(open []control.Approval) error {
	if len(open) == 0 {
		_, err := fmt.Fprintln(a.out, "nothing waits for you")
		return err
	}
	for i, q := range open {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		if _, err := fmt.Fprintf(a.out, "%s  until %s\n%s\n", q.Code, q.Until.Local().Format(time.TimeOnly), channel.SafeText(q.Text)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) approveCmd() *cobra.Command {
	return a.answerCmd("approve", "Allow what waits under a code", true)
}

func (a *app) denyCmd() *cobra.Command {
	return a.answerCmd("deny", "Refuse what waits under a code", false)
}

func (a *app) answerCmd(verb, short string, yes bool) *cobra.Command {
	long := short + ". A code is used up by the answer, and five wrong ones in a row\nrefuse everything that waits."
	example, choice, most := "  nanoclaw "+verb+" k4m2-9x7a", "", 1
	if yes {
		long += " Where a question offers words such as \"session\", one of\nthem may follow the code; without one it is the first."
		example, choice, most = example+"\n"+example+" session", " [WORD]", 2
	}
	return &cobra.Command{
		Use:     verb + " CODE" + choice,
		Short:   short,
		Long:    long,
		Example: example,
		Args:    cobra.RangeArgs(1, most),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), existing, func(s *session) error {
				r := control.ApproveRequest{Code: args[0], Yes: yes}
				if len(args) > 1 {
					r.Choice = args[1]
				}
				return a.answerQuestion(cmd.Context(), s, r)
			})
		},
	}
}

func (a *app) answerQuestion(ctx context.Context, s *session, r control.ApproveRequest) error {
	done, err := s.Approve(ctx, r)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(done)
	}
	_, err = fmt.Fprintln(a.out, channel.SafeText(done.Text))
	return err
}
