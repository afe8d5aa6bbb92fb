package config

import (
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// ReadPrivate reads a file of ours, up to limit bytes. It refuses one that others
// could have written or can read, as Load does. fs.ErrNotExist says that there is
// none.
func ReadPrivate(file string, limit int64) ([]byte, error) {
	f, _, err := openTrusted(file, os.Geteuid())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// WritePrivate writes a file in place of what was there, in one step and readable
// by its owner alone. Its folder is made with mode 0700 where it is missing.
func WritePrivate(file string, data []byte) error {
	dir := filepath.Dir(file)
	if err := ensureDir(dir, os.Geteuid()); err != nil {
		return err
	}
	real, err := walk(dir, os.Geteuid(), nil)
	if err != nil {
		return err
	}
	err = renameio.WriteFile(filepath.Join(real, filepath.Base(file)), data, 0o600,
		renameio.WithTempDir(real), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	return syncDir(real)
}

// RemovePrivate removes a file of ours for good.
func RemovePrivate(file string) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}
