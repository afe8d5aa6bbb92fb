// Package slack is the channel of Slack, in Socket Mode: the host opens a web socket
// to Slack, so nothing of it is reachable from outside.
//
// Names. A chat is TEAM/CHANNEL, a thread in it TEAM/CHANNEL#TS, a message its time
// stamp, which is unique in its channel. A sender is TEAM/USER, where TEAM is the
// sender's own workspace: a guest of Slack Connect has another than ours, and so is
// somebody else than whoever has the same user id here. What bots, workflows and
// webhooks write has the sender TEAM/bot:ID, which is nobody until the owner says so.
//
// What it does not do is run anything on an edited or deleted message: they come as
// other events, which are acknowledged and dropped.
//
// The web API and its types are those of github.com/slack-go/slack. Its own keeping
// of the socket is not used: it never pings, so it takes a silent connection for a
// quiet one; package supervise keeps ours. Of message events only the fields that
// are needed are decoded, so that a block which the library does not know cannot
// cost a message.
//
// Delivery. Slack lets nobody choose a message's id. Each part of a message carries
// a hash of its key as metadata, and an attempt that may have arrived before first
// looks for it among the latest messages of the chat: a part that is found there is
// not sent again. What lies further back than that look, and a file, can go out
// twice after a crash at the wrong moment.
package slack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	api "github.com/slack-go/slack"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/live"
	"nanoclaw/internal/channel/pace"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// ID is the channel's name.
const ID chat.ChannelID = "slack"

// Options are what a channel is made of.
type Options struct {
	// App is the token of the app (xapp-…), which opens the socket; Bot is that of
	// the bot (xoxb-…), which does everything else.
	App, Bot string
	// Assistant gives the name by which agents are called in texts.
	Assistant func() string
	// API is where the web API is, for tests. Empty is Slack's own.
	API string
	Log *slog.Logger
	// Ping is how often a sign of life is asked for. Default 15 s.
	Ping time.Duration
	// Supervise is how the connection is kept.
	Supervise supervise.Options
	// MaxParts is how many messages an answer may have; a longer one goes out as its
	// beginning and a file. Default 8.
	MaxParts int
	// Refresh is how often a message that shows progress is edited. Default 3 s.
	Refresh time.Duration
}

// Channel is the connection to one workspace.
type Channel struct {
	opt    Options
	client *api.Client
	gates  pace.Gates
	names  names
	live   live.Messages

	mu     sync.Mutex // guards all below
	me     identity
	status func(channel.Status)
}

// identity is who we are in the workspace.
type identity struct{ team, user, bot string }

var (
	_ channel.Channel    = (*Channel)(nil)
	_ channel.Progress   = (*Channel)(nil)
	_ channel.Formatter  = (*Channel)(nil)
	_ channel.Fetcher    = (*Channel)(nil)
	_ channel.Filer      = (*Channel)(nil)
	_ channel.Historian  = (*Channel)(nil)
	_ channel.Supervised = (*Channel)(nil)
)

// requestTime bounds one exchange with the web API, an upload included.
const requestTime = 5 * time.Minute

// New makes a channel. It connects to nothing.
func New(o Options) *Channel {
	if o.Assistant == nil {
		o.Assistant = func() string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ping == 0 {
		o.Ping = 15 * time.Second
	}
	if o.MaxParts == 0 {
		o.MaxParts = 8
	}
	if o.Refresh == 0 {
		o.Refresh = 3 * time.Second
	}
	c := &Channel{opt: o, client: client(o), status: func(channel.Status) {}}
	c.names.ask = c.nameOf
	return c
}

func client(o Options) *api.Client {
	options := []api.Option{api.OptionAppLevelToken(o.App), api.OptionHTTPClient(&http.Client{Timeout: requestTime})}
	if o.API != "" {
		options = append(options, api.OptionAPIURL(strings.TrimSuffix(o.API, "/")+"/"))
	}
	return api.New(o.Bot, options...)
}

// ID gives "slack".
func (c *Channel) ID() chat.ChannelID { return ID }

// Self is our bot's user.
func (c *Channel) Self() chat.SenderID {
	me := c.who()
	if me.user == "" {
		return ""
	}
	return senderID(me.team, me.user)
}

// Markup gives that of Slack.
func (c *Channel) Markup() chat.Markup { return chat.SlackMarkup }

// OnStatus has f called at each change of the connection.
func (c *Channel) OnStatus(f func(channel.Status)) { c.status = f }

func (c *Channel) who() identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.me
}

