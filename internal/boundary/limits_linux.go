package boundary

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
)

// limits are the bounds of one session.
type limits struct {
	memory, processes int64
	group             *cgroup // nil: none
	why               string  // there is no cgroup for memory
	log               *slog.Logger
	entered           chan struct{} // closed when enter is done
	watched           atomic.Int64  // the init whose descendants are watched; 0: none
	ended             atomic.Bool
}

var _ bounds = (*limits)(nil)

// bound prepares the bounds of a session that is about to start. It always
// succeeds: what cannot be bounded one way is bounded the next best, and words
// says so.
func (n *Native) bound(spec Spec) *limits {
	l := &limits{
		memory: spec.Grant.Limits.Memory, processes: int64(spec.Grant.Limits.Processes),
		log: spec.Log, why: n.cgroups.why, entered: make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if n.cgroups.version == 0 {
		return l
	}
	session := string(spec.Session)
	if session == "" || strings.Contains(session, "/") {
		session = newToken()
	}
	group, err := n.cgroups.make(os.Getpid(), session, l.memory, pidsMax(spec.Grant.Limits))
	if err != nil {
		l.failed(err)
		return l
	}
	l.group = group
	return l
}

// pidsMax is the limit on processes with what the init itself needs.
func pidsMax(g grant.Limits) int {
	if g.Processes <= 0 {
		return 0
	}
	return g.Processes + confine.Spare
}

// failed notes why there is no cgroup after all.
func (l *limits) failed(err error) {
	l.why = err.Error()
	l.log.Warn("a session cannot have a cgroup of its own", "err", err)
}

// abandon takes away the bounds of a session of which nothing was started.
func (l *limits) abandon() {
	close(l.entered)
	l.free()
}

// enter puts a new init into its bounds, beside the caller. words waits for it,
// so a session that could say what bounds it is inside.
func (l *limits) enter(init int) {
	go func() {
		defer close(l.entered)
		if l.group != nil {
			if err := l.group.enter(init); err != nil {
				l.failed(err)
				l.group.memory, l.group.pids = "", ""
			}
		}
		if l.memory > 0 && !l.byKernel() && watchable() {
			l.watched.Store(int64(init))
		}
	}()
}

// byKernel says whether the kernel holds the memory limit.
func (l *limits) byKernel() bool { return l.group != nil && l.group.memory != "" }

// words implements bounds.
func (l *limits) words() (layers, missing []string) {
	<-l.entered
	memory := "memory " + inWords(l.memory)
	switch {
	case l.memory <= 0:
	case l.byKernel():
		layers = append(layers, fmt.Sprintf("%s: cgroup v%d", memory, l.group.version))
	case l.watched.Load() != 0:
		layers = append(layers, fmt.Sprintf("%s: watched every %d ms (%s)", memory, lookInterval.Milliseconds(), l.why))
	default:
		missing = append(missing, "a limit on memory: no cgroup, and this kernel does not list children of processes")
	}
	if l.group != nil && l.group.pids != "" {
		layers = append(layers, fmt.Sprintf("%d processes: cgroup v%d", l.processes, l.group.version))
	}
	return layers, missing
}

// over implements bounds.
func (l *limits) over() *LimitError {
	select {
	case <-l.entered:
	default:
		return nil
	}
	if l.ended.Load() {
		return nil
	}
	init := int(l.watched.Load())
	if l.byKernel() && l.group.exceeded() || init != 0 && memoryOf(init, l.memory) > l.memory {
		return &LimitError{Memory: l.memory}
	}
	return nil
}

// free implements bounds. The kernel may take a moment to see that a cgroup of
// dead processes is empty.
func (l *limits) free() {
	<-l.entered
	l.ended.Store(true)
	if l.group == nil {
		return
	}
	var err error
	for wait := time.Millisecond; wait < time.Second; wait *= 2 {
		if err = l.group.remove(); err == nil {
			return
		}
		time.Sleep(wait)
	}
	l.log.Warn("a session's cgroup could not be removed; the next start does it", "err", err)
}
