package delayed

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// lend gives us the rights of its owner on a folder of ours, by a descriptor, so
// that no link can be in its place.
func lend(root *os.File, rel string) error {
	pin, err := beneath.Pin(root, rel)
	if err != nil {
		return err
	}
	defer pin.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(pin.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", pin.Fd()), st.Mode&0o7777|0o700)
}

// rename moves a name from one open folder to another, onto nothing.
func rename(from *os.File, name string, to *os.File, as string) error {
	return unix.Renameat2(int(from.Fd()), name, int(to.Fd()), as, unix.RENAME_NOREPLACE)
}
