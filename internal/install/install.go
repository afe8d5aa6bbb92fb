package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// The names in the folder of agents.
const (
	programName = "claude"
	recordName  = "claude.json" // what the program beside it is
	lockName    = "lock"
)

// Dir is where the agent programs are in the data folder.
func Dir(data string) string { return filepath.Join(data, "agents") }

// Options say what to fetch, from where and to where.
type Options struct {
	Package  Package
	Registry *url.URL
	// Dir is where the program goes. Nobody but its owner can write there.
	Dir string
	// Getenv is for HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
	Getenv func(string) string
	// Say is told how it goes on, a line at a time.
	Say func(string)
	// Force fetches it even if it is there already.
	Force bool

	limits limits // zero: the usual ones
}

// Record says what program is in the folder.
type Record struct {
	Package   string `json:"package"`
	Version   string `json:"version"`
	Integrity string `json:"integrity"` // of the archive it came in
	Size      int64  `json:"size"`      // of the program, in bytes
	SHA256    string `json:"sha256"`    // of the program
}

// ErrBusy says that another process is installing at this moment.
var ErrBusy = errors.New("another installation of Claude Code is at work\nfix: wait until it has ended")

// Install fetches the package, checks it and puts the program in its place,
// readable and executable for everybody and writable for its owner alone. It
// gives the path, and whether anything had to be done: if the pinned program is
// there and intact, nothing is fetched.
//
// The order is what makes it safe. Nothing is unpacked before the hash of the
// whole archive is right; the program gets its name only after it is on the
// disk; and the record, which says what the program is, goes before the program
// goes and comes after the new one is there. Whoever is running the old program
// keeps it.
func Install(ctx context.Context, o Options) (path string, fetched bool, err error) {
	path = filepath.Join(o.Dir, programName)
	o.limits = o.limits.orUsual()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", false, fmt.Errorf("the folder for the program: %w", err)
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return "", false, err
	}
	defer unlock()
	if !o.Force && intact(o.Dir, o.Package) {
		return path, false, nil
	}
	if err := sweep(o.Dir); err != nil {
		return "", false, err
	}
	archive, err := o.download(ctx)
	if err != nil {
		return "", false, fmt.Errorf("fetching %s: %w", o.Package, err)
	}
	defer archive.Close()
	o.Say("its hash is the pinned one; unpacking")
	if err := o.place(archive); err != nil {
		return "", false, fmt.Errorf("unpacking %s: %w", o.Package, err)
	}
	return path, true, nil
}

// lock keeps two installations apart. It ends with the process.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// sweep removes what attempts that were killed left behind.
func sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".*")) // nothing of ours that lasts begins with a dot
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// place writes the program out of a checked archive and gives it its name.
func (o Options) place(archive io.Reader) error {
	p, err := renameio.NewPendingFile(filepath.Join(o.Dir, programName),
		renameio.WithTempDir(o.Dir), renameio.WithStaticPermissions(0o755))
	if err != nil {
		return err
	}
	defer p.Cleanup()
	h := sha256.New()
	size, err := unpack(io.MultiWriter(p, h), archive, o.limits)
	if err != nil {
		return err
	}
	record, err := json.MarshalIndent(Record{o.Package.Name, o.Package.Version, o.Package.Integrity, size, hex.EncodeToString(h.Sum(nil))}, "", "  ")
	if err != nil {
		return err
	}
	if err := p.Sync(); err != nil { // before the record goes: a full disk may show only here
		return err
	}
	file := filepath.Join(o.Dir, recordName)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.CloseAtomicallyReplace(); err != nil {
		return err
	}
	if err := renameio.WriteFile(file, append(record, '\n'), 0o644, renameio.WithTempDir(o.Dir)); err != nil {
		return err
	}
	return syncDir(o.Dir)
}

// syncDir makes new names survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// intact says whether the program in dir is the one of p, whole and unchanged.
func intact(dir string, p Package) bool {
	r, err := readRecord(os.DirFS(dir), ".")
	if err != nil || r.Package != p.Name || r.Version != p.Version || r.Integrity != p.Integrity {
		return false
	}
	f, err := os.OpenFile(filepath.Join(dir, programName), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o755 || info.Size() != r.Size {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == r.SHA256
}
