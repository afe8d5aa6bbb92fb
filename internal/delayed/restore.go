package delayed

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// Named gives what an ID names: one thing, or all that a session left.
func Named(dir, id string) ([]Kept, error) {
	session, number, ok := parseID(id)
	if !ok {
		return nil, nil
	}
	kept, err := contentsOf(filepath.Join(dir, session), session)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if number == 0 {
		return kept, err
	}
	for _, k := range kept {
		if k.ID == id {
			return []Kept{k}, nil
		}
	}
	return nil, err
}

// Restore puts one thing back where it was, by its owner's word. It overwrites
// nothing, follows no link on the way, and does it with the rights of the
// folder's owner. A link is not put back: where it leads was the agent's choice.
func Restore(k Kept) error {
	if k.Path == "" {
		return fmt.Errorf("where it was is not known; it lies in %s", k.To)
	}
	root, real, err := beneath.Root(k.Folder)
	if err != nil {
		return fmt.Errorf("its folder cannot be opened: %w", err)
	}
	defer root.Close()
	if real != k.Folder {
		return fmt.Errorf("a link has come into the path of its folder, %s", Plain(k.Folder))
	}
	var top unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &top); err != nil {
		return err
	}
	b, name, st, err := k.open()
	if err != nil {
		return err
	}
	defer b.dir.Close()
	if id := identity(&st); !id.Regular() && !id.Dir() {
		return fmt.Errorf("it is neither a file nor a folder, and is not put back; it lies in %s", k.To)
	}
	if err := b.lent(int(top.Uid), int(top.Gid), func() error { return b.giveBack(root, k.Path, name) }); err != nil {
		return err
	}
	return k.tidy()
}

// giveBack runs with the rights of the folder's owner.
func (b box) giveBack(root *os.File, rel, name string) error {
	parent, err := beneath.Parent(root, rel)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the folder %s is no longer there; make it first", Plain(path.Dir(rel)))
	}
	if err != nil {
		return fmt.Errorf("the folder that held it: %w", err)
	}
	defer parent.Close()
	err = rename(b.dir, name, parent, path.Base(rel))
	if errors.Is(err, unix.EXDEV) {
		err = b.copyBack(parent, name, path.Base(rel))
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("there is a %s now, and nothing is overwritten; move it away first", Plain(rel))
	}
	return err
}

// copyBack copies between two file systems: into a folder of its own beside the
// place, and then in one step.
func (b box) copyBack(parent *os.File, name, as string) error {
	const beside = ".nanoclaw-restored"
	if err := unix.Mkdirat(int(parent.Fd()), beside, 0o700); err != nil {
		return fmt.Errorf("make %s for the copy: %v", beside, err)
	}
	dir, err := beneath.Folder(parent, beside)
	if err != nil {
		return err
	}
	defer dir.Close()
	c := copier{left: maxCopy, entries: maxCopied}
	if err = c.copy(b.dir, name, dir); err == nil && c.skipped > 0 {
		err = fmt.Errorf("it is too large to be copied; it lies in %s", filepath.Join(b.path, name))
	}
	if err == nil {
		err = rename(dir, name, parent, as)
	}
	if err = errors.Join(err, remove(parent, beside, 0)); err != nil {
		return err
	}
	return remove(b.dir, name, 0)
}

// Discard removes one thing from the quarantine for good.
func Discard(k Kept) error {
	err := k.with(func(b box, name string, _ *unix.Stat_t) error { return remove(b.dir, name, 0) })
	if err != nil {
		return err
	}
	return k.tidy()
}

// tidy removes an empty box, and with the last one what is written of its session.
func (k Kept) tidy() error {
	if err := os.Remove(k.box); err != nil {
		return err
	}
	base := filepath.Dir(k.box)
	lists, err := filepath.Glob(filepath.Join(base, "list-*.json"))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) > len(lists) {
		return err
	}
	for _, l := range lists {
		if err := os.Remove(l); err != nil {
			return err
		}
	}
	return os.Remove(base)
}
