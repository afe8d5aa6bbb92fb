package telegram

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/go-telegram/bot"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// update is one thing that happened. Source: core.telegram.org/bots/api#update.
type update struct {
	Message *message `json:"message"`
	Post    *message `json:"channel_post"`
	Press   *press   `json:"callback_query"`
}

// message is what we need of a message. Source: core.telegram.org/bots/api#message.
type message struct {
	ID        int64    `json:"message_id"`
	Thread    int      `json:"message_thread_id"`
	Topic     bool     `json:"is_topic_message"`
	From      *account `json:"from"`
	As        *talk    `json:"sender_chat"`
	Date      int64    `json:"date"`
	Chat      talk     `json:"chat"`
	Forwarded *origin  `json:"forward_origin"`
	ReplyTo   *message `json:"reply_to_message"`
	Chosen    *struct {
		Text string `json:"text"`
	} `json:"quote"`
	Elsewhere *struct {
		Origin origin `json:"origin"`
	} `json:"external_reply"`
	Via   *account `json:"via_bot"`
	Group string   `json:"media_group_id"` // see album.go

	Text        string `json:"text"`
	Marks       []mark `json:"entities"`
	Caption     string `json:"caption"`
	CaptionMark []mark `json:"caption_entities"`

	Document  *upload  `json:"document"`
	Audio     *upload  `json:"audio"`
	Voice     *upload  `json:"voice"`
	Video     *upload  `json:"video"`
	VideoNote *upload  `json:"video_note"`
	Photo     []upload `json:"photo"`
	Sticker   *struct {
		Emoji string `json:"emoji"`
	} `json:"sticker"`

	MovedTo   int64 `json:"migrate_to_chat_id"`
	MovedFrom int64 `json:"migrate_from_chat_id"`
}

// account is a person or a bot.
type account struct {
	ID    int64  `json:"id"`
	Bot   bool   `json:"is_bot"`
	First string `json:"first_name"`
	Last  string `json:"last_name"`
	User  string `json:"username"`
}

func (a account) name() string {
	return cmp.Or(strings.TrimSpace(a.First+" "+a.Last), a.User, strconv.FormatInt(a.ID, 10))
}

// talk is a chat.
type talk struct {
	ID    int64  `json:"id"`
	Kind  string `json:"type"`
	Title string `json:"title"`
}

// origin is who wrote a forwarded message first, as far as they let it be told.
type origin struct {
	User   *account `json:"sender_user"`
	Hidden string   `json:"sender_user_name"`
	Chat   *talk    `json:"sender_chat"`
	Post   *talk    `json:"chat"`
}

func (o origin) name() string {
	switch {
	case o.User != nil:
		return o.User.name()
	case o.Chat != nil:
		return o.Chat.Title
	case o.Post != nil:
		return o.Post.Title
	}
	return o.Hidden
}

// mark is a part of a text that is something. Offset and length count UTF-16 units.
type mark struct {
	Kind   string   `json:"type"`
	Offset int      `json:"offset"`
	Length int      `json:"length"`
	URL    string   `json:"url"`
	User   *account `json:"user"`
}

// upload is a file of a message.
type upload struct {
	ID   string `json:"file_id"`
	Name string `json:"file_name"`
	Type string `json:"mime_type"`
	Size int64  `json:"file_size"`
}

// press is a pressed button.
type press struct {
	ID      string   `json:"id"`
	From    account  `json:"from"`
	Message *message `json:"message"`
	Data    string   `json:"data"`
}

// read makes a message of an update. It is false for what is none.
func (c *Channel) read(u update) (chat.Inbound, bool) {
	switch {
	case u.Press != nil:
		return c.pressed(*u.Press)
	case u.Message != nil:
		return c.inbound(*u.Message)
	case u.Post != nil:
		return c.inbound(*u.Post)
	}
	return chat.Inbound{}, false
}

