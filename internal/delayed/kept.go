package delayed

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// Kept is one thing in the quarantine.
type Kept struct {
	Source
	// ID names it for people: the session's name, "-", and a number.
	ID string
	// Path is where it was in Source.Folder, "" if that was not written down.
	Path string
	What string
	// Failed says why it is not all of what was there.
	Failed string
	// To is where it lies.
	To string
	// Files and Bytes are what it holds, as far as we looked.
	Files int
	Bytes int64

	box string // the folder that holds it alone
}

func idOf(session string, number int) string { return session + "-" + strconv.Itoa(number) }

// parseID takes an ID apart. number is 0 for a session's name alone.
func parseID(id string) (session string, number int, ok bool) {
	session, digits, numbered := strings.Cut(id, "-")
	for _, r := range session {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return "", 0, false
		}
	}
	if numbered {
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || n == 0 {
			return "", 0, false
		}
		number = int(n)
	}
	return session, number, session != ""
}

// maxList is how much of a list is read, in bytes.
const maxList = 16 << 20

// Contents lists what is in the quarantine dir, the oldest first. What cannot be
// understood there is an error beside the rest.
//
// Nothing else may use the quarantine meanwhile; so it is with all that follows.
func Contents(dir string) ([]Kept, error) {
	sessions, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Kept
	var bad []error
	for _, s := range sessions {
		kept, err := contentsOf(filepath.Join(dir, s.Name()), s.Name())
		out, bad = append(out, kept...), append(bad, err)
	}
	slices.SortStableFunc(out, func(a, b Kept) int { return a.At.Compare(b.At) })
	return out, errors.Join(bad...)
}

// contentsOf lists what one session left.
func contentsOf(base, session string) ([]Kept, error) {
	if _, n, ok := parseID(session); !ok || n != 0 {
		return nil, fmt.Errorf("%s: it is none of ours", base)
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	origins, err := readLists(base)
	var out []Kept
	for _, e := range entries {
		number, no := strconv.Atoi(e.Name())
		if no != nil || !e.IsDir() {
			continue
		}
		k, ok := origins[number]
		if !ok { // we ended before it was written down
			k = Kept{Source: Source{Session: session}}
			if fi, err := e.Info(); err == nil {
				k.At = fi.ModTime()
			}
		}
		k.ID, k.box = idOf(session, number), filepath.Join(base, e.Name())
		if k.measure() == nil {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b Kept) int { return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) })
	return out, err
}

// readLists gives what was written down of each box.
func readLists(base string) (map[int]Kept, error) {
	names, err := filepath.Glob(filepath.Join(base, "list-*.json"))
	bad := []error{err}
	out := make(map[int]Kept)
	for _, name := range names {
		var l listed
		if err := readJSON(name, &l); err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, f := range l.Files {
			out[f.Box] = Kept{Source: l.Source, Path: string(f.Name), What: f.What, Failed: f.Failed}
		}
	}
	return out, errors.Join(bad...)
}

