// Package touched finds what changed in a folder since a moment, with a hash of
// each file, so that a run can be explained by what it left behind.
//
// It goes by the time of the last change of a file's inode (ctime in inode(7)),
// which the kernel sets and nothing inside a boundary can turn back. So it needs
// no look before the run. What it cannot tell: which files were deleted, who of
// several changed a file, and what a file was in between.
//
// The folder is the agent's, and everything in it may change while we look
// (I11): lookups stay beneath it and follow no link, only regular files are
// read, and names, bytes and time are bounded. The answer is evidence of what
// was found and never a reason to permit something.
package touched

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// File is a file as it was found.
type File struct {
	// Path is relative to the folder.
	Path  string
	Bytes int64
	// SHA256 is of the content, in hex; "" for a file beyond the bounds.
	SHA256 string
	// Kind is "link", "fifo", "socket" or "device", or "" for a regular file.
	Kind string
}

// Found is what changed.
type Found struct {
	// Files are those found first: a folder's own before those of folders in it.
	Files []File
	// More is how many changed beyond those.
	More int
	// Short says why the search was not complete, "" if it was.
	Short string
}

// Bounds keep a search short, whatever the folder holds.
type Bounds struct {
	Names int   // names looked at
	Files int   // files told
	Bytes int64 // bytes read for hashes, in all
}

// Usual are the bounds of a search after a run.
var Usual = Bounds{Names: 50_000, Files: 200, Bytes: 32 << 20}

// Lag is how far the times of a file system may be behind the clock: they are
// taken at the last tick of the kernel, at worst 10 ms ago. What changed within
// it before the moment is told, too.
const Lag = 10 * time.Millisecond

// Since finds the files whose content, mode, owner or name changed since a
// moment. Folders themselves are not told. It fails only if root cannot be read.
func Since(ctx context.Context, root *os.File, since time.Time, b Bounds) (Found, error) {
	s := &search{ctx: ctx, root: root, since: since.Add(-Lag).UnixNano(), left: b}
	if err := s.folder("."); err != nil {
		return Found{}, err
	}
	for len(s.queue) > 0 && s.found.Short == "" {
		next := s.queue[0]
		s.queue = s.queue[1:]
		switch err := s.folder(next); {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EXDEV):
			// It went away meanwhile, or another file system is mounted there.
		case err != nil:
			s.short("%s cannot be read: %v", next, errors.Unwrap(err))
		}
	}
	return s.found, nil
}

type search struct {
	ctx   context.Context
	root  *os.File
	since int64
	left  Bounds
	queue []string // folders to read
	found Found
}

func (s *search) short(format string, args ...any) {
	if s.found.Short == "" {
		s.found.Short = fmt.Sprintf(format, args...)
	}
}

// folder looks at all names of one folder.
func (s *search) folder(rel string) error {
	dir, err := beneath.Folder(s.root, rel)
	if err != nil {
		return err
	}
	defer dir.Close()
	for s.found.Short == "" {
		names, err := dir.Readdirnames(1000)
		slices.Sort(names)
		for _, name := range names {
			s.name(dir, rel, name)
		}
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
	return nil
}

// name looks at one name.
func (s *search) name(dir *os.File, in, name string) {
	if s.left.Names--; s.left.Names < 0 || s.ctx.Err() != nil {
		s.short("it holds too many files")
		return
	}
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return // it went away meanwhile
	}
	rel := path.Join(in, name)
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		s.queue = append(s.queue, rel)
		return
	}
	if st.Ctim.Nano() < s.since {
		return
	}
	if s.left.Files--; s.left.Files < 0 {
		s.found.More++
		return
	}
	f := File{Path: strings.ToValidUTF8(rel, "\uFFFD"), Bytes: st.Size, Kind: kinds[uint32(kind)]}
	if kind == unix.S_IFREG {
		f.SHA256 = s.hash(rel, st.Size)
	}
	s.found.Files = append(s.found.Files, f)
}

// kinds are the words for what is no regular file. Read-only.
var kinds = map[uint32]string{
	unix.S_IFLNK: "link", unix.S_IFIFO: "fifo", unix.S_IFSOCK: "socket", unix.S_IFBLK: "device", unix.S_IFCHR: "device",
}

// hash reads a file as far as the bounds go. A file that is growing meanwhile is
// given up at the size that it had.
func (s *search) hash(rel string, size int64) string {
	if size > s.left.Bytes {
		return ""
	}
	s.left.Bytes -= size
	f, err := beneath.File(s.root, rel)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, io.LimitReader(f, size+1)); err != nil || n != size {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
