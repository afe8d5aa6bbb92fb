package daemon

import (
	"context"
	"sync"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/chat"
)

// progress shows what an agent does to channels that can show it. What it says
// is treated as in the message that follows.
func (d *Daemon) progress(p chat.Progress) {
	shows := d.shows(p.To.Channel)
	if shows == nil {
		return
	}
	show := func(p chat.Progress) { shows.Progress(context.Background(), p) }
	if p.Kind == chat.Text {
		if p.Text = d.streams.next(p.Run, d.desk, p.Text); p.Text != "" {
			show(p)
		}
		return
	}
	if rest := d.streams.end(p.Run); rest != "" {
		last := p
		last.Kind, last.Text = chat.Text, rest
		show(last)
	}
	p.Text = d.desk.Disown(p.Text)
	show(p)
}

// streams are the answers of live runs that come in pieces.
type streams struct {
	mu   sync.Mutex
	runs map[chat.RunID]*approval.Stream
}

// next gives what can be shown of a run's answer after one more piece.
func (s *streams) next(run chat.RunID, desk *approval.Desk, piece string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs == nil {
		s.runs = map[chat.RunID]*approval.Stream{}
	}
	if s.runs[run] == nil {
		s.runs[run] = desk.Stream()
	}
	return s.runs[run].Next(piece)
}

// end gives what was held back of a run's answer, and forgets it.
func (s *streams) end(run chat.RunID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.runs[run]
	delete(s.runs, run)
	if st == nil {
		return ""
	}
	return st.End()
}
