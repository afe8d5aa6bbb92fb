package doctor

import "golang.org/x/sys/unix"

// LandlockABI asks the kernel which version of Landlock it has, 0 for none.
// The call makes nothing: with this flag it only answers
// (landlock_create_ruleset(2)).
func LandlockABI() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}
