package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/store"
)

// Bounds of what is told of a talk: runs, and bytes of a message.
const (
	talkRuns, mostTalkRuns = 20, 50
	talkText               = 16 << 10
)

// Talk tells what was said in a group, by its runs.
func (d *Daemon) Talk(ctx context.Context, q control.TalkQuery) ([]control.Exchange, error) {
	if q.Run == "" { // a run stays when its group is gone
		if err := d.known(q.Group); err != nil {
			return nil, err
		}
	}
	if q.Limit <= 0 {
		q.Limit = talkRuns
	}
	runs, err := d.talked(ctx, q)
	if err != nil {
		return nil, err
	}
	slices.Reverse(runs)
	out := make([]control.Exchange, len(runs))
	for i, r := range runs {
		out[i].Run = r
		messages, err := d.store.RunMessages(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			out[i].Said = append(out[i].Said, saidTo(m))
		}
		replies, err := d.store.RunReplies(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, s := range replies {
			out[i].Replies = append(out[i].Replies, saidBy(s))
		}
	}
	return out, nil
}

// talked are the runs that are asked for, the newest first.
func (d *Daemon) talked(ctx context.Context, q control.TalkQuery) ([]control.RunInfo, error) {
	if q.Run == "" {
		return d.Runs(ctx, control.RunsQuery{Group: q.Group, Before: q.Before, Limit: min(q.Limit, mostTalkRuns)})
	}
	r, err := d.RunByID(ctx, q.Run)
	if err != nil {
		return nil, err
	}
	if r.Group != q.Group {
		return nil, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("run %s is not of group %s", q.Run, q.Group)}
	}
	return []control.RunInfo{r}, nil
}

func saidTo(m queue.Message) control.Words {
	s := control.Words{Name: m.Sender.Name, Owner: m.Sender.Owner, Chat: m.From.String(), At: m.Sent, Text: shortened(m.Text), Files: names(m.Files)}
	if m.Task != nil {
		s.Task = m.Task.ID
	}
	if s.Name == "" {
		s.Name = string(m.Sender.ID)
	}
	return s
}

func saidBy(o store.Sent) control.Words {
	s := control.Words{Host: o.FromHost(), Chat: o.To.String(), Text: shortened(o.Text), State: o.State}
	if o.File != nil {
		s.Files = names([]chat.File{*o.File})
	}
	return s
}

func names(files []chat.File) (out []string) {
	for _, f := range files {
		out = append(out, f.Name)
	}
	return out
}

// shortened is a text with a bound.
func shortened(s string) string {
	if len(s) <= talkText {
		return s
	}
	return strings.ToValidUTF8(s[:talkText], "") + "\n[the rest is cut here]"
}
