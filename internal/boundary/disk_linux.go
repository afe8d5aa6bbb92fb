package boundary

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/grant"
)

// Few file systems have quotas, and fewer machines have them switched on. So
// the folders of a group are counted by walking them:
//
//   - once when a session starts, and now and then after that;
//   - at once when the disk has lost so much since the last walk that the group
//     may have come to its limit. Asking for that is one system call a second.
//
// A walk takes a tenth of one processor, or half of one when it is urgent, and
// there is one at a time, so that a group with a million files costs the disk
// and the others little. What a group that fights the counting can win are some
// seconds; below diskReserve every session that took from the disk is ended, so
// that the host can go on to write its record.
const (
	diskInterval = time.Second
	walkInterval = time.Minute
	walkShare    = 10
	urgentShare  = 2
	// diskGrace is what a session may add whose group had too much before: to
	// clean up takes a little room too.
	diskGrace = 64 << 20
	// diskReserve is what sessions leave free.
	diskReserve = 256 << 20
)

// disks makes the watches of all sessions.
type disks struct {
	turn chan struct{} // one walk at a time
	// free is what a file system has left for ordinary users, in bytes.
	free    func(*os.File) (int64, error)
	reserve int64
	every   time.Duration // between walks for which there is no reason
}

func newDisks() *disks {
	return &disks{turn: make(chan struct{}, 1), reserve: diskReserve, every: walkInterval, free: func(dir *os.File) (int64, error) {
		var st unix.Statfs_t
		err := unix.Fstatfs(int(dir.Fd()), &st)
		return int64(st.Bavail) * st.Bsize, err
	}}
}

// disk watches what the workspace and the home of a group hold.
type disk struct {
	disks
	limit int64
	log   *slog.Logger
	roots []*os.File
	err   error // why nothing is watched

	found   atomic.Pointer[LimitError]
	crowded atomic.Bool // there was too much before the session
	quit    chan struct{}
	done    chan struct{}

	// What follows belongs to the goroutine of run.
	init           int
	allowed        int64 // 0: not walked yet
	blind          bool  // there is so much that it is not worth walking
	atStart, atEnd int64 // free bytes at the start, and at the last walk
	used           int64 // at the last walk
	walked         time.Time
	cost           time.Duration
}

// watch prepares the watch of a session; nil if its grant has no limit. Its
// folders are looked up by their paths once more: they lie in a folder of ours,
// and what is found out about them is how large they are.
func (ds *disks) watch(g grant.Grant, log *slog.Logger) *disk {
	if g.Limits.Disk <= 0 {
		return nil
	}
	d := &disk{disks: *ds, limit: g.Limits.Disk, log: log, quit: make(chan struct{}), done: make(chan struct{})}
	for _, m := range g.Mounts {
		if m.Target != grant.Workspace && m.Target != grant.Home {
			continue
		}
		root, err := os.OpenFile(m.Source, unix.O_DIRECTORY|unix.O_NOFOLLOW|os.O_RDONLY, 0)
		if err != nil {
			d.err = err
			continue
		}
		d.roots = append(d.roots, root)
	}
	if d.err == nil {
		d.atStart, _, d.err = d.room()
	}
	return d
}

// start watches until stop.
func (d *disk) start(init int) {
	d.init = init
	go func() {
		defer close(d.done)
		if d.err == nil && len(d.roots) > 0 {
			d.run()
		}
	}()
}

// stop ends the watch.
func (d *disk) stop() {
	if d == nil {
		return
	}
	close(d.quit)
	if d.init != 0 {
		<-d.done
	}
	for _, r := range d.roots {
		r.Close()
	}
}

// words adds what holds, and what does not.
func (d *disk) words(layers, missing []string) ([]string, []string) {
	switch {
	case d == nil || len(d.roots) == 0 && d.err == nil:
	case d.err != nil:
		missing = append(missing, fmt.Sprintf("a limit on the disk of workspace and home: %v", d.err))
	default:
		layers = append(layers, fmt.Sprintf("disk %s: watched every %v", inWords(d.limit), diskInterval))
	}
	return layers, missing
}