func readJSON(name string, into any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxList))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// open gives the box, the name of what is in it, and whose that is. The box is
// ours: one that we had lent when we were killed is taken back first.
func (k *Kept) open() (b box, name string, st unix.Stat_t, err error) {
	if err = unix.Lstat(k.box, &st); err == nil && int(st.Uid) != os.Geteuid() {
		err = os.Lchown(k.box, os.Geteuid(), os.Getegid())
	}
	if err != nil {
		return b, "", st, err
	}
	dir, err := os.Open(k.box)
	if err != nil {
		return b, "", st, err
	}
	names, err := dir.Readdirnames(1)
	if err == nil {
		name = names[0]
		err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil { // io.EOF: it is empty
		dir.Close()
		return b, "", st, err
	}
	return box{k.box, dir}, name, st, nil
}

// with opens the box and runs f in it with the rights of whom its content
// belongs to.
func (k *Kept) with(f func(b box, name string, st *unix.Stat_t) error) error {
	b, name, st, err := k.open()
	if err != nil {
		return err
	}
	defer b.dir.Close()
	return b.lent(int(st.Uid), int(st.Gid), func() error { return f(b, name, &st) })
}

// The bounds of a look at one thing in the quarantine.
const (
	maxCounted = 100_000  // files and folders whose sizes are added up
	maxFiles   = 200      // files and folders that are shown
	maxText    = 4 << 10  // bytes of one file that are shown
	maxTexts   = 32 << 10 // bytes of all
)

// measure counts what is in it.
func (k *Kept) measure() error {
	return k.with(func(b box, name string, _ *unix.Stat_t) error {
		k.To, k.Files, k.Bytes = filepath.Join(k.box, name), 0, 0
		err := walk(b.dir, name, name, 0, func(_ *os.File, _, _ string, st *unix.Stat_t) error {
			k.Files++
			k.Bytes += st.Blocks * 512
			if k.Files == maxCounted {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) || k.Files > 0 { // a folder that is closed counts as one
			return nil
		}
		return err
	})
}

var errEnough = errors.New("that is enough")

// walk visits name in an open folder, and all below it, folders first. It follows
// no link and waits for nothing.
func walk(dir *os.File, name, rel string, depth int, visit func(dir *os.File, name, rel string, st *unix.Stat_t) error) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return gone(err)
	}
	if err := visit(dir, name, rel, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || depth > maxDepth {
		return nil
	}
	in, err := beneath.Folder(dir, name)
	if err != nil {
		return gone(err)
	}
	defer in.Close()
	for {
		names, err := in.Readdirnames(256)
		slices.Sort(names)
		for _, n := range names {
			if err := walk(in, n, rel+"/"+n, depth+1, visit); err != nil {
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

// File is one of the files in a Kept, for people to look at. What the names and
// the text hold is the agent's.
type File struct {
	Path string
	Mode fs.FileMode
	Size int64
	Link string // where a link leads
	Text []byte // the beginning of a regular file
}

// Look gives the files of one thing in the quarantine. more says that there are
// others.
func Look(k Kept) (files []File, more bool, err error) {
	left := maxTexts
	err = k.with(func(b box, name string, _ *unix.Stat_t) error {
		return walk(b.dir, name, name, 0, func(dir *os.File, name, rel string, st *unix.Stat_t) error {
			if len(files) == maxFiles {
				return errEnough
			}
			f := File{Path: rel, Mode: modeOf(uint32(st.Mode)), Size: st.Size}
			switch id := identity(st); {
			case id.link():
				f.Link = readLink(dir, name, id)
			case id.Regular():
				f.Text = beginning(dir, name, min(left, maxText))
				left -= len(f.Text)
			}
			files = append(files, f)
			return nil
		})
	})
	if errors.Is(err, errEnough) {
		return files, true, nil
	}
	return files, false, err
}

func beginning(dir *os.File, name string, n int) []byte {
	f, err := beneath.File(dir, name)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, int64(n)))
	return text
}

// modeOf translates the kind and the permissions.
func modeOf(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFREG:
	default:
		m |= fs.ModeIrregular
	}
	return m
}

// Expired chooses what is kept no longer: what is older than keep, and what is too
// much. Then the group that left most loses its oldest first, so that no agent can
// push out what another one left. What is younger than fresh stays in any case,
// so that its owner has heard of it. 0 is no bound.
func Expired(kept []Kept, now time.Time, keep time.Duration, size int64) []Kept {
	var out []Kept
	stay := slices.DeleteFunc(slices.Clone(kept), func(k Kept) bool {
		old := keep > 0 && now.Sub(k.At) > keep
		if old {
			out = append(out, k)
		}
		return old
	})
	for size > 0 {
		groups, total := make(map[string]int64), int64(0)
		for _, k := range stay {
			groups[k.Group] += k.Bytes
			total += k.Bytes
		}
		if total <= size {
			break
		}
		next := -1
		for i, k := range stay { // the oldest first
			if now.Sub(k.At) > fresh && (next < 0 || groups[k.Group] > groups[stay[next].Group]) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		out = append(out, stay[next])
		stay = slices.Delete(stay, next, next+1)
	}
	return out
}

// fresh is how long everything is kept, in any amount.
const fresh = 24 * time.Hour
