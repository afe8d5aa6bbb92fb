package boundary

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"
)

// quiet is how long after a start spares are made again: what was started has
// the machine to itself until then.
const quiet = 2 * time.Second

// spares keeps inits ready, for the kinds of session that were started last.
type spares struct {
	native *Native
	log    *slog.Logger
	quiet  time.Duration
	stop   context.CancelFunc
	ctx    context.Context // ends with close
	fills  sync.WaitGroup

	mu      sync.Mutex
	most    int         // 0 until keep
	mounts  *mountTable // nil until keep
	closed  bool
	recent  []recipe // the newest first, at most as many as spares
	ready   []*spare // the oldest first
	filling bool     // a fill is planned or goes on
	changed chan struct{}
}

// recipe is how a spare of a shape is made.
type recipe struct {
	shape shape
	spec  Spec
}

func newSpares(n *Native) *spares {
	s := &spares{native: n, log: n.opts.Log, quiet: quiet, changed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// keep begins to keep spares.
func (s *spares) keep(most int) {
	if most <= 0 {
		return
	}
	mounts, err := watchMounts(s.drop)
	if err != nil {
		// A spare would not notice that a folder was covered by a mount.
		s.log.Warn("no boundary is kept ready: the mounts of this machine cannot be watched", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.most > 0 {
		mounts.close()
		return
	}
	s.mounts, s.most = mounts, most
}

// start makes a session of a spare. It gives nil if there is none, or if it
// failed: nothing of the agent has run then, and a cold start says what is wrong.
func (s *spares) start(ctx context.Context, spec Spec, d division) *Session {
	sp := s.take(d)
	if sp == nil {
		return nil
	}
	session, err := s.native.use(ctx, spec, d, sp)
	if err != nil {
		s.log.Warn("a boundary that stood ready could not be used", "session", spec.Session, "err", err)
		return nil
	}
	return session
}

// take takes a spare of d's shape out.
func (s *spares) take(d division) *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) == 0 || len(d.later) > maxLater {
		return nil
	}
	if s.mounts.changed() {
		go end(s.dropLocked())
		return nil
	}
	i := slices.IndexFunc(s.ready, func(sp *spare) bool {
		return sp.mux.Err() == nil && reflect.DeepEqual(sp.shape, d.shape)
	})
	if i < 0 {
		return nil
	}
	sp := s.ready[i]
	s.ready = slices.Delete(s.ready, i, i+1)
	return sp
}

// used notes that a session was started, and plans for the next like it.
func (s *spares) used(spec Spec, shape shape) {
	spec.Serve, spec.Log, spec.Session = nil, nil, ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most == 0 {
		return
	}
	s.recent = slices.DeleteFunc(s.recent, func(r recipe) bool { return reflect.DeepEqual(r.shape, shape) })
	s.recent = slices.Insert(s.recent, 0, recipe{shape, spec})
	s.recent = s.recent[:min(len(s.recent), s.most)]
	s.planLocked()
}

// planLocked sees to it that a fill comes.
func (s *spares) planLocked() {
	if s.closed || s.filling {
		return
	}
	s.filling = true
	s.fills.Go(func() {
		select {
		case <-s.ctx.Done():
		case <-time.After(s.quiet):
		}
		s.fill()
	})
}

// fill makes the spares that are missing, one after the other, and ends those
// that nobody is expected to want.
func (s *spares) fill() {
	for {
		s.mu.Lock()
		surplus, missing := s.balanceLocked()
		if s.closed || missing == nil {
			s.filling = false
		}
		stop := !s.filling
		s.mu.Unlock()
		end(surplus)
		if stop {
			return
		}
		s.add(missing)
	}
}

// balanceLocked compares what stands ready with what may be wanted: for each of
// the recent kinds in turn one, until there are as many as there may be.
// Surplus spares are taken out. missing is nil if there are enough.
func (s *spares) balanceLocked() (surplus []*spare, missing *recipe) {
	want := make([]int, len(s.recent))
	for i := 0; len(want) > 0 && i < s.most; i++ {
		want[i%len(want)]++
	}
	s.ready = slices.DeleteFunc(s.ready, func(sp *spare) bool {
		i := slices.IndexFunc(s.recent, func(r recipe) bool { return reflect.DeepEqual(r.shape, sp.shape) })
		if i < 0 || want[i] == 0 {
			surplus = append(surplus, sp)
			return true
		}
		want[i]--
		return false
	})
	for i, n := range want {
		if n > 0 {
			r := s.recent[i]
			return surplus, &r
		}
	}
	return surplus, nil
}

// add makes one spare. A kind of which none can be made, or which has another
// shape by now, is forgotten: its next start is a cold one, and says why.
func (s *spares) add(r *recipe) {
	// Before the mounts are looked up, so that no change goes unseen.
	if s.table().changed() {
		s.drop()
	}
	ctx, cancel := context.WithTimeout(s.ctx, startTimeout)
	defer cancel()
	sp, err := s.native.standBy(ctx, r.spec)
	if err != nil && s.ctx.Err() == nil {
		s.log.Warn("no boundary could be made ready ahead of time", "err", err)
	}
	same := err == nil && reflect.DeepEqual(sp.shape, r.shape)
	s.mu.Lock()
	keep := same && !s.closed
	if keep {
		s.ready = append(s.ready, sp)
		s.toldLocked()
	}
	if !same {
		shape := r.shape
		s.recent = slices.DeleteFunc(s.recent, func(r recipe) bool { return reflect.DeepEqual(r.shape, shape) })
	}
	s.mu.Unlock()
	switch {
	case keep:
		go s.watch(sp)
	case err == nil:
		sp.close()
	}
}

// watch ends a spare that fell by itself.
func (s *spares) watch(sp *spare) {
	select {
	case <-sp.mux.Done():
	case <-sp.child.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.ready, sp)
	if i >= 0 {
		s.ready = slices.Delete(s.ready, i, i+1)
		s.toldLocked()
	}
	s.mu.Unlock()
	if i >= 0 {
		sp.close()
	}
}

// drop ends all spares and makes others.
func (s *spares) drop() {
	s.mu.Lock()
	old := s.dropLocked()
	s.mu.Unlock()
	end(old)
}

// dropLocked is drop without the end of what it takes out.
func (s *spares) dropLocked() []*spare {
	old := s.ready
	s.ready = nil
	if len(old) > 0 {
		s.planLocked()
		s.toldLocked()
	}
	return old
}

// close ends all spares for good, and returns when they are dead.
func (s *spares) close() {
	s.mu.Lock()
	old := s.ready
	s.ready, s.closed = nil, true
	s.toldLocked()
	s.mu.Unlock()
	s.stop()
	end(old)
	s.fills.Wait()
	if t := s.table(); t != nil {
		t.close()
	}
}

func (s *spares) table() *mountTable {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mounts
}

func end(list []*spare) {
	for _, sp := range list {
		sp.close()
	}
}

// count is how many stand ready.
func (s *spares) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready)
}

// toldLocked wakes who waits for a change of ready.
func (s *spares) toldLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}
