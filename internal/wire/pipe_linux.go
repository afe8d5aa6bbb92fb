package wire

import (
	"os"

	"golang.org/x/sys/unix"
)

// growPipe asks for a pipe of 1 MiB in place of 64 KiB, which saves wake-ups.
// The kernel may refuse (fs.pipe-user-pages-soft); the wire works all the same.
func growPipe(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) {
			unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20)
		})
	}
}
