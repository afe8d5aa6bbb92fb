package upgrade

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// On a disk that is full, and in a folder that cannot be written, nothing changes.
func TestNoSpaceLeft(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fullDisk+"="+t.TempDir())
	ownNamespace(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// ownNamespace starts a process where it may mount, for itself alone.
func ownNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
}

// onFullDisk is the child: a disk of one megabyte takes no program of three.
func onFullDisk(dir string) int {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fail(err)
	}
	at := filepath.Join(dir, "nanoclaw")
	if err := os.WriteFile(at, []byte("former"), 0o755); err != nil {
		return fail(err)
	}
	p, err := Hold(at)
	if err != nil {
		return fail(err)
	}
	if _, err := p.Stage(&Offer{program: bytes.Repeat([]byte("new"), 1<<20)}); !errors.Is(err, syscall.ENOSPC) {
		return fail(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return fail(err)
	}
	if _, err := p.Stage(&Offer{program: []byte("new")}); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "fix: upgrade as the user") {
		return fail(err)
	}
	if err := p.Close(); err != nil {
		return fail(err)
	}
	if got, err := os.ReadFile(at); err != nil || string(got) != "former" {
		return fail(errors.Join(err, errors.New("the former program is damaged")))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		return fail(errors.Join(err, errors.New("something is left on the full disk")))
	}
	return 0
}
