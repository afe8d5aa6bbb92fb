package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	api "github.com/slack-go/slack"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/markup"
)

// questionLimit is how long a question with buttons may be: the text of a section of
// Block Kit has at most 3000 characters.
const questionLimit = 2800

// metadataType names our metadata.
const metadataType = "nanoclaw_part"

// Deliver posts a message, in several parts if it is long. Of several the id is the
// first one's.
func (c *Channel) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	to, err := placeOf(m.To)
	if err != nil {
		return "", err
	}
	me, err := c.identify(ctx)
	if err != nil {
		return "", err
	}
	if to.team != me.team {
		return "", channel.Permanent(fmt.Errorf("%s is in another workspace than the one that we are logged in to (%s)", m.To, me.team))
	}
	c.live.End(m.To)
	sent := map[int]string{}
	if m.Again {
		if sent, err = c.arrived(ctx, to, m.Key); err != nil {
			return "", err
		}
	}
	if m.File != nil {
		return c.deliverFile(ctx, to, m)
	}
	parts, whole := c.parts(m)
	var first string
	for i, part := range parts {
		ts, ok := sent[i]
		if !ok {
			if ts, err = c.post(ctx, to, part, m, i, i == len(parts)-1); err != nil {
				return "", err
			}
		}
		if i == 0 {
			first = ts
		}
	}
	if _, ok := sent[len(parts)]; whole != "" && !ok {
		if err := c.upload(ctx, to, api.UploadFileParameters{Filename: "answer.md", Title: "The whole answer", Content: whole, FileSize: len(whole)}); err != nil {
			return "", err
		}
	}
	return chat.MessageID(first), nil
}

// reactionNames are Slack's names of chat.Reactions.
var reactionNames = map[string]string{
	"👍": "+1", "👎": "-1", "❤": "heart", "🔥": "fire", "👏": "clap", "😁": "grin",
	"🤔": "thinking_face", "🎉": "tada", "👀": "eyes", "🙏": "pray", "👌": "ok_hand", "💯": "100",
}

// Reacts implements channel.Reactor.
func (c *Channel) Reacts() bool { return true }

// React implements channel.Reactor.
func (c *Channel) React(ctx context.Context, in chat.Address, to chat.MessageID, emoji string) error {
	at, err := placeOf(in)
	if err != nil {
		return err
	}
	name, ok := reactionNames[emoji]
	if !ok {
		return channel.Permanent(fmt.Errorf("slack has no name here for %q", emoji))
	}
	err = c.call(ctx, "reactions.add", func(ctx context.Context) error {
		return c.client.AddReactionContext(ctx, name, api.NewRefToMessage(at.channel, string(to)))
	})
	var said api.SlackErrorResponse
	switch {
	case errors.As(err, &said) && said.Err == "already_reacted":
		return nil
	case errors.As(err, &said) && said.Err == "missing_scope":
		return channel.Permanent(errors.New("the app may not give reactions: add reactions:write to its scopes, or take the manifest of nanoclaw channel login slack again, and install it anew"))
	}
	return err
}

// parts are the messages that a message becomes. Of a very long one they are its
// beginning, and whole is all of it, for a file.
func (c *Channel) parts(m chat.Outbound) (parts []string, whole string) {
	switch {
	case m.Code != "":
		parts = markup.Plain(chat.SlackMarkup, m.Text, questionLimit)
	case m.FromHost():
		parts = markup.Plain(chat.SlackMarkup, m.Text, markup.Limit(chat.SlackMarkup))
	default:
		parts = markup.Render(chat.SlackMarkup, m.Text, markup.Limit(chat.SlackMarkup))
	}
	if len(parts) == 0 {
		return []string{"(nothing to show)"}, ""
	}
	if len(parts) > c.opt.MaxParts && m.Code == "" {
		return append(parts[:1:1], fmt.Sprintf("_The answer goes on for %d more messages: all of it is in the file._", len(parts)-1)), channel.SafeText(m.Text)
	}
	return parts, ""
}

// post sends one part.
func (c *Channel) post(ctx context.Context, to place, text string, m chat.Outbound, part int, last bool) (ts string, err error) {
	o := []api.MsgOption{
		api.MsgOptionText(text, false),
		// Previews would have Slack fetch whatever address an agent writes.
		api.MsgOptionDisableLinkUnfurl(), api.MsgOptionDisableMediaUnfurl(),
		api.MsgOptionMetadata(api.SlackMetadata{EventType: metadataType, EventPayload: map[string]any{"key": hash(m.Key), "part": strconv.Itoa(part)}}),
	}
	if to.thread != "" {
		o = append(o, api.MsgOptionTS(to.thread))
	}
	if m.Code != "" && last {
		o = append(o, api.MsgOptionBlocks(buttons(text, m.Code)...))
	}
	err = c.call(ctx, "chat.postMessage", func(ctx context.Context) (err error) {
		_, ts, err = c.client.PostMessageContext(ctx, to.channel, o...)
		return err
	})
	return ts, err
}

