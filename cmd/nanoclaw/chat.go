package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

func (a *app) chatCmd() *cobra.Command {
	var group string
	var mounts []string
	var anew bool
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk to a group's agent in the terminal",
		Long: `Talk to a group's agent in the terminal. The answer is shown as it comes. Ctrl-C
interrupts the run and not the program; Ctrl-D, or Ctrl-C twice, leaves.

If stdin is a pipe, each line of it is one message, sent when the one before is
answered. Only answers go to stdout; what the host has to say goes to stderr. The
exit code is 0 if every message was answered, 3 if one was refused, else 1.

If no daemon runs, this command is the host for as long as it lasts.`,
		Example: "  nanoclaw chat\n  nanoclaw chat --group work --mount ~/src/site:rw\n  echo 'what changed today?' | nanoclaw chat",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := parseGroup(group)
			if err != nil {
				return err
			}
			ask := chat.Ask{}
			if ask.Mounts, err = parseMounts(mounts); err != nil {
				return err
			}
			if anew {
				ask.Conversation = chat.Anew
			}
			return a.with(cmd.Context(), running, func(s *session) error { return a.chat(cmd.Context(), s, g, ask) })
		},
	}
	a.groupFlag(cmd, &group, "main")
	cmd.Flags().BoolVar(&anew, "new", false, "let the agent forget the conversation so far; so does the message /clear")
	cmd.Flags().StringArrayVar(&mounts, "mount", nil, "a folder for this conversation alone, as DIR or DIR:rw")
	return cmd
}

func (a *app) chat(ctx context.Context, s *session, g chat.Group, ask chat.Ask) error {
	talk, err := s.Chat(ctx, g)
	if err != nil {
		return err
	}
	defer talk.Close()
	if out, ok := isTerminal(a.out); ok && terminal(a.in) && !a.json {
		if err := a.greet(ctx, s, g); err != nil {
			return err
		}
		return a.interactive(ctx, talk, g, ask, out)
	}
	return a.pipe(talk, ask, readLines(a.in))
}

// greet says, before the first message, who will answer it and where.
func (a *app) greet(ctx context.Context, s *session, g chat.Group) error {
	groups, err := s.Groups(ctx)
	if err != nil {
		return err
	}
	for _, info := range groups {
		switch {
		case info.Name != g:
		case info.Refusal != "":
			a.say("%s", info.Refusal)
		case info.Agent == grant.Shell:
			fmt.Fprintln(a.out, agent.Greeting())
		default:
			fmt.Fprintf(a.out, "%s answers, in %s mode. Ctrl-C interrupts it, Ctrl-D leaves.\n", info.Agent, info.Mode)
		}
	}
	return nil
}

func (a *app) sendCmd() *cobra.Command {
	var group string
	var anew, isolated bool
	cmd := &cobra.Command{
		Use:   "send [--group G] TEXT",
		Short: "Send one message as the owner and wait for the answer",
		Long: `Send one message as the owner and wait for the answer. With --json it prints each
message that came back and the outcome, one JSON value on each line.`,
		Example: "  nanoclaw send 'good morning'\n  nanoclaw send --group work --json 'run the tests'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := parseGroup(group)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), running, func(s *session) error {
				talk, err := s.Chat(cmd.Context(), g)
				if err != nil {
					return err
				}
				defer talk.Close()
				ask := chat.Ask{}
				switch {
				case anew:
					ask.Conversation = chat.Anew
				case isolated:
					ask.Conversation = chat.Isolated
				}
				return a.pipe(talk, ask, oneLine(args[0]))
			})
		},
	}
	a.groupFlag(cmd, &group, "main")
	cmd.Flags().BoolVar(&anew, "new", false, "let the agent forget the conversation so far")
	cmd.Flags().BoolVar(&isolated, "isolated", false, "in a conversation of its own: the agent knows nothing of the group's, and adds nothing to it")
	cmd.MarkFlagsMutuallyExclusive("new", "isolated")
	return cmd
}

// oneLine is a source of lines with one message in it.
func oneLine(text string) <-chan line {
	lines := make(chan line, 1)
	lines <- line{text: text}
	close(lines)
	return lines
}

// interruptions gives the signals that end what goes on.
func interruptions() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// events gives what arrives in a conversation, and then why it ended.
func events(talk *control.Conversation) (<-chan control.Event, <-chan error) {
	c, ended := make(chan control.Event), make(chan error, 1)
	go func() {
		defer close(c)
		for {
			e, err := talk.Next()
			if err != nil {
				ended <- err
				return
			}
			c <- e
		}
	}()
	return c, ended
}

// outcome is the exit code that an answer stands for, and words if there is
// something to say about it.
func outcome(x control.Answered) (code int, text string) {
	switch {
	case x.Error != nil:
		return exitCode(x.Error), x.Error.Message
	case x.Answer.State == control.Succeeded, x.Answer.State == control.Taken:
		return exitOK, ""
	case x.Answer.State == control.Refused:
		code = exitRefused
	default:
		code = exitFailed
	}
	if x.Answer.Reason != "" {
		return code, x.Answer.Reason
	}
	return code, fmt.Sprintf("the message was not answered: %s", x.Answer.State)
}
