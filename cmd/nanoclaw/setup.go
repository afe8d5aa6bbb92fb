package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

// setupOptions are the answers to the questions of a set-up, as flags.
type setupOptions struct {
	yes, status                   bool
	noClaude, noLogin, noService  bool
	login                         loginOptions
	channel, main, owner, message string
	undo                          string
	asRoot                        bool
}

// step is one part of a set-up. Each can be done again and undone by itself.
type step struct {
	name, what string
	// state says whether it is done, and in words how it stands.
	state func(ctx context.Context) (done bool, words string, err error)
	// do does it, also where it was done already and its flag asks for something else.
	do func(ctx context.Context) error
	// undo takes it back. Without one there is nothing to take back.
	undo func(ctx context.Context) error
	// skip says why it is left out, "" if it is not.
	skip func() (string, error)
}

func (a *app) setupCmd() *cobra.Command {
	var o setupOptions
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Set everything up, from nothing to a first answer",
		Long: `Set everything up: fetch Claude Code, store a credential for the model, install the
service, try the boundary of this machine, connect a chat network, say which of its
chats is main, and send a first message. It asks before each part; --yes takes the
defaults. What is done already stays as it is, so it can be repeated at any time, and
each part can be undone with --undo. Root's service runs as the system user nanoclaw.`,
		Example: "  nanoclaw setup\n  nanoclaw setup --status\n  nanoclaw setup --yes --channel telegram --main telegram:12345 --owner telegram:12345\n  nanoclaw setup --undo channel",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			s := &setup{app: a, cmd: cmd, o: o}
			switch {
			case o.status:
				return s.status(ctx)
			case o.undo != "":
				return s.undo(ctx, o.undo)
			}
			return s.run(ctx)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "take the defaults and ask nothing")
	f.BoolVar(&o.status, "status", false, "say how each part stands, and do nothing")
	f.StringVar(&o.undo, "undo", "", "undo one part: claude, login, service, channel, main")
	f.BoolVar(&o.noClaude, "no-claude", false, "fetch no Claude Code")
	f.BoolVar(&o.noLogin, "no-login", false, "store no credential for the model")
	f.BoolVar(&o.login.stdin, "stdin", false, "read the credential from stdin and not from the terminal")
	f.BoolVar(&o.noService, "no-service", false, "install no service")
	f.BoolVar(&o.asRoot, "as-root", false, "let root's service keep root's uid, for container engines")
	f.StringVar(&o.channel, "channel", "", "the chat network to connect: "+strings.Join(networkNames(), ", "))
	f.StringVar(&o.main, "main", "", "the chat on it that is main, as CHANNEL:CHAT")
	f.StringVar(&o.owner, "owner", "", "who you are on it, as CHANNEL:SENDER")
	f.StringVar(&o.message, "message", "Hello! In one sentence: who are you, and where do you run?", "the first message; empty for none")
	return keepsRoot(cmd)
}

// setup is one run of the command.
type setup struct {
	app *app
	cmd *cobra.Command
	o   setupOptions
	// changed says that a running daemon does not know yet what was set up.
	changed bool
}

// asking says that a person at a terminal answers.
func (s *setup) asking() bool { return !s.o.yes && terminal(s.app.in) }

// run goes through the parts in their order.
func (s *setup) run(ctx context.Context) error {
	if !s.o.yes && !terminal(s.app.in) {
		return &control.Error{Code: control.CodeUsage, Message: "stdin is no terminal, so nobody can be asked", Hint: "nanoclaw setup --yes takes the defaults; nanoclaw setup --help lists a flag for each answer"}
	}
	steps := s.steps()
	for i, st := range steps {
		fmt.Fprintf(s.app.out, "%d of %d  %s\n", i+1, len(steps), st.what)
		if err := s.once(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	if err := s.refresh(ctx); err != nil { // without a first message nobody did
		return err
	}
	fmt.Fprintln(s.app.out, "Set up. Talk to it with: nanoclaw chat")
	return nil
}

// once does one part, unless it is done or not wanted.
func (s *setup) once(ctx context.Context, st step) error {
	done, words, err := st.state(ctx)
	if err != nil {
		return err
	}
	if done {
		s.tell("already done: " + words)
		return nil
	}
	why, err := st.skip()
	if err != nil {
		return err
	}
	if why != "" {
		s.tell("left out: " + why)
		return nil
	}
	return st.do(ctx)
}

func (s *setup) tell(text string) { fmt.Fprintln(s.app.out, "        "+channel.SafeText(text)) }

// part is a step as --status shows it.
type part struct {
	Name string `json:"name"`
	What string `json:"what"`
	Done bool   `json:"done"`
	Says string `json:"says,omitempty"`
	Undo string `json:"undo,omitempty"`
}

func (s *setup) status(ctx context.Context) error {
	var parts []part
	for _, st := range s.steps() {
		done, words, err := st.state(ctx)
		if err != nil {
			words = err.Error()
		}
		p := part{Name: st.name, What: st.what, Done: done, Says: words}
		if st.undo != nil {
			p.Undo = "nanoclaw setup --undo " + st.name
		}
		parts = append(parts, p)
	}
	if s.app.json {
		return printList(s.app, parts)
	}
	w := tabwriter.NewWriter(s.app.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PART\tDONE\tSAYS")
	for _, p := range parts {
		done := "no"
		if p.Done {
			done = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, done, channel.OneLine(p.Says, 120))
	}
	return w.Flush()
}

func (s *setup) undo(ctx context.Context, name string) error {
	steps := s.steps()
	i := slices.IndexFunc(steps, func(st step) bool { return st.name == name })
	switch {
	case i < 0:
		return usageError(fmt.Errorf("there is no part %q", name), s.cmd)
	case steps[i].undo == nil:
		return usageError(errors.New("there is nothing to undo of "+name), s.cmd)
	}
	if err := steps[i].undo(ctx); err != nil {
		return err
	}
	s.app.say("%s is undone", name)
	return s.refresh(ctx)
}

// confirm asks a question whose answer is yes unless the person says no.
func (s *setup) confirm(question string) (bool, error) {
	if !s.asking() {
		return true, nil
	}
	answer, err := s.ask(question+" [Y/n]", "y")
	return strings.HasPrefix(strings.ToLower(answer), "y"), err
}

// ask asks for a line; an empty one is the default.
func (s *setup) ask(question, fallback string) (string, error) {
	if !s.asking() {
		return fallback, nil
	}
	fmt.Fprintf(s.app.err, "        %s ", question)
	text, err := readLine(s.app.in)
	if err != nil {
		return "", fmt.Errorf("it was broken off (%w); what is done stays, and setup goes on from there", err)
	}
	if text == "" {
		return fallback, nil
	}
	return text, nil
}

// readLine reads one line and not a byte more: what follows may be a secret, which is
// read in another way.
func readLine(in *os.File) (string, error) {
	var text []byte
	b := make([]byte, 1)
	for len(text) < longestLine {
		n, err := in.Read(b)
		if n == 0 && err != nil {
			return "", err
		}
		if n == 0 || b[0] == '\r' {
			continue
		}
		if b[0] == '\n' {
			return strings.TrimSpace(string(text)), nil
		}
		text = append(text, b[0])
	}
	return "", errors.New("the line is too long")
}