// buttons are a question and its two answers. Whoever may not answer can press them
// too, and is refused as they would be for the words.
func buttons(text, code string) []api.Block {
	words := api.NewTextBlockObject(api.MarkdownType, text, false, true)
	approve := api.NewButtonBlockElement(pressApprove, code, api.NewTextBlockObject(api.PlainTextType, "Approve", false, false))
	deny := api.NewButtonBlockElement(pressDeny, code, api.NewTextBlockObject(api.PlainTextType, "Deny", false, false))
	return []api.Block{
		api.NewSectionBlock(words, nil, nil),
		api.NewActionBlock("nanoclaw", approve.WithStyle(api.StylePrimary), deny.WithStyle(api.StyleDanger)),
	}
}

// hash is how a key stands in metadata, which other apps of the workspace can read.
func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

// lookBack is how many of the latest messages are looked at for parts that arrived.
const lookBack = 100

// arrived finds which parts of a message are there already, with their time stamps.
func (c *Channel) arrived(ctx context.Context, to place, key string) (map[int]string, error) {
	var messages []api.Message
	var err error
	if to.thread != "" {
		err = c.call(ctx, "conversations.replies", func(ctx context.Context) (err error) {
			messages, _, _, err = c.client.GetConversationRepliesContext(ctx, &api.GetConversationRepliesParameters{ChannelID: to.channel, Timestamp: to.thread, Limit: 10 * lookBack, IncludeAllMetadata: true})
			return err
		})
	} else {
		err = c.call(ctx, "conversations.history", func(ctx context.Context) error {
			r, err := c.client.GetConversationHistoryContext(ctx, &api.GetConversationHistoryParameters{ChannelID: to.channel, Limit: lookBack, IncludeAllMetadata: true})
			if err == nil {
				messages = r.Messages
			}
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("looking for what arrived of the message: %w", err)
	}
	me, want := c.who(), hash(key)
	found := map[int]string{}
	for _, m := range messages {
		if m.Metadata.EventType != metadataType || m.Metadata.EventPayload["key"] != want || m.User != me.user && m.BotID != me.bot {
			continue
		}
		if n, err := strconv.Atoi(fmt.Sprint(m.Metadata.EventPayload["part"])); err == nil {
			found[n] = m.Timestamp
		}
	}
	return found, nil
}

// maxUpload is the largest file that is sent.
const maxUpload = 100 << 20

// MaxFile is the largest file that is sent.
func (c *Channel) MaxFile() int64 { return maxUpload }

// deliverFile sends the host's own copy of a file.
func (c *Channel) deliverFile(ctx context.Context, to place, m chat.Outbound) (chat.MessageID, error) {
	f, err := os.Open(m.File.Path)
	if err != nil {
		return "", channel.Permanent(fmt.Errorf("the host's copy of the file is gone: %w", err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || info.Size() > maxUpload {
		return "", channel.Permanent(fmt.Errorf("a file of %d bytes cannot be sent by Slack", m.File.Size))
	}
	name := channel.OneLine(m.File.Name, 100)
	caption := strings.Join(markup.Render(chat.SlackMarkup, m.Text, markup.Limit(chat.SlackMarkup))[:min(1, len(m.Text))], "")
	err = c.upload(ctx, to, api.UploadFileParameters{Filename: name, Title: name, Reader: f, FileSize: int(info.Size()), InitialComment: caption})
	if err != nil {
		return "", err
	}
	return chat.MessageID("file:" + strconv.FormatInt(m.ID, 10)), nil
}

func (c *Channel) upload(ctx context.Context, to place, p api.UploadFileParameters) error {
	p.Channel, p.ThreadTimestamp = to.channel, to.thread
	return c.call(ctx, "files.getUploadURLExternal", func(ctx context.Context) error {
		if seeker, ok := p.Reader.(*os.File); ok {
			if _, err := seeker.Seek(0, 0); err != nil {
				return err
			}
		}
		_, err := c.client.UploadFileContext(ctx, p)
		return err
	})
}
