package privilege

import (
	"os"

	"golang.org/x/sys/unix"
)

// needed are what it takes to give somebody else a process, a file and the right
// to act as another on files: capabilities(7).
var needed = [...]int{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN}

// Held says whether this process may give groups uids of their own. Root may, and
// so may the system user of the service, whom the service manager gives the
// capabilities for it and nothing else of root.
func Held() bool {
	if os.Geteuid() == 0 {
		return true // what root lacks is told where it is missed
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	for _, c := range needed {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}
