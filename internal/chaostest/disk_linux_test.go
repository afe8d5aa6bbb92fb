package chaostest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What makes the test binary a campaign on a small disk: PROGRAM and the folder, which
// is mounted in a first stage and used in a second one.
const (
	mountEnv = "NANOCLAW_TEST_DISK_MOUNT"
	diskEnv  = "NANOCLAW_TEST_DISK"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(mountEnv); at != "" {
		panic(mountDisk(at))
	}
	os.Exit(m.Run())
}

// onSmallDisk runs a campaign in which the disk is full for a while, in a mount
// namespace of its own. Only root makes one without a user namespace, in which / would
// belong to nobody: nanoclaw refuses to trust what stands there. What a full disk does
// depends on nobody's uid.
func onSmallDisk(t *testing.T, program, dir string) {
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Error(err)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnSmallDisk$", "-test.v")
	cmd.Env = append(os.Environ(), mountEnv+"="+dir, diskEnv+"="+program+" "+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // its end would be the end of the thread that the child dies with
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestOnSmallDisk") {
		t.Errorf("on a small disk: %v\n%s", err, out)
		return
	}
	t.Logf("%s", out)
}

// mountDisk makes the folder a disk of a few megabytes and goes on as the test.
func mountDisk(at string) error {
	runtime.LockOSThread()
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, mountEnv+"=") {
			env = append(env, v)
		}
	}
	return errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", at, "tmpfs", 0, "size=48m,mode=700"),
		unix.Exec("/proc/self/exe", os.Args, env),
	)
}

// TestOnSmallDisk is a part of TestChaos, in a process of its own.
func TestOnSmallDisk(t *testing.T) {
	program, dir, ok := strings.Cut(os.Getenv(diskEnv), " ")
	if !ok {
		return // TestChaos starts it
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	partOf(ctx, t, Options{Program: program, Dir: dir + "/c", Faults: []string{"full"}, Part: 999, Parts: 1000})
}
