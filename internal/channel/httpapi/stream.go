package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// An answer as server-sent events: what goes on while a run works on a message, and at
// the end what GET gives. Pieces wait here in one text for each token, up to a bound, and
// not in a queue for each reader: a slow one gets more at once, and one that takes nothing
// is let go. What is shown of a run is what every channel shows: pieces went through what
// the answer goes through, and of a tool there is its name.

// Bounds.
const (
	maxText    = 64 << 10 // bytes of a run's pieces; the whole is in the answer
	maxFlows   = 256      // tokens with a run at once
	writeTime  = 20 * time.Second
	quietTime  = 15 * time.Second // between signs of life
	streamTime = time.Hour
)

// flow is what a run, or the wait for one, has shown to a token so far.
type flow struct {
	run   chat.RunID
	begun bool
	text  strings.Builder
	clean channel.Cleaner
	tool  string
	tools int // so that the same tool twice is told twice
	note  string
	notes int
}

// flows are those of all tokens. The zero value is ready.
type flows struct {
	mu      sync.Mutex
	by      map[chat.ChatID]*flow
	changed chan struct{}
}

// Progress notes what an agent does. It never blocks.
func (c *Channel) Progress(_ context.Context, p chat.Progress) {
	if p.To.Channel == ID {
		c.flows.note(p)
	}
}

func (s *flows) note(p chat.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := p.To.Chat
	f := s.by[name]
	if p.Kind == chat.Finished {
		if f != nil && f.run == p.Run {
			delete(s.by, name)
		}
		return // the end is told by the message
	}
	if f == nil || f.run != p.Run || p.Kind == chat.Started {
		if f == nil && len(s.by) >= maxFlows {
			return
		}
		if s.by == nil {
			s.by = map[chat.ChatID]*flow{}
		}
		f = &flow{run: p.Run}
		s.by[name] = f
	}
	switch p.Kind {
	case chat.Started:
		f.begun = true
	case chat.Text:
		if room := maxText - f.text.Len(); room > 0 {
			f.text.WriteString(head(f.clean.Clean(p.Text), room))
		}
	case chat.ToolUse:
		f.tool, _, _ = strings.Cut(p.Text, ":")
		f.tools++
	case chat.Waiting:
		f.note = p.Text
		f.notes++
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// head is at most n bytes of a text, and no half of a character.
func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// seen is how far a reader is with a flow.
type seen struct {
	of, other          *flow // what it reads, and the last that was of another run
	text, tools, notes int
}

// event is one of a stream.
type event struct {
	name string
	data any
}

// next gives what a reader has not seen of what is shown for a run, and what is closed
// when there is more. anew says that another run has begun, which may be the message's
// by now: that it is, nobody else tells.
func (s *flows) next(name string, run chat.RunID, at *seen) (news []event, more <-chan struct{}, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	f := s.by[chat.ChatID(name)]
	if f == nil || f.run != run {
		anew = f != nil && at.other != f
		at.other = f
		return nil, s.changed, anew
	}
	if at.of != f {
		at.of, at.text, at.tools, at.notes = f, 0, 0, 0
		if f.run != "" {
			news = append(news, event{"started", map[string]any{"run": f.run}})
		}
	}
	if f.notes > at.notes {
		at.notes = f.notes
		news = append(news, event{"waiting", map[string]string{"text": channel.OneLine(f.note, 200)}})
	}
	if f.tools > at.tools {
		at.tools = f.tools
		news = append(news, event{"tool", map[string]string{"tool": channel.OneLine(f.tool, 40)}})
	}
	if f.text.Len() > at.text {
		news = append(news, event{"text", map[string]string{"text": f.text.String()[at.text:]}})
		at.text = f.text.Len()
	}
	return news, s.changed, false
}

// streams says that a request asks for events.
func streams(r *http.Request) bool {
	for _, part := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		if kind, _, err := mime.ParseMediaType(part); err == nil && kind == "text/event-stream" {
			return true
		}
	}
	return false
}

// stream tells what becomes of a message, from how it is to its end. changed was taken
// before it was read. Its end is an
// event "message"; without one the reader asks again.
func (c *Channel) stream(w http.ResponseWriter, r *http.Request, t Token, m Message, changed <-chan struct{}) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies before us
	out := &writer{w: w, to: http.NewResponseController(w)}
	sign, over := time.NewTicker(quietTime), time.NewTimer(streamTime)
	defer sign.Stop()
	defer over.Stop()
	var at seen
	var state string
	for ctx := r.Context(); ; {
		if m.Final {
			out.event("message", safe(m))
			return
		}
		if m.State != state {
			state = m.State
			out.event("state", map[string]any{"state": m.State, "run": m.Run})
		}
		for look := true; look; {
			news, more, anew := c.flows.next(t.Name, m.Run, &at)
			if anew {
				break
			}
			for _, e := range news {
				out.event(e.name, e.data)
			}
			if out.err != nil {
				return
			}
			select {
			case <-more:
			case <-changed:
				look = false
			case <-sign.C:
				out.sign()
				look = false // the token may be gone, and the message too
			case <-over.C:
				return
			case <-ctx.Done():
				return
			}
		}
		if now, ok := c.token(r.Header); !ok || now != t {
			return
		}
		changed = c.opt.Host.Changed()
		var err error
		if m, err = c.opt.Host.Message(ctx, t, m.ID); err != nil {
			return // the reader asks again, and is told why
		}
	}
}

// writer writes events until one is not taken.
type writer struct {
	w   http.ResponseWriter
	to  *http.ResponseController
	err error
}

func (o *writer) event(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil { // a bug: these are our own
		o.err = err
		return
	}
	o.write(fmt.Sprintf("event: %s\ndata: %s\n\n", name, data))
}

// sign is a comment, by which a connection that is gone is known.
func (o *writer) sign() { o.write(":\n\n") }

func (o *writer) write(s string) {
	if o.err != nil {
		return
	}
	// A recorder of a test has no deadlines.
	_ = o.to.SetWriteDeadline(time.Now().Add(writeTime))
	if _, o.err = o.w.Write([]byte(s)); o.err == nil {
		o.err = o.to.Flush()
	}
}
