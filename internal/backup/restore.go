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
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/config"
	"nanoclaw/internal/privilege"
	"nanoclaw/internal/steps"
)

// MarkerFile lies in the data folder after a restore, until the daemon has
// recorded it and removes it.
const MarkerFile = "restored.json"

// Marker says what was restored and when.
type Marker struct {
	Backup   About     `json:"backup"`
	Restored time.Time `json:"restored"`
}

// RestoreOptions say where a backup goes.
type RestoreOptions struct {
	Paths config.Paths
	Now   time.Time
	// Check looks at the data folder that was made, before it is put in place. Its
	// error ends the restore, and nothing is changed.
	Check func(ctx context.Context, dataDir string) error
	// Replace puts what is there aside, under another name beside it.
	Replace bool
}

// Restored says what a restore did.
type Restored struct {
	Summary
	// Aside are the folders that were there before, where they are now.
	Aside []string `json:"aside,omitempty"`
}

// ErrOccupied is returned where something is in the way of a restore.
var ErrOccupied = errors.New("there is an installation already")

// staging is the ending of the folders that are filled before they take their
// places.
const staging = ".restoring"

// Restore makes the folders of a backup, checks all of them, and only then puts
// them in their places, each by one rename. The caller holds the lock of the data
// folder if there is one.
func Restore(ctx context.Context, r io.Reader, o RestoreOptions) (Restored, error) {
	var out Restored
	places := []place{{dataName, o.Paths.DataDir}, {configName, o.Paths.ConfigDir}, {keyName, o.Paths.KeyDir}}
	if !o.Replace {
		for _, p := range places[:2] {
			if _, err := os.Lstat(p.dir); err == nil {
				return out, fmt.Errorf("%w: %s", ErrOccupied, p.dir)
			}
		}
	}
	x := &extractor{ctx: ctx, roots: map[string]*os.Root{}}
	defer x.discard(places)
	if err := x.open(places); err != nil {
		return out, err
	}
	about, summary, err := read(r, x)
	if out.Summary = summary; err != nil {
		return out, err
	}
	if err := x.finish(about, o); err != nil {
		return out, err
	}
	if err := o.Check(ctx, o.Paths.DataDir+staging); err != nil {
		return out, err
	}
	if !about.Key {
		places = places[:2]
	}
	out.Aside, err = swap(places, o.Now)
	return out, err
}

// place is a folder of the file and where it belongs.
type place struct{ name, dir string }

