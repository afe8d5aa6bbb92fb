package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) policyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Show what an agent may touch",
		Example: "  nanoclaw policy show --group family\n  nanoclaw policy explain --group family ~/photos github.com",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.policyShowCmd(), a.policyExplainCmd())
	return cmd
}

func (a *app) policyShowCmd() *cobra.Command {
	var q control.PolicyQuery
	var group string
	var mounts []string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the grant of a group, each line with its reason",
		Long: `Print the grant that a session of the group would get now: everything it may
touch, each line with the reason it is there. A refusal is told in words, and the
exit code is 3. With --render the same in the form of the engine that enforces it:
mounts, generated files, Landlock's rules, limits, the filter of system calls.`,
		Example: "  nanoclaw policy show\n  nanoclaw policy show --group family --mode host --json\n  nanoclaw policy show --render native",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Group, err = parseGroup(group); err != nil {
				return err
			}
			if q.Mounts, err = parseMounts(mounts); err != nil {
				return err
			}
			return a.with(cmd.Context(), reading, func(s *session) error { return a.policyShow(cmd.Context(), s, q) })
		},
	}
	a.groupFlag(cmd, &group, "main")
	cmd.Flags().StringVar(&q.Mode, "mode", "", "host or container, in place of the group's own")
	cmd.Flags().StringArrayVar(&mounts, "mount", nil, "a folder as chat --mount would add it")
	cmd.Flags().StringVar(&q.Render, "render", "", "show what this engine makes of it: native, bubblewrap; seatbelt (macOS) on any system")
	return cmd
}

func (a *app) policyShow(ctx context.Context, s *session, q control.PolicyQuery) error {
	p, err := s.Policy(ctx, q)
	if err != nil {
		return err
	}
	data, text := p.Grant, p.Text
	if q.Render != "" {
		data, text = p.Rendering, p.RenderedText
	}
	switch {
	case p.Refusal != "":
		return a.policyRefused(p)
	case a.json:
		return a.printJSON(data)
	}
	_, err = fmt.Fprint(a.out, channel.SafeText(text))
	return err
}

// policyRefused tells that there is no grant.
func (a *app) policyRefused(p control.Policy) error {
	refused := &control.Error{Code: control.CodeRefused, Message: p.Refusal, Hint: p.Hint}
	if !a.json {
		return refused
	}
	if err := a.printJSON(refused); err != nil {
		return err
	}
	return &exitError{code: exitRefused}
}
