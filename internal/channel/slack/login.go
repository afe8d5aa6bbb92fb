package slack

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"nanoclaw/internal/channel"
)

// The names of the two secrets.
const (
	AppToken = "app"
	BotToken = "bot"
)

//go:embed manifest.yaml
var manifest string

// Manifest is the app's description for Slack, with the assistant's name.
func Manifest(assistant string) string {
	name := channel.OneLine(strings.Map(func(r rune) rune {
		if strings.ContainsRune("\"\\:#{}[]&*!|>'%@`", r) {
			return -1
		}
		return r
	}, assistant), 30)
	if name == "" {
		name = "Assistant"
	}
	return strings.ReplaceAll(manifest, "ASSISTANT", name)
}

// Login leads through the setting up of an app. o has the API and what else is to be
// used for the attempt.
func Login(assistant string, o Options) channel.Login {
	return channel.Login{
		Steps: []channel.Step{
			{Text: "Open https://api.slack.com/apps, choose \"Create New App\", then \"From a manifest\", choose your workspace, choose YAML, and paste this in place of what is there:", Copy: Manifest(assistant)},
			{Text: "Under \"Basic Information\", \"App-Level Tokens\", generate a token with the scope connections:write. It begins with xapp-."},
			{Text: "Under \"Install App\", install it to your workspace. The \"Bot User OAuth Token\" begins with xoxb-."},
			{Text: "In Slack, invite the assistant into a channel: /invite @" + strings.ToLower(assistant)},
		},
		Secrets: []channel.Secret{
			{Name: AppToken, Ask: "App-level token (xapp-…, it is not shown): ", Prefix: "xapp-"},
			{Name: BotToken, Ask: "Bot token (xoxb-…, it is not shown): ", Prefix: "xoxb-"},
		},
		Try: func(ctx context.Context, values []string) (string, error) { return try(ctx, values, o) },
	}
}

// try asks Slack who we are, and for a socket that is not opened.
func try(ctx context.Context, values []string, o Options) (string, error) {
	if len(values) != 2 {
		return "", errors.New("two tokens are needed")
	}
	o.App, o.Bot = values[0], values[1]
	c := New(o)
	me, err := c.identify(ctx)
	if err != nil {
		return "", err
	}
	err = c.call(ctx, "apps.connections.open", func(ctx context.Context) error {
		_, _, err := c.client.StartSocketModeContext(ctx)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("slack does not take the app's token: %w", err)
	}
	return fmt.Sprintf("workspace %s, as the user %s", channel.OneLine(me.team, 40), channel.OneLine(me.user, 40)), nil
}
