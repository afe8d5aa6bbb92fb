package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nanoclaw/internal/control"
)

func (a *app) pauseCmd() *cobra.Command {
	var reason string
	cmd := a.restCmd("pause", func(cmd *cobra.Command, s *session, r control.PauseRequest) error {
		r.Reason = reason
		return s.Pause(cmd.Context(), r)
	})
	cmd.Short = "Start no more runs of a group, or of all"
	cmd.Long = `Start no more runs of a group, or of all, until they are resumed, also after a
restart. What is written meanwhile waits, and nothing is lost. Runs that go on are
left alone: nanoclaw stop ends them.`
	cmd.Example = "  nanoclaw pause --group family --reason holidays\n  nanoclaw pause --all"
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who ask")
	return cmd
}

func (a *app) resumeCmd() *cobra.Command {
	cmd := a.restCmd("resume", func(cmd *cobra.Command, s *session, r control.PauseRequest) error {
		return s.Resume(cmd.Context(), r)
	})
	cmd.Short = "Let a paused group, or all, go on"
	cmd.Example = "  nanoclaw resume --group family"
	return cmd
}

// restCmd is what pause and resume have in common.
func (a *app) restCmd(verb string, do func(*cobra.Command, *session, control.PauseRequest) error) *cobra.Command {
	var group string
	var all bool
	cmd := &cobra.Command{
		Use:  verb + " --group G | --all",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			r := control.PauseRequest{All: all}
			if (group == "") != all {
				return usageError(errors.New("say what to "+verb+": --group or --all"), cmd)
			}
			if group != "" {
				if r.Group, err = parseGroup(group); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), existing, func(s *session) error {
				if err := do(cmd, s, r); err != nil {
					return err
				}
				if a.json {
					return a.printJSON(r)
				}
				_, err := fmt.Fprintf(a.out, "%sd\n", verb)
				return err
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().BoolVar(&all, "all", false, "all groups")
	return cmd
}
