package delayed

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// Bounds of a copy into a quarantine on another file system. What is beyond them
// is removed without a copy, and that is said.
const (
	maxCopy   = 256 << 20 // bytes
	maxCopied = 10_000    // files and folders
	maxDepth  = 200
)

// copier copies what an agent made, by descriptors.
type copier struct {
	left    int64
	entries int
	skipped int // files that are not kept
}

// lost says that something is not kept.
func (c *copier) lost() error {
	if c.skipped == 0 {
		return nil
	}
	return fmt.Errorf("%d files in it were removed without a copy: they were too large or too many, or no files", c.skipped)
}

// copy copies name from one open folder into another.
func (c *copier) copy(from *os.File, name string, to *os.File) error {
	return c.tree(from, name, to, 0)
}

func (c *copier) tree(from *os.File, name string, to *os.File, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return gone(err)
	}
	id := identity(&st)
	c.entries--
	switch {
	case c.entries < 0 || depth > maxDepth:
		c.skipped++
		return nil
	case id.link():
		return unix.Symlinkat(readLink(from, name, id), int(to.Fd()), name)
	case id.Regular():
		return c.file(from, name, to, uint32(st.Mode)&0o777)
	case id.Dir():
		return c.folder(from, name, to, depth)
	}
	c.skipped++ // a FIFO, a socket or a device holds nothing
	return nil
}

func (c *copier) file(from *os.File, name string, to *os.File, mode uint32) error {
	in, err := beneath.File(from, name)
	if err != nil {
		return gone(err)
	}
	defer in.Close()
	fd, err := unix.Openat(int(to.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode|0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	n, err := io.Copy(out, io.LimitReader(in, c.left+1))
	if c.left -= n; c.left < 0 {
		c.skipped, c.left = c.skipped+1, 0
	}
	return errors.Join(err, out.Close())
}

func (c *copier) folder(from *os.File, name string, to *os.File, depth int) error {
	lend(from, name)
	in, err := beneath.Folder(from, name)
	if err != nil {
		return gone(err)
	}
	defer in.Close()
	if err := unix.Mkdirat(int(to.Fd()), name, 0o700); err != nil {
		return err
	}
	out, err := beneath.Folder(to, name)
	if err != nil {
		return err
	}
	defer out.Close()
	for {
		names, err := in.Readdirnames(256)
		for _, n := range names {
			if err := c.tree(in, n, out, depth+1); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// remove removes name from an open folder, with what is in it.
func remove(from *os.File, name string, depth int) error {
	err := unix.Unlinkat(int(from.Fd()), name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM {
		return fmt.Errorf("remove %s: %w", Plain(name), err)
	}
	if depth > maxDepth {
		return errors.New("it is too deep to be removed")
	}
	lend(from, name)
	dir, err := beneath.Folder(from, name)
	if err != nil {
		return gone(err)
	}
	defer dir.Close()
	for {
		// From the start each time: what was read is gone.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(256)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := remove(dir, n, depth+1); err != nil {
				return err
			}
		}
	}
	if err := unix.Unlinkat(int(from.Fd()), name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("remove %s: %w", Plain(name), err)
	}
	return nil
}