// inbound makes our form of a message. Whether anybody listens to its sender is the
// router's matter.
func (c *Channel) inbound(m message) (chat.Inbound, bool) {
	if m.ID == 0 || m.Chat.ID == 0 {
		return chat.Inbound{}, false
	}
	me := c.who()
	body, marks := m.Text, m.Marks
	if body == "" {
		body, marks = m.Caption, m.CaptionMark
	}
	text, called := c.plain(me, body, marks)
	if text == "" && m.Sticker != nil {
		text = m.Sticker.Emoji
	}
	in := chat.Inbound{
		From: address(c.known(m.Chat.ID, m.topic())), ID: chat.MessageID(strconv.FormatInt(m.ID, 10)), Sender: sender(me, m),
		Text: text, Files: m.files(), Sent: time.Unix(m.Date, 0),
		// What one person writes to us alone calls the agent; elsewhere a mention, a
		// command of ours or a reply to us does.
		Mentioned: m.Chat.Kind == "private" || called || m.answersUs(me),
	}
	// Words of somebody else are a quote, whoever brought them: they call nobody but
	// the one to whom they were brought.
	switch {
	case m.Forwarded != nil:
		in.Text, in.Mentioned = "", m.Chat.Kind == "private"
		in.Quotes = append(in.Quotes, chat.Quote{Author: m.Forwarded.name(), Text: text, Forwarded: true})
	case m.Via != nil:
		in.Text, in.Mentioned = "", m.Chat.Kind == "private"
		in.Quotes = append(in.Quotes, chat.Quote{Author: "the bot " + m.Via.name(), Text: text})
	}
	if q, ok := m.quoted(); ok {
		in.Quotes = append(in.Quotes, q)
	}
	// Without both, somebody joined, a topic was opened, and the like.
	return in, text != "" || len(in.Files) > 0
}

// topic is that of a forum, 0 outside one. Replies in other groups have a thread too,
// which is none to people.
func (m message) topic() int {
	if m.Topic {
		return m.Thread
	}
	return 0
}

// sender is who wrote a message, as Telegram proves it.
func sender(me identity, m message) chat.Sender {
	switch {
	case m.As != nil: // an anonymous administrator, a channel, a group
		return chat.Sender{ID: chat.SenderID("chat:" + strconv.FormatInt(m.As.ID, 10)), Name: m.As.Title}
	case m.From == nil:
		return chat.Sender{ID: chat.SenderID("chat:" + strconv.FormatInt(m.Chat.ID, 10)), Name: m.Chat.Title}
	case m.From.ID == me.id && me.id != 0:
		return chat.Sender{ID: user(me.id), Self: true}
	case m.From.Bot:
		return chat.Sender{ID: "bot:" + user(m.From.ID), Name: m.From.name()}
	}
	return chat.Sender{ID: user(m.From.ID), Name: m.From.name()}
}

// answersUs says that a message is a reply to one of ours. The first message of a topic
// is what every message in it hangs on, and no reply.
func (m message) answersUs(me identity) bool {
	r := m.ReplyTo
	return r != nil && r.From != nil && r.From.ID == me.id && r.As == nil && !(m.Topic && r.ID == int64(m.Thread))
}

// quoted is what a message is a reply to.
func (m message) quoted() (chat.Quote, bool) {
	var q chat.Quote
	if r := m.ReplyTo; r != nil && !(m.Topic && r.ID == int64(m.Thread)) {
		q.Text = cmp.Or(r.Text, r.Caption)
		switch {
		case r.As != nil:
			q.Author = r.As.Title
		case r.From != nil:
			q.Author = r.From.name()
		}
	}
	if m.Elsewhere != nil {
		q.Author = m.Elsewhere.Origin.name()
	}
	if m.Chosen != nil && m.Chosen.Text != "" {
		q.Text = m.Chosen.Text
	}
	return q, q.Text != ""
}

