package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/egress"
)

// credentialOf makes a credential of what was typed or piped in: a key or a token as
// it is, or what a token endpoint answered.
func credentialOf(asked, secret string, client config.OAuth) (credential.Credential, error) {
	if strings.HasPrefix(secret, "{") {
		return tokenAnswer(asked, secret, client)
	}
	kind, err := kindOf(asked, secret)
	return credential.Credential{Kind: kind, Value: secret}, err
}

// tokenAnswer reads the answer of a token endpoint (RFC 6749, section 5.1). Its
// errors quote nothing of it.
func tokenAnswer(asked, text string, client config.OAuth) (c credential.Credential, err error) {
	var t struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Seconds int64  `json:"expires_in"`
	}
	if json.Unmarshal([]byte(text), &t) != nil || t.Access == "" {
		return c, errors.New("that is JSON without an access_token, so it is no answer of a token endpoint; nothing was stored")
	}
	if asked == "" {
		asked = string(credential.AuthToken)
	}
	c.Value = t.Access
	if c.Kind, err = kindOf(asked, t.Access); err != nil {
		return c, err
	}
	if t.Seconds > 0 && t.Seconds < 1<<31 {
		c.Until = time.Now().Add(time.Duration(t.Seconds) * time.Second).UTC().Truncate(time.Second)
	}
	switch {
	case t.Refresh != "" && client.TokenURL == "":
		return c, &control.Error{Code: control.CodeUsage, Message: "there is a refresh token, and the configuration does not say where it is exchanged; nothing was stored",
			Hint: `set "oauth" of the provider to its tokenURL and clientID, or leave refresh_token away`}
	case t.Refresh != "":
		c.Refresh, c.TokenURL = t.Refresh, client.TokenURL
	}
	return c, nil
}

// kindOf is the kind that was asked for, or the one that the beginning tells.
func kindOf(asked, secret string) (credential.Kind, error) {
	switch k := credential.Kind(asked); {
	case k.Known():
		return k, nil
	case asked != "":
		return "", &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("--kind %q is none of api-key, oauth-token, auth-token", asked), Hint: "nanoclaw login claude --help"}
	case strings.HasPrefix(secret, subscriptionPrefix):
		return credential.OAuthToken, nil
	}
	return credential.APIKey, nil
}

// tryCredential makes sure that the credential can be sent, and asks the
// endpoint about it. It gives what there is to say of a trial that told nothing.
func tryCredential(ctx context.Context, c credential.Credential, s egress.Source, noTry bool) (note string, err error) {
	// What is set elsewhere must not be tried in its place.
	getenv := s.Getenv
	s.Getenv = func(name string) string {
		switch name {
		case "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN":
			return ""
		}
		return getenv(name)
	}
	s.Model.APIKey, s.Model.AuthToken, s.Model.OAuthToken = "", "", ""
	s.Stored = &c
	u, err := egress.NewUpstream(s)
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
func (a *app) loggedIn(ctx context.Context, paths config.Paths, s egress.Source, file, note string) error {
	used, err := egress.NewUpstream(s)
	if err != nil {
		return err
	}
	defer used.Close()
	now, told, err := a.tellDaemon(ctx, paths)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Kind     credential.Kind `json:"kind"`
			Provider string          `json:"provider,omitempty"`
			Endpoint string          `json:"endpoint"`
			File     string          `json:"file"`
			Tried    bool            `json:"tried"`
			Note     string          `json:"note,omitempty"`
			Used     string          `json:"used"`
			Daemon   string          `json:"daemon,omitempty"` // what a running daemon uses
		}{s.Stored.Kind, s.Provider, s.Stored.Endpoint, file, note == "", note, used.String(), now[s.Provider]})
	}
	outcome := "the endpoint accepts it"
	if note != "" {
		outcome = note
	}
	fmt.Fprintf(a.out, "stored the %s for %s in %s; %s\n", s.Stored.Kind, s.Stored.Endpoint, file, outcome)
	switch {
	case !used.Stored():
		a.say("it is not used as long as this one is set: %s", used)
	case told && now[s.Provider] == used.String():
		a.say("the running daemon uses it")
	case told:
		a.say("the running daemon does not use it: %s", now[s.Provider])
	}
	return nil
}

