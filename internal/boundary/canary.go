package boundary

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	under "nanoclaw/internal/beneath"
	"nanoclaw/internal/wire"
)

// canaryPrefix begins the name of every canary.
const canaryPrefix = ".nanoclaw-canary-"

// NewCanaries makes up a file with a random content for each folder. Nothing is
// written yet, so that they can be written down first.
func NewCanaries(dirs ...string) []wire.Canary {
	out := make([]wire.Canary, len(dirs))
	for i, dir := range dirs {
		out[i] = wire.Canary{Path: filepath.Join(dir, canaryPrefix+rand.Text()), Data: rand.Text()}
	}
	return out
}

// PlantCanaries writes them, readable for all, so that nothing but the boundary
// hides them. It plants all or none.
func PlantCanaries(canaries []wire.Canary) error {
	for i, c := range canaries {
		if err := plant(c); err != nil {
			return errors.Join(fmt.Errorf("plant a canary: %w", err), RemoveCanaries(canaries[:i]))
		}
	}
	return nil
}

func plant(c wire.Canary) error {
	f, err := os.OpenFile(c.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(c.Data + "\n")
	return errors.Join(err, f.Close())
}

// RemoveCanaries takes canaries away that may have been planted, also by a process
// that is dead. What is not there is no error; what is not ours, by its owner and
// its content, stays and is one.
func RemoveCanaries(canaries []wire.Canary) error {
	var errs []error
	for _, c := range canaries {
		if err := removeCanary(c); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove the canary %s: %w", c.Path, err))
		}
	}
	return errors.Join(errs...)
}

func removeCanary(c wire.Canary) error {
	dir, name := filepath.Split(c.Path)
	if !strings.HasPrefix(name, canaryPrefix) {
		return errors.New("it has another name")
	}
	root, _, err := under.Root(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := under.File(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	var opened, named unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &opened); err != nil {
		return err
	}
	// Who was killed while writing left the beginning.
	text, err := io.ReadAll(io.LimitReader(f, int64(len(c.Data)+2)))
	if err != nil {
		return err
	}
	if int(opened.Uid) != os.Geteuid() || !strings.HasPrefix(c.Data+"\n", string(text)) {
		return errors.New("it is not ours")
	}
	if err := unix.Fstatat(int(root.Fd()), name, &named, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if named.Dev != opened.Dev || named.Ino != opened.Ino {
		return errors.New("it changes")
	}
	return unix.Unlinkat(int(root.Fd()), name, 0)
}
