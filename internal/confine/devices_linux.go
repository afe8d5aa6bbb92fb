package confine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// nodes are the devices inside. None of them reaches hardware or another
// process's terminal.
var nodes = [...]string{"null", "zero", "full", "random", "urandom", "tty"}

// devices fills /dev: bound nodes of the host, and terminals of its own.
func (r *Root) devices() error {
	for _, n := range nodes {
		at := "dev/" + n
		if err := writeFile(unix.AT_FDCWD, at, nil); err != nil {
			return fmt.Errorf("make /%s: %w", at, err)
		}
		if err := unix.Mount("/"+at, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /%s: %w", at, err)
		}
	}
	for _, l := range [][2]string{
		{"pts/ptmx", "dev/ptmx"}, {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
		{"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"},
	} {
		if err := unix.Symlink(l[0], l[1]); err != nil {
			return fmt.Errorf("link /%s: %w", l[1], err)
		}
	}
	err := unix.Mount("devpts", "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
	return wrap("mount /dev/pts", err)
}

// proc mounts a process file system that shows this PID namespace. It must
// happen while the host's /proc is still in view: the kernel refuses a new one
// to those who cannot see a whole one already.
//
// The mount is read-only as a whole. That protects /proc/sys and the like, and
// /proc/<pid>/mem, through which one process of the agent could rewrite
// another. For wire.Spec.Nesting it is left as it is.
func (r *Root) proc() error {
	if err := unix.Mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if r.spec.Nesting {
		return nil
	}
	for _, m := range masks {
		err := unix.Mount("dev/null", "proc/"+m, "", unix.MS_BIND, "")
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("mask /proc/%s: %w", m, err)
		}
	}
	return setAttr("proc", unix.MOUNT_ATTR_RDONLY, 0)
}
