//go:build !linux

package privilege

import "os"

// Held says whether this process may give groups uids of their own. Elsewhere than
// on Linux that is root's alone.
func Held() bool { return os.Geteuid() == 0 }
