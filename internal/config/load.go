package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// ErrNoConfig says that there is no configuration yet. A file that is there
// and broken never gives it: that must not look like a first start.
var ErrNoConfig = errors.New("there is no configuration file yet")

// ErrChanged says that the file is not what it was at the start.
var ErrChanged = errors.New("the configuration changed since nanoclaw started")

// Load reads the file and says what it was, for later checks. It refuses a
// file that another user could have written or can read, see trust.go; the
// error then ends with the command that mends it. Mistakes in the content are
// of type Problems.
func Load(file string, o Options) (*Config, Fingerprint, error) {
	data, print, err := read(file, os.Geteuid())
	if err != nil {
		return nil, Fingerprint{}, err
	}
	c, err := Decode(file, data, o)
	if err != nil {
		return nil, Fingerprint{}, err
	}
	return c, print, nil
}

// read gives the content of a trusted file, and its fingerprint, from one
// descriptor.
func read(file string, uid int) ([]byte, Fingerprint, error) {
	f, info, err := openTrusted(file, uid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Fingerprint{}, fmt.Errorf("%s: %w", file, ErrNoConfig)
	}
	if err != nil {
		return nil, Fingerprint{}, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, Fingerprint{}, fmt.Errorf("configuration: %w", err)
	}
	return data, fingerprint(data, info), nil
}

// Fingerprint is what the configuration file was when it was loaded. It can be
// compared with ==.
type Fingerprint struct {
	content [sha256.Size]byte
	owner   int
	mode    fs.FileMode
}

func fingerprint(data []byte, info fs.FileInfo) Fingerprint {
	return Fingerprint{sha256.Sum256(data), ownerOf(info), info.Mode()}
}

// String is one hash over content, owner and mode, for the audit.
func (f Fingerprint) String() string {
	h := sha256.New()
	fmt.Fprintf(h, "nanoclaw config 1 %x %d %o", f.content, f.owner, uint32(f.mode))
	return hex.EncodeToString(h.Sum(nil))
}

// Check says whether the file still is what it was. It looks at everything
// that Load looks at, so that a link, a pipe or a folder opened to others is
// noticed too. The error wraps ErrChanged and says what changed and what to do.
func (f Fingerprint) Check(file string) error {
	_, now, err := read(file, os.Geteuid())
	if errors.Is(err, ErrNoConfig) {
		err = fmt.Errorf("%s is gone", file)
	}
	if err == nil {
		err = f.Differs(file, now)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %v\nno new run starts until you restart nanoclaw, or put it back", ErrChanged, err)
}

// Differs says in words how a file that is now as given is another than it was.
func (f Fingerprint) Differs(file string, now Fingerprint) error {
	switch {
	case now.content != f.content:
		return fmt.Errorf("%s has another content", file)
	case now.owner != f.owner:
		return fmt.Errorf("%s belongs to uid %d, not %d", file, now.owner, f.owner)
	case now.mode != f.mode:
		return fmt.Errorf("%s has mode %v, not %v", file, now.mode, f.mode)
	}
	return nil
}

// Look takes the fingerprint of a file that only its owner may read, such as a
// key, under the conditions of Load. fs.ErrNotExist says that there is none.
func Look(file string) (Fingerprint, error) {
	f, info, err := openTrusted(file, os.Geteuid())
	if err != nil {
		return Fingerprint{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	return fingerprint(data, info), err
}

// ReadBeside reads a file of the owner's within dir, such as a prompt, up to limit
// bytes. Nobody but the owner may change dir. Links that lead out of it are refused,
// and so is a file that is one: what lies elsewhere may be shown to an agent.
func ReadBeside(dir, name string, limit int64) ([]byte, Fingerprint, error) {
	fail := func(err error) ([]byte, Fingerprint, error) { return nil, Fingerprint{}, err }
	uid := os.Geteuid()
	top, err := walk(dir, uid, nil)
	if err != nil {
		return fail(err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	seen, err := root.Lstat(name)
	if err != nil {
		return fail(err)
	}
	if seen.Mode()&fs.ModeSymlink != 0 {
		return fail(fmt.Errorf("%s is a symbolic link\nfix: put the file itself in its place", filepath.Join(dir, name)))
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe cannot hold us up
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !os.SameFile(info, seen) {
		err = fmt.Errorf("%s is being replaced", filepath.Join(dir, name))
	}
	if err == nil {
		err = checkFile(filepath.Join(dir, name), info, uid, public)
	}
	if err != nil {
		return fail(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	return data, fingerprint(data, info), err
}

// WriteDefault writes the first configuration, such as Template gives, in one
// step and with mode 0600. A file that is already there, even one that appears
// at the same moment, is never touched: the error is fs.ErrExist.
func WriteDefault(file string, data []byte) error {
	if err := writeNew(file, data); err != nil {
		return fmt.Errorf("write configuration %s: %w", file, err)
	}
	return nil
}

func writeNew(file string, data []byte) error {
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	dir, err := walk(filepath.Dir(abs), os.Geteuid(), nil)
	if err != nil {
		return err
	}
	real := filepath.Join(dir, filepath.Base(abs))
	p, err := pending(real, 0o600)
	if err != nil {
		return err
	}
	defer p.Cleanup()
	if _, err := io.Copy(p, bytes.NewReader(data)); err != nil {
		return err
	}
	if err := p.Sync(); err != nil {
		return err
	}
	// A link, unlike a rename, fails if the name is taken.
	if err := os.Link(p.Name(), real); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fs.ErrExist
		}
		return err
	}
	return syncDir(dir)
}

// pending is a new file beside real, with that mode whatever the umask.
func pending(real string, mode fs.FileMode) (*renameio.PendingFile, error) {
	return renameio.NewPendingFile(real,
		renameio.WithTempDir(filepath.Dir(real)), renameio.WithStaticPermissions(mode))
}

// syncDir makes a new name in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
