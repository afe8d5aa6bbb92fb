package main

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel/webhook"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
)

func (a *app) tokenCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make and end tokens of the HTTP API",
		Long: `Make and end tokens of the HTTP API. Whoever has one writes to one group as the sender
api:NAME and reads the answers, and nothing else: a program is never the owner, an
admin, or one who approves. channels.webhook in the configuration turns the API on.`,
		Example: "  nanoclaw token add --group work ci\n  nanoclaw token list",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.tokenAddCmd(), a.tokenListCmd(), a.tokenRemoveCmd())
	return cmd
}

func (a *app) tokenAddCmd() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:     "add --group G NAME",
		Short:   "Make a token for a group, and print it once",
		Long:    "Make a token for a group, and print it. It is kept nowhere: what is stored tells only\nwhether it is the one.",
		Example: "  nanoclaw token add --group work ci",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := a.peopleGroup(cmd, group)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				made, err := s.TokenAdd(cmd.Context(), control.TokenSpec{Name: args[0], Group: g})
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(made)
				}
				a.say("this is all that there is of it: %s speaks in %s with", made.Name, made.Group)
				_, err = fmt.Fprintln(a.out, made.Token)
				return err
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	return cmd
}

func (a *app) tokenListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the tokens, by name and group",
		Example: "  nanoclaw token list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				all, err := s.Tokens(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, all)
				}
				if len(all) == 0 {
					a.say("there are no tokens; make one with: nanoclaw token add --group G NAME")
					return nil
				}
				return printTokens(a.out, all)
			})
		},
	}
}

func printTokens(w io.Writer, all []control.TokenInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tGROUP\tMADE")
	for _, i := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", i.Name, i.Group, i.At.Local().Format(time.DateTime))
	}
	return t.Flush()
}

func (a *app) tokenRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "End a token at once",
		Long:    "End a token at once. What waits of its messages is refused; a run that goes on goes on.",
		Example: "  nanoclaw token remove ci",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				if err := s.TokenRemove(cmd.Context(), control.TokenSpec{Name: args[0]}); err != nil {
					return err
				}
				a.say("the token %s is no good any more", args[0])
				return nil
			})
		},
	}
}

func (a *app) webhookCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Keep the secrets of webhooks",
		Long: `Keep the secrets of webhooks. Which there are is in the configuration
(channels.webhook.hooks); their secrets lie in a file that only you can read,
encrypted with a key that lies apart from it.`,
		Example: "  nanoclaw webhook secret ci\n  nanoclaw webhook remove ci",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.webhookSecretCmd(), a.webhookRemoveCmd())
	return cmd
}

func (a *app) webhookSecretCmd() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "secret NAME",
		Short: "Make a webhook's secret and print it once, or take one from stdin",
		Long: `Make a secret for a webhook and print it, for whoever signs, or with --stdin take the
one that they gave. It takes the place of an earlier one when nanoclaw is restarted.`,
		Example: "  nanoclaw webhook secret ci\n  printf '%s' \"$SECRET\" | nanoclaw webhook secret ci --stdin",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			paths, err := a.paths()
			if err != nil {
				return err
			}
			c, err := a.configOrDefault(paths)
			if err != nil {
				return err
			}
			hook, known := c.Channels.Webhook.Hooks[args[0]]
			if !known {
				return &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no webhook %q in the configuration", args[0]), Hint: "add it to channels.webhook.hooks in " + paths.Config}
			}
			secret := webhook.NewSecret()
			if stdin {
				data, err := io.ReadAll(io.LimitReader(a.in, maxSecret))
				if err != nil {
					return fmt.Errorf("reading the secret: %w", err)
				}
				secret = strings.TrimSpace(string(data))
			}
			form := webhook.Form(hook.Form)
			if form == "" {
				form = webhook.Standard
			}
			if _, err := webhook.ParseSecret(secret, form); err != nil {
				return err
			}
			if err := a.changeSecrets(func(t credential.Tokens) { t[args[0]] = secret }); err != nil {
				return err
			}
			a.say("the secret of webhook %s is stored; restart nanoclaw to use it", args[0])
			if !stdin {
				_, err = fmt.Fprintln(a.out, secret)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&stdin, "stdin", false, "read the secret from stdin")
	return cmd
}

func (a *app) webhookRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a webhook's secret",
		Long:    "Remove a webhook's secret. A daemon that runs takes what is signed with it until it is\nrestarted.",
		Example: "  nanoclaw webhook remove ci",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			was := false
			err := a.changeSecrets(func(t credential.Tokens) {
				_, was = t[args[0]]
				delete(t, args[0])
			})
			if err != nil {
				return err
			}
			if !was {
				a.say("there was none of %s", args[0])
				return nil
			}
			a.say("the secret of webhook %s is removed; restart nanoclaw", args[0])
			return nil
		},
	}
}

// changeSecrets changes the file with the secrets of all webhooks.
func (a *app) changeSecrets(change func(credential.Tokens)) error {
	paths, err := a.paths()
	if err == nil {
		err = paths.EnsureDirs()
	}
	if err != nil {
		return err
	}
	s := credential.New(paths, a.getenv)
	all, err := s.LoadTokens(string(webhook.ID))
	if err != nil {
		return err
	}
	next := credential.Tokens{}
	maps.Copy(next, all)
	change(next)
	if len(next) == 0 {
		_, err = s.RemoveTokens(string(webhook.ID))
		return err
	}
	return s.SaveTokens(string(webhook.ID), next)
}