// files are those of a message. Of a photo they are its largest size.
func (m message) files() []chat.File {
	var out []chat.File
	add := func(u *upload, name, kind string) {
		if u != nil && u.ID != "" {
			out = append(out, chat.File{Name: cmp.Or(u.Name, name), Type: cmp.Or(u.Type, kind), Size: u.Size, Ref: u.ID})
		}
	}
	add(m.Document, "document", "application/octet-stream")
	add(m.Audio, "audio", "audio/mpeg")
	add(m.Voice, "voice.ogg", "audio/ogg")
	add(m.Video, "video.mp4", "video/mp4")
	add(m.VideoNote, "video.mp4", "video/mp4")
	if n := len(m.Photo); n > 0 {
		add(&m.Photo[n-1], "photo.jpg", "image/jpeg")
	}
	return out
}

// plain gives what a person reads of a text, and whether it calls us: a mention of our
// name becomes the assistant's, a command that is sent to us the command, and words
// that lead somewhere else say where.
func (c *Channel) plain(me identity, text string, marks []mark) (string, bool) {
	units := utf16.Encode([]rune(text))
	var out strings.Builder
	called, at := false, 0
	for _, m := range marks {
		end := m.Offset + m.Length
		if m.Offset < at || m.Length <= 0 || end > len(units) || end < m.Offset {
			continue // within another one, or not in the text
		}
		words := string(utf16.Decode(units[m.Offset:end]))
		instead, ours := c.mark(me, m, words)
		called = called || ours
		out.WriteString(string(utf16.Decode(units[at:m.Offset])))
		out.WriteString(instead)
		at = end
	}
	out.WriteString(string(utf16.Decode(units[at:])))
	return out.String(), called
}

// mark is what stands for a marked part of a text, and whether it calls us.
func (c *Channel) mark(me identity, m mark, words string) (string, bool) {
	switch m.Kind {
	case "mention":
		if me.name != "" && strings.EqualFold(words, "@"+me.name) {
			return "@" + c.opt.Assistant(), true
		}
	case "text_mention":
		if m.User != nil && m.User.ID == me.id && me.id != 0 {
			return "@" + c.opt.Assistant(), true
		}
	case "bot_command":
		command, to, named := strings.Cut(words, "@")
		if named && me.name != "" && strings.EqualFold(to, me.name) {
			return command, true
		}
	case "text_link":
		if m.URL != "" && m.URL != words {
			return words + " (" + m.URL + ")", false
		}
	}
	return words, false
}

// What the buttons of a question send, before its code. Whoever changes their own
// program can send anything as such: it counts as words of theirs, and no more.
const (
	pressApprove = "approve:"
	pressDeny    = "deny:"
)

// pressed makes of a pressed button the words that it stands for, said by whoever
// pressed it. So a button can do nothing that words cannot, and the same rules hold.
func (c *Channel) pressed(p press) (chat.Inbound, bool) {
	if p.Message == nil || p.Message.Chat.ID == 0 || p.From.ID == 0 || p.From.Bot || p.ID == "" {
		return chat.Inbound{}, false
	}
	verb, code, _ := strings.Cut(p.Data, ":")
	if code == "" || verb+":" != pressApprove && verb+":" != pressDeny {
		return chat.Inbound{}, false
	}
	return chat.Inbound{
		From: address(c.known(p.Message.Chat.ID, p.Message.topic())), ID: chat.MessageID("press:" + p.ID),
		Sender: chat.Sender{ID: user(p.From.ID), Name: p.From.name()}, Text: verb + " " + channel.OneLine(code, 40), Sent: time.Now(),
	}, true
}

// answerPressTime bounds the answer to a press, without which a button goes on turning.
const answerPressTime = 10 * time.Second

// answered ends the turning of a button, beside the way of messages. It changes nothing
// else, so one too many is left out.
func (c *Channel) answered(ctx context.Context, id string) {
	select {
	case c.answering <- struct{}{}:
	default:
		return
	}
	c.work.Go(func() {
		defer func() { <-c.answering }()
		ctx, cancel := context.WithTimeout(ctx, answerPressTime)
		defer cancel()
		err := c.call(ctx, "answerCallbackQuery", func(ctx context.Context) error {
			_, err := c.client.AnswerCallbackQuery(ctx, &bot.AnswerCallbackQueryParams{CallbackQueryID: id})
			return err
		})
		if err != nil {
			c.opt.Log.Debug("a press could not be answered", "err", err)
		}
	})
}
