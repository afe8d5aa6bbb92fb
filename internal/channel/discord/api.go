package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/disgoorg/disgo/discord"
	"github.com/disgoorg/disgo/rest"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
)

// maxAnswer bounds the answer to one request: a hundred messages have some 1 MB.
const maxAnswer = 16 << 20

// Bounds of one request, and of one with a file.
const (
	callTime = 30 * time.Second
	fileTime = 5 * time.Minute
)

// bounded are round trips whose answers end somewhere: the library reads them whole.
type bounded struct{ next http.RoundTripper }

// RoundTrip makes a request.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}

// errToken is said of a token that does not work.
var errToken = errors.New("discord does not take the bot's token (any more): log in again with nanoclaw channel login discord")

// do makes one request to the REST interface, within its limits. answer may be nil.
func (c *Channel) do(ctx context.Context, e *rest.CompiledEndpoint, body, answer any) error {
	method := e.Endpoint.Method + " " + e.Endpoint.Route + " " + e.MajorParams
	bound := callTime
	if _, ok := body.(*discord.MultipartBuffer); ok {
		bound = fileTime
	}
	return c.gates.CallFor(ctx, c.opt.Log, method, bound, func(ctx context.Context) error {
		return judge(c.client.Do(e, body, answer, rest.WithCtx(ctx)))
	})
}

// refused are the errors by which somebody can tell what to do. Source:
// docs.discord.com, "JSON Error Codes".
var refused = map[rest.JSONErrorCode]string{
	10003:  "there is no such channel, or the bot is not in its server",
	50001:  "the bot may not see the channel: let it, in the channel's permissions",
	50007:  "they take no messages from the bot",
	50013:  "the bot may not write there: let it, in the channel's permissions",
	40005:  "the file is larger than Discord takes",
	50083:  "the thread is closed",
	160005: "the thread is locked",
}

// judge says of an error of the REST interface what it means to us. The library's own
// error holds the request, and so the token; it is not kept.
func judge(err error) error {
	var said *rest.Error
	if !errors.As(err, &said) || said.Response == nil {
		return err
	}
	status := said.Response.StatusCode
	plain := fmt.Errorf("discord answers %d: %d %s", status, said.Code, channel.OneLine(said.Message, 200))
	if means := refused[said.Code]; means != "" {
		plain = fmt.Errorf("%s (%w)", means, plain)
	}
	switch {
	case status == http.StatusTooManyRequests:
		return &supervise.After{Wait: waitOf(said), Err: plain}
	case status == http.StatusUnauthorized:
		return channel.Permanent(errToken)
	case status >= 400 && status < 500:
		return channel.Permanent(plain)
	}
	return plain
}

// waitOf is how long Discord asks to wait.
func waitOf(said *rest.Error) time.Duration {
	var body struct {
		RetryAfter float64 `json:"retry_after"`
	}
	if json.Unmarshal(said.RsBody, &body) != nil || body.RetryAfter <= 0 {
		body.RetryAfter, _ = strconv.ParseFloat(said.Response.Header.Get("Retry-After"), 64)
	}
	return max(time.Second/10, time.Duration(min(body.RetryAfter, 24*3600)*float64(time.Second)))
}

// room is a channel as far as we need to know it.
type room struct {
	ID     string `json:"id"`
	Kind   int    `json:"type"`
	Guild  string `json:"guild_id"`
	Parent string `json:"parent_id"`
}

// thread says that a channel is a thread in another. Source: docs.discord.com,
// "Channel Types".
func (r room) thread() bool {
	switch discord.ChannelType(r.Kind) {
	case discord.ChannelTypeGuildNewsThread, discord.ChannelTypeGuildPublicThread, discord.ChannelTypeGuildPrivateThread:
		return r.Parent != ""
	}
	return false
}

// maxRooms bounds what is remembered.
const maxRooms = 10_000

// rooms are the channels that were looked up. What a channel is never changes, and a
// thread stays where it is.
type rooms struct {
	mu sync.Mutex
	by map[string]room
}

// room looks a channel up. Which group a message belongs to hangs on it, so there is no
// guess: without an answer the message comes again.
func (c *Channel) room(ctx context.Context, id string) (room, error) {
	c.rooms.mu.Lock()
	r, ok := c.rooms.by[id]
	c.rooms.mu.Unlock()
	if ok {
		return r, nil
	}
	if err := c.do(ctx, rest.GetChannel.Compile(nil, id), nil, &r); err != nil {
		return room{}, fmt.Errorf("discord does not say what channel %s is: %w", channel.OneLine(id, 30), err)
	}
	c.rooms.mu.Lock()
	defer c.rooms.mu.Unlock()
	if c.rooms.by == nil || len(c.rooms.by) >= maxRooms {
		c.rooms.by = map[string]room{}
	}
	c.rooms.by[id] = r
	return r, nil
}

// placeIn is where a message is that came from a channel.
func (c *Channel) placeIn(ctx context.Context, id, guild string) (place, error) {
	if guild == "" { // a direct message
		return place{channel: id}, nil
	}
	r, err := c.room(ctx, id)
	if err != nil {
		return place{}, err
	}
	if r.thread() {
		return place{r.Parent, id}, nil
	}
	return place{channel: id}, nil
}
