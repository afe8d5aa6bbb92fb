package discord

import (
	"context"
	"errors"
	"fmt"

	"nanoclaw/internal/channel"
)

// BotToken is the name of the one secret.
const BotToken = "bot"

// permissions are what the bot may do in a server: see channels, write in them and in
// threads, attach files, read what was said, give reactions.
const permissions = 1<<6 | 1<<10 | 1<<11 | 1<<15 | 1<<16 | 1<<38

// Login leads through the setting up of a bot. o has the API and what else is to be
// used for the attempt.
func Login(assistant string, o Options) channel.Login {
	return channel.Login{
		Steps: []channel.Step{
			{Text: "Open https://discord.com/developers/applications, choose \"New Application\", and name it, such as " + channel.OneLine(assistant, 30) + "."},
			{Text: "Under \"Bot\", turn on \"Message Content Intent\": without it Discord does not connect the bot. Turn off \"Public Bot\", so that only you can add it to servers (under \"Installation\", the install link has to be \"None\" for that)."},
			{Text: "There, choose \"Reset Token\" and copy the token. Keep it to yourself."},
			{Text: "Under \"General Information\", copy the application's id, put it into this address in place of ID, open it, and choose your server:",
				Copy: fmt.Sprintf("https://discord.com/oauth2/authorize?client_id=ID&scope=bot&permissions=%d", permissions)},
			{Text: "To see the numbers of channels and people, turn on \"Developer Mode\" in Discord's settings, under \"Advanced\"; then their menus have \"Copy ID\"."},
		},
		Secrets: []channel.Secret{{Name: BotToken, Ask: "Token of the bot (it is not shown): "}},
		Try:     func(ctx context.Context, values []string) (string, error) { return try(ctx, values, o) },
	}
}

// try asks Discord who we are, and opens no connection.
func try(ctx context.Context, values []string, o Options) (string, error) {
	if len(values) != 1 {
		return "", errors.New("one token is needed")
	}
	o.Bot = values[0]
	c := New(o)
	if err := c.identify(ctx); err != nil {
		return "", err
	}
	id, name := c.who()
	return fmt.Sprintf("the bot %s, number %s", channel.OneLine(name, 40), channel.OneLine(id, 30)), nil
}
