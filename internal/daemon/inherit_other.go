//go:build !linux

package daemon

import "syscall"

// ctime is when a file was last changed, in seconds and nanoseconds.
func ctime(st *syscall.Stat_t) (sec, nsec int64) {
	return int64(st.Ctimespec.Sec), int64(st.Ctimespec.Nsec)
}

// forget takes out what reading a file changes.
func forget(st *syscall.Stat_t) { st.Atimespec = syscall.Timespec{} }
