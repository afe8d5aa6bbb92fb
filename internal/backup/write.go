package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
	"nanoclaw/internal/config"
)

// The folders in the file.
const (
	configName = "config"
	dataName   = "data"
	keyName    = "key"
)

// Options say what is written.
type Options struct {
	Paths   config.Paths
	Version string // of nanoclaw
	Now     time.Time
	// Store is the store's file in the data folder. Snapshot writes a consistent
	// copy of it to a new file.
	Store    string
	Snapshot func(ctx context.Context, to string) error
	// Skip are names in the data folder that are left out, with all in them.
	Skip []string
	// Key adds the key of the stored credentials.
	Key bool
}

// Summary is what a backup holds.
type Summary struct {
	Made    time.Time `json:"made"`
	Version string    `json:"version"`
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"` // before they were made smaller
	// Left are things that are not in it as they were, in words, the first of them;
	// LeftOut counts them all.
	Left    []string `json:"left,omitempty"`
	LeftOut int      `json:"leftOut,omitempty"`
}

// maxLeft is how many of Summary.Left are named.
const maxLeft = 20

func (s *Summary) left(name, why string) {
	if s.LeftOut++; s.LeftOut <= maxLeft {
		s.Left = append(s.Left, fmt.Sprintf("%q: %s", name, why))
	}
}

// tempPrefix begins the names of folders of ours that hold a copy meanwhile.
const tempPrefix = ".backup-"

// Write writes a backup of an installation that may be in use.
func Write(ctx context.Context, w io.Writer, o Options) (Summary, error) {
	out := &writer{ctx: ctx, archive: newArchive(w), Summary: Summary{Made: o.Now.UTC(), Version: o.Version}}
	about, err := json.MarshalIndent(About{format, o.Version, out.Made, runtime.GOOS + "/" + runtime.GOARCH, o.Key}, "", "  ")
	if err != nil {
		return out.Summary, err
	}
	if err := out.text(aboutName, append(about, '\n'), out.Made); err != nil {
		return out.Summary, err
	}
	if err := out.tree(o.Paths.ConfigDir, configName, nil); err != nil {
		return out.Summary, err
	}
	if err := out.data(o); err != nil {
		return out.Summary, err
	}
	if o.Key {
		if err := out.tree(o.Paths.KeyDir, keyName, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return out.Summary, err
		}
	}
	err = out.archive.close(out.Made)
	out.Files, out.Bytes = out.files-2, out.bytes // but what is the file's own
	return out.Summary, err
}

// writer walks folders into an archive.
type writer struct {
	ctx context.Context
	*archive
	Summary
}

// data adds the data folder, with a copy of the store in the store's place. The
// copy is made first: a run that ends meanwhile leaves files that the store does
// not know of, and never the other way round.
func (w *writer) data(o Options) error {
	dir := o.Paths.DataDir
	old, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil {
		return err
	}
	for _, name := range old { // of one that was killed
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(dir, tempPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	copied := filepath.Join(temp, o.Store)
	if err := o.Snapshot(w.ctx, copied); err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	skip := func(rel string) bool {
		top, _, _ := strings.Cut(rel, "/")
		return slices.Contains(o.Skip, rel) || strings.HasPrefix(top, o.Store) || strings.HasPrefix(top, tempPrefix) ||
			filepath.Join(dir, rel) == o.Paths.RuntimeDir
	}
	if err := w.tree(dir, dataName, skip); err != nil {
		return err
	}
	f, err := os.Open(copied)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = w.file(&tar.Header{Name: path.Join(dataName, o.Store), Mode: 0o600, Size: fi.Size(), ModTime: w.Made, Uid: os.Getuid(), Gid: os.Getgid()}, f)
	return err
}

// tree adds a folder of this machine as another name.
func (w *writer) tree(dir, as string, skip func(rel string) bool) error {
	root, _, err := beneath.Root(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if skip == nil {
		skip = func(string) bool { return false }
	}
	return w.folder(root, ".", as, skip)
}

// folder adds a folder and all in it. What cannot be read is named and left out:
// an agent may make a file that nobody can open, and that must not be the end of
// the owner's backup.
func (w *writer) folder(root *os.File, rel, as string, skip func(string) bool) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	d, err := beneath.Folder(root, rel)
	if err != nil {
		w.left(as, words(err))
		return nil
	}
	defer d.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	if err != nil {
		w.left(as, words(err))
	}
	if err := w.entry(header(st, as+"/", tar.TypeDir)); err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if at := path.Join(rel, name); !skip(at) {
			if err := w.add(root, at, path.Join(as, name), skip); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds one name.
func (w *writer) add(root *os.File, rel, as string, skip func(string) bool) error {
	st, err := beneath.Stat(root, rel)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // it went away meanwhile
			w.left(as, words(err))
		}
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.folder(root, rel, as, skip)
	case unix.S_IFLNK:
		return w.addLink(root, rel, as, st)
	case unix.S_IFREG:
		return w.addFile(root, rel, as)
	}
	w.left(as, "it is neither a file, a folder nor a link")
	return nil
}

func (w *writer) addFile(root *os.File, rel, as string) error {
	f, err := beneath.File(root, rel)
	if err != nil {
		w.left(as, words(err))
		return nil
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	h := header(st, as, tar.TypeReg)
	h.Size = st.Size
	short, err := w.file(h, f)
	if short {
		w.left(as, "it became shorter while it was read; the rest is zeros")
	}
	return err
}

func (w *writer) addLink(root *os.File, rel, as string, st unix.Stat_t) error {
	dir, err := beneath.Parent(root, rel)
	if err != nil {
		w.left(as, words(err))
		return nil
	}
	defer dir.Close()
	to := make([]byte, 4096) // PATH_MAX
	n, err := unix.Readlinkat(int(dir.Fd()), path.Base(rel), to)
	if err != nil {
		w.left(as, words(err))
		return nil
	}
	h := header(st, as, tar.TypeSymlink)
	h.Linkname = string(to[:n])
	return w.entry(h)
}

// header tells of a name. Bits that give rights to whoever runs a file are left
// out.
func header(st unix.Stat_t, as string, kind byte) *tar.Header {
	return &tar.Header{
		Typeflag: kind, Name: as, Mode: int64(st.Mode & 0o777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()),
	}
}

// words is an error without the path, which the caller names.
func words(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
