package beneath

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lookup opens for lookups alone.
const lookup = unix.O_PATH

func open(root *os.File, rel string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	if flags&unix.O_PATH == 0 {
		how.Flags |= unix.O_NONBLOCK
	}
	for {
		fd, err := unix.Openat2(int(root.Fd()), rel, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), rel), nil
		case unix.EINTR, unix.EAGAIN: // something was renamed meanwhile (openat2(2))
		default:
			return nil, &os.PathError{Op: "open", Path: rel, Err: err}
		}
	}
}

// where asks the kernel where an open folder lies.
func where(f *os.File) (string, error) { return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())) }
