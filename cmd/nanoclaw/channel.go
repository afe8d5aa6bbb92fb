package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/discord"
	"nanoclaw/internal/channel/slack"
	"nanoclaw/internal/channel/telegram"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
)

func (a *app) channelCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "channel",
		Short: "Connect chat networks",
		Long: `Connect chat networks. Their tokens are kept in files that only you can read,
encrypted with a key that lies apart from them; no agent sees either. Which network
is connected, and which of its chats belongs to which group, is in the configuration.`,
		Example: "  nanoclaw channel login slack\n  nanoclaw channel list",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.channelListCmd(), a.channelLoginCmd(), a.channelLogoutCmd(), a.channelTestCmd())
	return cmd
}

// network is a chat network that can be logged in to.
type network struct {
	name  string
	login channel.Login
}

// network gives the network of a name, as the configuration has it.
func (a *app) network(name string) (network, config.Paths, error) {
	paths, err := a.paths()
	if err != nil {
		return network{}, paths, err
	}
	c, err := a.configOrDefault(paths)
	if err != nil {
		return network{}, paths, err
	}
	if e, ok := c.Channels.External[name]; ok {
		return network{name, adapterLogin(e)}, paths, nil
	}
	for _, n := range []network{
		{string(slack.ID), slack.Login(c.Assistant.Name, slack.Options{API: c.Channels.Slack.API})},
		{string(discord.ID), discord.Login(c.Assistant.Name, discord.Options{API: c.Channels.Discord.API})},
		{string(telegram.ID), telegram.Login(c.Assistant.Name, telegram.Options{API: c.Channels.Telegram.API})},
	} {
		if n.name == name {
			return n, paths, nil
		}
	}
	return network{}, paths, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("there is no network %q here", name), Hint: "there are: " + strings.Join(networkNames(), ", ") + ", and what channels.external of the configuration names"}
}

// networkNames are those of the networks that can be logged in to.
func networkNames() []string {
	return []string{string(discord.ID), string(slack.ID), string(telegram.ID)}
}

func networkArgs(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	return cmd
}

func (a *app) channelListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the networks and how their connections stand",
		Example: "  nanoclaw channel list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), existing, func(s *session) error {
				st, err := s.Status(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, st.Channels)
				}
				if len(st.Channels) == 0 {
					a.say("no network but your terminals; set one up with: nanoclaw channel login NETWORK (" + strings.Join(networkNames(), ", ") + ")")
					return nil
				}
				return printChannels(a.out, st.Channels)
			})
		},
	}
}

func printChannels(w io.Writer, channels []control.ChannelInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CHANNEL\tSTATE\tSINCE\tSELF\tCAUSE")
	for _, c := range channels {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Channel, c.State, c.Since.Local().Format(time.DateTime), cmp.Or(channel.OneLine(string(c.Self), 80), "-"), cmp.Or(channel.OneLine(c.Cause, 200), "-"))
	}
	return t.Flush()
}

func (a *app) channelLoginCmd() *cobra.Command {
	var stdin, noTry, steps bool
	cmd := networkArgs(&cobra.Command{
		Use:   "login NETWORK",
		Short: "Set up a network, step by step, and store its tokens",
		Long: `Say what to do on the network's side, step by step, ask for its tokens, try them, and
store them. A daemon that runs uses them after a restart.`,
		Example: "  nanoclaw channel login slack\n  nanoclaw channel login slack --steps\n  printf '%s\\n' \"$APP\" \"$BOT\" | nanoclaw channel login slack --stdin",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			n, paths, err := a.network(args[0])
			if err != nil {
				return err
			}
			if !stdin {
				a.printSteps(n.login)
			}
			if steps {
				return nil
			}
			if n.login.Try == nil {
				return a.adapterLogin(ctx, n, paths, stdin)
			}
			return a.channelLogin(ctx, n, paths, stdin, noTry)
		},
	})
	cmd.Flags().BoolVar(&stdin, "stdin", false, "read the tokens from stdin, one on each line, in the order of the steps")
	cmd.Flags().BoolVar(&noTry, "no-try", false, "store them without trying them")
	cmd.Flags().BoolVar(&steps, "steps", false, "say what to do, and ask for nothing")
	return cmd
}

