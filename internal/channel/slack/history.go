package slack

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	api "github.com/slack-go/slack"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// Since gives what was said in a chat after a moment. Of threads it has those whose
// first message is among them.
func (c *Channel) Since(ctx context.Context, of chat.Address, after time.Time, max int) ([]chat.Inbound, error) {
	from, err := placeOf(of)
	if err != nil {
		return nil, err
	}
	if _, err := c.identify(ctx); err != nil {
		return nil, err
	}
	var r *api.GetConversationHistoryResponse
	err = c.call(ctx, "conversations.history", func(ctx context.Context) (err error) {
		r, err = c.client.GetConversationHistoryContext(ctx, &api.GetConversationHistoryParameters{
			ChannelID: from.channel, Oldest: stamp(after), Limit: min(max, 200),
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("slack does not give the messages of %s: %w", of, err)
	}
	var out []chat.Inbound
	for _, m := range r.Messages {
		out = c.keep(out, from, m)
		if m.ReplyCount == 0 || len(out) >= max {
			continue
		}
		var replies []api.Message
		err := c.call(ctx, "conversations.replies", func(ctx context.Context) (err error) {
			replies, _, _, err = c.client.GetConversationRepliesContext(ctx, &api.GetConversationRepliesParameters{ChannelID: from.channel, Timestamp: m.Timestamp, Oldest: stamp(after), Limit: 200})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, reply := range replies {
			if reply.Timestamp != m.Timestamp {
				out = c.keep(out, from, reply)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b chat.Inbound) int { return a.Sent.Compare(b.Sent) })
	return out[:min(len(out), max)], nil
}

func (c *Channel) keep(out []chat.Inbound, from place, m api.Message) []chat.Inbound {
	own := message{
		// Without a team the sender would count as one of ours.
		Type: m.Type, SubType: m.SubType, User: m.User, Team: cmp.Or(m.Team, "unknown"),
		BotID: m.BotID, Username: m.Username, Text: m.Text, TS: m.Timestamp, Thread: m.ThreadTimestamp, Channel: from.channel,
	}
	if len(from.channel) > 0 && from.channel[0] == 'D' {
		own.Kind = "im"
	}
	for _, f := range m.Files {
		own.Files = append(own.Files, upload{ID: f.ID, Name: f.Name, MimeType: f.Mimetype, Size: int64(f.Size), Mode: f.Mode})
	}
	if in, ok := c.inbound(from.team, own); ok {
		out = append(out, in)
	}
	return out
}

// stamp is a moment as Slack writes it.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000) }

// fetchTime bounds the fetching of one file.
const fetchTime = 5 * time.Minute

// Fetch writes a file that came with a message to w.
func (c *Channel) Fetch(ctx context.Context, f chat.File, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	var info *api.File
	err := c.call(ctx, "files.info", func(ctx context.Context) (err error) {
		info, _, _, err = c.client.GetFileInfoContext(ctx, f.Ref, 0, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("slack does not give the file: %w", err)
	}
	if info.URLPrivateDownload == "" {
		return channel.Permanent(fmt.Errorf("the file is not kept by Slack itself (%s)", channel.OneLine(info.Mode, 20)))
	}
	// The library sends the token to Slack's own hosts alone.
	return c.client.GetFileContext(ctx, info.URLPrivateDownload, w)
}
