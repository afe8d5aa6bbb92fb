package boundary

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxDepth is how deep folders are followed. Each level holds a descriptor
	// open. A path that a program can name has 4096 bytes at most, so people's
	// folders end long before.
	maxDepth = 512
	// entryCost is what a file costs at least, and linkCost another name of it: no
	// file is free of charge, since a file system has only so many, and a walk
	// takes its time for each.
	entryCost = 4096
	linkCost  = 256
	// walkBatch is how many entries are looked at between two pauses.
	walkBatch = 256
)

// walker adds up what folders hold that somebody else may change meanwhile. It
// follows no link and goes through no name twice: each folder is opened from the
// one above it, and nothing else is opened at all.
type walker struct {
	most int64 // it stops when it found more
	// rest is called after a batch, with the time that it took.
	rest func(worked time.Duration) error

	bytes  int64
	hidden bool // a folder could not be read
	deep   bool // a folder is nested deeper than maxDepth

	devs    map[uint64]bool
	entries int
	since   time.Time
}

// full says that there is more than most.
func (w *walker) full() bool { return w.bytes > w.most }

// walk counts what is in the folders, and the files of theirs that were removed
// but are held open by the processes below init.
func (w *walker) walk(roots []*os.File, init int) error {
	w.devs, w.since = make(map[uint64]bool), time.Now()
	for _, root := range roots {
		if err := w.tree(root); err != nil || w.full() {
			return err
		}
	}
	return w.removed(init)
}

// level is a folder that is being read.
type level struct {
	*os.File
	names []string
}

// tree counts one folder.
func (w *walker) tree(root *os.File) error {
	var stack []level
	defer func() {
		for _, l := range stack {
			l.Close()
		}
	}()
	top, err := openFolder(int(root.Fd()), ".")
	if err != nil {
		return err
	}
	stack = append(stack, level{File: top})
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return err
	}
	w.devs[st.Dev] = true
	for len(stack) > 0 && !w.full() {
		l := &stack[len(stack)-1]
		if len(l.names) == 0 {
			if l.names, _ = l.Readdirnames(walkBatch); len(l.names) == 0 {
				l.Close()
				stack = stack[:len(stack)-1]
				continue
			}
		}
		name := l.names[len(l.names)-1]
		l.names = l.names[:len(l.names)-1]
		below, err := w.entry(int(l.Fd()), name, len(stack))
		if err != nil {
			return err
		}
		if below != nil {
			stack = append(stack, level{File: below})
		}
	}
	return nil
}

// entry counts one name, and opens it if it is a folder to go on with.
func (w *walker) entry(dir int, name string, depth int) (below *os.File, err error) {
	if err := w.pause(); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, nil // it was removed meanwhile
	}
	w.bytes += cost(&st)
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR || !w.devs[st.Dev]:
		return nil, nil
	case depth >= maxDepth:
		w.deep = true
		return nil, nil
	}
	below, err = openFolder(dir, name)
	switch {
	case err == nil:
		return below, nil
	case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE):
		return nil, err
	case errors.Is(err, unix.EACCES):
		w.hidden = true
	}
	return nil, nil // or it became something else meanwhile
}

// openFolder opens a folder, which must be one, in another.
func openFolder(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// cost is what a name takes from the disk. Of a file with several names each
// bears its part.
func cost(st *unix.Stat_t) int64 {
	bytes := max(st.Blocks*512, entryCost)
	if links := int64(st.Nlink); st.Mode&unix.S_IFMT == unix.S_IFREG && links > 1 {
		return max(bytes/links, linkCost)
	}
	return bytes
}

// pause lets others work after each batch.
func (w *walker) pause() error {
	if w.entries++; w.entries%walkBatch != 0 {
		return nil
	}
	err := w.rest(time.Since(w.since))
	w.since = time.Now()
	return err
}

// removed counts files without a name that a process still has open. They are
// asked of /proc, where a link leads to the open file itself and no path.
func (w *walker) removed(init int) error {
	type file struct{ dev, ino uint64 }
	seen := make(map[file]bool)
	for _, pid := range descendants(init) {
		dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
		f, err := os.Open(dir)
		if err != nil {
			continue // it ended
		}
		names, _ := f.Readdirnames(-1)
		f.Close()
		for _, name := range names {
			if err := w.pause(); err != nil {
				return err
			}
			var st unix.Stat_t
			if unix.Stat(dir+name, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 0 || !w.devs[st.Dev] {
				continue
			}
			if key := (file{st.Dev, st.Ino}); !seen[key] {
				seen[key] = true
				w.bytes += st.Blocks * 512
			}
		}
	}
	return nil
}
