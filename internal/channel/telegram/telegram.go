// Package telegram is the channel of Telegram's Bot API, by long polling: the host asks
// for updates, so nothing of it is reachable from outside.
//
// Names. A chat is its number, a topic of a forum CHAT#TOPIC, a message its number,
// which is unique in its chat. A sender is USER, the number that Telegram proves. A bot
// is bot:ID; who writes as a chat, such as an anonymous administrator or a channel, is
// chat:ID. Both are nobody until the owner says so. A user name proves nothing: it can
// be given up and taken by somebody else.
//
// Nothing is lost. Telegram keeps an update for a day, until a later request names a
// higher number. The library's own polling names it before a handler has run, so it is
// not used: ours names it after the message is durable. Of updates only the fields that
// are needed are decoded, each by itself, so that one which nobody knows cannot cost the
// others. The other methods, and their types, are those of github.com/go-telegram/bot.
//
// What it does not do is run anything on an edited message: such updates are not even
// asked for. What somebody else wrote, and was forwarded, answered to or made by an
// inline bot, comes as a quote and gives no orders.
//
// Delivery. Telegram lets nobody choose a message's id, and bots cannot read what they
// wrote. Within one process a part that was taken is not sent again; one whose answer
// was lost, or that went out just before a crash, can go out twice.
//
// Trust. The token stands in the address of every request. No error of this package
// holds such an address, and no redirection is followed.
package telegram

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-telegram/bot"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/live"
	"nanoclaw/internal/channel/pace"
	"nanoclaw/internal/channel/sent"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// ID is the channel's name.
const ID chat.ChannelID = "telegram"

// ownAPI is Telegram's own server.
const ownAPI = "https://api.telegram.org"

// Options are what a channel is made of.
type Options struct {
	// Bot is the bot's token, as @BotFather gave it.
	Bot string
	// Assistant gives the name by which agents are called in texts.
	Assistant func() string
	// API is the address of a Bot API server. Empty is Telegram's own.
	API string
	Log *slog.Logger
	// Poll is how long a request for updates waits for one. Default 25 s.
	Poll time.Duration
	// Settle is how long no part of an album has to come until it is complete. Default 1 s.
	Settle time.Duration
	// Supervise is how the connection is kept.
	Supervise supervise.Options
	// MaxParts is how many messages an answer may have; a longer one goes out as its
	// beginning and a file. Default 8.
	MaxParts int
	// Refresh is how often a message that shows progress is edited. Default 4 s: a bot
	// may write 20 messages a minute into a group.
	Refresh time.Duration
	// Notes keep what is to be known after a restart. Nil: in memory.
	Notes Notes
	// Registered says whether a chat belongs to a group. Nil: each does.
	Registered func(chat.Address) bool
	// Moved is told that a chat has another number now. Nil: nobody is.
	Moved func(from, to chat.Address)
}

// Notes keep words under a key, durably.
type Notes interface {
	// Meta gives them, "" if there are none.
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
}

// Channel is the connection of one bot.
type Channel struct {
	opt    Options
	client *bot.Bot
	http   *http.Client
	gates  pace.Gates
	live   live.Messages
	sent   sent.Messages
	moves  moves
	work   sync.WaitGroup
	// answering bounds the answers to presses of buttons that are under way.
	answering chan struct{}
	// next is the lowest update that is not durable yet, 0 if there is none to be
	// confirmed. Of the polling goroutine.
	next int64
	// growing are the albums that may not be complete. Of the polling goroutine.
	growing map[albumKey]growth

	mu     sync.Mutex // guards all below
	me     identity
	status func(channel.Status)
}

// identity is who we are.
type identity struct {
	id   int64
	name string // the user name, without @
}

var (
	_ channel.Channel    = (*Channel)(nil)
	_ channel.Progress   = (*Channel)(nil)
	_ channel.Formatter  = (*Channel)(nil)
	_ channel.Fetcher    = (*Channel)(nil)
	_ channel.Filer      = (*Channel)(nil)
	_ channel.Supervised = (*Channel)(nil)
)