// over says whether the folders hold too much.
func (d *disk) over() *LimitError {
	if d == nil {
		return nil
	}
	return d.found.Load()
}

// reached says that the folders were full before the session began.
func (d *disk) reached() []string {
	if d == nil || !d.crowded.Load() {
		return nil
	}
	return []string{fmt.Sprintf("the group's workspace and home hold more than %s (limits.disk); hardly anything can be added until files are removed", inWords(d.limit))}
}

// room is what the disks of the folders have free: all of them together, and
// the one with the least.
func (d *disk) room() (all, least int64, err error) {
	least = math.MaxInt64
	seen := make(map[uint64]bool)
	for _, root := range d.roots {
		var st unix.Stat_t
		if err := unix.Fstat(int(root.Fd()), &st); err != nil {
			return 0, 0, err
		}
		free, err := d.free(root)
		if err != nil {
			return 0, 0, err
		}
		if least = min(least, free); !seen[st.Dev] {
			seen[st.Dev] = true
			all += free
		}
	}
	return all, least, nil
}

// run looks until the session used too much or is over.
func (d *disk) run() {
	for wait := time.Duration(0); ; wait = diskInterval {
		select {
		case <-d.quit:
			return
		case <-time.After(wait):
		}
		err := d.look()
		if over, ok := errors.AsType[*LimitError](err); ok {
			d.found.Store(over)
			return
		}
		if err != nil && !errors.Is(err, errQuit) {
			d.log.Warn("the disk that a group uses cannot be looked at", "err", err)
		}
	}
}

// errQuit is the end of a walk whose session is over.
var errQuit = errors.New("the session is over")

// look judges what is known, and walks if that is not enough. A *LimitError is
// the verdict.
func (d *disk) look() error {
	free, least, err := d.room()
	if err != nil {
		return err
	}
	grown := d.atStart - free
	switch {
	case least < d.reserve && grown > diskGrace:
		return &LimitError{DiskReserve, d.reserve}
	case d.blind && grown > diskGrace:
		return &LimitError{Disk, d.limit}
	case d.blind:
		return nil
	}
	urgent := d.used+max(0, d.atEnd-free) > d.allowed
	if d.allowed == 0 {
		urgent = grown > d.limit
	} else if !urgent && time.Since(d.walked) < max(d.every, walkShare*d.cost) {
		return nil
	}
	return d.walk(urgent)
}

// walk counts, and judges.
func (d *disk) walk(urgent bool) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-d.quit:
		return errQuit
	}
	w := &walker{most: d.allowed, rest: d.rest(urgent)}
	if d.allowed == 0 {
		w.most = 4 * d.limit
	}
	began := time.Now()
	err := w.walk(d.roots, d.init)
	free, _, e := d.room()
	if err = errors.Join(err, e); err != nil {
		return err
	}
	if w.hidden { // nobody knows what is in there, but what has gone since
		w.bytes += max(0, d.atStart-free)
	}
	d.used, d.atEnd, d.walked, d.cost = w.bytes, free, time.Now(), time.Since(began)
	if d.allowed == 0 {
		d.settle(w)
	}
	switch {
	case w.deep:
		return &LimitError{DiskDepth, maxDepth}
	case w.bytes > d.allowed:
		return &LimitError{Disk, d.limit}
	}
	return nil
}

// settle decides, after the first walk, how much the folders may hold: the
// limit, or a little more than they did when the session began, so that people
// and agents can clean up.
func (d *disk) settle(first *walker) {
	before := first.bytes - max(0, d.atStart-d.atEnd)
	d.allowed = d.limit
	if before <= d.limit {
		return
	}
	d.crowded.Store(true)
	d.log.Warn("a group has more on the disk than it may", "limit", inWords(d.limit))
	if d.allowed = before + diskGrace; first.full() {
		d.allowed, d.blind = math.MaxInt64, true
	}
}

// rest gives the pauses of a walk.
func (d *disk) rest(urgent bool) func(worked time.Duration) error {
	share := time.Duration(walkShare)
	if urgent {
		share = urgentShare
	}
	return func(worked time.Duration) error {
		select {
		case <-d.quit:
			return errQuit
		case <-time.After((share - 1) * worked):
			return nil
		}
	}
}
