//go:build linux

package confine

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOtherABIsLive makes, under the filter, the calls of this processor's two
// other ABIs: x32 by a bit in the number, i386 by int 0x80.
func TestOtherABIsLive(t *testing.T) {
	if !asChild() {
		runChild(t, os.Getuid())
		return
	}
	program := int80(t)
	want := unix.SIGSYS
	if code, signal := end(t, program); signal != 0 {
		want = signal // this machine has no i386 calls at all
		t.Logf("without the filter: %v", signal)
	} else if code != 42 {
		t.Fatalf("without the filter: exit code %d, want 42", code)
	}
	if _, err := installed(); err != nil {
		t.Fatal(err)
	}
	for _, nr := range []uintptr{unix.SYS_SOCKET, unix.SYS_GETPID, unix.SYS_KEYCTL} {
		if _, _, errno := unix.RawSyscall(nr|0x40000000, unix.AF_UNIX, unix.SOCK_STREAM, 0); errno != unix.ENOSYS {
			t.Errorf("x32 number %d: %v", nr, errno)
		}
	}
	if code, signal := end(t, program); signal != want {
		t.Errorf("int 0x80: exit code %d, signal %v, want %v", code, signal, want)
	}
}

// end runs a program and says how it ended.
func end(t *testing.T, program string) (code int, signal syscall.Signal) {
	t.Helper()
	err := exec.Command(program).Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatalf("run %s: %v", program, err)
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -1, status.Signal()
	}
	return status.ExitStatus(), 0
}

// int80 writes a program that ends itself by a 32-bit call: exit(42).
func int80(t *testing.T) string {
	t.Helper()
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (exit, in i386 numbers)
		0xbb, 42, 0, 0, 0, // mov ebx, 42
		0xcd, 0x80, // int 0x80
		0x0f, 0x0b, // ud2
	}
	const base, headers = 0x400000, 64 + 56
	header := elf.Header64{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	size := uint64(headers + len(code))
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000,
	}
	b, err := binary.Append(nil, binary.LittleEndian, header)
	if err == nil {
		b, err = binary.Append(b, binary.LittleEndian, segment)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "int80")
	if err := os.WriteFile(path, append(b, code...), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
