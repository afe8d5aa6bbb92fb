// Package beneath opens what lies in a folder that an agent may write to, and
// nothing else (I11).
//
// Everything in such a folder is the agent's: its names, its links, and what
// they are a moment later. So nothing is looked up by a path of the machine.
// Each lookup begins at an open folder, follows no symbolic link in any part,
// stays on the file system and within the folder, and waits for nobody (a FIFO
// would hold up who opens it). On Linux the kernel holds these rules in one call
// (openat2(2)); elsewhere each part is opened by itself.
//
// It leaves to its users what they make of an answer. A folder that is swapped
// after it was opened stays the folder that was opened.
package beneath

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Folder opens a folder by its path relative to root, "." for root itself, to
// read its names and to look things up in it.
//
// The error wraps unix.EXDEV where another file system is mounted on the way,
// and unix.ELOOP or unix.ENOTDIR where a part is no folder, which a link is not.
func Folder(root *os.File, rel string) (*os.File, error) {
	return open(root, rel, unix.O_RDONLY|unix.O_DIRECTORY)
}

// File opens a regular file for reading. Anything else is refused without being
// waited for.
func File(root *os.File, rel string) (*os.File, error) {
	f, err := open(root, rel, unix.O_RDONLY|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, &os.PathError{Op: "open", Path: rel, Err: errors.New("not a regular file")}
	}
	return f, nil
}

// Stat tells about a name, and not about what it leads to if it is a link.
func Stat(root *os.File, rel string) (unix.Stat_t, error) {
	var st unix.Stat_t
	dir, err := Parent(root, rel)
	if err != nil {
		return st, err
	}
	defer dir.Close()
	return st, unix.Fstatat(int(dir.Fd()), path.Base(rel), &st, unix.AT_SYMLINK_NOFOLLOW)
}

// Parent opens the folder that holds rel, for lookups alone where the system
// has that: reading it may not be permitted.
func Parent(root *os.File, rel string) (*os.File, error) {
	return open(root, path.Dir(rel), lookup|unix.O_DIRECTORY)
}

// Pin opens whatever a name stands for, but for a link, without opening what it
// does.
func Pin(root *os.File, rel string) (*os.File, error) { return open(root, rel, lookup) }

// Root opens a folder by its path on this machine, which is the owner's word and
// may lead through links of theirs, and tells where it really is.
func Root(p string) (root *os.File, real string, err error) {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", &os.PathError{Op: "open", Path: p, Err: err}
	}
	root = os.NewFile(uintptr(fd), p)
	if real, err = where(root); err != nil {
		root.Close()
		return nil, "", err
	}
	return root, real, nil
}
