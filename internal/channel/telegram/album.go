package telegram

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// An album is several pictures or files that one person sent as one. Telegram gives each
// as a message of its own, with one number for all of them, and says nowhere how many
// there are (core.telegram.org/bots/api#message). To people, and so to an agent, it is
// one message with several files.
//
// So an album waits until no part of it has come for a while. Nothing of it is kept here
// in the meantime, but when it grew: Telegram has it until it is confirmed, which is done
// after the whole is durable, and gives it again with what came since. What was said
// after it waits with it, so the order stays.

// maxAlbum is how many parts an album has at most.
const maxAlbum = 10

// albumPatience is how many times the pause an album may grow at most.
const albumPatience = 5

// albumKey is one album. The sender is part of it, so that nobody's words can become
// those of another, whatever the numbers are.
type albumKey struct {
	chat   int64
	topic  int
	sender chat.SenderID
	group  string
}

// growth is when an album was seen first, and when it grew last.
type growth struct {
	begun, grown time.Time
	parts        int
}

// turn is an update that is to be worked on.
type turn struct {
	number int64
	u      update
}

// said is the message of an update, nil if it is none.
func (u update) said() *message {
	if u.Message != nil {
		return u.Message
	}
	return u.Post
}

// albumOf is the album that an update is of, and false for most.
func (c *Channel) albumOf(u update) (albumKey, bool) {
	m := u.said()
	if m == nil || m.Group == "" {
		return albumKey{}, false
	}
	return albumKey{m.Chat.ID, m.topic(), sender(c.who(), *m).ID, m.Group}, true
}

// gathered are the albums of a batch, each with its parts in the order in which they
// were sent.
func (c *Channel) gathered(turns []turn) map[albumKey][]message {
	out := map[albumKey][]message{}
	for _, t := range turns {
		if k, ok := c.albumOf(t.u); ok {
			out[k] = append(out[k], *t.u.said())
		}
	}
	for _, parts := range out {
		slices.SortFunc(parts, func(a, b message) int { return int(a.ID - b.ID) })
	}
	return out
}

// ready gives how many updates of a batch can be worked on now. Those after them wait
// for an album, which may be complete after the pause.
func (c *Channel) ready(now time.Time, turns []turn, albums map[albumKey][]message) (n int, pause time.Duration) {
	still := map[albumKey]growth{}
	for k, parts := range albums {
		g, known := c.growing[k]
		if !known {
			g.begun = now
		}
		if len(parts) > g.parts {
			g.grown, g.parts = now, len(parts)
		}
		still[k] = g
	}
	c.growing = still // of what Telegram gives no longer, nothing is kept
	for n, t := range turns {
		k, ok := c.albumOf(t.u)
		if !ok {
			continue
		}
		g := still[k]
		end := g.grown.Add(c.opt.Settle)
		if last := g.begun.Add(albumPatience * c.opt.Settle); last.Before(end) {
			end = last
		}
		if g.parts < maxAlbum && now.Before(end) {
			return n, end.Sub(now)
		}
	}
	return len(turns), 0
}

// album makes one message of the parts of an album. Its id counts them: an album that
// grew after it was stored is another message rather than none.
func (c *Channel) album(parts []message) (chat.Inbound, bool) {
	var whole chat.Inbound
	n := 0
	for _, m := range parts {
		in, ok := c.inbound(m)
		switch {
		case !ok:
			continue
		case n == 0:
			whole = in
		default:
			if whole.Text != "" && in.Text != "" {
				whole.Text += "\n"
			}
			whole.Text += in.Text
			whole.Files = append(whole.Files, in.Files...)
			whole.Mentioned = whole.Mentioned || in.Mentioned
			for _, q := range in.Quotes {
				// Each part repeats what all of them answer or whose they are.
				if q.Text != "" && !slices.Contains(whole.Quotes, q) {
					whole.Quotes = append(whole.Quotes, q)
				}
			}
		}
		n++
	}
	if n > 1 {
		whole.ID += chat.MessageID("+" + strconv.Itoa(n-1))
	}
	return whole, n > 0
}

// takeAll works on a batch of updates, in order. If it ends before an album that may not
// be complete, it says how long to wait until they are asked for again. An update is
// confirmed when no album of before it has parts that are not.
func (c *Channel) takeAll(ctx context.Context, batch []json.RawMessage, sink channel.Sink, alive func()) (time.Duration, error) {
	var turns []turn
	var broken error
	for _, raw := range batch {
		t, err := c.decode(raw)
		if err != nil {
			broken = err
			break
		}
		turns = append(turns, t)
	}
	albums := c.gathered(turns)
	n, pause := c.ready(time.Now(), turns, albums)
	last := map[albumKey]int{} // the place of an album's last part
	for at, t := range turns {
		if k, ok := c.albumOf(t.u); ok {
			last[k] = at
		}
	}
	through, given := -1, map[albumKey]bool{} // the last part of what was handed over
	for at, t := range turns[:n] {
		if err := c.learn(ctx, t.u); err != nil {
			return 0, err
		}
		in, ok := chat.Inbound{}, false
		if k, of := c.albumOf(t.u); !of {
			in, ok = c.read(t.u)
		} else if !given[k] {
			given[k], through = true, max(through, last[k])
			in, ok = c.album(albums[k])
		}
		if ok {
			if err := sink.Receive(ctx, in); err != nil {
				return 0, fmt.Errorf("a message could not be stored: %w", err)
			}
		}
		if at >= through {
			c.next = t.number + 1
		}
		if t.u.Press != nil {
			c.answered(ctx, t.u.Press.ID)
		}
		alive()
	}
	if n < len(turns) {
		return pause, nil
	}
	return 0, broken
}

// decode reads an update. One that cannot be read is empty, and counts as done.
func (c *Channel) decode(raw json.RawMessage) (turn, error) {
	var number struct {
		ID int64 `json:"update_id"`
	}
	if err := json.Unmarshal(raw, &number); err != nil {
		return turn{}, fmt.Errorf("an update without a number: %w", err)
	}
	t := turn{number: number.ID}
	if err := json.Unmarshal(raw, &t.u); err != nil {
		c.opt.Log.Warn("an update cannot be read", "update", number.ID, "err", err)
		t.u = update{}
	}
	return t, nil
}
