// Package discord is the channel of Discord's gateway: the host opens a web socket to
// Discord, so nothing of it is reachable from outside.
//
// Names. A chat is its channel's number, a thread CHANNEL#THREAD, so that it belongs to
// the group of the channel in which it is; a message its number. A sender is USER, the
// number that Discord proves. Bots are bot:ID and webhooks webhook:ID, which are nobody
// until the owner says so; a webhook writes under any name it likes.
//
// Nothing is lost. Each event has a number. The number that we name, in heartbeats and
// when a session is taken up again, is that of the last event whose message is durable,
// so Discord sends what came after it once more. What was said while there was no
// session at all is asked for (Since).
//
// What it does not do is run anything on an edited or deleted message: they come as
// other events, which are dropped. What was forwarded or is replied to comes as a quote
// and gives no orders.
//
// The routes and the limits of the REST interface, and what is sent to it, are those of
// github.com/disgoorg/disgo. Its gateway is not used: it names the number of an event
// before its handler has run, waits a second before each connection, and leaves
// goroutines behind. Of answers and events only the fields that are needed are decoded,
// so that something new cannot cost a message.
//
// Delivery. Each part carries a nonce made of its key, by which Discord knows one that
// came before for some minutes. After a crash longer ago than that, a part can go out
// twice.
package discord

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/disgoorg/disgo/rest"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/live"
	"nanoclaw/internal/channel/pace"
	"nanoclaw/internal/channel/sent"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// ID is the channel's name.
const ID chat.ChannelID = "discord"

// ownAPI is Discord's own.
const ownAPI = "https://discord.com/api/v10"

// Options are what a channel is made of.
type Options struct {
	// Bot is the bot's token.
	Bot string
	// Assistant gives the name by which agents are called in texts.
	Assistant func() string
	// API is the address of the REST interface. Empty is Discord's.
	API string
	Log *slog.Logger
	// Supervise is how the connection is kept.
	Supervise supervise.Options
	// Anew is the longest pause before a session that Discord has ended is begun anew.
	// Default 5 s, as Discord asks for.
	Anew time.Duration
	// MaxParts is how many messages an answer may have; a longer one goes out as its
	// beginning and a file. Default 8.
	MaxParts int
	// Refresh is how often a message that shows progress is edited. Default 3 s.
	Refresh time.Duration
}

// Channel is the connection of one bot.
type Channel struct {
	opt     Options
	client  rest.Client
	files   *http.Client
	gates   pace.Gates
	live    live.Messages
	sent    sent.Messages
	rooms   rooms
	session session
	work    sync.WaitGroup
	// answering bounds the answers to presses of buttons that are under way.
	answering chan struct{}

	mu     sync.Mutex // guards all below
	me     string
	name   string
	status func(channel.Status)
}

// session is what a connection takes up of the one before. But for seq it is of the
// goroutine of the connection.
type session struct {
	id, url string
	failed  int          // attempts in a row to reach url
	seq     atomic.Int64 // of the last event that is durable
}

var (
	_ channel.Channel    = (*Channel)(nil)
	_ channel.Progress   = (*Channel)(nil)
	_ channel.Formatter  = (*Channel)(nil)
	_ channel.Fetcher    = (*Channel)(nil)
	_ channel.Filer      = (*Channel)(nil)
	_ channel.Historian  = (*Channel)(nil)
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
	if o.API == "" {
		o.API = ownAPI
	}
	o.API = strings.TrimSuffix(o.API, "/")
	if o.MaxParts == 0 {
		o.MaxParts = 8
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Anew, 5 * time.Second}, {&o.Refresh, 3 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	quiet := slog.New(slog.DiscardHandler) // the library logs what is said
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c := &Channel{opt: o, files: &http.Client{Transport: transport}, status: func(channel.Status) {}, answering: make(chan struct{}, 8)}
	c.client = rest.NewClient(o.Bot, rest.WithURL(o.API), rest.WithLogger(quiet), rest.WithUserAgent("DiscordBot (nanoclaw, 1)"),
		rest.WithHTTPClient(&http.Client{Transport: bounded{transport}}),
		// Once: what Discord says of a limit it says in the answer too, and package pace
		// obeys that, also where the library finds no bucket and would not wait.
		rest.WithRateLimiterConfigOpts(rest.WithMaxRetries(1), rest.WithRateLimiterLogger(quiet)))
	return c
}

// ID gives "discord".
func (c *Channel) ID() chat.ChannelID { return ID }

// Self is our bot's user.
func (c *Channel) Self() chat.SenderID {
	me, _ := c.who()
	return chat.SenderID(me)
}

// Markup gives that of Discord.
func (c *Channel) Markup() chat.Markup { return chat.DiscordMarkup }

// OnStatus has f called at each change of the connection.
func (c *Channel) OnStatus(f func(channel.Status)) { c.status = f }

func (c *Channel) who() (id, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.me, c.name
}

// identify finds out who we are, once.
func (c *Channel) identify(ctx context.Context) error {
	if me, _ := c.who(); me != "" {
		return nil
	}
	var u user
	if err := c.do(ctx, rest.GetCurrentUser.Compile(nil), nil, &u); err != nil {
		return fmt.Errorf("discord does not say who the bot is: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.me, c.name = u.ID, u.Username
	return nil
}

// Run keeps the socket open until ctx ends.
func (c *Channel) Run(ctx context.Context, sink channel.Sink) error {
	defer c.files.CloseIdleConnections()
	defer c.work.Wait()
	defer c.live.Wait()
	o := c.opt.Supervise
	o.Status = c.status
	return supervise.Run(ctx, o, func(ctx context.Context, l *supervise.Line) error { return c.connect(ctx, l, sink) })
}

// place is where a message goes.
type place struct{ channel, thread string }

// target is the channel that Discord knows it as: to it a thread is one.
func (p place) target() string {
	if p.thread != "" {
		return p.thread
	}
	return p.channel
}

func (p place) address() chat.Address {
	a := chat.Address{Channel: ID, Chat: chat.ChatID(p.channel)}
	if p.thread != "" {
		a.Chat += chat.ChatID("#" + p.thread)
	}
	return a
}

// placeOf reads an address of Discord's.
func placeOf(a chat.Address) (place, error) {
	base, thread, has := strings.Cut(string(a.Chat), "#")
	if a.Channel != ID || !number(base) || has && !number(thread) {
		return place{}, channel.Permanent(fmt.Errorf("%s is no chat of Discord: write discord:NUMBER, such as discord:1112223334445556667", a))
	}
	return place{base, thread}, nil
}

// number says that a text is an id of Discord's.
func number(s string) bool {
	n, err := strconv.ParseUint(s, 10, 64)
	return err == nil && n != 0 && s[0] != '+'
}
