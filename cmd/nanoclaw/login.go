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
	"nanoclaw/internal/egress"
)

// maxSecret bounds what is read as a credential.
const maxSecret = 8 << 10

// subscriptionPrefix begins the tokens of "claude setup-token".
const subscriptionPrefix = "sk-ant-oat"

type loginOptions struct {
	stdin, noTry bool
	kind         string
}

func (a *app) loginCmd() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login claude",
		Short: "Store the credential for the model",
		Long: `Ask for an API key, or a token from "claude setup-token", try it with one request
that costs nothing, and store it in a file that only you can read, in the folder of
the configuration. No agent sees that folder; the host adds the credential to
requests on their way out, and only to the address that it was stored for.

What is set in the configuration or the environment goes before it.`,
		Example:   "  nanoclaw login claude\n  pass show anthropic | nanoclaw login claude --stdin",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{claudeName},
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.login(ctx, o)
		},
	}
	cmd.Flags().BoolVar(&o.stdin, "stdin", false, "read it from stdin and not from the terminal")
	cmd.Flags().BoolVar(&o.noTry, "no-try", false, "store it without trying it")
	cmd.Flags().StringVar(&o.kind, "kind", "", "api-key, oauth-token or auth-token (a bearer token of a compatible endpoint); told by its beginning if not given")
	return cmd
}

func (a *app) logoutCmd() *cobra.Command {
	return &cobra.Command{
		Use:       "logout claude",
		Short:     "Remove the stored credential",
		Long:      "Remove the credential that \"nanoclaw login claude\" stored. It stays valid until you revoke it\nwhere you got it. A running daemon keeps it until it is restarted.",
		Example:   "  nanoclaw logout claude",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{claudeName},
		RunE:      func(*cobra.Command, []string) error { return a.logout() },
	}
}

func (a *app) login(ctx context.Context, o loginOptions) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	c, err := a.configOrDefault(paths)
	if err != nil {
		return err
	}
	endpoint, err := egress.Endpoint(c.Model, a.getenv)
	if err != nil {
		return err
	}
	secret, err := a.readSecret(o, endpoint)
	if err != nil {
		return err
	}
	kind, err := kindOf(o.kind, secret)
	if err != nil {
		return err
	}
	stored := config.Credential{Kind: kind, Value: secret, Endpoint: endpoint}
	note, err := tryCredential(ctx, stored, o.noTry, a.getenv)
	if err != nil {
		return err
	}
	if err := paths.EnsureDirs(); err != nil {
		return err
	}
	file, err := config.SaveCredential(paths, stored)
	if err != nil {
		return err
	}
	return a.loggedIn(c.Model, stored, file, note)
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

// kindOf is the kind that was asked for, or the one that the beginning tells.
func kindOf(asked, secret string) (config.CredentialKind, error) {
	switch k := config.CredentialKind(asked); {
	case k == config.APIKey || k == config.OAuthToken || k == config.AuthToken:
		return k, nil
	case asked != "":
		return "", &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("--kind %q is none of api-key, oauth-token, auth-token", asked), Hint: "nanoclaw login claude --help"}
	case strings.HasPrefix(secret, subscriptionPrefix):
		return config.OAuthToken, nil
	}
	return config.APIKey, nil
}

// tryCredential makes sure that the credential can be sent, and asks the
// endpoint about it. It gives what there is to say of a trial that told nothing.
func tryCredential(ctx context.Context, c config.Credential, noTry bool, getenv func(string) string) (note string, err error) {
	// What is set elsewhere must not be tried in its place.
	only := func(name string) string {
		switch name {
		case "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN":
			return ""
		}
		return getenv(name)
	}
	u, err := egress.UpstreamFrom(config.Model{BaseURL: c.Endpoint}, only, &c)
	if err != nil {
		return "", err
	}
	defer u.Close()
	if noTry {
		return "it was not tried", nil
	}
	unsure, err := u.Try(ctx)
	switch {
	case errors.Is(err, egress.ErrCredentialRefused):
		return "", &control.Error{Code: control.CodeFailed, Message: fmt.Sprintf("%s does not accept this %s (401); nothing was stored", c.Endpoint, c.Kind),
			Hint: "check that it is whole and not revoked; --kind says what it is, --no-try stores it untried"}
	case err != nil:
		return "", &control.Error{Code: control.CodeFailed, Message: err.Error() + "; nothing was stored", Hint: "check the network and HTTPS_PROXY; --no-try stores it untried"}
	case unsure != "":
		return "whether it is good could not be told: " + unsure, nil
	}
	return "", nil
}

// loggedIn says what was stored, and what goes before it.
func (a *app) loggedIn(m config.Model, c config.Credential, file, note string) error {
	used, err := egress.UpstreamFrom(m, a.getenv, &c)
	if err != nil {
		return err
	}
	defer used.Close()
	if a.json {
		return a.printJSON(struct {
			Kind     config.CredentialKind `json:"kind"`
			Endpoint string                `json:"endpoint"`
			File     string                `json:"file"`
			Tried    bool                  `json:"tried"`
			Note     string                `json:"note,omitempty"`
			Used     string                `json:"used"`
		}{c.Kind, c.Endpoint, file, note == "", note, used.String()})
	}
	outcome := "the endpoint accepts it"
	if note != "" {
		outcome = note
	}
	fmt.Fprintf(a.out, "stored the %s for %s in %s; %s\n", c.Kind, c.Endpoint, file, outcome)
	if !used.Stored() {
		a.say("it is not used as long as this one is set: %s", used)
	}
	a.say("a running daemon uses it once it is restarted")
	return nil
}

func (a *app) logout() error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	was, err := config.RemoveCredential(paths)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Removed bool `json:"removed"`
		}{was})
	}
	text := "there was no stored credential"
	if was {
		text = "removed the stored credential; a running daemon keeps it until it is restarted"
	}
	_, err = fmt.Fprintln(a.out, text)
	return err
}
