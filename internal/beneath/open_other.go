//go:build !linux

package beneath

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lookup is reading, where there is no way to open for lookups alone.
const lookup = unix.O_RDONLY

// open opens one part after the other, each without following a link.
func open(root *os.File, rel string, flags uint64) (*os.File, error) {
	fail := func(err error) (*os.File, error) { return nil, &os.PathError{Op: "open", Path: rel, Err: err} }
	if path.IsAbs(rel) || path.Clean(rel) != rel || strings.HasPrefix(rel, "..") {
		return fail(unix.EXDEV)
	}
	var top unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &top); err != nil {
		return fail(err)
	}
	at, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	parts := strings.Split(rel, "/")
	for i, part := range parts {
		how := unix.O_RDONLY | unix.O_DIRECTORY
		if i == len(parts)-1 {
			how = int(flags)
		}
		next, err := unix.Openat(at, part, how|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		unix.Close(at)
		if err != nil {
			return fail(err)
		}
		at = next
		var st unix.Stat_t
		if err := unix.Fstat(at, &st); err == nil && st.Dev != top.Dev {
			err = unix.EXDEV
		}
		if err != nil {
			unix.Close(at)
			return fail(err)
		}
	}
	return os.NewFile(uintptr(at), rel), nil
}

// where resolves the path once more, and makes sure that it is the same folder.
func where(f *os.File) (string, error) {
	real, err := filepath.EvalSymlinks(f.Name())
	if err != nil {
		return "", err
	}
	a, err := f.Stat()
	if err != nil {
		return "", err
	}
	b, err := os.Lstat(real)
	if err != nil {
		return "", err
	}
	if !os.SameFile(a, b) {
		return "", &os.PathError{Op: "open", Path: f.Name(), Err: errors.New("it changes")}
	}
	return real, nil
}
