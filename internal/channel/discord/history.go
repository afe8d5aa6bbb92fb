package discord

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/disgoorg/disgo/discord"
	"github.com/disgoorg/disgo/rest"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// Since gives what was said in a chat after a moment, and in its threads that are open.
func (c *Channel) Since(ctx context.Context, of chat.Address, after time.Time, max int) ([]chat.Inbound, error) {
	from, err := placeOf(of)
	if err != nil {
		return nil, err
	}
	if err := c.identify(ctx); err != nil {
		return nil, err
	}
	r, err := c.room(ctx, from.target())
	if err != nil {
		return nil, err
	}
	out, err := c.sinceIn(ctx, from, r.Guild, stamp(after), max)
	if err != nil {
		return nil, fmt.Errorf("discord does not give the messages of %s: %w", of, err)
	}
	if from.thread == "" && r.Guild != "" {
		threads, err := c.threads(ctx, from.channel, r.Guild)
		if err != nil {
			return nil, fmt.Errorf("discord does not give the threads of %s: %w", of, err)
		}
		for _, t := range threads {
			said, err := c.sinceIn(ctx, place{from.channel, t}, r.Guild, stamp(after), max)
			if err != nil {
				return nil, err
			}
			out = append(out, said...)
		}
	}
	slices.SortStableFunc(out, func(a, b chat.Inbound) int { return a.Sent.Compare(b.Sent) })
	return out[:min(len(out), max)], nil
}

// page is how many messages Discord gives at once.
const page = 100

// sinceIn gives what was said in one channel after a number, oldest first.
func (c *Channel) sinceIn(ctx context.Context, at place, guild, after string, max int) ([]chat.Inbound, error) {
	var out []chat.Inbound
	for len(out) < max {
		var got []message
		query := discord.QueryValues{"after": after, "limit": page}
		if err := c.do(ctx, rest.GetMessages.Compile(query, at.target()), nil, &got); err != nil {
			return nil, err
		}
		slices.Reverse(got) // the newest come first
		for _, m := range got {
			m.Guild = guild // which the history leaves out
			if after = m.ID; m.spoken() {
				out = append(out, c.inbound(at, m))
			}
		}
		if len(got) < page {
			break
		}
	}
	return out, nil
}

// maxThreads is of how many threads what was said is looked for.
const maxThreads = 50

// threads are the open ones of a channel.
func (c *Channel) threads(ctx context.Context, of, guild string) ([]string, error) {
	var open struct {
		Threads []room `json:"threads"`
	}
	if err := c.do(ctx, rest.GetActiveGuildThreads.Compile(nil, guild), nil, &open); err != nil {
		return nil, err
	}
	var out []string
	for _, t := range open.Threads {
		if t.Parent == of && number(t.ID) && len(out) < maxThreads {
			out = append(out, t.ID)
		}
	}
	return out, nil
}

// Fetch writes a file that came with a message to w. The address of a file holds for a
// day, so the message is asked for a new one.
func (c *Channel) Fetch(ctx context.Context, f chat.File, w io.Writer) error {
	part := strings.Split(f.Ref, "/")
	if len(part) != 3 || !number(part[0]) || !number(part[1]) {
		return channel.Permanent(fmt.Errorf("%q is no file of Discord", channel.OneLine(f.Ref, 80)))
	}
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	var m message
	if err := c.do(ctx, rest.GetMessage.Compile(nil, part[0], part[1]), nil, &m); err != nil {
		return fmt.Errorf("discord does not give the file: %w", err)
	}
	files := m.Files
	for _, forward := range m.Forwards {
		files = append(files, forward.Message.Files...)
	}
	at := slices.IndexFunc(files, func(u upload) bool { return u.ID == part[2] })
	if at < 0 {
		return channel.Permanent(errors.New("the file is not with its message any more"))
	}
	return c.download(ctx, files[at].URL, w)
}

// download fetches a file. Its address is its permission: no token goes there.
func (c *Channel) download(ctx context.Context, address string, w io.Writer) error {
	if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(c.opt.API, "http://127.0.0.1:") {
		return channel.Permanent(errors.New("the file does not lie with Discord"))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return channel.Permanent(errors.New("the file does not lie with Discord"))
	}
	response, err := c.files.Do(r)
	if err != nil {
		return fmt.Errorf("the file cannot be fetched: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("discord does not give the file: %s", response.Status)
	}
	_, err = io.Copy(w, response.Body)
	return err
}
