package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) eraseCmd() *cobra.Command {
	var r control.EraseRequest
	var group string
	cmd := &cobra.Command{
		Use:   "erase --sender CHANNEL:ID [--group G]",
		Short: "Erase what a person wrote",
		Long: `Erase what a person wrote: their messages, what was kept of them as context, their
words in quotes of others, and in the audit log. That there was a message, when, and
what came of it stays; so the log, its exports and the receipts of runs still
verify, and the log says that you erased it. What is out of reach is said. It cannot
be taken back: --dry-run counts first.`,
		Example: "  nanoclaw erase --sender whatsapp:4912345 --dry-run\n  nanoclaw erase --sender whatsapp:4912345 --group family --runs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if r.Sender == "" {
				return usageError(errors.New("say whose words: --sender CHANNEL:ID"), cmd)
			}
			if group != "" {
				if r.Group, err = parseGroup(group); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				got, err := s.Erase(cmd.Context(), r)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(got)
				}
				return a.tellErased(r, got)
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().StringVar(&r.Sender, "sender", "", "who: the channel and the sender's id on it")
	cmd.Flags().BoolVar(&r.Runs, "runs", false, "erase also what agents answered and did in runs that nobody else began")
	cmd.Flags().BoolVar(&r.Try, "dry-run", false, "only count what would be erased")
	return cmd
}

func (a *app) tellErased(r control.EraseRequest, e control.Erased) error {
	verb := "erased"
	if r.Try {
		verb = "would erase"
	}
	fmt.Fprintf(a.out, "%s %d messages, %d quotes of them, and the words of %d audit entries\n", verb, e.Messages, e.Quotes, e.Entries)
	if e.Waiting > 0 {
		fmt.Fprintf(a.out, "%d of the messages waited for an answer, and get none\n", e.Waiting)
	}
	if r.Runs {
		fmt.Fprintf(a.out, "%s what was said and done in %d runs, with %d replies\n", verb, e.Runs, e.Replies)
	}
	fmt.Fprintln(a.out, "out of reach:")
	for _, l := range e.Left {
		fmt.Fprintf(a.out, "  %s\n", channel.OneLine(l, 500))
	}
	return nil
}
