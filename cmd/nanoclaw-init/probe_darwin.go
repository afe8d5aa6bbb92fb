package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// inside fails unless a profile keeps this process from signalling the host,
// which has the same uid.
func inside(host string) error {
	pid, err := strconv.Atoi(host)
	if err != nil || pid <= 1 {
		return fmt.Errorf("nobody said which process is the host")
	}
	if err := unix.Kill(pid, 0); err != unix.EPERM {
		return fmt.Errorf("no profile is in force: a signal to the host is answered with %v", err)
	}
	if os.Getuid() == 0 {
		return fmt.Errorf("it never runs as root")
	}
	return nil
}
