package discord

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/disgoorg/disgo/discord"
	"github.com/disgoorg/disgo/rest"
	"github.com/disgoorg/snowflake/v2"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// user is a person or a bot.
type user struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Shown    string `json:"global_name"`
	Bot      bool   `json:"bot"`
}

func (u user) name() string { return cmp.Or(u.Shown, u.Username, u.ID) }

// upload is a file of a message.
type upload struct {
	ID   string `json:"id"`
	Name string `json:"filename"`
	Type string `json:"content_type"`
	Size int64  `json:"size"`
	URL  string `json:"url"`
}

// message is what we need of a message. Source: docs.discord.com, "Message Object".
type message struct {
	ID       string   `json:"id"`
	Channel  string   `json:"channel_id"`
	Guild    string   `json:"guild_id"`
	Kind     int      `json:"type"`
	Author   user     `json:"author"`
	Webhook  string   `json:"webhook_id"`
	Content  string   `json:"content"`
	Mentions []user   `json:"mentions"`
	Files    []upload `json:"attachments"`
	Parent   *message `json:"referenced_message"`
	Forwards []struct {
		Message struct {
			Content string   `json:"content"`
			Files   []upload `json:"attachments"`
		} `json:"message"`
	} `json:"message_snapshots"`
}

// maxFiles is how many files of one message are looked at.
const maxFiles = 20

// interaction is a pressed button. Source: docs.discord.com, "Interaction Object".
type interaction struct {
	ID      string `json:"id"`
	Kind    int    `json:"type"`
	Token   string `json:"token"`
	Channel string `json:"channel_id"`
	Guild   string `json:"guild_id"`
	Member  *struct {
		User user `json:"user"`
	} `json:"member"`
	User *user `json:"user"`
	Data struct {
		ID string `json:"custom_id"`
	} `json:"data"`
}

// read makes a message of an event. It is false for what is none.
func (c *Channel) read(ctx context.Context, f frame) (in chat.Inbound, press *interaction, ok bool, err error) {
	if f.Type == "INTERACTION_CREATE" {
		var i interaction
		if json.Unmarshal(f.Data, &i) != nil {
			return chat.Inbound{}, nil, false, nil
		}
		in, ok, err = c.pressed(ctx, i)
		return in, &i, ok, err
	}
	var m message
	if err := json.Unmarshal(f.Data, &m); err != nil {
		c.opt.Log.Warn("a message cannot be read", "err", err)
		return chat.Inbound{}, nil, false, nil
	}
	if !m.spoken() {
		return chat.Inbound{}, nil, false, nil
	}
	at, err := c.placeIn(ctx, m.Channel, m.Guild)
	if channel.IsPermanent(err) { // it is gone, or we may not see it any more
		c.opt.Log.Warn("a message came from a channel that cannot be looked up", "err", err)
		return chat.Inbound{}, nil, false, nil
	}
	if err != nil {
		return chat.Inbound{}, nil, false, err
	}
	return c.inbound(at, m), nil, true, nil
}

// spoken says that somebody says something in a message. That somebody joined, pinned
// or opened a thread are messages too.
func (m message) spoken() bool {
	kind := discord.MessageType(m.Kind)
	return (kind == discord.MessageTypeDefault || kind == discord.MessageTypeReply) && m.Author.ID != "" && number(m.ID) && number(m.Channel) &&
		(m.Content != "" || len(m.Files) > 0 || len(m.Forwards) > 0)
}

// inbound makes our form of a message. Whether anybody listens to its sender is the
// router's matter.
func (c *Channel) inbound(at place, m message) chat.Inbound {
	me, _ := c.who()
	in := chat.Inbound{
		From: at.address(), ID: chat.MessageID(m.ID), Sender: sender(me, m), Text: c.plain(me, m), Sent: moment(m.ID),
		// A direct message calls the agent; elsewhere a mention or a reply to us does.
		Mentioned: m.Guild == "" || slices.ContainsFunc(m.Mentions, func(u user) bool { return u.ID == me }) || m.Parent != nil && m.Parent.Author.ID == me && m.Parent.Webhook == "",
	}
	files := slices.Clone(m.Files)
	for _, f := range m.Forwards {
		in.Quotes = append(in.Quotes, chat.Quote{Text: f.Message.Content, Forwarded: true})
		files = append(files, f.Message.Files...)
	}
	if p := m.Parent; p != nil && p.Content != "" {
		in.Quotes = append(in.Quotes, chat.Quote{Author: p.Author.name(), Text: c.plain(me, *p)})
	}
	for _, f := range files[:min(len(files), maxFiles)] {
		in.Files = append(in.Files, chat.File{Name: f.Name, Type: f.Type, Size: f.Size, Ref: m.Channel + "/" + m.ID + "/" + f.ID})
	}
	return in
}

