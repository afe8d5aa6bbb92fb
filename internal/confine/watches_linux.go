package confine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// watchShare is the part of the machine's inotify limits that one session may
// have.
const watchShare = 8

// Watches bounds how many inotify instances and watches the processes of our user
// namespace may have. The kernel counts them against whoever made the namespace
// too, which is the daemon's user: without a bound of its own a session could
// take all that the owner's editor and desktop need (proc_sys_user(5)).
//
// It must be called while the machine's /proc is there and the process has
// CAP_SYS_RESOURCE in its own namespace.
func Watches() (layer string, err error) {
	var bounds []string
	for _, what := range []string{"instances", "watches"} {
		most, err := machineWatches(what)
		if err != nil {
			return "", err
		}
		bound := max(most/watchShare, 1)
		if err := os.WriteFile("/proc/sys/user/max_inotify_"+what, []byte(strconv.Itoa(bound)), 0); err != nil {
			return "", fmt.Errorf("bound what a session may watch: %w", err)
		}
		bounds = append(bounds, fmt.Sprintf("%d %s", bound, what))
	}
	return "inotify: " + strings.Join(bounds, ", "), nil
}

// machineWatches is how many a user of this machine may have.
func machineWatches(what string) (int, error) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_" + what)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
