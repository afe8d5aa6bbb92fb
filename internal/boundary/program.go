package boundary

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// replace writes a program beside path and renames it, so that one that runs
// stays what it is.
func replace(path string, program io.ReadSeeker) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".nanoclaw-init-")
	if err != nil {
		return err
	}
	err = errors.Join(copyProgram(f, program), f.Chmod(0o755), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// copyProgram writes all of a program.
func copyProgram(to io.Writer, program io.ReadSeeker) error {
	if _, err := program.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(to, program)
	return err
}
