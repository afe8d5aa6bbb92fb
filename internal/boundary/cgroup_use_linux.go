package boundary

import (
	"strconv"
	"strings"
	"time"
)

// cpuPeriod is the time in which a session may use its share of processors, in
// microseconds; the kernel's own default.
const cpuPeriod = 100_000

// boundCPU sets how many processors may be busy, 0 for all. A kernel may be built
// without that; then cpus stays 0, and the session has its other limits.
func (g *cgroup) boundCPU(cpus int) {
	name, most := "cpu.max", strconv.Itoa(cpus*cpuPeriod)+" "+strconv.Itoa(cpuPeriod)
	if g.version == 1 {
		name, most = "cpu.cfs_quota_us", strconv.Itoa(cpus*cpuPeriod)
	}
	if cpus > 0 && g.fs.Write(g.cpu+"/"+name, most) == nil {
		g.cpus = cpus
	}
}

// yield gives the session half of the usual weight: where processors are short,
// what else runs on the machine comes first. It says whether that holds.
func (g *cgroup) yield() bool {
	if g.version == 1 {
		return g.cpu != "" && g.fs.Write(g.cpu+"/cpu.shares", "512") == nil
	}
	return g.cpu != "" && g.fs.Write(g.cpu+"/cpu.weight", "50") == nil
}

// counts says whether the kernel counts the session's processor time. In
// version 2 it does so in every cgroup.
func (g *cgroup) counts() bool { return g.version == 2 && g.memory != "" }

// cpuTime is how much processor time the session has used, if that is counted.
func (g *cgroup) cpuTime() time.Duration {
	stat, _ := g.fs.Read(g.memory + "/cpu.stat")
	return time.Duration(counter(stat, "usage_usec")) * time.Microsecond
}

// crowded says whether there were as many processes as limit at a time, or the
// kernel refused one for the cgroup's own limit. Kernels before 6.1 tell only how
// many there are now.
func (g *cgroup) crowded(limit int64) bool {
	if g.pids == "" || limit <= 0 {
		return false
	}
	events, _ := g.fs.Read(g.pids + "/pids.events")
	return counter(events, "max") > 0 || max(g.number(g.pids+"/pids.peak"), g.number(g.pids+"/pids.current")) >= limit
}

// exceeded says whether the kernel killed a process because this cgroup, and not
// the machine or a cgroup above, had no memory left.
func (g *cgroup) exceeded() bool {
	if g.version == 2 {
		events, _ := g.fs.Read(g.memory + "/memory.events")
		return counter(events, "oom_kill") > 0 && counter(events, "oom") > 0
	}
	control, _ := g.fs.Read(g.memory + "/memory.oom_control")
	if counter(control, "oom_kill") == 0 {
		return false
	}
	// Newer kernels count no failures in version 1 (memory.failcnt stays 0). That
	// the limit was near says as much: memory is taken in small steps.
	return 8*g.number(g.memory+"/memory.max_usage_in_bytes") >= 7*g.number(g.memory+"/memory.limit_in_bytes")
}

// number reads a file that holds one number; 0 if there is none.
func (g *cgroup) number(path string) int64 {
	text, _ := g.fs.Read(path)
	n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n
}

// counter reads one line of a file of counters, "name number".
func counter(text, name string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}
