package service

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Owner is a user and a group of this machine.
type Owner struct{ UID, GID int }

func ownerOf(path string) (int, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return uidOf(info), nil
}

func uidOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// chown gives a folder, and what is in it, from one user to another, as root. What
// is somebody else's stays theirs, and is not looked into: folders of groups belong
// to their uids and hold what agents made. So nothing that an agent could have put
// somewhere leads anywhere: all that is walked was writable by from alone. A file
// with a second name is refused all the same, since that may lie elsewhere.
func chown(dir string, from, to Owner) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := chownIn(root, ".", from, to); err != nil {
		return err
	}
	return root.Lchown(".", to.UID, to.GID)
}

// chownIn gives away what is in a folder, folders after what is in them: one that
// was cut short is done again.
func chownIn(root *os.Root, dir string, from, to Owner) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		info, err := root.Lstat(name)
		if err != nil {
			return err
		}
		switch stat := info.Sys().(*syscall.Stat_t); {
		case uidOf(info) != from.UID:
			continue
		case info.IsDir():
			err = chownIn(root, name, from, to)
		case info.Mode().IsRegular() && stat.Nlink > 1:
			err = fmt.Errorf("%s has a second name, which may lie elsewhere\nfix: make it a file of its own", filepath.Join(root.Name(), name))
		}
		if err == nil {
			err = root.Lchown(name, to.UID, to.GID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
