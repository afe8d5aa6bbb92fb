package confine

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// inRoot opens a path of the new root without following any link. An earlier
// mount may hold what an agent made, and a link in there must not choose where
// the next mount goes.
func (r *Root) inRoot(rel string, flags uint64) (int, error) {
	if rel == "" {
		rel = "."
	}
	return unix.Openat2(r.fd, rel, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// parent opens the folder that shall hold p, made if need be, and gives p's
// last element.
func (r *Root) parent(p string) (dir int, name string, err error) {
	rel, err := clean(p)
	if err != nil {
		return -1, "", err
	}
	dir, err = r.mkdirAll(path.Dir(rel))
	return dir, path.Base(rel), err
}

// target opens the place where m goes. It is made where it lies on the root's
// own tmpfs; inside another mount it must exist, since making it would leave
// litter in the owner's folder.
func (r *Root) target(m wire.Mount) (int, error) {
	rel, err := clean(m.Target)
	if err != nil {
		return -1, err
	}
	if !m.File {
		return r.mkdirAll(rel)
	}
	fd, err := r.inRoot(rel, unix.O_PATH)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	dir, err := r.mkdirAll(path.Dir(rel))
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	if err := r.ours(dir, rel); err != nil {
		return -1, err
	}
	if err := writeFile(dir, path.Base(rel), nil); err != nil {
		return -1, err
	}
	return r.inRoot(rel, unix.O_PATH)
}

// mkdirAll opens a folder of the new root, making what is missing.
func (r *Root) mkdirAll(rel string) (int, error) {
	fd, err := r.inRoot(rel, unix.O_PATH|unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	dir, err := r.mkdirAll(path.Dir(rel))
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	if err := r.ours(dir, rel); err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(dir, path.Base(rel), 0o755); err != nil {
		return -1, fmt.Errorf("make /%s: %w", rel, err)
	}
	return r.inRoot(rel, unix.O_PATH|unix.O_DIRECTORY)
}

// ours fails unless dir lies on the new root's own tmpfs, and not in a folder
// of the host.
func (r *Root) ours(dir int, rel string) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	if st.Dev != r.own {
		return fmt.Errorf("/%s does not exist in the folder mounted there", rel)
	}
	return nil
}

// clean gives an absolute path as one relative to the root. Paths that are not
// in their shortest form are a mistake of the host.
func clean(p string) (string, error) {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("%q is not a clean absolute path", p)
	}
	return p[1:], nil
}