// sender is who wrote a message, as Discord proves it.
func sender(me string, m message) chat.Sender {
	switch {
	case m.Webhook != "":
		return chat.Sender{ID: chat.SenderID("webhook:" + m.Webhook), Name: m.Author.name()}
	case m.Author.ID == me && me != "":
		return chat.Sender{ID: chat.SenderID(me), Self: true}
	case m.Author.Bot:
		return chat.Sender{ID: chat.SenderID("bot:" + m.Author.ID), Name: m.Author.name()}
	}
	return chat.Sender{ID: chat.SenderID(m.Author.ID), Name: m.Author.name()}
}

// moment is when something with a number was made: the number says it.
func moment(id string) time.Time {
	n, err := snowflake.Parse(id)
	if err != nil {
		return time.Time{}
	}
	return n.Time()
}

// reference is what stands for something else in a text: <@1> is a mention, <#1> a
// channel, <@&1> a role, <:name:1> a picture.
var reference = regexp.MustCompile(`<(@!?|@&|#)([0-9]{1,20})>|<a?:([A-Za-z0-9_]{1,40}):[0-9]{1,20}>`)

// plain gives what a person reads of a text.
func (c *Channel) plain(me string, m message) string {
	return reference.ReplaceAllStringFunc(m.Content, func(s string) string {
		part := reference.FindStringSubmatch(s)
		switch {
		case part[3] != "":
			return ":" + part[3] + ":"
		case part[1] == "#" || part[1] == "@&":
			return strings.TrimSuffix(part[1], "&") + part[2]
		case part[2] == me:
			return "@" + c.opt.Assistant()
		}
		if at := slices.IndexFunc(m.Mentions, func(u user) bool { return u.ID == part[2] }); at >= 0 {
			return "@" + m.Mentions[at].name()
		}
		return "@" + part[2]
	})
}

// What the buttons of a question send, before its code.
const (
	pressApprove = "approve:"
	pressDeny    = "deny:"
)

// pressed makes of a pressed button the words that it stands for, said by whoever
// pressed it. So a button can do nothing that words cannot, and the same rules hold.
func (c *Channel) pressed(ctx context.Context, i interaction) (chat.Inbound, bool, error) {
	who := i.User
	if i.Member != nil {
		who = &i.Member.User
	}
	verb, code, _ := strings.Cut(i.Data.ID, ":")
	if discord.InteractionType(i.Kind) != discord.InteractionTypeComponent || who == nil || who.Bot || !number(who.ID) || !number(i.ID) || !number(i.Channel) ||
		code == "" || verb+":" != pressApprove && verb+":" != pressDeny {
		return chat.Inbound{}, false, nil
	}
	at, err := c.placeIn(ctx, i.Channel, i.Guild)
	if err != nil {
		return chat.Inbound{}, false, nil // nobody is told that it was taken: they press again
	}
	return chat.Inbound{
		From: at.address(), ID: chat.MessageID("press:" + i.ID), Sender: chat.Sender{ID: chat.SenderID(who.ID), Name: who.name()},
		Text: verb + " " + channel.OneLine(code, 40), Sent: moment(i.ID),
	}, true, nil
}

// answerPressTime bounds the answer to a press. Discord waits 3 s for it.
const answerPressTime = 3 * time.Second

// answered tells Discord that a press was taken, beside the way of events. The message
// stays as it is: what came of the press is a message of its own.
func (c *Channel) answered(ctx context.Context, i interaction) {
	select {
	case c.answering <- struct{}{}:
	default:
		return
	}
	c.work.Go(func() {
		defer func() { <-c.answering }()
		ctx, cancel := context.WithTimeout(ctx, answerPressTime)
		defer cancel()
		answer := map[string]int{"type": int(discord.InteractionResponseTypeDeferredUpdateMessage)}
		if err := c.do(ctx, rest.CreateInteractionResponse.Compile(nil, i.ID, i.Token), answer, nil); err != nil {
			c.opt.Log.Debug("a press could not be answered", "err", err)
		}
	})
}

// stamp is the number that something would have that was made at a moment.
func stamp(t time.Time) string {
	return strconv.FormatUint(uint64(max(t.UnixMilli()-snowflake.Epoch, 0))<<22, 10)
}
