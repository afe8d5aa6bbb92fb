package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LockFile is held locked in the data folder by the one process that writes.
const LockFile = "nanoclaw.lock"

// LockedError says that another process holds the data folder.
type LockedError struct {
	Dir     string
	PID     int // 0 if the file does not tell
	Since   string
	Command string
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
		if e.Command != "" {
			who += fmt.Sprintf(" (%s, since %s)", e.Command, e.Since)
		}
	}
	stop := "stop it first"
	if e.PID != 0 {
		stop = fmt.Sprintf("stop it first with: kill %d", e.PID)
	}
	return fmt.Sprintf("%s is in use by %s: let it answer (nanoclaw chat and nanoclaw send talk to it), or %s", e.Dir, who, stop)
}

// instanceLock is the lock of a data folder. The kernel drops it when the
// process ends, however it ends, so there are no stale locks to clean up; what
// the file says is only for people.
type instanceLock struct{ f *os.File }

func lockDir(dir string, now time.Time) (*instanceLock, error) {
	path := filepath.Join(dir, LockFile)
	// O_NOFOLLOW: a link here could only have been put by somebody else.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		return nil, readHolder(dir, f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w: the data folder must be on a file system that can lock files", path, err)
	}
	text := fmt.Sprintf("%d\n%s\n%s\n", os.Getpid(), now.Format(time.RFC3339), command())
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &instanceLock{f}, nil
}

// command is the program and its verb; further arguments may be private.
func command() string {
	words := []string{filepath.Base(os.Args[0])}
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		words = append(words, os.Args[1])
	}
	return strings.ReplaceAll(strings.Join(words, " "), "\n", " ")
}

func readHolder(dir string, f *os.File) error {
	e := &LockedError{Dir: dir}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return e
	}
	lines := strings.Split(string(b), "\n")
	if pid, err := strconv.Atoi(lines[0]); err == nil && pid > 0 && len(lines) >= 3 {
		e.PID, e.Since, e.Command = pid, lines[1], lines[2]
	}
	return e
}

// release gives the folder free. The file stays: removing it would let two
// processes lock two files of the same name.
func (l *instanceLock) release() error {
	_ = l.f.Truncate(0) // only what people would read; the lock is what counts
	return l.f.Close()
}
