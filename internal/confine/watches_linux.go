package confine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
		bound, err := watchBound(what)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile("/proc/sys/user/max_inotify_"+what, []byte(strconv.Itoa(bound)), 0); err != nil {
			return "", fmt.Errorf("bound what a session may watch: %w", err)
		}
		bounds = append(bounds, fmt.Sprintf("%d %s", bound, what))
	}
	return "inotify: " + strings.Join(bounds, ", "), nil
}

// watchBound is a session's part of what a user of this machine may have.
func watchBound(what string) (int, error) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_" + what)
	if err != nil {
		return 0, err
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return max(most/watchShare, 1), err
}

// ProveWatches tells whether Watches was called in a user namespace around ours,
// whose settings cannot be read from here: it takes as many inotify instances as
// it can get, and gives them back. It must be called before anything else of the
// session has any.
func ProveWatches() (layer string, err error) {
	bound, err := watchBound("instances")
	if err != nil {
		return "", err
	}
	var held []int
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	for len(held) <= bound {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			break
		}
		held = append(held, fd)
	}
	if len(held) != bound {
		return "", fmt.Errorf("nobody has bounded what a session may watch: %d instances could be had, and the bound would be %d", len(held), bound)
	}
	return fmt.Sprintf("inotify: %d instances, set around the engine's user namespace", bound), nil
}
