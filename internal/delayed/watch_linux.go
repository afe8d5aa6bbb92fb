package delayed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// Watch calls lost, once, when a held part of the folder was replaced, moved or
// removed on this machine, until stop is called.
//
// The kernel takes a mount away with the name it lies on: if the owner's own
// program replaces a held file (as "git config" does, and editors that save by
// renaming), the session can write the new one. The agent cannot bring that about,
// but could wait for it. So what is held is watched (inotify(7)), and the session
// has to end at once.
func Watch(root *os.File, held []Held, lost func(Held)) (stop func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch held files: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // the runtime waits for it
	w := &watch{root: root, held: held, events: events}
	folders := map[string]bool{}
	for _, h := range held {
		folders[path.Dir(h.Path)] = true
	}
	for dir := range folders {
		if err := w.add(dir); err != nil {
			events.Close()
			return nil, fmt.Errorf("watch the held files in %s: %w", Plain(dir), err)
		}
	}
	// What happened before the watch stood is seen now.
	if h, ok := w.missing(); ok {
		events.Close()
		return nil, fmt.Errorf("%s changed while starting", Plain(h.Path))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(lost)
	}()
	return sync.OnceFunc(func() {
		events.Close()
		<-done
	}), nil
}

type watch struct {
	root   *os.File
	held   []Held
	events *os.File
}

// add watches the names of one folder.
func (w *watch) add(dir string) error {
	pin, err := beneath.Pin(w.root, dir)
	if err != nil {
		return err
	}
	defer pin.Close()
	conn, err := w.events.SyscallConn()
	if err != nil {
		return err
	}
	const names = unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_CREATE | unix.IN_ONLYDIR
	var added error
	err = conn.Control(func(fd uintptr) {
		_, added = unix.InotifyAddWatch(int(fd), fmt.Sprintf("/proc/self/fd/%d", pin.Fd()), names)
	})
	return errors.Join(err, added)
}

// run looks at the held names whenever one of them is in an event. Which folder
// the event is about does not matter: looking costs little, and an agent that
// makes many events has them read, and nothing more.
func (w *watch) run(lost func(Held)) {
	names := map[string]bool{}
	for _, h := range w.held {
		names[path.Base(h.Path)] = true
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := w.events.Read(buf)
		if err != nil {
			return // it was closed
		}
		if !concerns(buf[:n], names) {
			continue
		}
		if h, ok := w.missing(); ok {
			lost(h)
			return
		}
	}
}

// concerns says whether events are about one of the names, or were too many to
// be kept.
func concerns(b []byte, names map[string]bool) bool {
	for len(b) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(b[4:])
		size := min(int(binary.NativeEndian.Uint32(b[12:])), len(b)-unix.SizeofInotifyEvent)
		name := b[unix.SizeofInotifyEvent:][:size]
		b = b[unix.SizeofInotifyEvent+size:]
		if mask&unix.IN_Q_OVERFLOW != 0 || names[unix.ByteSliceToString(name)] {
			return true
		}
	}
	return false
}

// missing gives a held part that is not where it was.
func (w *watch) missing() (Held, bool) {
	for _, h := range w.held {
		st, err := beneath.Stat(w.root, h.Path)
		if err != nil || !identity(&st).Same(h.ID) {
			return h, true
		}
	}
	return Held{}, false
}
