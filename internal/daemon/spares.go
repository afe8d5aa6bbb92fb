package daemon

import (
	"context"
	"sync"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// spares are the boundaries that stand ready.
type spares struct {
	mu    sync.Mutex
	of    boundary.Preparer // nil: none
	ended bool
}

// keepSpares lets boundaries stand ready, if they may be used at all and the
// engine can: first for the owner's own group. Later ones follow what is started.
func (d *Daemon) keepSpares(ctx context.Context) {
	if d.proven(ctx, "").Off != "" || !d.config.HostMode.Enabled || d.config.Boundary.Spares == 0 {
		return
	}
	m, err := d.engine(ctx, "")
	if err != nil {
		return // the probe has said so
	}
	e, err := m.open()
	if err != nil {
		return
	}
	p, ok := e.(boundary.Preparer)
	if !ok || !d.spares.begin(p, d.config.Boundary.Spares) {
		return
	}
	if err := d.expect(ctx, p, chat.Main); err != nil {
		d.log.Debug("no boundary is made ready at the start", "group", chat.Main, "why", err)
	}
}

// expect makes a boundary ready for a group that would be granted one now.
func (d *Daemon) expect(ctx context.Context, p boundary.Preparer, g chat.Group) error {
	granted, err := d.decide(ctx, g, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
	if err != nil {
		return err
	}
	uid, err := d.uid(ctx, g)
	if err != nil {
		return err
	}
	if err := d.prepare(ctx, g); err != nil {
		return err
	}
	return p.Expect(boundary.Spec{Grant: granted, UID: uid, LandlockFloor: d.config.Boundary.LandlockFloor})
}

// endSpares ends what stands ready, for good: the daemon stops, or no run may
// start before a restart.
func (d *Daemon) endSpares() { d.spares.end() }

func (s *spares) begin(p boundary.Preparer, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.of = p
	p.Keep(most)
	return true
}

func (s *spares) end() {
	s.mu.Lock()
	p := s.of
	s.of, s.ended = nil, true
	s.mu.Unlock()
	if p != nil {
		p.Close()
	}
}

func (s *spares) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		return 0
	}
	return s.of.Spares()
}
