package attest

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel gives the kernel's build and the boot's session number (sysctl(3)).
func kernel() (release, boot string, err error) {
	if release, err = unix.Sysctl("kern.version"); err != nil {
		return "", "", fmt.Errorf("ask for the kernel's name: %w", err)
	}
	if boot, err = unix.Sysctl("kern.bootsessionuuid"); err != nil {
		return "", "", fmt.Errorf("ask for the boot's number: %w", err)
	}
	return release, boot, nil
}

// self is the program that runs.
func self() (string, error) { return os.Executable() }

// inode adds what only the kernel can set.
func inode(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprint(st.Dev, " ", st.Ino, " ", st.Ctimespec.Nano())
}
