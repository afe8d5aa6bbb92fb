package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// pool holds the sessions that no run is using: warm ones, which served a run,
// and prepared ones, which wait for their first. A group has one at most, and
// there are no more than most in all.
//
// A session leaves the pool once, by one of: take, for a run of its own group;
// its idle time; its own end; or an eviction, of the one that waited longest.
// Whoever takes it out owns it. No session ever passes to another group.
type pool struct {
	most int
	// end ends a session that was taken out, for a reason in words.
	end func(*session, string)

	mu      sync.Mutex
	waiting map[chat.Group]*session
	making  map[chat.Group]*making
	closed  bool
	ending  sync.WaitGroup
}

// making is a prepared session that is not ready yet.
type making struct {
	grant  grant.Grant
	cancel context.CancelFunc
	done   chan struct{}
}

func newPool(most int, end func(*session, string)) *pool {
	return &pool{most: most, end: end, waiting: map[chat.Group]*session{}, making: map[chat.Group]*making{}}
}

// put lets a session wait, for idle at most unless that is 0. If there are too
// many now, the one that waited longest goes.
func (p *pool) put(s *session, idle time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.waiting[s.grant.Group]; old != nil {
		p.outLocked(old, "a newer session of the group took its place")
	}
	since := time.Now()
	p.waiting[s.grant.Group], s.since = s, since
	if idle > 0 {
		s.idle = time.AfterFunc(idle, func() {
			p.leave(s, since, fmt.Sprintf("nobody wrote for %v (limits.idleTime)", idle))
		})
	}
	if p.closed {
		p.outLocked(s, "")
	}
	for len(p.waiting) > p.most {
		p.outLocked(p.longestLocked(""), "its place was needed (limits.warmSessions)")
	}
}

// take gives the session of a group to its next run, nil if there is none.
func (p *pool) take(g chat.Group) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.waiting[g]
	p.forgetLocked(s)
	return s
}

// leave ends a session that began to wait at since, if it still does.
func (p *pool) leave(s *session, since time.Time, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[s.grant.Group] == s && s.since.Equal(since) {
		p.outLocked(s, why)
	}
}

// died ends a session that came to its end while it waited.
func (p *pool) died(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[s.grant.Group] == s {
		p.outLocked(s, "")
	}
}

// evict ends the session that waited longest and is of another group than g. It
// does not wait for its end.
func (p *pool) evict(g chat.Group, why string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.longestLocked(g)
	if s != nil {
		p.outLocked(s, why)
	}
	return s != nil
}

// expel ends the sessions that are meant. What it gives is closed when they are
// over.
func (p *pool) expel(meant func(*session) bool, why string) (over []<-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.waiting {
		if meant(s) {
			over = append(over, p.outLocked(s, why))
		}
	}
	return over
}

// drain is expel, and returns when they are over.
func (p *pool) drain(meant func(*session) bool, why string) {
	for _, over := range p.expel(meant, why) {
		<-over
	}
}

// close ends all sessions, and returns when every one that was ever taken out to
// be ended is over. The caller has ended the runs, so that none is put any more.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drain(every, "")
	p.ending.Wait()
}

func (p *pool) count(which func(*session) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.waiting {
		if which(s) {
			n++
		}
	}
	return n
}

// outLocked takes a session out and ends it in the background.
func (p *pool) outLocked(s *session, why string) <-chan struct{} {
	p.forgetLocked(s)
	over := make(chan struct{})
	p.ending.Go(func() {
		defer close(over)
		p.end(s, why)
	})
	return over
}

func (p *pool) forgetLocked(s *session) {
	if s == nil {
		return
	}
	delete(p.waiting, s.grant.Group)
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
}

func (p *pool) longestLocked(except chat.Group) *session {
	var longest *session
	for g, s := range p.waiting {
		if g != except && (longest == nil || s.since.Before(longest.since)) {
			longest = s
		}
	}
	return longest
}

// room says that a session could be prepared for a group now.
func (p *pool) room(g chat.Group) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roomLocked(g)
}

func (p *pool) roomLocked(g chat.Group) bool {
	return !p.closed && p.waiting[g] == nil && p.making[g] == nil && len(p.waiting)+len(p.making) < p.most
}

// begin reserves the place of a prepared session, nil if there is none for the
// group: it has a session already, or all places are taken. What is prepared
// pushes nobody out.
func (p *pool) begin(g grant.Grant, cancel context.CancelFunc) *making {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.roomLocked(g.Group) {
		return nil
	}
	m := &making{grant: g, cancel: cancel, done: make(chan struct{})}
	p.making[g.Group] = m
	return m
}

// finish gives the place back. What became of it was put before.
func (p *pool) finish(m *making) {
	p.mu.Lock()
	delete(p.making, m.grant.Group)
	p.mu.Unlock()
	close(m.done)
}

// settle waits until no session is being prepared for a group, so that a run
// can take it: it is further than a new one would be. One with another grant is
// called off.
func (p *pool) settle(ctx context.Context, group chat.Group, g grant.Grant) {
	p.mu.Lock()
	m := p.making[group]
	p.mu.Unlock()
	if m == nil {
		return
	}
	if !m.grant.Serves(g) {
		m.cancel()
	}
	select {
	case <-m.done:
	case <-ctx.Done():
	}
}
