package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) doctorCmd() *cobra.Command {
	var noProbe, attack bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can enforce, what is missing and how to mend it",
		Long: `Say what this machine can enforce, what is missing and how to mend it. It starts
a boundary and lets a probe try to break out of it, and lists programs on your
PATH that agents do not see. The exit code is 1 if something fails.

With --attack it does something else: it tries every attack of its catalogue on
each engine that stands here, and prints what came of each line. It attacks only
what it planted for that, in a temporary folder, and sends nothing to any network.
The exit code is 1 if a line came out otherwise than the catalogue says.`,
		Example: "  nanoclaw doctor\n  nanoclaw doctor --json\n  nanoclaw doctor --attack",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				if attack {
					return a.attack(cmd.Context(), s)
				}
				return a.doctor(cmd.Context(), s, !noProbe)
			})
		},
	}
	cmd.Flags().BoolVar(&noProbe, "no-probe", false, "only look; start no boundary")
	cmd.Flags().BoolVar(&attack, "attack", false, "try the catalogue of attacks")
	cmd.MarkFlagsMutuallyExclusive("attack", "no-probe")
	return cmd
}

func (a *app) doctor(ctx context.Context, s *session, probe bool) error {
	r, err := s.Doctor(ctx, control.DoctorQuery{Probe: probe})
	if err != nil {
		return err
	}
	r.Checks = append(r.Checks, a.serviceCheck(ctx)...)
	if a.json {
		err = a.printJSON(r)
	} else {
		err = printChecks(a.out, r.Checks)
	}
	if err != nil {
		return err
	}
	for _, c := range r.Checks {
		if c.State == "fail" {
			return &exitError{code: exitFailed}
		}
	}
	return nil
}

// serviceCheck says how an installed service stands; nobody needs to have one.
func (a *app) serviceCheck(ctx context.Context) []control.Check {
	s, err := a.services().Status(ctx)
	switch {
	case err != nil:
		return []control.Check{{Name: "service", State: "note", Detail: err.Error()}}
	case !s.Installed:
		return nil
	case !s.Running:
		return []control.Check{{Name: "service", State: "warn", Detail: s.Why, Fix: s.Fix}}
	}
	return []control.Check{{Name: "service", State: "ok", Detail: s.File}}
}

func printChecks(w io.Writer, checks []control.Check) error {
	for _, c := range checks {
		line := fmt.Sprintf("%-4s  %s", c.State, c.Name)
		if c.Detail != "" {
			line += ": " + c.Detail
		}
		if _, err := fmt.Fprintln(w, channel.SafeText(line)); err != nil {
			return err
		}
		if c.Fix != "" {
			fmt.Fprintln(w, "      fix: "+channel.SafeText(c.Fix))
		}
	}
	return nil
}
