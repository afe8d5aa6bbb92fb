package imports

import (
	"bytes"
	"errors"
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
	root   *os.File
	uid    int         // whom it belongs to; 0: whoever we are
	mode   os.FileMode // of its folders, and as far as they are for all so are files
	theirs bool        // the root belongs to uid too, and not to us
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
	t := &tree{above, uid, mode, false}
	if err := t.folder(name); err != nil {
		return nil, err
	}
	root, err := beneath.Folder(above, name)
	return &tree{root, uid, mode, true}, err
}

func (t *tree) close() { t.root.Close() }

// within does something in the folder that holds rel, which is ours meanwhile: a root
// that kept few of its rights can give files away, and not write where only another
// may. After a crash the next file in the folder gives it back.
func (t *tree) within(rel string, do func(parent *os.File) error) error {
	parent, err := beneath.Folder(t.root, path.Dir(rel))
	if err != nil {
		return errLeft(cannot(err))
	}
	defer parent.Close()
	if t.uid == 0 || !t.theirs {
		return do(parent)
	}
	if err := parent.Chown(os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	err = do(parent)
	if back := t.give(parent); back != nil {
		return back // whatever the file met: the agent could not use its own folder
	}
	return err
}

// give gives a file or folder that we made to its owner.
func (t *tree) give(f *os.File) error {
	if t.uid == 0 {
		return nil
	}
	return f.Chown(t.uid, t.uid)
}

// folder makes a folder, unless there is one.
func (t *tree) folder(rel string) error {
	return t.within(rel, func(parent *os.File) error {
		base := path.Base(rel)
		err := unix.Mkdirat(int(parent.Fd()), base, 0o700)
		is := errors.Is(err, unix.EEXIST)
		if err != nil && !is {
			return &os.PathError{Op: "mkdir", Path: rel, Err: err}
		}
		dir, err := beneath.Folder(parent, base)
		if err != nil {
			return errLeft(cannot(err))
		}
		defer dir.Close()
		if is {
			return nil
		}
		return errors.Join(dir.Chmod(t.mode), t.give(dir))
	})
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
// whose whole text is first, with which ours begin.
func (t *tree) put(from *os.File, rel, first string, secrets []string) (what placed, err error) {
	st, err := regular(from)
	if err != nil {
		return 0, err
	}
	err = t.within(rel, func(parent *os.File) error {
		base, replace := path.Base(rel), false
		if _, err := beneath.Stat(parent, base); err == nil {
			same, ours, err := t.compare(parent, base, from, first)
			switch {
			case err != nil:
				return errLeft(cannot(err))
			case same:
				what = isThere
				return nil
			case !ours:
				return errLeft("there is another one here already")
			}
			replace = true
		}
		if _, err := from.Seek(0, io.SeekStart); err != nil {
			return err
		}
		out, err := t.temp(parent, from, st, secrets)
		if err != nil {
			return err
		}
		defer out.Close()
		// It is given away last: the kernel lets nobody name a file that is another's.
		return errors.Join(name(int(parent.Fd()), base, replace), t.give(out))
	})
	return what, err
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
func (t *tree) temp(parent, from *os.File, st unix.Stat_t, secrets []string) (*os.File, error) {
	err := unix.Unlinkat(int(parent.Fd()), tempName, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	fd, err := unix.Openat(int(parent.Fd()), tempName, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: tempName, Err: err}
	}
	out := os.NewFile(uintptr(fd), tempName)
	secret, err := findSecret(io.TeeReader(io.LimitReader(from, maxCopied), out), secrets)
	if secret {
		err = errLeft("it holds a secret of .env, which no agent gets")
	}
	mode := t.mode &^ 0o111
	if st.Mode&0o100 != 0 {
		mode = t.mode
	}
	if err == nil {
		err = errors.Join(out.Chmod(mode), out.Sync())
	}
	if err != nil {
		return nil, errors.Join(err, out.Close(), unix.Unlinkat(int(parent.Fd()), tempName, 0))
	}
	return out, nil
}

// compare says whether the file that is there is the same, or one of ours that nobody
// changed.
func (t *tree) compare(parent *os.File, base string, from *os.File, first string) (same, ours bool, err error) {
	there, err := beneath.File(parent, base)
	if err != nil {
		return false, false, err
	}
	defer there.Close()
	head, err := io.ReadAll(io.LimitReader(there, int64(len(first))+1))
	if err != nil {
		return false, false, err
	}
	ours = first != "" && string(head) == first
	if _, err := there.Seek(0, io.SeekStart); err != nil {
		return false, false, err
	}
	same, err = equal(io.LimitReader(there, maxCopied+1), io.LimitReader(from, maxCopied+1))
	if err == nil && same {
		err = t.give(there) // a crash may have come before
	}
	return same, ours, err
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
