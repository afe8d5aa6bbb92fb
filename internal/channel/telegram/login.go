package telegram

import (
	"context"
	"errors"
	"fmt"

	"nanoclaw/internal/channel"
)

// BotToken is the name of the one secret.
const BotToken = "bot"

// Login leads through the setting up of a bot. o has the API and what else is to be
// used for the attempt.
func Login(assistant string, o Options) channel.Login {
	return channel.Login{
		Steps: []channel.Step{
			{Text: "In Telegram, open a chat with @BotFather (the one with the blue tick) and send it:", Copy: "/newbot"},
			{Text: "Give it a name to show, such as " + channel.OneLine(assistant, 30) + ", and a user name that ends in bot. It answers with the token, NUMBER:LETTERS. Use a bot of its own: two programs cannot share one."},
			{Text: "In groups a bot gets only what is meant for it: mentions, replies and commands. If agents shall read along, send @BotFather this, choose the bot, then Disable, before the bot joins a group:", Copy: "/setprivacy"},
			{Text: "Open a chat with the bot and press Start, or add it to a group. Anybody on Telegram can write to it; nobody but whom you decide about is listened to."},
		},
		Secrets: []channel.Secret{{Name: BotToken, Ask: "Token of the bot (NUMBER:LETTERS, it is not shown): "}},
		Try:     func(ctx context.Context, values []string) (string, error) { return try(ctx, values, o) },
	}
}

// try asks Telegram who we are, and for nothing else: to ask for updates would end the
// request of a host that runs.
func try(ctx context.Context, values []string, o Options) (string, error) {
	if len(values) != 1 {
		return "", errors.New("one token is needed")
	}
	o.Bot = values[0]
	me, err := New(o).identify(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the bot @%s, number %d", channel.OneLine(me.name, 40), me.id), nil
}
