package boundary

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// gVisor is a kernel in a program: runsc starts that program for each container, and
// another one, the gofer, that has the container's files and hands them out. What a
// process of the agent is on this machine is a thread that executes its instructions,
// and whose system calls never reach this machine's kernel. So the init can be judged
// by what gVisor's kernel says of it, and from here the programs that stand in its
// place.

// sandboxed judges one thread of what gVisor runs on this machine by its status
// (proc_pid_status(5)): a filter of system calls, no new privileges, and a PID
// namespace beneath ours. It keeps capabilities, in a user namespace of its own.
func sandboxed(status string) error {
	if err := wanted(status, map[string]string{"NoNewPrivs": "1", "Seccomp": "2"}); err != nil {
		return err
	}
	for line := range strings.Lines(status) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok && len(strings.Fields(numbers)) > 1 {
			return nil
		}
	}
	return errors.New("it is in our PID namespace")
}

// proveMounts fails unless each mount that gVisor's gofer hands out is of the inode
// that was looked up: a path may have been made to lead elsewhere since. What cannot be
// seen is not proven.
func (h *containerHost) proveMounts(t *contained, mounts []wire.Mount) (layer string, err error) {
	gofer := goferOf(t.PID())
	if gofer == 0 {
		return "", &StartError{Step: "mounts", Err: errors.New("gVisor's gofer, which has them, is not found")}
	}
	root, err := unix.Open("/proc/"+strconv.Itoa(gofer)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &StartError{Step: "mounts", Err: fmt.Errorf("look at what gVisor's gofer has: %w", err)}
	}
	defer unix.Close(root)
	for _, m := range mounts {
		if err := handedOut(root, m); err != nil {
			return "", &StartError{Step: "mount " + m.Target, Err: err}
		}
	}
	return fmt.Sprintf("mounts: %d of the inodes that were looked up, seen at gVisor's gofer", len(mounts)), nil
}

// handedOut fails unless a mount's target, from a root, is of the mount's inode.
func handedOut(root int, m wire.Mount) error {
	at, err := unix.Openat2(root, strings.TrimPrefix(m.Target, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return fmt.Errorf("look at what gVisor mounted: %w", err)
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	if st.Dev != m.Dev || st.Ino != m.Ino {
		return fmt.Errorf("%s changed while starting", m.Source)
	}
	return nil
}

// goferOf finds the gofer of a sandbox, which has the same parent; 0 if there is none.
func goferOf(sandbox int) int {
	parent, err := parentOf(sandbox)
	if err != nil {
		return 0
	}
	for _, pid := range children(parent) {
		argv, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if name, _, _ := bytes.Cut(argv, []byte{0}); string(name) == "runsc-gofer" {
			return pid
		}
	}
	return 0
}