// tellDaemon has a running daemon take up what changed. It says whether there is one,
// and what it uses now.
func (a *app) tellDaemon(ctx context.Context, paths config.Paths) (now map[string]string, told bool, err error) {
	if a.apart {
		return nil, false, nil
	}
	c, err := control.Dial(ctx, socket(paths))
	if errors.Is(err, control.ErrNotRunning) {
		return nil, false, nil
	}
	if err == nil {
		defer c.Close()
		now, err = c.Credentials(ctx)
	}
	if err != nil {
		a.say("the credential is changed, but the running daemon did not take it up; restart it")
	}
	return now, err == nil, err
}

func (a *app) logout(ctx context.Context, provider string) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	if provider != "" && !config.ProviderName(provider) {
		return &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("%q is not the name of a provider", provider)}
	}
	var was, told bool
	if _, err := os.Stat(paths.ConfigDir); err == nil {
		if was, err = credential.New(paths, a.getenv).Remove(provider); err != nil {
			return err
		}
		if _, told, err = a.tellDaemon(ctx, paths); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(struct {
			Removed bool `json:"removed"`
			Daemon  bool `json:"daemon"`
		}{was, told})
	}
	text := "there was no stored credential"
	if was {
		text = "removed the stored credential"
		if told {
			text += "; the running daemon forgot it"
		}
	}
	_, err = fmt.Fprintln(a.out, text)
	return err
}

// storedInfo is one stored credential, without its value.
type storedInfo struct {
	Provider string          `json:"provider"` // "" is the configuration's own model
	Kind     credential.Kind `json:"kind,omitempty"`
	Endpoint string          `json:"endpoint,omitempty"`
	File     string          `json:"file"`
	Until    time.Time       `json:"until,omitzero"`
	Renewed  bool            `json:"renewed"` // by itself, when it ends
	Problem  string          `json:"problem,omitempty"`
}

// loginStatus says what is stored.
func (a *app) loginStatus() error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	store := credential.New(paths, a.getenv)
	names, err := store.Names()
	if err != nil {
		return err
	}
	list := make([]storedInfo, len(names))
	for i, name := range names {
		list[i] = storedInfo{Provider: name, File: store.File(name)}
		switch c, err := store.Load(name); {
		case err != nil:
			list[i].Problem = err.Error()
		case c != nil:
			list[i].Kind, list[i].Endpoint, list[i].Until, list[i].Renewed = c.Kind, c.Endpoint, c.Until, c.Refresh != ""
		}
	}
	if a.json {
		return a.printJSON(struct {
			Stored []storedInfo `json:"stored"`
			Key    string       `json:"key"`
		}{list, store.KeyPlace()})
	}
	if len(list) == 0 {
		_, err = fmt.Fprintln(a.out, "no credential is stored")
		return err
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROVIDER\tKIND\tFOR\tENDS")
	for _, c := range list {
		if c.Problem != "" {
			fmt.Fprintf(t, "%s\t-\t%s\n", cmp.Or(c.Provider, "(model)"), strings.ReplaceAll(c.Problem, "\n", "; "))
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", cmp.Or(c.Provider, "(model)"), c.Kind, c.Endpoint, c.ends())
	}
	fmt.Fprintf(t, "the key is %s\n", store.KeyPlace())
	return t.Flush()
}

// ends says when a credential ends.
func (c storedInfo) ends() string {
	switch {
	case c.Renewed:
		return "renewed by itself"
	case c.Until.IsZero():
		return "not known"
	case time.Now().After(c.Until):
		return "ended " + c.Until.Local().Format(time.DateTime)
	}
	return c.Until.Local().Format(time.DateTime)
}
