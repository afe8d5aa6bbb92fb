package slack

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	api "github.com/slack-go/slack"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/markup"
)

// maxLives is how many chats show progress at once.
const maxLives = 64

// lives are the messages that show what runs do. Each is posted once a run takes
// longer than one refresh, edited while it goes on, and deleted when the answer comes,
// which is a message of its own, since Slack tells nobody of an edit.
type lives struct {
	mu   sync.Mutex
	by   map[chat.Address]*life
	work sync.WaitGroup
}

// life is one such message.
type life struct {
	changed chan struct{}
	done    chan struct{}

	mu    sync.Mutex
	begun time.Time
	tool  string
	text  strings.Builder
}

// Progress notes what an agent does. It never blocks.
func (c *Channel) Progress(ctx context.Context, p chat.Progress) {
	to, err := placeOf(p.To)
	if err != nil {
		return
	}
	if p.Kind == chat.Finished {
		c.live.end(p.To)
		return
	}
	l := c.live.get(p.To, func(l *life) { c.show(ctx, to, p.To, l) })
	if l == nil {
		return
	}
	l.mu.Lock()
	switch p.Kind {
	case chat.Text:
		if l.text.Len() < 64<<10 {
			l.text.WriteString(p.Text)
		}
	case chat.ToolUse:
		// Which tool, and no more: what it is used on is for the owner's own terminal.
		l.tool, _, _ = strings.Cut(p.Text, ":")
	case chat.Waiting:
		l.tool = p.Text
	}
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// get gives the life of a chat, and begins one if there is room.
func (s *lives) get(to chat.Address, show func(*life)) *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.by[to]; l != nil || len(s.by) >= maxLives {
		return l
	}
	if s.by == nil {
		s.by = map[chat.Address]*life{}
	}
	l := &life{changed: make(chan struct{}, 1), done: make(chan struct{}), begun: time.Now()}
	s.by[to] = l
	s.work.Go(func() { show(l) })
	return l
}

// end has the message of a chat deleted.
func (s *lives) end(to chat.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.by[to]; l != nil {
		delete(s.by, to)
		close(l.done)
	}
}

func (s *lives) wait() {
	s.mu.Lock()
	for to, l := range s.by {
		delete(s.by, to)
		close(l.done)
	}
	s.mu.Unlock()
	s.work.Wait()
}

// show keeps the message of a chat up to date until it ends. What fails is not shown:
// it is no part of the answer.
func (c *Channel) show(ctx context.Context, to place, from chat.Address, l *life) {
	ctx = context.WithoutCancel(ctx)
	var ts, was string
	timer := time.NewTimer(c.opt.Refresh)
	defer timer.Stop()
	for {
		select {
		case <-l.done:
			if ts != "" {
				bounded, cancel := context.WithTimeout(ctx, callTime)
				defer cancel()
				c.call(bounded, "chat.delete", func(ctx context.Context) error {
					_, _, err := c.client.DeleteMessageContext(ctx, to.channel, ts)
					return err
				})
			}
			return
		case <-timer.C:
		}
		if text := l.words(); text != was {
			ts, was = c.edit(ctx, to, ts, text), text
		}
		timer.Reset(c.opt.Refresh)
	}
}

// edit posts the message or changes it, and gives its time stamp.
func (c *Channel) edit(ctx context.Context, to place, ts, text string) string {
	o := []api.MsgOption{api.MsgOptionText(text, false), api.MsgOptionDisableLinkUnfurl(), api.MsgOptionDisableMediaUnfurl()}
	if to.thread != "" {
		o = append(o, api.MsgOptionTS(to.thread))
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	method := "chat.update"
	if ts == "" {
		method = "chat.postMessage"
	}
	err := c.call(ctx, method, func(ctx context.Context) (err error) {
		if ts == "" {
			_, ts, err = c.client.PostMessageContext(ctx, to.channel, o...)
			return err
		}
		_, _, _, err = c.client.UpdateMessageContext(ctx, to.channel, ts, o...)
		return err
	})
	if err != nil {
		c.opt.Log.Debug("progress could not be shown", "err", err)
	}
	return ts
}

// words are what the message says now.
func (l *life) words() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := "_working"
	if l.tool != "" {
		line += ": " + slackSafe(channel.OneLine(l.tool, 40))
	}
	line += fmt.Sprintf(", %v_", time.Since(l.begun).Round(time.Second))
	parts := markup.Render(chat.SlackMarkup, l.text.String(), markup.Limit(chat.SlackMarkup)-100)
	if len(parts) == 0 {
		return line
	}
	return parts[len(parts)-1] + "\n\n" + line
}

// slackSafe writes words that are shown as they are.
func slackSafe(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
