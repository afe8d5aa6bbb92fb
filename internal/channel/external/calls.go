package external

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/markup"
)

// call is something that the adapter was asked for.
type call struct {
	id    uint64
	n     *conn
	lines chan any      // what it answers
	gone  chan struct{} // closed when nobody waits any more
}

// begin asks the adapter for something, once there is room for one more call. Whoever
// begins a call ends it.
func (n *conn) begin(ctx context.Context, l toAdapter) (*call, error) {
	select {
	case n.c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	n.mu.Lock()
	n.last++
	c := &call{id: n.last, n: n, lines: make(chan any, 8), gone: make(chan struct{})}
	n.calls[c.id] = c
	n.mu.Unlock()
	l.Call = c.id
	if err := n.send(ctx, l); err != nil {
		c.end(false)
		return nil, err
	}
	return c, nil
}

// end forgets a call. cancel tells the adapter, if it can be told now.
func (c *call) end(cancel bool) {
	c.n.mu.Lock()
	delete(c.n.calls, c.id)
	c.n.mu.Unlock()
	close(c.gone)
	if cancel {
		c.n.trySend(toAdapter{Type: "cancel", Call: c.id})
	}
	<-c.n.c.slots
}

// answer hands a line to the call that it answers. One that ended drops what still
// comes; one that never was ends the adapter.
func (n *conn) answer(ctx context.Context, id uint64, line any) error {
	n.mu.Lock()
	c, asked := n.calls[id], id != 0 && id <= n.last
	n.mu.Unlock()
	switch {
	case !asked:
		return broken("it answers what it was not asked")
	case c == nil:
		return nil
	}
	select {
	case c.lines <- line:
	case <-c.gone:
	case <-ctx.Done():
	}
	return nil
}

// result waits for the end of a call. each gets what comes before it.
func (c *call) result(ctx context.Context, each func(any) error) (string, error) {
	for {
		var line any
		select {
		case line = <-c.lines:
		case <-c.n.done:
			return "", errors.New("the adapter ended before it answered")
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		r, ok := line.(resultLine)
		if !ok {
			if err := each(line); err != nil {
				return "", err
			}
			continue
		}
		return r.ID, r.err()
	}
}

// err is what a result says.
func (r resultLine) err() error {
	words := cmp.Or(channel.OneLine(r.Error, maxWords), "the adapter gives no reason")
	switch r.Failure {
	case "":
		return nil
	case failNobody:
		return chat.ErrNobody
	case failNever:
		return channel.Permanent(errors.New(words))
	}
	if r.After > 0 {
		return &supervise.After{Wait: min(time.Duration(r.After), 3600) * time.Second, Err: errors.New(words)}
	}
	return errors.New(words)
}

// nothing is for calls that are answered by a result alone.
func nothing(any) error { return broken("an answer that this call does not have") }

// ask begins a call, and waits for its end.
func (n *conn) ask(ctx context.Context, l toAdapter, each func(any) error) (string, error) {
	c, err := n.begin(ctx, l)
	if err != nil {
		return "", err
	}
	id, err := c.result(ctx, each)
	c.end(err != nil)
	return id, err
}

func (c *Channel) mine(a chat.Address) error {
	if a.Channel != c.opt.ID {
		return channel.Permanent(fmt.Errorf("%s is no chat of %s", a, c.opt.ID))
	}
	return nil
}

// Deliver gives a message to the adapter, and waits until it says what became of it.
func (c *Channel) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	if err := c.mine(m.To); err != nil {
		return "", err
	}
	n, err := c.connected(ctx)
	if err != nil {
		return "", err
	}
	c.typing.end(m.To.Chat)
	l := toAdapter{Type: "deliver", Chat: string(m.To.Chat), Key: m.Key, Again: m.Again, Code: m.Code}
	if m.File != nil {
		return c.deliverFile(ctx, n, l, m)
	}
	parts, whole := n.hello.parts(m)
	l.Parts = parts
	id, err := n.ask(ctx, l, nothing)
	if err != nil {
		return "", err
	}
	if whole != "" {
		l.Parts, l.Code, l.Key = nil, "", m.Key+"+file"
		l.File = &file{Name: "answer.md", Type: "text/markdown", Size: int64(len(whole))}
		if _, err := n.sendFile(ctx, l, strings.NewReader(whole)); err != nil {
			return "", err
		}
	}
	return named(id, m), nil
}

// named is the network's name of a message; an adapter need not know one.
func named(id string, m chat.Outbound) chat.MessageID {
	return chat.MessageID(cmp.Or(id, "out:"+strconv.FormatInt(m.ID, 10)))
}

// parts are the messages that a message becomes, in the form of the network. Of a very
// long one they are its beginning, and whole is all of it, for a file.
func (h hello) parts(m chat.Outbound) (parts []string, whole string) {
	render := markup.Render
	if m.FromHost() {
		render = markup.Plain
	}
	parts = render(h.markup(), m.Text, h.limit())
	switch {
	case len(parts) == 0:
		return []string{"(nothing to show)"}, ""
	case len(parts) <= maxParts || m.Code != "":
		return parts[:min(len(parts), maxParts)], ""
	case !h.can(abilityFiles):
		parts = parts[:maxParts]
		return append(parts[:maxParts-1:maxParts-1], "(The answer goes on, and is too long for this network.)"), ""
	}
	return append(parts[:1:1], fmt.Sprintf("(The answer goes on for %d more messages: all of it is in the file.)", len(parts)-1)), channel.SafeText(m.Text)
}

// deliverFile sends the host's own copy of a file.
func (c *Channel) deliverFile(ctx context.Context, n *conn, l toAdapter, m chat.Outbound) (chat.MessageID, error) {
	if !n.hello.can(abilityFiles) {
		return "", channel.Permanent(errors.New("this network's adapter sends no files"))
	}
	f, err := os.Open(m.File.Path)
	if err != nil {
		return "", channel.Permanent(fmt.Errorf("the host's copy of the file is gone: %w", err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || info.Size() > n.hello.maxFile() {
		return "", channel.Permanent(fmt.Errorf("a file of %d bytes cannot be sent on %s", m.File.Size, c.opt.ID))
	}
	l.File = &file{Name: channel.OneLine(m.File.Name, 100), Type: m.File.Type, Size: info.Size()}
	if parts, _ := n.hello.parts(m); m.Text != "" {
		l.Parts = parts[:1]
	}
	id, err := n.sendFile(ctx, l, f)
	if err != nil {
		return "", err
	}
	return named(id, m), nil
}

// sendFile gives the adapter a file, piece by piece.
func (n *conn) sendFile(ctx context.Context, l toAdapter, from io.Reader) (string, error) {
	c, err := n.begin(ctx, l)
	if err != nil {
		return "", err
	}
	if err := c.pour(ctx, io.LimitReader(from, l.File.Size)); err != nil {
		c.end(true)
		return "", err
	}
	id, err := c.result(ctx, nothing)
	c.end(err != nil)
	return id, err
}

func (c *call) pour(ctx context.Context, from io.Reader) error {
	buf := make([]byte, maxChunk)
	for {
		read, err := io.ReadFull(from, buf)
		if read > 0 {
			if err := c.n.send(ctx, toAdapter{Type: "chunk", Call: c.id, Data: base64.StdEncoding.EncodeToString(buf[:read])}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return c.n.send(ctx, toAdapter{Type: "end", Call: c.id})
		case err != nil:
			return err
		}
	}
}

// Reacts implements channel.Reactor.
func (c *Channel) Reacts() bool { return c.said().can(abilityReact) }

// React implements channel.Reactor.
func (c *Channel) React(ctx context.Context, in chat.Address, to chat.MessageID, emoji string) error {
	if err := c.mine(in); err != nil {
		return err
	}
	n, err := c.connected(ctx)
	if err != nil {
		return err
	}
	if !n.hello.can(abilityReact) {
		return channel.Permanent(errors.New("this network's adapter gives no reactions"))
	}
	_, err = n.ask(ctx, toAdapter{Type: "react", Chat: string(in.Chat), ID: string(to), Emoji: emoji}, nothing)
	return err
}

// fetchTime bounds the fetching of one file.
const fetchTime = 5 * time.Minute

// Fetch writes a file that came with a message to w.
func (c *Channel) Fetch(ctx context.Context, f chat.File, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	n, err := c.connected(ctx)
	if err != nil {
		return err
	}
	if !n.hello.can(abilityFetch) {
		return channel.Permanent(errors.New("this network's adapter fetches no files"))
	}
	_, err = n.ask(ctx, toAdapter{Type: "fetch", Ref: f.Ref}, func(line any) error {
		chunk, ok := line.(chunkLine)
		if !ok {
			return nothing(line)
		}
		b, err := chunk.bytes()
		if err != nil {
			return err
		}
		_, err = io.Copy(w, bytes.NewReader(b))
		return err
	})
	return err
}

// Since gives what the adapter knows of what was said in a chat after a moment.
func (c *Channel) Since(ctx context.Context, of chat.Address, after time.Time, most int) ([]chat.Inbound, error) {
	if err := c.mine(of); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	n, err := c.connected(ctx)
	if err != nil || !n.hello.can(abilityHistory) {
		return nil, err
	}
	most = min(most, maxPast)
	var out []chat.Inbound
	_, err = n.ask(ctx, toAdapter{Type: "history", Chat: string(of.Chat), After: after, Max: most}, func(line any) error {
		past, ok := line.(pastLine)
		if !ok {
			return nothing(line)
		}
		in := past.Message.inbound(c.opt.ID)
		if in.From.Base() != of.Base() || len(out) == most {
			return broken("a history has messages of another chat, or too many")
		}
		out = append(out, in)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b chat.Inbound) int { return a.Sent.Compare(b.Sent) })
	return out, nil
}

// Progress has the adapter show that an answer is being written. It never blocks.
func (c *Channel) Progress(_ context.Context, p chat.Progress) {
	c.mu.Lock()
	n := c.live
	c.mu.Unlock()
	if n == nil || p.To.Channel != c.opt.ID || !n.hello.can(abilityTyping) {
		return
	}
	on := p.Kind != chat.Finished
	if !c.typing.change(p.To.Chat, on) {
		return
	}
	if !n.trySend(toAdapter{Type: "typing", Chat: string(p.To.Chat), On: on}) {
		c.typing.end(p.To.Chat) // it was not told, and is told at the next chance
	}
}

// maxTyping is in how many chats it is shown at once.
const maxTyping = 64

// typing are the chats in which it is shown that an answer is being written.
type typing struct {
	mu sync.Mutex
	in map[chat.ChatID]bool
}

// change notes whether it is shown, and says whether that is new.
func (t *typing) change(id chat.ChatID, on bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.in[id] == on || on && len(t.in) >= maxTyping {
		return false
	}
	if !on {
		delete(t.in, id)
		return true
	}
	if t.in == nil {
		t.in = map[chat.ChatID]bool{}
	}
	t.in[id] = true
	return true
}

// end notes that nothing is shown.
func (t *typing) end(id chat.ChatID) { t.change(id, false) }
