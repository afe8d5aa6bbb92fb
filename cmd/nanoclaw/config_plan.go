package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"nanoclaw/internal/control"
)

func (a *app) configPlanCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "plan",
		Aliases: []string{"diff"},
		Short:   "Say what a changed configuration means before it holds",
		Long: `Say what the configuration as it is now means beside the one that was accepted
last: which values are others, for which groups, which rights grow and which
shrink. Secrets are told to be others and not shown. While a change is there no
new run starts. A restart accepts it; what touches no right can be reloaded.
The exit code is 1 if the configuration cannot be read.`,
		Example: "  nanoclaw config plan\n  nanoclaw config plan --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error { return a.showPlan(cmd.Context(), s.ConfigPlan) })
		},
	}
}

func (a *app) configReloadCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon take up changes that touch no right",
		Long: `Have the running daemon take up changes that touch no right: the assistant's
name, which model answers and its effort, prompts, and how long idle sessions
wait. If anything else changed nothing is taken up, and the plan is shown: only a
restart accepts that. Sessions use it from their next run on.`,
		Example: "  nanoclaw config reload",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), existing, func(s *session) error { return a.showPlan(cmd.Context(), s.ConfigReload) })
		},
	}
}

// showPlan prints the plan that get gives.
func (a *app) showPlan(ctx context.Context, get func(context.Context) (control.ConfigPlan, error)) error {
	p, err := get(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(p)
	}
	_, err = fmt.Fprint(a.out, p.Text)
	return err
}
