package wire

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is asked for each pipe of a wire: more than the usual 64 KiB saves
// wake-ups. It is not more because a user's pipes share an allowance of 64 MiB
// (fs.pipe-user-pages-soft in pipe(7)), and beyond it all their new pipes shrink.
const pipeSize = 256 << 10

// growPipe asks for a larger pipe. The kernel may refuse; then the wire works
// with what it has.
func growPipe(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) {
			unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize)
		})
	}
}

// replace makes descriptor to a copy of from.
func replace(from, to int) error { return unix.Dup3(from, to, 0) }
