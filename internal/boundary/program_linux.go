package boundary

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare gives the init's program as a descriptor to run it from, and its path
// if it is a file and not in memory.
func prepare(opts Options) (program *os.File, path string, err error) {
	program, err = sealed(opts.Init)
	if !errors.Is(err, unix.EACCES) || opts.Dir == "" {
		return program, "", err
	}
	path = filepath.Join(opts.Dir, "nanoclaw-init")
	if err := replace(path, opts.Init); err != nil {
		return nil, "", err
	}
	program, err = os.Open(path)
	return program, path, err
}

// sealed puts a program into memory that nobody can change any more, and gives
// a descriptor to run it from.
func sealed(program io.ReadSeeker) (*os.File, error) {
	// No other thread may fork while a writable descriptor exists: its child
	// would hold it for a moment, and a file open for writing cannot be run.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := memfd()
	if err != nil {
		return nil, err
	}
	w := os.NewFile(uintptr(fd), "nanoclaw-init")
	defer w.Close()
	if err := copyProgram(w, program); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal the init: %w", err)
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(fd))
}

func memfd() (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("nanoclaw-init", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all can be run
		fd, err = unix.MemfdCreate("nanoclaw-init", flags)
	}
	if err != nil {
		return -1, fmt.Errorf("make a file in memory: %w", err)
	}
	return fd, nil
}
