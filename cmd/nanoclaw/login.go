package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/egress"
)

// maxSecret bounds what is read as a credential.
const maxSecret = 8 << 10

// subscriptionPrefix begins the tokens of "claude setup-token".
const subscriptionPrefix = "sk-ant-oat"

type loginOptions struct {
	stdin, noTry, status bool
	kind, provider       string
}

func (a *app) loginCmd() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login claude",
		Short: "Store the credential for the model",
		Long: `Ask for an API key, or a token from "claude setup-token", try it with one request
that costs nothing, and store it in a file that only you can read, encrypted with a
key that lies apart from it. No agent sees either; the host adds the credential to
requests on their way out, and only to the address that it was stored for. A running
daemon uses it at once.

With --provider it is the credential of one of the providers in the configuration.
What is set in the configuration or the environment goes before it. What a token
endpoint answered (JSON with access_token) is taken too; its refresh token is used
where the provider's "oauth" names the endpoint and the client.`,
		Example:   "  nanoclaw login claude\n  pass show anthropic | nanoclaw login claude --stdin\n  nanoclaw login claude --status",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{claudeName},
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if o.status {
				return a.loginStatus()
			}
			return a.login(ctx, o)
		},
	}
	cmd.Flags().BoolVar(&o.stdin, "stdin", false, "read it from stdin and not from the terminal")
	cmd.Flags().BoolVar(&o.noTry, "no-try", false, "store it without trying it")
	cmd.Flags().BoolVar(&o.status, "status", false, "say what is stored, and nothing else")
	cmd.Flags().StringVar(&o.kind, "kind", "", "api-key, oauth-token or auth-token (a bearer token of a compatible endpoint); told by its beginning if not given")
	a.providerFlag(cmd, &o.provider)
	return cmd
}

func (a *app) providerFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "provider", "", "one of the providers in the configuration; without it: the configuration's own model")
}

func (a *app) logoutCmd() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use:       "logout claude",
		Short:     "Remove the stored credential",
		Long:      "Remove the credential that \"nanoclaw login claude\" stored. It stays valid until you revoke it\nwhere you got it. A running daemon forgets it at once.",
		Example:   "  nanoclaw logout claude",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{claudeName},
		RunE:      func(cmd *cobra.Command, _ []string) error { return a.logout(cmd.Context(), provider) },
	}
	a.providerFlag(cmd, &provider)
	return cmd
}

func (a *app) login(ctx context.Context, o loginOptions) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	source, err := a.modelSource(paths, o.provider)
	if err != nil {
		return err
	}
	endpoint, err := egress.Endpoint(source)
	if err != nil {
		return err
	}
	secret, err := a.readSecret(o, endpoint)
	if err != nil {
		return err
	}
	stored, err := credentialOf(o.kind, secret, source.Model.OAuth)
	if err != nil {
		return err
	}
	stored.Endpoint = endpoint
	note, err := tryCredential(ctx, stored, source, o.noTry)
	if err != nil {
		return err
	}
	if err := paths.EnsureDirs(); err != nil {
		return err
	}
	file, err := credential.New(paths, a.getenv).Save(o.provider, stored)
	if err != nil {
		return err
	}
	source.Stored = &stored
	return a.loggedIn(ctx, paths, source, file, note)
}

// modelSource is what the configuration says of a provider.
func (a *app) modelSource(paths config.Paths, provider string) (egress.Source, error) {
	c, err := a.configOrDefault(paths)
	if err != nil {
		return egress.Source{}, err
	}
	s := egress.Source{Provider: provider, Model: c.Model, Getenv: a.getenv}
	if provider == "" {
		return s, nil
	}
	m, ok := c.Providers[provider]
	if !ok {
		return s, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("the configuration has no provider %q", provider), Hint: `add it to "providers" in ` + paths.Config}
	}
	s.Model = m
	return s, nil
}

// readSecret takes the credential from the terminal, without showing it, or
// from stdin. It is never an argument: those stand in the process list.
func (a *app) readSecret(o loginOptions, endpoint string) (string, error) {
	var data []byte
	var err error
	switch {
	case o.stdin:
		data, err = io.ReadAll(io.LimitReader(a.in, maxSecret+1))
	case term.IsTerminal(int(a.in.Fd())):
		data, err = a.readHidden(fmt.Sprintf("API key or token for %s (it is not shown): ", endpoint))
	default:
		return "", &control.Error{Code: control.CodeUsage, Message: "stdin is no terminal", Hint: "nanoclaw login claude --stdin reads the credential from it"}
	}
	if err != nil {
		return "", fmt.Errorf("reading the credential: %w", err)
	}
	secret := strings.TrimSpace(string(data))
	switch {
	case secret == "":
		return "", errors.New("there was no credential; nothing was stored")
	case len(data) > maxSecret:
		return "", fmt.Errorf("that is longer than %d bytes, so it is no credential; nothing was stored", maxSecret)
	}
	return secret, nil
}

// readHidden asks for a line and shows nothing of it. The echo is off before the
// question appears, since a quick paste would be shown otherwise. Whatever ends
// it, the terminal is put back.
func (a *app) readHidden(question string) ([]byte, error) {
	fd := int(a.in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go func() {
		text, err := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{a.in, a.err}, "").ReadPassword(question)
		read <- line{text, err}
	}()
	l := line{err: errors.New("it was ended by a signal; nothing was stored")}
	select {
	case l = <-read:
		if errors.Is(l.err, io.EOF) { // Ctrl-C or Ctrl-D
			l.err = errors.New("it was broken off; nothing was stored")
		}
	case <-signals:
	}
	return []byte(l.text), errors.Join(l.err, term.Restore(fd, before))
}
