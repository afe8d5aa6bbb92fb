package attest

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel gives the kernel's release and build (uname(2)) and the boot's random
// number (random(4)).
func kernel() (release, boot string, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", "", fmt.Errorf("ask for the kernel's name: %w", err)
	}
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", "", fmt.Errorf("read the boot's number: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Version[:]), strings.TrimSpace(string(b)), nil
}

// self is the program that runs, also if its name leads to another by now.
func self() (string, error) { return "/proc/self/exe", nil }

// inode adds what only the kernel can set.
func inode(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprint(st.Dev, " ", st.Ino, " ", st.Ctim.Nano())
}
