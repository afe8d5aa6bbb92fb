package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"nanoclaw/internal/control"
)

func (a *app) dashboardCmd() *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Give a link that shows all of it in a browser",
		Long: `Give a link that shows all of it in a browser on this machine: what goes on, what
each group can touch, questions that wait for you, tasks, runs, the audit log. The
link signs one browser in, once, within five minutes.

Until somebody asks for a link no port is open, and when nobody is signed in any
more it is closed. From another machine:
ssh -L PORT:127.0.0.1:PORT, with --port PORT here.`,
		Example: "  nanoclaw dashboard\n  nanoclaw dashboard --port 7420",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), existing, func(s *session) error {
				l, err := s.Dashboard(cmd.Context(), control.DashboardRequest{Port: port})
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(l)
				}
				fmt.Fprintln(a.out, l.URL)
				a.say("it signs one browser in, until %s. If yours does not know that name: %s", l.Until.Local().Format("15:04:05"), l.Plain)
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "the port of 127.0.0.1; 0 takes any")
	return cmd
}
