package telegram

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"

	"nanoclaw/internal/channel/live"
	"nanoclaw/internal/chat"
)

// draft is the id of what is shown as a draft, which goes by itself.
const draft = "draft"

// Progress notes what an agent does. It never blocks. To one person it is shown as a
// draft of the answer, which Telegram forgets after half a minute, so it is written
// again and again; in a group it is a message that is edited.
func (c *Channel) Progress(ctx context.Context, p chat.Progress) {
	to, err := placeOf(p.To)
	if err != nil {
		return
	}
	c.live.Progress(ctx, live.Show{
		Markup: chat.TelegramMarkup, Open: "<i>", Close: "</i>", Refresh: c.opt.Refresh, Always: to.private(), Edit: c.edit, Remove: c.remove,
	}, p)
}

// edit shows a text as a draft, as a new message or in place of the one with an id.
func (c *Channel) edit(ctx context.Context, at chat.Address, id, text string) string {
	to, err := placeOf(at)
	if err != nil {
		return id
	}
	to.chat = c.moves.now(to.chat)
	if to.private() && (id == "" || id == draft) {
		if err = c.draft(ctx, to, text); err == nil {
			return draft
		}
		if !errors.Is(err, bot.ErrorBadRequest) {
			c.opt.Log.Debug("progress could not be shown", "err", err)
			return id
		}
		id = "" // this chat shows no drafts
	}
	if id, err = c.editMessage(ctx, to, id, text); err != nil && !strings.Contains(err.Error(), "message is not modified") {
		c.opt.Log.Debug("progress could not be shown", "err", err)
	}
	return id
}

// draft shows a text as what is being written.
func (c *Channel) draft(ctx context.Context, to place, text string) error {
	return c.call(ctx, "sendMessageDraft", func(ctx context.Context) error {
		_, err := c.client.SendMessageDraft(ctx, &bot.SendMessageDraftParams{
			ChatID: to.chat, MessageThreadID: to.topic, DraftID: "1", Text: text, ParseMode: models.ParseModeHTML,
		})
		return err
	})
}

func (c *Channel) editMessage(ctx context.Context, to place, id, text string) (string, error) {
	preview := &models.LinkPreviewOptions{IsDisabled: bot.True()}
	if id == "" {
		err := c.call(ctx, "sendMessage", func(ctx context.Context) error {
			sent, err := c.client.SendMessage(ctx, &bot.SendMessageParams{
				ChatID: to.chat, MessageThreadID: to.topic, Text: text, ParseMode: models.ParseModeHTML, LinkPreviewOptions: preview, DisableNotification: true,
			})
			if err == nil {
				id = strconv.Itoa(sent.ID)
			}
			return err
		})
		return id, err
	}
	number, err := strconv.Atoi(id)
	if err != nil {
		return id, err
	}
	return id, c.call(ctx, "editMessageText", func(ctx context.Context) error {
		_, err := c.client.EditMessageText(ctx, &bot.EditMessageTextParams{
			ChatID: to.chat, MessageID: number, Text: text, ParseMode: models.ParseModeHTML, LinkPreviewOptions: preview,
		})
		return err
	})
}

// remove takes away the message that shows progress.
func (c *Channel) remove(ctx context.Context, at chat.Address, id string) {
	to, err := placeOf(at)
	number, notOne := strconv.Atoi(id)
	if err != nil || notOne != nil { // a draft goes by itself
		return
	}
	err = c.call(ctx, "deleteMessage", func(ctx context.Context) error {
		_, err := c.client.DeleteMessage(ctx, &bot.DeleteMessageParams{ChatID: c.moves.now(to.chat), MessageID: number})
		return err
	})
	if err != nil {
		c.opt.Log.Debug("what showed progress could not be taken away", "err", err)
	}
}