// New makes a channel. It connects to nothing.
func New(o Options) *Channel {
	if o.Assistant == nil {
		o.Assistant = func() string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registered == nil {
		o.Registered = func(chat.Address) bool { return true }
	}
	if o.Moved == nil {
		o.Moved = func(chat.Address, chat.Address) {}
	}
	if o.API == "" {
		o.API = ownAPI
	}
	o.API = strings.TrimSuffix(o.API, "/")
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Poll, 25 * time.Second}, {&o.Refresh, 4 * time.Second}, {&o.Settle, time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.MaxParts == 0 {
		o.MaxParts = 8
	}
	if !token.MatchString(o.Bot) {
		o.Bot = "none" // which Telegram refuses as any that is wrong
	}
	c := &Channel{opt: o, http: newClient(), status: func(channel.Status) {}, answering: make(chan struct{}, 8)}
	c.moves.notes = o.Notes
	// It fails for an empty token alone.
	c.client, _ = bot.New(c.opt.Bot, bot.WithSkipGetMe(), bot.WithServerURL(o.API),
		bot.WithHTTPClient(o.Poll, bounded{c.http}), bot.WithErrorsHandler(func(err error) { o.Log.Debug("telegram's library", "err", err) }))
	return c
}

// ID gives "telegram".
func (c *Channel) ID() chat.ChannelID { return ID }

// Self is our bot's number.
func (c *Channel) Self() chat.SenderID {
	me := c.who()
	if me.id == 0 {
		return ""
	}
	return user(me.id)
}

// Markup gives that of Telegram.
func (c *Channel) Markup() chat.Markup { return chat.TelegramMarkup }

// OnStatus has f called at each change of the connection.
func (c *Channel) OnStatus(f func(channel.Status)) { c.status = f }

func (c *Channel) who() identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.me
}

// identify finds out who we are, once.
func (c *Channel) identify(ctx context.Context) (identity, error) {
	if me := c.who(); me.id != 0 {
		return me, nil
	}
	var me identity
	err := c.call(ctx, "getMe", func(ctx context.Context) error {
		u, err := c.client.GetMe(ctx)
		if err == nil {
			me = identity{u.ID, u.Username}
		}
		return err
	})
	if err != nil {
		return identity{}, fmt.Errorf("telegram does not say who the bot is: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.me = me
	return me, nil
}

// Run asks for updates until ctx ends.
func (c *Channel) Run(ctx context.Context, sink channel.Sink) error {
	defer c.http.CloseIdleConnections()
	defer c.work.Wait()
	defer c.live.Wait()
	o := c.opt.Supervise
	o.Status = c.status
	return supervise.Run(ctx, o, func(ctx context.Context, l *supervise.Line) error { return c.connect(ctx, l, sink) })
}

// user is the sender that an account is.
func user(id int64) chat.SenderID { return chat.SenderID(strconv.FormatInt(id, 10)) }

// address is a chat of Telegram's.
func address(id int64, topic int) chat.Address {
	a := chat.Address{Channel: ID, Chat: chat.ChatID(strconv.FormatInt(id, 10))}
	if topic != 0 {
		a.Chat += chat.ChatID("#" + strconv.Itoa(topic))
	}
	return a
}

// place is where a message goes.
type place struct {
	chat  int64
	topic int
}

// private says that it is the chat with one person: their numbers are positive.
func (p place) private() bool { return p.chat > 0 }

// placeOf reads an address of Telegram's.
func placeOf(a chat.Address) (place, error) {
	base, thread, has := strings.Cut(string(a.Chat), "#")
	id, err := strconv.ParseInt(base, 10, 64)
	p := place{chat: id}
	if err == nil && has {
		p.topic, err = strconv.Atoi(thread)
	}
	if a.Channel != ID || err != nil || id == 0 || p.topic < 0 {
		return place{}, channel.Permanent(fmt.Errorf("%s is no chat of Telegram: write telegram:NUMBER, such as telegram:-1001234567890", a))
	}
	return p, nil
}
