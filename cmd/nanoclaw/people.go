package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

func (a *app) peopleCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "people",
		Short: "Decide who may speak in which group",
		Long: `Decide who may speak in which group. Whoever is not let in is refused: nothing that
they write reaches an agent. You are asked once about each of them. Somebody is
named by their identity on the network, as CHANNEL:SENDER, and not by what they
call themselves. Roles (owner, admin) are given in the configuration.`,
		Example: "  nanoclaw people list\n  nanoclaw people allow --group family whatsapp:491700000000\n  nanoclaw people pair --group family",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.peopleListCmd(),
		a.peopleActCmd(control.PersonAllow, "Let somebody speak in a group", "They speak there from now on, until you remove or deny them."),
		a.peopleActCmd(control.PersonDeny, "Keep somebody out of a group", `You are not asked about them again, and what of theirs waits is refused. This holds
whatever the configuration says, but for your own identities.`),
		a.peopleActCmd(control.PersonRemove, "Forget what you decided about somebody", `They are unknown again: refused, and you are asked about them when they write. What
of theirs waits is refused.`),
		a.peoplePairCmd())
	return cmd
}

func (a *app) peopleListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List who may speak, who was asked about and who was denied",
		Example: "  nanoclaw people list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				people, err := s.People(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, people)
				}
				if len(people) == 0 {
					a.say("nobody but you")
					return nil
				}
				return printPeople(a.out, people)
			})
		},
	}
}

// printPeople shows names that people chose themselves.
func printPeople(w io.Writer, people []control.Person) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GROUP\tSENDER\tSTATE\tROLE\tNAME\tSINCE")
	for _, p := range people {
		since := "configuration"
		if !p.At.IsZero() {
			since = p.At.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", cmp.Or(string(p.Group), "(all)"), channel.OneLine(p.Sender, 80), p.State, cmp.Or(p.Role, "-"),
			cmp.Or(channel.OneLine(p.Name, 60), "-"), since)
	}
	return t.Flush()
}

func (a *app) peopleActCmd(act, short, long string) *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:     act + " --group G SENDER",
		Short:   short,
		Long:    short + ". " + long,
		Example: "  nanoclaw people " + act + " --group family whatsapp:491700000000",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := a.peopleGroup(cmd, group)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				p, err := s.PeopleAct(cmd.Context(), control.PeopleAct{Act: act, Group: g, Sender: args[0]})
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(p)
				}
				_, err = fmt.Fprintf(a.out, "%s is %s in %s\n", channel.OneLine(p.Sender, 512), p.State, p.Group)
				return err
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	return cmd
}

func (a *app) peoplePairCmd() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "pair --group G",
		Short: "Make a code with which somebody lets themselves in",
		Long: `Make a code with which somebody lets themselves in: they write "pair CODE" in a
chat of the group and may speak there from then on. A code is good once and for an
hour, while nanoclaw runs. Five wrong ones in a group end those that are open there,
and five of one sender keep them from trying for an hour.`,
		Example: "  nanoclaw people pair --group family",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := a.peopleGroup(cmd, group)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), existing, func(s *session) error {
				p, err := s.Pair(cmd.Context(), control.PairRequest{Group: g})
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(p)
				}
				_, err = fmt.Fprintf(a.out, "Let them write this in a chat of %s before %s:\n\n  pair %s\n", p.Group, p.Until.Local().Format(time.DateTime), p.Code)
				return err
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	return cmd
}

// peopleGroup is the group of a decision, which has to be named.
func (a *app) peopleGroup(cmd *cobra.Command, name string) (chat.Group, error) {
	if name == "" {
		return "", usageError(fmt.Errorf("say in which group: --group"), cmd)
	}
	return parseGroup(name)
}
