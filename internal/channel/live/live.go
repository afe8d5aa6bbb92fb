// Package live shows in a chat what a run does while it goes on: one message for each
// chat, which is posted once a run takes longer than one refresh, changed while it goes
// on, and taken away when the answer comes. The answer is a message of its own, since
// networks tell nobody of a change.
//
// It never blocks its caller, and what fails is not shown: it is no part of the answer.
// Which tool is used is shown and no more: what it is used on is for the owner's own
// terminal. How a message is posted and taken away the adapter says.
package live

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/markup"
)

// Bounds.
const (
	maxShown = 64       // chats at once
	maxText  = 64 << 10 // bytes of an answer
	editTime = 30 * time.Second
)

// Show is how messages are shown on one network.
type Show struct {
	Markup chat.Markup
	// Open and Close set the line of the host's own words apart.
	Open, Close string
	// Refresh is how often a message changes at most.
	Refresh time.Duration
	// Always has the message written again at each refresh, changed or not.
	Always bool
	// Edit posts a message, or changes the one with that id, and gives its id: what it
	// gave before if that fails.
	Edit func(ctx context.Context, to chat.Address, id, text string) string
	// Remove takes a message away.
	Remove func(ctx context.Context, to chat.Address, id string)
}

// Messages are those that show what runs do. The zero value is ready.
type Messages struct {
	mu   sync.Mutex
	by   map[chat.Address]*message
	work sync.WaitGroup
}

// message is one of them.
type message struct {
	show Show
	to   chat.Address
	done chan struct{}

	mu    sync.Mutex // guards all below
	begun time.Time
	tool  string
	text  strings.Builder
}

// Progress notes what an agent does. It never blocks.
func (s *Messages) Progress(ctx context.Context, show Show, p chat.Progress) {
	if p.Kind == chat.Finished {
		s.End(p.To)
		return
	}
	m := s.get(ctx, show, p.To)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch p.Kind {
	case chat.Text:
		if m.text.Len() < maxText {
			m.text.WriteString(p.Text)
		}
	case chat.ToolUse:
		m.tool, _, _ = strings.Cut(p.Text, ":")
	case chat.Waiting:
		m.tool = p.Text
	}
}

// get gives the message of a chat, and begins one if there is room.
func (s *Messages) get(ctx context.Context, show Show, to chat.Address) *message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.by[to]; m != nil || len(s.by) >= maxShown {
		return m
	}
	if s.by == nil {
		s.by = map[chat.Address]*message{}
	}
	m := &message{show: show, to: to, done: make(chan struct{}), begun: time.Now()}
	s.by[to] = m
	ctx = context.WithoutCancel(ctx)
	s.work.Go(func() { m.keep(ctx) })
	return m
}

// End has the message of a chat taken away.
func (s *Messages) End(to chat.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.by[to]; m != nil {
		delete(s.by, to)
		close(m.done)
	}
}

// Wait has all of them taken away, and returns when they are.
func (s *Messages) Wait() {
	s.mu.Lock()
	for to, m := range s.by {
		delete(s.by, to)
		close(m.done)
	}
	s.mu.Unlock()
	s.work.Wait()
}

// keep keeps a message up to date until it ends.
func (m *message) keep(ctx context.Context) {
	var id, was string
	timer := time.NewTimer(m.show.Refresh)
	defer timer.Stop()
	for {
		select {
		case <-m.done:
			if id != "" {
				bounded, cancel := context.WithTimeout(ctx, editTime)
				defer cancel()
				m.show.Remove(bounded, m.to, id)
			}
			return
		case <-timer.C:
		}
		if text := m.words(); text != was || m.show.Always {
			bounded, cancel := context.WithTimeout(ctx, editTime)
			id, was = m.show.Edit(bounded, m.to, id, text), text
			cancel()
		}
		timer.Reset(m.show.Refresh)
	}
}

// words are what the message says now.
func (m *message) words() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := "working"
	if m.tool != "" {
		line += ": " + channel.OneLine(m.tool, 40)
	}
	line += fmt.Sprintf(", %v", time.Since(m.begun).Round(time.Second))
	limit := markup.Limit(m.show.Markup)
	line = m.show.Open + strings.Join(markup.Plain(m.show.Markup, line, limit), " ") + m.show.Close
	parts := markup.Render(m.show.Markup, m.text.String(), limit-200)
	if len(parts) == 0 {
		return line
	}
	return parts[len(parts)-1] + "\n\n" + line
}
