package boundary

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
)

// limits are the bounds of one session.
type limits struct {
	grant.Limits
	group   *cgroup // nil: none
	why     string  // there is no cgroup for memory
	init    int     // set when entered is closed; 0: none
	disk    *disk   // nil: not watched
	log     *slog.Logger
	entered chan struct{} // closed when enter is done
	watched atomic.Int64  // the init whose descendants are watched; 0: none
	clock   clock         // what the watched have used of processors
	crowded atomic.Bool   // there were as many processes as may be
	ended   atomic.Bool
}

var _ bounds = (*limits)(nil)

// niceness is how much less urgent sessions are than other programs, where the
// kernel weighs processes and not cgroups: a third of their weight (sched(7)).
const niceness = 5

// bound prepares the bounds of a session that is about to start. It always
// succeeds: what cannot be bounded one way is bounded the next best, and words
// says so.
func (n *Native) bound(spec Spec) *limits {
	l := &limits{Limits: spec.Grant.Limits, log: spec.Log, why: n.cgroups.why, entered: make(chan struct{})}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.disk = n.disks.watch(spec.Grant, l.log)
	if n.cgroups.version == 0 {
		return l
	}
	if err := n.sweeper.start(n.program, &n.cgroups); err != nil {
		l.log.Warn("if we are killed, empty cgroups stay until the next start", "err", err)
	}
	session := string(spec.Session)
	if session == "" || strings.Contains(session, "/") {
		session = newToken()
	}
	group, err := n.cgroups.make(session, cgroupLimits{memory: l.Memory, processes: pidsMax(l.Limits), cpus: l.CPUs})
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

// take makes the bounds of an init that stood ready those of a session. It has
// entered them, and the session has the limits that they were made of; what is
// left to watch are the session's own folders.
func (l *limits) take(ds *disks, spec Spec) {
	if spec.Log != nil {
		l.log = spec.Log
	}
	l.Limits = spec.Grant.Limits
	if l.disk = ds.watch(spec.Grant, l.log); l.disk != nil {
		l.disk.start(l.init)
	}
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
		l.init = init
		if l.group != nil {
			if err := l.group.enter(init); err != nil {
				l.failed(err)
				l.group.lost()
			}
		}
		unheld := l.Memory > 0 && !l.byKernel() || l.CPUTime > 0 && !l.counted()
		if unheld && watchable() {
			l.watched.Store(int64(init))
		}
		if l.disk != nil {
			l.disk.start(init)
		}
	}()
}

// byKernel says whether the kernel holds the memory limit.
func (l *limits) byKernel() bool { return l.group != nil && l.group.memory != "" }

// counted says whether the kernel counts the session's processor time.
func (l *limits) counted() bool { return l.group != nil && l.group.counts() }

// words implements bounds.
func (l *limits) words() (layers, missing []string) {
	<-l.entered
	version, watched := 0, l.watched.Load() != 0
	if l.group != nil {
		version = l.group.version
	}
	add := func(bound bool, what, lack string, byKernel bool) {
		switch {
		case !bound:
		case byKernel:
			layers = append(layers, fmt.Sprintf("%s: cgroup v%d", what, version))
		case watched:
			layers = append(layers, fmt.Sprintf("%s: watched every %d ms (%s)", what, lookInterval.Milliseconds(), l.why))
		default:
			missing = append(missing, lack+": no cgroup, and this kernel does not list children of processes")
		}
	}
	add(l.Memory > 0, "memory "+inWords(l.Memory), "a limit on memory", l.byKernel())
	add(l.CPUTime > 0, "processor time "+l.CPUTime.String(), "a limit on processor time", l.counted())
	if l.CPUs > 0 {
		if l.group != nil && l.group.cpus > 0 {
			layers = append(layers, fmt.Sprintf("%d processors: cgroup v%d", l.CPUs, version))
		} else {
			missing = append(missing, fmt.Sprintf("the limit of %d processors: no cgroup for them", l.CPUs))
		}
	}
	layers = append(layers, l.yield()...)
	if l.group != nil && l.group.pids != "" {
		layers = append(layers, fmt.Sprintf("%d processes: cgroup v%d", l.Processes, version))
	}
	return l.disk.words(layers, missing)
}

// yield makes the session less urgent than other programs, now that it stands: a
// start is waited for.
func (l *limits) yield() []string {
	if l.group != nil && l.group.yield() {
		return []string{fmt.Sprintf("less urgent than other programs: cgroup v%d", l.group.version)}
	}
	// The init leads a process group of which it is all. So this reaches each of
	// its threads, and what they start inherits it.
	if l.init == 0 || unix.Setpriority(unix.PRIO_PGRP, l.init, niceness) != nil {
		return nil
	}
	return []string{fmt.Sprintf("less urgent than other programs: nice %d", niceness)}
}

// yieldWithin makes a second init less urgent, which is in a process group of its
// own and was there before yield. It gives the layers, without that one if it
// does not hold.
func yieldWithin(init int, layers []string) []string {
	nice := fmt.Sprintf("less urgent than other programs: nice %d", niceness)
	group, err := unix.Getpgid(init)
	if !slices.Contains(layers, nice) || err == nil && unix.Setpriority(unix.PRIO_PGRP, group, niceness) == nil {
		return layers
	}
	return slices.DeleteFunc(layers, func(l string) bool { return l == nice })
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
	if l.byKernel() && l.group.exceeded() || !l.byKernel() && init != 0 && l.Memory > 0 && memoryOf(init, l.Memory) > l.Memory {
		return &LimitError{Memory, l.Memory}
	}
	if l.CPUTime > 0 && l.cpuTime(init) > l.CPUTime {
		return &LimitError{CPUTime, int64(l.CPUTime)}
	}
	if !l.crowded.Load() {
		l.reached() // kernels that keep no peak must be asked now and then
	}
	return l.disk.over()
}

// cpuTime is the processor time that the session has used.
func (l *limits) cpuTime(watched int) time.Duration {
	switch {
	case l.counted():
		return l.group.cpuTime()
	case watched != 0:
		return l.clock.read(watched)
	}
	return 0
}

// reached implements bounds.
func (l *limits) reached() (words []string) {
	if l.group != nil && l.group.crowded(int64(l.Processes)) {
		l.crowded.Store(true)
	}
	if l.crowded.Load() {
		words = append(words, fmt.Sprintf("it had %d processes, and more were refused (limits.processes)", l.Processes))
	}
	return append(words, l.disk.reached()...)
}

// free implements bounds. The kernel may take a moment to see that a cgroup of
// dead processes is empty.
func (l *limits) free() {
	<-l.entered
	l.reached() // while there is a cgroup to ask
	l.ended.Store(true)
	l.disk.stop()
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
