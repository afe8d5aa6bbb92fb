package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	attacker "nanoclaw/internal/attack/inside"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

// attackInsideCmd is this program as the attacker within a boundary. The host
// starts it there; started by a person it refuses.
func attackInsideCmd() *cobra.Command {
	return &cobra.Command{
		Use:                attacker.Verb,
		Hidden:             true,
		Short:              "Attack a boundary from within; started by nanoclaw doctor --attack",
		Example:            "  nanoclaw " + attacker.Verb + "   # refuses outside a boundary",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := attacker.Main(args); code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
}

// attack prints what came of the catalogue of attacks.
func (a *app) attack(ctx context.Context, s *session) error {
	r, err := s.Doctor(ctx, control.DoctorQuery{Attack: true})
	if err != nil {
		return err
	}
	if r.Attacks == nil {
		return fmt.Errorf("the running nanoclaw is of another version; restart it")
	}
	if a.json {
		err = a.printJSON(r.Attacks)
	} else {
		err = printAttacks(a.out, *r.Attacks)
	}
	if err != nil {
		return err
	}
	if !held(*r.Attacks) {
		return &exitError{code: exitFailed}
	}
	return nil
}

func printAttacks(w io.Writer, r control.Attacks) error {
	_, err := fmt.Fprintln(w, channel.SafeText(r.Text))
	for _, text := range r.Untried {
		if err == nil {
			_, err = fmt.Fprintln(w, channel.SafeText("not attacked: "+text))
		}
	}
	return err
}

// held says whether at least one engine was attacked, and every line came out as
// it should.
func held(r control.Attacks) bool {
	for _, e := range r.Engines {
		for _, l := range e.Lines {
			if !l.Good {
				return false
			}
		}
	}
	return len(r.Engines) > 0
}