// identify finds out who we are, once.
func (c *Channel) identify(ctx context.Context) (identity, error) {
	if me := c.who(); me.user != "" {
		return me, nil
	}
	var r *api.AuthTestResponse
	err := c.call(ctx, "auth.test", func(ctx context.Context) (err error) {
		r, err = c.client.AuthTestContext(ctx)
		return err
	})
	if err != nil {
		return identity{}, fmt.Errorf("slack does not take the bot's token: %w", err)
	}
	me := identity{team: r.TeamID, user: r.UserID, bot: r.BotID}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.me = me
	return me, nil
}

// Run keeps the socket open until ctx ends.
func (c *Channel) Run(ctx context.Context, sink channel.Sink) error {
	defer c.live.Wait()
	defer c.names.wait()
	o := c.opt.Supervise
	o.Status = c.status
	return supervise.Run(ctx, o, func(ctx context.Context, l *supervise.Line) error { return c.connect(ctx, l, sink) })
}

func senderID(team, user string) chat.SenderID { return chat.SenderID(team + "/" + user) }

// address is a chat of Slack's.
func address(team, id, thread string) chat.Address {
	a := chat.Address{Channel: ID, Chat: chat.ChatID(team + "/" + id)}
	if thread != "" {
		a.Chat += chat.ChatID("#" + thread)
	}
	return a
}

// place is where a message goes.
type place struct{ team, channel, thread string }

// placeOf reads an address of Slack's.
func placeOf(a chat.Address) (place, error) {
	base, thread, _ := strings.Cut(string(a.Chat), "#")
	team, id, ok := strings.Cut(base, "/")
	if a.Channel != ID || !ok || team == "" || id == "" || strings.Contains(id, "/") {
		return place{}, channel.Permanent(fmt.Errorf("%s is no chat of Slack: write slack:TEAM/CHANNEL, such as slack:T0123ABCD/C0456EFGH", a))
	}
	return place{team, id, thread}, nil
}

// revoked are the errors of a token that does not work any more.
var revoked = map[string]bool{
	"invalid_auth": true, "token_revoked": true, "token_expired": true, "account_inactive": true, "not_authed": true,
	"missing_scope": true, "not_allowed_token_type": true, "no_permission": true,
}

// hopeless are the errors of a request that will never work.
var hopeless = map[string]bool{
	"channel_not_found": true, "not_in_channel": true, "is_archived": true, "msg_too_long": true, "no_text": true,
	"restricted_action": true, "invalid_blocks": true, "invalid_arguments": true, "cannot_reply_to_message": true,
	"file_not_found": true, "file_deleted": true, "thread_not_found": true,
}

// call does one request to the web API, within its limits.
func (c *Channel) call(ctx context.Context, method string, do func(context.Context) error) error {
	return c.gates.Call(ctx, c.opt.Log, method, func(ctx context.Context) error { return judge(do(ctx)) })
}

// judge says of an error of the web API what it means to us.
func judge(err error) error {
	var said api.SlackErrorResponse
	var limit *api.RateLimitedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &limit):
		return &supervise.After{Wait: limit.RetryAfter, Err: err}
	case errors.As(err, &said) && revoked[said.Err]:
		return channel.Permanent(fmt.Errorf("%s: log in again with nanoclaw channel login slack", said.Err))
	case errors.As(err, &said) && hopeless[said.Err]:
		return channel.Permanent(err)
	}
	return err
}
