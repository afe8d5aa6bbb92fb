package main

import (
	"io"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sweepArg makes the program wait on the host, beside the daemon, until that is
// gone, and take away the cgroups that it could not: the kernel ends what is in
// them, and leaves the folders. The arguments after it are the beginning of their
// names and the folders that hold them. Standard input is a pipe whose other end
// the daemon alone has.
//
// It has the rights of the daemon, since it undoes what that did, reads nothing
// but names, and removes nothing but empty folders.
const sweepArg = "sweep"

// sweepTime is how long the kernel may take to see that a cgroup is empty.
const sweepTime = 10 * time.Second

func sweepMain(args []string) int {
	if len(args) < 2 || !strings.HasPrefix(args[0], "nanoclaw-") {
		return 2
	}
	if unix.CloseRange(3, ^uint(0), 0) != nil {
		return 1
	}
	if name, err := unix.BytePtrFromString("nanoclaw-sweep"); err == nil {
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
	io.Copy(io.Discard, os.Stdin)
	for deadline := time.Now().Add(sweepTime); ; time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, base := range args[1:] {
			left += sweep(base, args[0])
		}
		if left == 0 {
			return 0
		}
		if time.Now().After(deadline) {
			return 1
		}
	}
}

// sweep removes what begins with prefix, and says how much is left.
func sweep(base, prefix string) (left int) {
	dir, err := os.Open(base)
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, prefix) && unix.Rmdir(base+"/"+name) != nil {
			left++
		}
	}
	return left
}
