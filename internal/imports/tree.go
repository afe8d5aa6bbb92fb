package imports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// tempName is what a file is called until it is whole. One that a crash left is taken
// away by the next file in its folder.
const tempName = ".nanoclaw-import"

// tree is a folder of a group here. An agent may have been in it, and none runs now: the
// store is held by this process. So every step is taken from an open folder, follows no
// link, and makes nothing in place of what is there (I11).
type tree struct {
	root *os.File
	uid  int // whom it belongs to; 0: whoever we are
}

// openTree makes a folder below one of ours, and opens it.
func openTree(parent, name string, uid int, mode os.FileMode) (*tree, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	above, _, err := beneath.Root(parent)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	t := &tree{above, uid}
	if err := t.folder(name, mode); err != nil {
		return nil, err
	}
	root, err := beneath.Folder(above, name)
	return &tree{root, uid}, err
}

func (t *tree) close() { t.root.Close() }

// give gives a file or folder that we made to its owner.
func (t *tree) give(f *os.File) error {
	if t.uid == 0 {
		return nil
	}
	return f.Chown(t.uid, t.uid)
}

// folder makes a folder, unless there is one.
func (t *tree) folder(rel string, mode os.FileMode) error {
	parent, err := beneath.Folder(t.root, path.Dir(rel))
	if err != nil {
		return err
	}
	defer parent.Close()
	err = unix.Mkdirat(int(parent.Fd()), path.Base(rel), 0o700)
	if errors.Is(err, unix.EEXIST) {
		there, err := beneath.Folder(t.root, rel)
		if err != nil {
			return fmt.Errorf("%s: %s", rel, cannot(err))
		}
		return there.Close()
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: rel, Err: err}
	}
	made, err := beneath.Folder(t.root, rel)
	if err != nil {
		return err
	}
	defer made.Close()
	return errors.Join(made.Chmod(mode|0o700), t.give(made))
}

// placed says what became of a file.
type placed int

const (
	isNew   placed = iota
	isThere        // the same is there already
)

// errLeft refuses one file in words; the others go on.
type errLeft string

func (e errLeft) Error() string { return string(e) }

// put copies a file of the old installation to rel. What is there stays, but for a file
// whose whole text is ours.
func (t *tree) put(from *os.File, rel string, ours string, secrets []string) (placed, error) {
	st, err := regular(from)
	if err != nil {
		return 0, err
	}
	parent, err := beneath.Folder(t.root, path.Dir(rel))
	if err != nil {
		return 0, errLeft(cannot(err))
	}
	defer parent.Close()
	base, replace := path.Base(rel), false
	if _, err := beneath.Stat(parent, base); err == nil {
		same, first, err := t.compare(parent, base, from, ours)
		switch {
		case err != nil:
			return 0, errLeft(cannot(err))
		case same:
			return isThere, nil
		case !first:
			return 0, errLeft("there is another one here already")
		}
		replace = true
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	if err := t.temp(parent, from, st, secrets); err != nil {
		unix.Unlinkat(int(parent.Fd()), tempName, 0)
		return 0, err
	}
	return isNew, name(int(parent.Fd()), base, replace)
}

// name gives the file that is whole its name.
func name(dir int, base string, replace bool) error {
	if replace {
		return unix.Renameat(dir, tempName, dir, base)
	}
	err := unix.Linkat(dir, tempName, dir, base, 0) // fails if there is one
	return errors.Join(err, unix.Unlinkat(dir, tempName, 0))
}

// regular says what an open file of the old installation is now, whatever it was when
// it was looked at.
func regular(f *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, err
	}
	if st.Nlink != 1 || st.Size > maxCopied {
		return st, errLeft("it was changed while it was looked at")
	}
	return st, nil
}

// temp writes the copy under its first name.
func (t *tree) temp(parent, from *os.File, st unix.Stat_t, secrets []string) error {
	err := unix.Unlinkat(int(parent.Fd()), tempName, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	fd, err := unix.Openat(int(parent.Fd()), tempName, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: tempName, Err: err}
	}
	out := os.NewFile(uintptr(fd), tempName)
	defer out.Close()
	secret, err := findSecret(io.TeeReader(io.LimitReader(from, maxCopied), out), secrets)
	if secret {
		return errLeft("it holds a secret of .env, which no agent gets")
	}
	mode := os.FileMode(0o600)
	if st.Mode&0o100 != 0 {
		mode = 0o700
	}
	return errors.Join(err, out.Chmod(mode), t.give(out), out.Sync())
}

// compare says whether the file that is there is the same, or one of ours that nobody
// changed.
func (t *tree) compare(parent *os.File, base string, from *os.File, ours string) (same, first bool, err error) {
	there, err := beneath.File(parent, base)
	if err != nil {
		return false, false, err
	}
	defer there.Close()
	head, err := io.ReadAll(io.LimitReader(there, int64(len(ours))+1))
	if err != nil {
		return false, false, err
	}
	first = ours != "" && string(head) == ours
	if _, err := there.Seek(0, io.SeekStart); err != nil {
		return false, false, err
	}
	same, err = equal(io.LimitReader(there, maxCopied+1), io.LimitReader(from, maxCopied+1))
	return same, first, err
}

// equal compares what two readers give.
func equal(a, b io.Reader) (bool, error) {
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if errA != nil || errB != nil {
			return true, nil
		}
	}
}
