package daemon

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// releaseProgram unmaps the code and the read-only data of our own program file. A
// start touches most of it, an idle daemon little: initialisers, tables, the embedded
// nanoclaw-init. What is wanted again comes from the page cache, which the
// kernel may now shrink: a page fault for each 64 KiB, once. It gives how many
// bytes were let go; none if /proc is not to be had, which costs nothing but memory.
func releaseProgram() int {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0
	}
	released := 0
	var from, to uintptr // of the mapping at hand; to is 0 if it is none of ours
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 6 && strings.Contains(f[0], "-"):
			if from, to = addresses(f[0]); f[1] != "r--p" && f[1] != "r-xp" || strings.Join(f[5:], " ") != program {
				to = 0
			}
		case to != 0 && len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0":
			// Only where every page is the file's: a page that was written to, as a
			// dynamic loader does before it makes it read-only, would be lost
			// (madvise(2), MADV_DONTNEED).
			if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno == 0 {
				released += int(to - from)
			}
			to = 0
		}
	}
	return released
}

// addresses reads the range at the head of a mapping (proc_pid_smaps(5)).
func addresses(s string) (from, to uintptr) {
	a, b, _ := strings.Cut(s, "-")
	first, err := strconv.ParseUint(a, 16, strconv.IntSize)
	if err != nil {
		return 0, 0
	}
	end, err := strconv.ParseUint(b, 16, strconv.IntSize)
	if err != nil {
		return 0, 0
	}
	return uintptr(first), uintptr(end)
}
