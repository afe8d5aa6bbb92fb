package slack

import (
	"context"

	api "github.com/slack-go/slack"

	"nanoclaw/internal/channel/live"
	"nanoclaw/internal/chat"
)

// Progress notes what an agent does. It never blocks.
func (c *Channel) Progress(ctx context.Context, p chat.Progress) {
	if _, err := placeOf(p.To); err != nil {
		return
	}
	c.live.Progress(ctx, live.Show{
		Markup: chat.SlackMarkup, Open: "_", Close: "_", Refresh: c.opt.Refresh, Edit: c.edit, Remove: c.remove,
	}, p)
}

// remove deletes the message that shows progress.
func (c *Channel) remove(ctx context.Context, at chat.Address, ts string) {
	to, err := placeOf(at)
	if err != nil {
		return
	}
	c.call(ctx, "chat.delete", func(ctx context.Context) error {
		_, _, err := c.client.DeleteMessageContext(ctx, to.channel, ts)
		return err
	})
}

// edit posts the message or changes it, and gives its time stamp.
func (c *Channel) edit(ctx context.Context, at chat.Address, ts, text string) string {
	to, err := placeOf(at)
	if err != nil {
		return ts
	}
	o := []api.MsgOption{api.MsgOptionText(text, false), api.MsgOptionDisableLinkUnfurl(), api.MsgOptionDisableMediaUnfurl()}
	if to.thread != "" {
		o = append(o, api.MsgOptionTS(to.thread))
	}
	method := "chat.update"
	if ts == "" {
		method = "chat.postMessage"
	}
	err = c.call(ctx, method, func(ctx context.Context) (err error) {
		if ts == "" {
			_, ts, err = c.client.PostMessageContext(ctx, to.channel, o...)
			return err
		}
		_, _, _, err = c.client.UpdateMessageContext(ctx, to.channel, ts, o...)
		return err
	})
	if err != nil {
		c.opt.Log.Debug("progress could not be shown", "err", err)
	}
	return ts
}
