package filewatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Watcher tells of events.
type Watcher struct {
	// Events has a value after something happened. Several events may be one value.
	// It is closed when the watcher is.
	Events <-chan struct{}

	f *os.File // the inotify instance

	mu    sync.Mutex
	files []string
	names map[int32]map[string]bool // by watch: the names in that folder
}

// mask is what counts: everything after which a name stands for something else,
// and a folder that is taken away or opened to others.
const mask = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF

// New watches files by their absolute paths. They need not exist, their folders do
// or are looked at again with Renew. The error is for who cannot go without events:
// inotify instances are few for a user.
func New(files ...string) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	events := make(chan struct{}, 1)
	w := &Watcher{Events: events, f: os.NewFile(uintptr(fd), "inotify"), files: files}
	if err := w.Renew(); err != nil {
		w.f.Close()
		return nil, err
	}
	go w.read(events)
	return w, nil
}

// Close ends it.
func (w *Watcher) Close() error { return w.f.Close() }

// Renew looks for the folders anew: another may stand by the name of one.
func (w *Watcher) Renew() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = map[int32]map[string]bool{}
	for _, file := range w.files {
		// The folder tells who takes the name, the file what is done to it by another.
		if err := w.add(filepath.Dir(file), unix.IN_ONLYDIR, "", filepath.Base(file)); err != nil {
			return err
		}
		if err := w.add(file, unix.IN_DONT_FOLLOW, ""); err != nil {
			return err
		}
	}
	return nil
}

// add watches one path for events with these names; "" is itself. What is not there
// is told by the loss of its folder, and by who looks.
func (w *Watcher) add(path string, flags uint32, names ...string) error {
	raw, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var id int
	var failed error
	err = raw.Control(func(fd uintptr) { id, failed = unix.InotifyAddWatch(int(fd), path, mask|flags) })
	if err = errors.Join(err, failed); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	if w.names[int32(id)] == nil {
		w.names[int32(id)] = map[string]bool{}
	}
	for _, name := range names {
		w.names[int32(id)][name] = true
	}
	return nil
}

// read turns events into hints until the watcher is closed.
func (w *Watcher) read(events chan<- struct{}) {
	defer close(events)
	buf := make([]byte, 16<<10)
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			return
		}
		if w.ours(buf[:n]) {
			select {
			case events <- struct{}{}:
			default:
			}
		}
	}
}

// ours says whether one of the events is about a file of ours. What an event says
// beyond its name is not looked at.
func (w *Watcher) ours(buf []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(buf) >= unix.SizeofInotifyEvent {
		id := int32(binary.NativeEndian.Uint32(buf))
		what := binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		if end > len(buf) {
			return true
		}
		name, _, _ := bytes.Cut(buf[unix.SizeofInotifyEvent:end], []byte{0})
		if what&unix.IN_Q_OVERFLOW != 0 || w.names[id][string(name)] {
			return true
		}
		buf = buf[end:]
	}
	return false
}
