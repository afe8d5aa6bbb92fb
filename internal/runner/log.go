package runner

import (
	"context"
	"log/slog"

	"nanoclaw/internal/chat"
)

// Log gives a log whose lines name the session, its group, and the run that it serves
// when a line is written. A session outlives runs, so the run cannot be a part of the log.
func (c Caller) Log(l *slog.Logger) *slog.Logger {
	l = l.With("group", c.Group, "session", c.Session)
	if c.Run == nil {
		return l
	}
	return slog.New(runLines{l.Handler(), c.Run})
}

// log is that of a session.
func (r *Runner) log(s *session) *slog.Logger { return s.caller().Log(r.Log) }

// runLines adds the run to each line.
type runLines struct {
	slog.Handler
	run func() chat.RunID
}

// Handle implements slog.Handler.
func (h runLines) Handle(ctx context.Context, line slog.Record) error {
	if run := h.run(); run != "" {
		line = line.Clone()
		line.AddAttrs(slog.String("run", string(run)))
	}
	return h.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (h runLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return runLines{h.Handler.WithAttrs(attrs), h.run}
}

// WithGroup implements slog.Handler.
func (h runLines) WithGroup(name string) slog.Handler {
	return runLines{h.Handler.WithGroup(name), h.run}
}
