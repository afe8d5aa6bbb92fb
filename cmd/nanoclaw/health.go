package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/control"
)

func (a *app) healthCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Say whether the daemon can do its work now",
		Long: `Say whether the daemon can do its work now: whether the store can be written, the
end of the audit log is as it was signed, the boundaries that groups need are
proven, the channels are connected, runs are started, and the disk has room. Each is
tried at this moment, and each that fails comes with what to do.

The exit code is 0 if all of it holds, and 1 if not or if no daemon runs, so that
scripts and watchdogs can ask it.`,
		Example: "  nanoclaw health\n  nanoclaw health --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.health(cmd.Context()) },
	}
}

func (a *app) health(ctx context.Context) error {
	var h control.Health
	err := a.with(ctx, existing, func(s *session) (err error) {
		h, err = s.Health(ctx)
		return err
	})
	if errors.Is(err, control.ErrNotRunning) {
		h, err = control.HealthOf(time.Now(), []control.Check{{Name: "daemon", State: "fail", Detail: err.Error(), Fix: "start it with: nanoclaw run"}}), nil
	}
	switch {
	case err != nil:
		return err
	case a.json:
		err = a.printJSON(h)
	default:
		if err = printChecks(a.out, h.Checks); err == nil && h.Ready {
			_, err = fmt.Fprintln(a.out, "ready")
		} else if err == nil {
			_, err = fmt.Fprintln(a.out, "not ready")
		}
	}
	if err == nil && !h.Ready {
		err = &exitError{code: exitFailed}
	}
	return err
}
