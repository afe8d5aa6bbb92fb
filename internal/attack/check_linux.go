package attack

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// changed looks whether the host is as it was when everything was planted.
func (p *Planted) changed() []finding {
	return slices.Concat(p.changedFiles(), p.changedObjects(), p.changedMachine())
}

func (p *Planted) changedFiles() []finding {
	now, err := p.snapshot()
	if err != nil {
		return []finding{{what: files, detail: err.Error()}}
	}
	var out []finding
	all := maps.Clone(p.before)
	maps.Copy(all, now)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if p.before[path] != now[path] {
			out = append(out, finding{what: files, detail: fmt.Sprintf("%s was %q, is %q", path, p.before[path], now[path])})
		}
	}
	return out
}

func (p *Planted) changedObjects() []finding {
	var out []finding
	add := func(what check, format string, args ...any) {
		out = append(out, finding{what: what, detail: fmt.Sprintf(format, args...)})
	}
	p.mu.Lock()
	if p.gone {
		add(process, "it has ended")
	}
	for _, s := range p.signals {
		add(process, "it got the signal %q", s)
	}
	p.signals = nil
	p.mu.Unlock()
	if n := p.accepted.Swap(0); n > 0 {
		add(sockets, "%d connections", n)
	}
	if !strings.HasPrefix(string(p.shared), p.opts.Secret) {
		add(memory, "the segment holds something else")
	}
	for _, id := range p.planted {
		if text, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id); err != nil || !strings.HasSuffix(text, p.Task.Key) {
			add(keys, "the key is not what it was: %q, %v", text, err)
		}
	}
	return out
}

func (p *Planted) changedMachine() []finding {
	var out []finding
	for name, value := range machineSettings() {
		if p.machine[name] != value {
			out = append(out, finding{what: settings, detail: fmt.Sprintf("%s was %q, is %q", name, p.machine[name], value)})
		}
	}
	for line := range mountLines() {
		if !p.mounts[line] && strings.Contains(line, p.opts.Dir) {
			out = append(out, finding{what: mounts, detail: line})
		}
	}
	return out
}

// machineSettings are those that attacks aim at.
func machineSettings() map[string]string {
	out := make(map[string]string)
	for _, path := range []string{"/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/sysrq"} {
		b, err := os.ReadFile(path)
		out[path] = fmt.Sprint(strings.TrimSpace(string(b)), err)
	}
	return out
}

// mountLines are the mounts of our own namespace, by what proc(5) says of each.
func mountLines() map[string]bool {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	out := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		out[line] = true
	}
	return out
}

// tree gives descriptors of a process of this machine and of all that descend
// from it, so that a number used again cannot mislead.
func tree(first int) (map[int]int, error) {
	children, err := parents()
	if err != nil {
		return nil, err
	}
	fds := make(map[int]int)
	for list := []int{first}; len(list) > 0; list = list[1:] {
		fd, err := unix.PidfdOpen(list[0], 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			closeTree(fds)
			return nil, err
		}
		fds[list[0]] = fd
		list = append(list, children[list[0]]...)
	}
	return fds, nil
}

func closeTree(fds map[int]int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// parents gives each process's children.
func parents() (map[int][]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		// The name is in parentheses and may hold anything.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	return children, nil
}

// roots gives a finding for each process of a session that is root for the
// kernel. Whom a uid stands for is seen from outside alone: a namespace within
// another shows the one above it. Helpers of an engine that are in our own
// namespace are not inside.
func roots(session map[int]int) []finding {
	ours, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return []finding{{what: identity, detail: err.Error()}}
	}
	var out []finding
	for pid := range session {
		dir := "/proc/" + strconv.Itoa(pid)
		if theirs, err := os.Readlink(dir + "/ns/user"); err == nil && theirs == ours {
			continue
		}
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue // it ended
		}
		for line := range strings.Lines(string(status)) {
			name, ids, _ := strings.Cut(line, ":")
			if (name == "Uid" || name == "Gid") && slices.Contains(strings.Fields(ids), "0") {
				out = append(out, finding{what: identity, detail: fmt.Sprintf("process %d: %s", pid, strings.TrimSpace(line))})
			}
		}
	}
	return out
}

// within is how long what was in a session may live on.
const within = time.Second

// outlived waits for processes to end, and gives a finding for each that does
// not.
func outlived(fds map[int]int) []finding {
	deadline := time.Now().Add(within)
	var out []finding
	for pid, fd := range fds {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := 0, error(unix.EINTR)
		for err == unix.EINTR {
			n, err = unix.Poll(poll, int(max(time.Until(deadline).Milliseconds(), 0)))
		}
		if n != 1 {
			out = append(out, finding{what: survivors, detail: fmt.Sprintf("process %d after %v", pid, within)})
		}
	}
	return out
}
