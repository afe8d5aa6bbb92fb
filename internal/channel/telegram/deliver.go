package telegram

import (
	"context"
	"errors"
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/markup"
)

// Deliver sends a message, in several parts if it is long. Of several the id is the
// first one's.
func (c *Channel) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	to, err := placeOf(m.To)
	if err != nil {
		return "", err
	}
	if err := c.moves.load(ctx); err != nil {
		return "", err
	}
	c.live.End(m.To)
	to.chat = c.moves.now(to.chat)
	id, err := c.deliver(ctx, to, m)
	var moved *bot.MigrateError
	if errors.As(err, &moved) {
		if err := c.moved(ctx, to.chat, int64(moved.MigrateToChatID)); err != nil {
			return "", err
		}
		to.chat = int64(moved.MigrateToChatID)
		return c.deliver(ctx, to, m)
	}
	return id, err
}

func (c *Channel) deliver(ctx context.Context, to place, m chat.Outbound) (chat.MessageID, error) {
	done := c.sent.Of(m.Key)
	parts, whole := c.parts(m)
	for i, part := range parts {
		var keyboard models.ReplyMarkup
		if m.Code != "" && i == len(parts)-1 {
			keyboard = buttons(m.Code)
		}
		if err := done.Once(i, func() (string, error) { return c.post(ctx, to, part, keyboard) }); err != nil {
			return "", err
		}
	}
	if whole != nil {
		if err := done.Once(len(parts), func() (string, error) { return c.sendFile(ctx, to, *whole) }); err != nil {
			return "", err
		}
	}
	return chat.MessageID(done.First()), nil
}

// Reacts implements channel.Reactor.
func (c *Channel) Reacts() bool { return true }

// React implements channel.Reactor. A bot has one reaction to a message; another takes
// its place.
func (c *Channel) React(ctx context.Context, in chat.Address, to chat.MessageID, emoji string) error {
	at, err := placeOf(in)
	if err != nil {
		return err
	}
	id, err := strconv.Atoi(string(to))
	if err != nil {
		return channel.Permanent(fmt.Errorf("%q is no message of Telegram's", to))
	}
	if err := c.moves.load(ctx); err != nil {
		return err
	}
	return inWords(c.call(ctx, "setMessageReaction", func(ctx context.Context) error {
		_, err := c.client.SetMessageReaction(ctx, &bot.SetMessageReactionParams{ChatID: c.moves.now(at.chat), MessageID: id, Reaction: []models.ReactionType{
			{Type: models.ReactionTypeTypeEmoji, ReactionTypeEmoji: &models.ReactionTypeEmoji{Type: models.ReactionTypeTypeEmoji, Emoji: emoji}},
		}})
		return err
	}))
}

// parts are the messages that a message becomes, and the file that goes after them, if
// one does: that of the message, or all of an answer that is very long.
func (c *Channel) parts(m chat.Outbound) (parts []string, file *outfile) {
	limit := markup.Limit(chat.TelegramMarkup)
	if m.FromHost() {
		parts = markup.Plain(chat.TelegramMarkup, m.Text, limit)
	} else {
		parts = markup.Render(chat.TelegramMarkup, m.Text, limit)
	}
	switch {
	case m.File != nil:
		f := &outfile{file: m.File}
		if len(parts) == 1 && len(parts[0]) <= maxCaption {
			f.caption, parts = parts[0], nil
		}
		return parts, f
	case len(parts) == 0:
		return []string{"(nothing to show)"}, nil
	case len(parts) > c.opt.MaxParts && m.Code == "":
		note := fmt.Sprintf("<i>The answer goes on for %d more messages: all of it is in the file.</i>", len(parts)-1)
		return append(parts[:1:1], note), &outfile{file: &chat.File{Name: "answer.md"}, text: channel.SafeText(m.Text)}
	}
	return parts, nil
}

// post sends one part. Words that Telegram does not take as we marked them go out
// without marks.
func (c *Channel) post(ctx context.Context, to place, text string, keyboard models.ReplyMarkup) (string, error) {
	p := &bot.SendMessageParams{
		ChatID: to.chat, MessageThreadID: to.topic, Text: text, ParseMode: models.ParseModeHTML, ReplyMarkup: keyboard,
		// A preview would have Telegram fetch whatever address an agent writes.
		LinkPreviewOptions: &models.LinkPreviewOptions{IsDisabled: bot.True()},
	}
	id, err := c.send(ctx, p)
	if unmarked(err) {
		c.opt.Log.Warn("telegram does not take the marks of a message", "err", err)
		p.Text, p.ParseMode = bareText(text), ""
		id, err = c.send(ctx, p)
	}
	return id, err
}

func (c *Channel) send(ctx context.Context, p *bot.SendMessageParams) (id string, err error) {
	err = c.call(ctx, "sendMessage", func(ctx context.Context) error {
		sent, err := c.client.SendMessage(ctx, p)
		if err == nil {
			id = strconv.Itoa(sent.ID)
		}
		return err
	})
	return id, inWords(err)
}

// unmarked says that an error is about the marks of a text.
func unmarked(err error) bool {
	return err != nil && errors.Is(err, bot.ErrorBadRequest) && strings.Contains(err.Error(), "can't parse entities")
}

var tag = regexp.MustCompile(`<[^>]*>`)

// bareText takes the marks out of a text that package markup wrote: there every < that
// is not part of a mark is escaped.
func bareText(s string) string { return html.UnescapeString(tag.ReplaceAllString(s, "")) }

// inWords says what a refusal means to somebody who reads it.
func inWords(err error) error {
	for _, w := range []struct{ said, means string }{
		{"bot was blocked by the user", "they have blocked the bot"},
		{"bot was kicked", "the bot was removed from the group: add it again"},
		{"bot is not a member", "the bot is not in the chat: add it"},
		{"bot can't initiate conversation", "a bot cannot write first: they have to write to it, or press Start, once"},
		{"not enough rights", "the bot may not write there: an administrator of the chat has to let it"},
		{"message thread not found", "the topic does not exist any more"},
		{"chat not found", "there is no such chat, or the bot was never in it"},
	} {
		if err != nil && channel.IsPermanent(err) && strings.Contains(err.Error(), w.said) {
			return channel.Permanent(fmt.Errorf("%s (%w)", w.means, err))
		}
	}
	return err
}

// keyboard and button are buttons under a message. The library's own button cannot be
// used: it always sends an empty copy_text with it, and only one such field may be there.
// Source: core.telegram.org/bots/api#inlinekeyboardbutton.
type keyboard struct {
	Rows [][]button `json:"inline_keyboard"`
}

type button struct {
	Text string `json:"text"`
	Data string `json:"callback_data"`
}

// buttons are the two answers to a question. Whoever may not answer can press them too,
// and is refused as they would be for the words.
func buttons(code string) models.ReplyMarkup {
	return keyboard{[][]button{{{"Approve", pressApprove + code}, {"Deny", pressDeny + code}}}}
}
