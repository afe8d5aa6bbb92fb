package boundary

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountTable notices changes of this process's mounts, which the kernel tells
// who polls /proc/self/mountinfo (proc_pid_mountinfo(5)). A spare made its
// mounts before such a change: a folder may be covered by now, or an unmounted
// disk kept busy.
type mountTable struct {
	// Each opening has its own memory of what has been told. The runtime waits
	// with woken, and its own questions count, so others ask with the other one.
	asked, woken *os.File
}

// watchMounts begins to watch. onChange is called in a goroutine of its own,
// soon after each change.
func watchMounts(onChange func()) (*mountTable, error) {
	var files [3]*os.File
	for i, flag := range [...]int{0, unix.O_NONBLOCK, 0} { // the runtime waits for what does not block
		fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC|flag, 0)
		if err != nil {
			closeAll(files[:])
			return nil, err
		}
		files[i] = os.NewFile(uintptr(fd), "/proc/self/mountinfo")
	}
	t, check := &mountTable{files[0], files[1]}, files[2]
	go func() {
		defer check.Close()
		conn, err := t.woken.SyscallConn()
		if err != nil {
			return
		}
		conn.Read(func(uintptr) bool {
			if tableChanged(check) {
				onChange()
			}
			return false // until the file is closed
		})
	}()
	return t, nil
}

func (t *mountTable) close() {
	t.asked.Close()
	t.woken.Close()
}

// changed says whether mounts changed since it was last asked.
func (t *mountTable) changed() bool { return tableChanged(t.asked) }

func tableChanged(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return true
	}
	changed := true
	conn.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		n, err := unix.Poll(poll, 0)
		changed = err != nil || n > 0
	})
	return changed
}
