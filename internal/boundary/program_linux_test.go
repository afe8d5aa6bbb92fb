package boundary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// The init that runs can be changed by nobody, not even by us.
func TestProgramIsImmutable(t *testing.T) {
	n := newNative(t, Options{})
	w, err := os.OpenFile(fmt.Sprint("/proc/self/fd/", n.program.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write to the program: %v", err)
	}
	if err := w.Truncate(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("truncate the program: %v", err)
	}
	seals, err := unix.FcntlInt(n.program.Fd(), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL; err != nil || seals&want != want {
		t.Errorf("the seals are %#x, %v", seals, err)
	}
	if _, err := NewNative(Options{}); err == nil {
		t.Error("without an init there is no error")
	}
}

// Where programs cannot be run from memory, the init is a file, and the probe
// finds as little.
func TestProgramAsAFile(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can make a PID namespace without memory programs
	}
	dir := openDir(t)
	program := filepath.Join(dir, "init")
	if err := os.WriteFile(program, newInit(t), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{roleVar + "=from a file", "NANOCLAW_TEST_HOLD_INIT=" + program, "TMPDIR=" + dir}
	// The setting belongs to a PID namespace, which needs a /proc of its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "from a file: no way out\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// runFromFile is the program of TestProgramAsAFile.
func runFromFile() int {
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0))
	if err == nil {
		err = probeFromFile(os.Getenv("TMPDIR"))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("from a file: no way out")
	return 0
}

func probeFromFile(dir string) error {
	program, err := os.ReadFile(os.Getenv("NANOCLAW_TEST_HOLD_INIT"))
	if err != nil {
		return err
	}
	if _, err := NewNative(Options{Init: bytes.NewReader(program)}); err == nil {
		return errors.New("a program was run from memory; this test tests nothing")
	}
	n, err := NewNative(Options{Init: bytes.NewReader(program), Dir: dir})
	if err != nil {
		return err
	}
	task := wire.Probe{WriteTo: []string{dir}}
	report, err := Probe(context.Background(), n, Spec{Grant: systemGrant(), UID: groupUID}, task)
	if err != nil {
		return err
	}
	return Verdict(task, report)
}
