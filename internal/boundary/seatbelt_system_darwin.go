package boundary

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// openPath opens a folder or file for its path alone.
const openPath = unix.O_EVTONLY | unix.O_CLOEXEC | unix.O_NONBLOCK

// realPath is where the kernel says that an open file is, with the names as they
// are written on the disk (F_GETPATH in fcntl(2)).
func realPath(f *os.File) (string, error) {
	var name [unix.PathMax]byte
	_, _, errno := unix.Syscall(unix.SYS_FCNTL, f.Fd(), unix.F_GETPATH, uintptr(unsafe.Pointer(&name[0])))
	if errno != 0 {
		return "", fmt.Errorf("ask where %s is: %w", f.Name(), errno)
	}
	end := bytes.IndexByte(name[:], 0)
	if end <= 0 {
		return "", fmt.Errorf("the kernel does not say where %s is", f.Name())
	}
	return string(name[:end]), nil
}

// openTerminal makes a terminal and gives its two ends and the name of the second
// (posix_openpt(3), grantpt(3), unlockpt(3), ptsname(3)).
func openTerminal() (master, slave *os.File, name string, err error) {
	master, err = os.OpenFile("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, "", err
	}
	fd := int(master.Fd())
	if err = unix.IoctlSetInt(fd, unix.TIOCPTYGRANT, 0); err == nil {
		err = unix.IoctlSetInt(fd, unix.TIOCPTYUNLK, 0)
	}
	var text [128]byte // the size is part of the request's number
	if err == nil {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCPTYGNAME, uintptr(unsafe.Pointer(&text[0]))); errno != 0 {
			err = errno
		}
	}
	if err == nil {
		end := max(bytes.IndexByte(text[:], 0), 0)
		name = string(text[:end])
		slave, err = os.OpenFile(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, "", err
	}
	return master, slave, name, nil
}

// spare is how many processes and threads the init may need for itself.
const spare = 64

// macLimits are the grant's limits as far as setrlimit(2) knows them, none above
// our own. That on processes counts everything that the user runs, so what runs
// already is added.
func macLimits(l grant.Limits) []wire.Rlimit {
	out := []wire.Rlimit{{Resource: unix.RLIMIT_CORE}}
	add := func(resource int, value int64) {
		var own unix.Rlimit
		if value > 0 && unix.Getrlimit(resource, &own) == nil {
			out = append(out, wire.Rlimit{Resource: resource, Value: min(uint64(value), own.Max, math.MaxInt64)})
		}
	}
	if running, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid()); err == nil && l.Processes > 0 {
		add(unix.RLIMIT_NPROC, int64(l.Processes+len(running)+spare))
	}
	add(unix.RLIMIT_NOFILE, int64(l.OpenFiles))
	add(unix.RLIMIT_FSIZE, l.FileSize)
	return out
}

// watched bounds what the processes of a session use together.
type watched struct {
	grant.Limits
	child   *macChild
	clear   func()
	crowded atomic.Bool // there were as many processes as may be
}

var _ bounds = (*watched)(nil)

// words implements bounds.
func (w *watched) words() (layers, missing []string) {
	if w.Memory > 0 {
		layers = append(layers, fmt.Sprintf("memory %s: watched every %d ms", inWords(w.Memory), lookInterval.Milliseconds()))
	}
	if w.CPUs > 0 || w.CPUTime > 0 {
		missing = append(missing, "limits on processors and their time: macOS has none for several processes together")
	}
	if w.Disk > 0 {
		missing = append(missing, "a limit on the disk of workspace and home: not watched on macOS")
	}
	return layers, missing
}

// over implements bounds.
func (w *watched) over() *LimitError {
	select {
	case <-w.child.done:
		return nil
	default:
	}
	members := w.child.now()
	if w.Processes > 0 && len(members) >= w.Processes {
		w.crowded.Store(true)
	}
	var total int64
	for _, pid := range members {
		total += footprint(pid)
	}
	if w.Memory > 0 && total > w.Memory {
		return &LimitError{Memory, w.Memory}
	}
	return nil
}

// reached implements bounds.
func (w *watched) reached() []string {
	if !w.crowded.Load() {
		return nil
	}
	return []string{fmt.Sprintf("it had %d processes, and more may have been refused (limits.processes)", w.Processes)}
}

// free implements bounds.
func (w *watched) free() { w.clear() }

// footprint is the memory that a process is charged for, in bytes, as Activity
// Monitor shows it: ri_phys_footprint of proc_pid_rusage(3), by its system call. 0
// if the process has ended.
func footprint(pid int) int64 {
	const (
		sysProcInfo = 336 // SYS_proc_info in sys/syscall.h
		callRusage  = 9   // PROC_INFO_CALL_PIDRUSAGE in sys/proc_info.h
		version     = 0   // RUSAGE_INFO_V0
		at          = 16 + 7*8
	)
	var info [16 + 10*8]byte // struct rusage_info_v0 in sys/resource.h
	_, _, errno := unix.Syscall6(sysProcInfo, callRusage, uintptr(pid), version, 0, uintptr(unsafe.Pointer(&info[0])), 0)
	if errno != 0 {
		return 0
	}
	return int64(min(binary.NativeEndian.Uint64(info[at:]), math.MaxInt64))
}
