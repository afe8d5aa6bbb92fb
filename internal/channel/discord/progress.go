package discord

import (
	"context"

	"github.com/disgoorg/disgo/discord"
	"github.com/disgoorg/disgo/rest"

	"nanoclaw/internal/channel/live"
	"nanoclaw/internal/chat"
)

// Progress notes what an agent does. It never blocks.
func (c *Channel) Progress(ctx context.Context, p chat.Progress) {
	if _, err := placeOf(p.To); err != nil {
		return
	}
	c.live.Progress(ctx, live.Show{
		Markup: chat.DiscordMarkup, Open: "*", Close: "*", Refresh: c.opt.Refresh, Edit: c.edit, Remove: c.remove,
	}, p)
}

// edit posts the message or changes it, and gives its number.
func (c *Channel) edit(ctx context.Context, at chat.Address, id, text string) string {
	to, err := placeOf(at)
	if err != nil {
		return id
	}
	if id == "" {
		p := plainMessage(text)
		p.Flags = p.Flags.Add(discord.MessageFlagSuppressNotifications)
		id, err = c.post(ctx, to, p)
	} else {
		err = c.do(ctx, rest.UpdateMessage.Compile(nil, to.target(), id), discord.MessageUpdate{Content: &text, AllowedMentions: nobody()}, nil)
	}
	if err != nil {
		c.opt.Log.Debug("progress could not be shown", "err", err)
	}
	return id
}

// remove takes away the message that shows progress.
func (c *Channel) remove(ctx context.Context, at chat.Address, id string) {
	to, err := placeOf(at)
	if err == nil {
		err = c.do(ctx, rest.DeleteMessage.Compile(nil, to.target(), id), nil, nil)
	}
	if err != nil {
		c.opt.Log.Debug("what showed progress could not be taken away", "err", err)
	}
}
