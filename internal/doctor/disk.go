package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Free is how much room a folder's disk has for us, in bytes, and of how much.
func Free(dir string) (free, all int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("the disk of %s: %w", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), nil
}

// How much room there must be, in bytes.
const (
	tooFull    = 64 << 20
	nearlyFull = 1 << 30
)

// Disk says whether there is room left on the disk of a folder.
func Disk(name, dir string) Check {
	free, all, err := Free(dir)
	return disk(name, dir, free, all, err)
}

func disk(name, dir string, free, all int64, err error) Check {
	c := Check{Name: name, State: OK, Detail: fmt.Sprintf("%d MB free of %d, for %s", free>>20, all>>20, dir)}
	switch {
	case err != nil:
		return Check{name, Fail, err.Error(), "let nanoclaw's own user read it"}
	case free < tooFull:
		c.State, c.Fix = Fail, "make room on this disk; nanoclaw retention says what nanoclaw itself could drop"
	case free < nearlyFull && free < all/10:
		c.State, c.Fix = Warn, "make room on this disk soon: without any, nothing that comes in can be stored"
	}
	return c
}
