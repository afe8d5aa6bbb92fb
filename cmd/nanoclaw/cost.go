package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
)

func (a *app) costCmd() *cobra.Command {
	var q control.CostQuery
	var group, since string
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Show what models cost, and what is left of the budgets",
		Long: `Show what models cost, by day, group, sender and model, and what is left of the
budgets of today. Tokens are those that the model's provider counted, cached ones
among them. Money is tokens times their price (budgets.prices), or, for a model
without a price, what the agent says of itself; where nobody says anything it is
unknown and only tokens are shown.`,
		Example: "  nanoclaw cost\n  nanoclaw cost --group family --since 7d\n  nanoclaw cost --sender whatsapp:4917 --since 2026-05-01 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if group != "" {
				if q.Group, err = parseGroup(group); err != nil {
					return err
				}
			}
			if q.Since, err = parseTime(since); err != nil {
				return usageError(fmt.Errorf("--since: %w", err), cmd)
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				c, err := s.Cost(cmd.Context(), q)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(c)
				}
				return printCost(a.out, c)
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().StringVar(&q.Sender, "sender", "", "only of this sender, as CHANNEL:SENDER")
	cmd.Flags().StringVar(&since, "since", "", "from this day on: 2026-05-01, or 7d ago (today)")
	return cmd
}

func printCost(w io.Writer, c control.Cost) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	unknown := false
	if len(c.Lines) == 0 {
		fmt.Fprintln(t, "nothing was used")
	} else {
		fmt.Fprintln(t, "DAY\tGROUP\tSENDER\tMODEL\tRUNS\tTOKENS\tCOST")
	}
	for _, l := range c.Lines {
		cost := config.USD(l.Micros).String()
		if l.Unpriced > 0 {
			unknown = true
			if cost += " + unknown"; l.Micros == 0 {
				cost = "unknown"
			}
		}
		who := cmp.Or(l.Sender, "-")
		if l.Task != "" {
			who = "task " + l.Task
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", l.Day, l.Group, channel.OneLine(who, 60), channel.OneLine(cmp.Or(l.Model, "-"), 60), l.Runs, l.Tokens(), cost)
	}
	fmt.Fprintf(t, "\nTODAY (%s)\tUSED OR SET ASIDE\tBUDGET\tLEFT\tRUNS\n", c.Day)
	for _, b := range c.Budgets {
		limit, left := budgetWords(b)
		runs := fmt.Sprint(b.Runs)
		if b.MaxRuns > 0 {
			runs += fmt.Sprintf(" of %d", b.MaxRuns)
		}
		fmt.Fprintf(t, "%s\t%s, %d tokens\t%s\t%s\t%s\n", channel.OneLine(b.Account, 60), config.USD(b.Micros), b.Tokens, limit, left, runs)
	}
	if err := t.Flush(); err != nil || !unknown {
		return err
	}
	_, err := fmt.Fprintln(w, "\nFor some tokens nobody knows a price: budgets of money do not hold there, budgets of\ntokens do. Name the model in budgets.prices to have it counted.")
	return err
}

// budgetWords say what a budget is and what is left of it.
func budgetWords(b control.CostBudget) (limit, left string) {
	var all, rest []string
	if b.MaxMicros > 0 {
		all = append(all, config.USD(b.MaxMicros).String())
		rest = append(rest, config.USD(max(b.MaxMicros-b.Micros, 0)).String())
	}
	if b.MaxTokens > 0 {
		all = append(all, fmt.Sprintf("%d tokens", b.MaxTokens))
		rest = append(rest, fmt.Sprintf("%d tokens", max(b.MaxTokens-b.Tokens, 0)))
	}
	if b.Extended && len(all) > 0 {
		all[len(all)-1] += " (extended)"
	}
	return cmp.Or(strings.Join(all, ", "), "none"), cmp.Or(strings.Join(rest, ", "), "-")
}
