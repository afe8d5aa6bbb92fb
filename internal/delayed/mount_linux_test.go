package delayed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mountVar makes the test binary search a folder in which it mounted another
// file system. It does so only in namespaces that the test made for it.
const mountVar = "NANOCLAW_TEST_MOUNT_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(mountVar); dir != "" {
		if err := scanMounted(dir, os.Getenv(mountVar+"_NOT")); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// scanMounted refuses to mount anything in the namespace of its parent.
func scanMounted(dir, parents string) error {
	if own, err := os.Readlink("/proc/self/ns/mnt"); err != nil || own == parents {
		return fmt.Errorf("no namespace of its own (%v)", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", filepath.Join(dir, "sub"), "tmpfs", 0, ""); err != nil {
		return err
	}
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	s, err := Scan(root, dir, Before)
	fmt.Println(s.Short, err)
	return nil
}

// A folder with another file system in it is not searched, and that is said: an
// agent would see what is mounted there.
func TestScanStaysOnItsFileSystem(t *testing.T) {
	dir := tree(t, "sub/", "z/")
	own, err := os.Readlink("/proc/self/ns/mnt")
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{mountVar + "=" + dir, mountVar + "_NOT=" + own}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sub cannot be searched: another file system is mounted there") {
		t.Errorf("it says %q (%v)", out, err)
	}
}
