package delayed

import (
	"os"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// lend gives us the rights of its owner on a folder of ours. One that we cannot
// read cannot be opened either here, and so cannot be mended by a descriptor.
func lend(root *os.File, rel string) error {
	dir, err := beneath.Folder(root, rel)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Fchmod(int(dir.Fd()), 0o700)
}

// rename moves a name from one open folder to another, onto nothing.
func rename(from *os.File, name string, to *os.File, as string) error {
	return unix.RenameatxNp(int(from.Fd()), name, int(to.Fd()), as, unix.RENAME_EXCL)
}
