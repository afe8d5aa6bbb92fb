package delayed

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/privilege"
)

// as runs f with a user's rights on files (setfsuid(2)), on a thread that nothing
// else uses meanwhile. An ordinary user has only their own.
func as(uid, gid int, f func() error) error {
	if !privilege.Held() || uid == 0 {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		// Never unlocked: the thread ends with this goroutine, and its rights too.
		done <- func() error {
			unix.Setfsgid(gid)
			unix.Setfsuid(uid)
			// Neither call tells whether it worked.
			if now, err := unix.SetfsuidRetUid(uid); err != nil || now != uid {
				return fmt.Errorf("act as uid %d, the owner of the folder: %v", uid, err)
			}
			return f()
		}()
	}()
	return <-done
}
