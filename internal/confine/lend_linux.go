package confine

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Lend makes the detached mounts with descriptors from first on reachable as
// dir/0, dir/1 and so on for this mount namespace alone, which has to be new,
// and closes them. What was in dir is hidden, and all else but /proc becomes
// read-only: who builds a root of what is lent has nothing to write elsewhere,
// not even through a link that lies in it.
func Lend(dir string, first, count int) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make the host read-only: %w", err)
	}
	attr = unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/proc", 0, &attr); err != nil {
		return fmt.Errorf("keep /proc writable: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	for i := range count {
		if err := lendOne(dir+"/"+strconv.Itoa(i), first+i); err != nil {
			return fmt.Errorf("lend mount %d: %w", i, err)
		}
	}
	return nil
}

func lendOne(at string, fd int) error {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = unix.Mkdir(at, 0o755)
	} else {
		err = writeFile(unix.AT_FDCWD, at, nil)
	}
	if err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