// swap puts the folders in place, the data first: without them a start would make
// new ones. If it fails, what was moved is moved back.
func swap(places []place, now time.Time) (aside []string, err error) {
	var moved [][2]string // from, to
	move := func(from, to string) error {
		steps.Before(steps.Restored)
		err := os.Rename(from, to)
		steps.After(steps.Restored)
		if err == nil {
			moved = append(moved, [2]string{from, to})
		}
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		aside = nil
		for _, m := range slices.Backward(moved) {
			err = errors.Join(err, os.Rename(m[1], m[0]))
		}
	}()
	for _, p := range places {
		old := unused(p.dir + now.UTC().Format(".before-restore-20060102T150405Z"))
		switch err := move(p.dir, old); {
		case err == nil:
			aside = append(aside, old)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		if err := move(p.dir+staging, p.dir); err != nil {
			return nil, err
		}
		if err := syncDir(filepath.Dir(p.dir)); err != nil {
			return nil, err
		}
	}
	return aside, nil
}

// unused is a name that nothing has: a restore may have been killed within the
// same second, and what it put aside stays.
func unused(name string) string {
	free := name
	for n := 2; ; n++ {
		if _, err := os.Lstat(free); errors.Is(err, fs.ErrNotExist) || n > 1000 {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// extractor fills folders of ours. Links and what belongs to others come last, so
// that while anything is written there is no link, and all folders are ours.
type extractor struct {
	ctx   context.Context
	roots map[string]*os.Root
	late  []*tar.Header // links, and the modes, owners and times of all
}

func (x *extractor) open(places []place) error {
	for _, p := range places {
		dir := p.dir + staging
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil { // of a restore that was killed
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		x.roots[p.name] = root
	}
	return nil
}

// discard removes what did not get into its place.
func (x *extractor) discard(places []place) {
	for _, root := range x.roots {
		root.Close()
	}
	for _, p := range places {
		os.RemoveAll(p.dir + staging)
	}
}

// in gives the root that a name lies in, and the name there.
func (x *extractor) in(name string) (*os.Root, string) {
	top, rest, _ := strings.Cut(name, "/")
	if rest == "" {
		rest = "."
	}
	return x.roots[top], rest
}

func (x *extractor) folder(h *tar.Header) error {
	root, rel := x.in(h.Name)
	x.late = append(x.late, h)
	if rel == "." {
		return nil
	}
	if err := root.MkdirAll(path.Dir(rel), 0o700); err != nil {
		return err
	}
	return root.Mkdir(rel, 0o700)
}

func (x *extractor) link(h *tar.Header) error {
	x.late = append(x.late, h)
	return nil
}

func (x *extractor) file(h *tar.Header, r io.Reader) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	root, rel := x.in(h.Name)
	if err := root.MkdirAll(path.Dir(rel), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(rel, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	x.late = append(x.late, h)
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		if h.Size > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged("%q is cut off", h.Name)
		}
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// finish makes the links, then gives everything its mode, time and owner, what
// lies deepest first, and leaves the marker.
func (x *extractor) finish(about About, o RestoreOptions) error {
	marker, err := json.Marshal(Marker{about, o.Now.UTC()})
	if err != nil {
		return err
	}
	if err := x.roots[dataName].WriteFile(MarkerFile, marker, 0o600); err != nil {
		return err
	}
	for _, h := range x.late {
		if root, rel := x.in(h.Name); h.Typeflag == tar.TypeSymlink {
			if err := root.Symlink(h.Linkname, rel); err != nil {
				return err
			}
		}
	}
	for _, h := range slices.Backward(x.late) {
		if err := x.dress(h); err != nil {
			return err
		}
	}
	return nil
}

// dress gives a name what its header says. Owners are given by root alone.
func (x *extractor) dress(h *tar.Header) error {
	root, rel := x.in(h.Name)
	if rel == "." {
		return root.Chmod(rel, 0o700)
	}
	if privilege.Held() {
		if err := root.Lchown(rel, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if err := root.Chmod(rel, fs.FileMode(h.Mode&0o777)); err != nil {
		return err
	}
	return root.Chtimes(rel, h.ModTime, h.ModTime)
}

// Verify reads a whole backup, keeps of the data folder the named files in a
// folder for check, and removes them again.
func Verify(ctx context.Context, r io.Reader, keep []string, check func(ctx context.Context, dataDir string) error) (About, Summary, error) {
	dir, err := os.MkdirTemp("", "nanoclaw-backup-")
	if err != nil {
		return About{}, Summary{}, err
	}
	defer os.RemoveAll(dir)
	about, summary, err := read(r, &keeper{ctx, dir, keep})
	if err != nil {
		return about, summary, err
	}
	return about, summary, check(ctx, dir)
}

// keeper keeps some files of the data folder and reads the rest.
type keeper struct {
	ctx  context.Context
	dir  string
	keep []string
}

func (k *keeper) folder(*tar.Header) error { return k.ctx.Err() }
func (k *keeper) link(*tar.Header) error   { return k.ctx.Err() }

func (k *keeper) file(h *tar.Header, r io.Reader) error {
	to := io.Discard
	if name, ok := strings.CutPrefix(h.Name, dataName+"/"); ok && slices.Contains(k.keep, name) {
		f, err := os.OpenFile(filepath.Join(k.dir, filepath.Base(name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		to = f
	}
	if err := k.ctx.Err(); err != nil {
		return err
	}
	if _, err := io.Copy(to, r); err != nil {
		if errors.Is(err, unix.ENOSPC) {
			return err
		}
		return damaged("%q: %v", h.Name, err)
	}
	return nil
}
