package boundary

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// memoryOf sums the memory that the init and all its descendants have resident,
// in bytes. Every process of a session descends from the init: it is process 1 of
// a PID namespace, to which orphans fall.
//
// Pages that several share count once. To find that out is dear, so it is asked
// only if the sum with shared pages counted for each is above limit.
func memoryOf(init int, limit int64) int64 {
	pids := descendants(init)
	var total int64
	for _, pid := range pids {
		total += resident(pid)
	}
	if total <= limit {
		return total
	}
	total = 0
	for _, pid := range pids {
		total += proportional(pid)
	}
	return total
}

// descendants gives init and all below it. A process that comes or goes
// meanwhile may be missing; the next look sees it.
func descendants(init int) []int {
	found := []int{init}
	for i := 0; i < len(found); i++ {
		found = append(found, children(found[i])...)
	}
	return found
}

// children are those that any thread of a process started
// (proc_tid_children(5)).
func children(pid int) []int {
	dir := "/proc/" + strconv.Itoa(pid) + "/task/"
	f, err := os.Open(dir)
	if err != nil {
		return nil // it ended
	}
	defer f.Close()
	threads, _ := f.Readdirnames(-1)
	var list []int
	for _, t := range threads {
		b, _ := os.ReadFile(dir + t + "/children")
		for _, word := range bytes.Fields(b) {
			if child, err := strconv.Atoi(string(word)); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}

// watchable says whether this kernel lists children (CONFIG_PROC_CHILDREN).
func watchable() bool {
	self := strconv.Itoa(os.Getpid())
	_, err := os.Stat("/proc/" + self + "/task/" + self + "/children")
	return err == nil
}

// resident is a process's resident memory (proc_pid_statm(5)).
func resident(pid int) int64 {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}

// proportional is a process's resident memory with each shared page divided by
// those who share it (Documentation/filesystems/proc.rst, smaps_rollup). We made
// the user namespace of the process, which gives us the right to look.
func proportional(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return resident(pid) // too much rather than nothing; 0 if it ended
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// clock adds up the processor time of a process tree that nobody counts for us.
type clock struct {
	mu    sync.Mutex
	last  time.Duration // what the tree told
	spent time.Duration
}

// read gives what init and all its descendants have used, dead ones included:
// whoever waits for a child gets its time (proc_pid_stat(5)), and orphans fall to
// the init. Of a child that nobody waits for, what it used since the last look is
// lost; the sum never falls.
func (c *clock) read(init int) time.Duration {
	var now time.Duration
	for _, pid := range descendants(init) {
		now += used(pid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spent += max(0, now-c.last)
	c.last = now
	return c.spent
}

// tick is the unit of times in /proc: USER_HZ is 100 for every processor that
// Go knows.
const tick = time.Second / 100

// used is the processor time of a process and its children that ended.
func used(pid int) time.Duration {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	// The name is in parentheses and may hold anything.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const first, last = 14 - 3, 17 - 3 // utime to cstime; the state is field 3
	if len(f) <= last {
		return 0
	}
	var ticks int64
	for _, word := range f[first : last+1] {
		n, _ := strconv.ParseInt(string(word), 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * tick
}