func (a *app) printSteps(l channel.Login) {
	for i, s := range l.Steps {
		fmt.Fprintf(a.out, "%d. %s\n", i+1, s.Text)
		if s.Copy != "" {
			fmt.Fprintf(a.out, "\n%s\n", s.Copy)
		}
	}
}

func (a *app) channelLogin(ctx context.Context, n network, paths config.Paths, stdin, noTry bool) error {
	values, err := a.readTokens(n, stdin)
	if err != nil {
		return err
	}
	note := "they were not tried"
	if !noTry {
		if note, err = n.login.Try(ctx, values); err != nil {
			return fmt.Errorf("%w; nothing was stored", err)
		}
	}
	if err := paths.EnsureDirs(); err != nil {
		return err
	}
	tokens := credential.Tokens{}
	for i, s := range n.login.Secrets {
		tokens[s.Name] = values[i]
	}
	if err := credential.New(paths, a.getenv).SaveTokens(n.name, tokens); err != nil {
		return err
	}
	a.say("the tokens of %s are stored: %s", n.name, note)
	a.say("set channels.%s.connect to true in %s, give a group a chat of it, and restart nanoclaw", n.name, paths.Config)
	return nil
}

// readTokens takes tokens from the terminal, without showing them, or from stdin.
func (a *app) readTokens(n network, stdin bool) ([]string, error) {
	var lines []string
	if stdin {
		data, err := io.ReadAll(io.LimitReader(a.in, maxSecret))
		if err != nil {
			return nil, fmt.Errorf("reading the tokens: %w", err)
		}
		lines = strings.Fields(string(data))
	} else if !term.IsTerminal(int(a.in.Fd())) {
		return nil, &control.Error{Code: control.CodeUsage, Message: "stdin is no terminal", Hint: "nanoclaw channel login " + n.name + " --stdin reads the tokens from it"}
	}
	var out []string
	for i, s := range n.login.Secrets {
		var value string
		switch {
		case !stdin:
			data, err := a.readHidden(s.Ask)
			if err != nil {
				return nil, fmt.Errorf("reading the tokens: %w", err)
			}
			value = strings.TrimSpace(string(data))
		case i < len(lines):
			value = lines[i]
		}
		if !strings.HasPrefix(value, s.Prefix) || value == "" {
			return nil, fmt.Errorf("that is not the %s token, which begins with %s; nothing was stored", s.Name, s.Prefix)
		}
		out = append(out, value)
	}
	return out, nil
}

func (a *app) channelLogoutCmd() *cobra.Command {
	return networkArgs(&cobra.Command{
		Use:     "logout NETWORK",
		Short:   "Remove a network's tokens",
		Long:    "Remove the tokens that were stored. They stay valid until you revoke them on the\nnetwork's side. A daemon that runs stays connected until it is restarted.",
		Example: "  nanoclaw channel logout slack",
		RunE: func(_ *cobra.Command, args []string) error {
			n, paths, err := a.network(args[0])
			if err != nil {
				return err
			}
			was, err := credential.New(paths, a.getenv).RemoveTokens(n.name)
			switch {
			case err != nil:
				return err
			case !was:
				a.say("there were none of %s", n.name)
			default:
				a.say("the tokens of %s are removed", n.name)
			}
			return nil
		},
	})
}

func (a *app) channelTestCmd() *cobra.Command {
	return networkArgs(&cobra.Command{
		Use:     "test NETWORK",
		Short:   "Try a network's stored tokens",
		Example: "  nanoclaw channel test slack",
		RunE: func(cmd *cobra.Command, args []string) error {
			n, paths, err := a.network(args[0])
			if err != nil {
				return err
			}
			if n.login.Try == nil {
				return a.testAdapter(cmd.Context(), n.name)
			}
			tokens, err := credential.New(paths, a.getenv).LoadTokens(n.name)
			if err != nil {
				return err
			}
			if tokens == nil {
				return errors.New("there are no tokens of " + n.name + ": nanoclaw channel login " + n.name)
			}
			var values []string
			for _, s := range n.login.Secrets {
				values = append(values, tokens[s.Name])
			}
			note, err := n.login.Try(cmd.Context(), values)
			if err != nil {
				return err
			}
			a.say("the tokens of %s work: %s", n.name, note)
			return nil
		},
	})
}
