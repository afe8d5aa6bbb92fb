package boundary

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupFS is what we do in the kernel's tree of cgroups. Paths are this
// machine's.
type cgroupFS interface {
	Read(path string) (string, error)
	// Write writes into a file that exists.
	Write(path, text string) error
	Mkdir(path string) error
	Rmdir(path string) error
	// Names lists a folder.
	Names(path string) []string
	// Delegated says whether the machine's service manager left this folder and
	// all beneath it to us.
	Delegated(path string) bool
}

// cgroups are the places beneath which sessions get cgroups of their own.
type cgroups struct {
	fs      cgroupFS
	version int // 2, or 1, or 0: none
	// memory and pids are folders; "" if the resource cannot be bounded so. In
	// version 2 they are the same.
	memory, pids string
	// why says, for people, why there are none.
	why string
}

const (
	// cgroupPrefix begins the names of all our cgroups. After it comes our
	// process number, by which another one of us can tell what was left behind.
	cgroupPrefix = "nanoclaw-"
	// cgroupLeaf is where we ourselves go in version 2: a cgroup that bounds its
	// children may hold no processes (Documentation/admin-guide/cgroup-v2.rst).
	cgroupLeaf = "nanoclaw-daemon"
)

// findCgroups finds what this process may use, by trying it. It makes no cgroup
// anywhere but beneath our own: limits that somebody set for us bind sessions
// too.
func findCgroups(fs cgroupFS, pid int) cgroups {
	own, mounts := ownCgroups(fs), cgroupMounts(fs)
	c := cgroups{fs: fs, version: 2}
	base, err := c.unified(own, mounts, pid)
	if err == nil {
		c.memory, c.pids = base, base
		c.sweep(base)
		return c
	}
	c.version, c.why = 1, err.Error()
	c.pids, _ = c.single("pids", own, mounts, pid)
	c.memory, err = c.single("memory", own, mounts, pid)
	if err != nil {
		c.why = err.Error()
	}
	if c.memory == "" && c.pids == "" {
		c.version = 0
	}
	return c
}

// errNoUnified says that there is no cgroup of version 2 that could bound memory.
var errNoUnified = errors.New("this machine has no cgroups that bound memory")

// unified gives the folder for sessions in version 2.
func (c *cgroups) unified(own map[string]string, mounts map[string]cgroupMount, pid int) (string, error) {
	base := mounts[""].find(own[""])
	if base == "" {
		return "", errNoUnified
	}
	inLeaf := path.Base(base) == cgroupLeaf
	if inLeaf {
		base = path.Dir(base)
	}
	controllers, err := c.fs.Read(base + "/cgroup.controllers")
	if err != nil || !words(controllers)["memory"] || !words(controllers)["pids"] {
		return "", errNoUnified
	}
	if _, err := c.fs.Read("/run/systemd/system/"); !errors.Is(err, fs.ErrNotExist) && !c.fs.Delegated(base) {
		return "", fmt.Errorf("systemd did not delegate %s to us; run nanoclaw as a service with Delegate=yes", base)
	}
	// The root of all has no type, and may hold processes and bound children.
	_, err = c.fs.Read(base + "/cgroup.type")
	if root := errors.Is(err, fs.ErrNotExist); !root && !inLeaf {
		return base, c.moveIntoLeaf(base, pid)
	}
	if err := c.fs.Write(base+"/cgroup.subtree_control", "+memory +pids"); err != nil {
		return "", err
	}
	return base, c.try(base, pid)
}

// single gives the folder for sessions in one hierarchy of version 1; none and no
// error if the machine has no such hierarchy.
func (c *cgroups) single(controller string, own map[string]string, mounts map[string]cgroupMount, pid int) (string, error) {
	base := mounts[controller].find(own[controller])
	if base == "" {
		return "", nil
	}
	if err := c.try(base, pid); err != nil {
		return "", err
	}
	c.sweep(base)
	return base, nil
}

// moveIntoLeaf moves this process from base into a child of it, so that base may
// bound its children. It moves no others: if there are some, base is not ours.
func (c *cgroups) moveIntoLeaf(base string, pid int) error {
	procs, err := c.fs.Read(base + "/cgroup.procs")
	if err != nil {
		return err
	}
	if others := words(procs); len(others) != 1 || !others[strconv.Itoa(pid)] {
		return fmt.Errorf("other programs share our cgroup %s; run nanoclaw as a service with Delegate=yes", base)
	}
	leaf := base + "/" + cgroupLeaf
	if err := c.fs.Mkdir(leaf); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err = c.fs.Write(leaf+"/cgroup.procs", strconv.Itoa(pid))
	if err == nil {
		err = c.fs.Write(base+"/cgroup.subtree_control", "+memory +pids")
	}
	if err == nil {
		err = c.try(base, pid)
	}
	if err != nil {
		c.fs.Write(base+"/cgroup.procs", strconv.Itoa(pid)) // as it was
		c.fs.Rmdir(leaf)
		return err
	}
	return nil
}

// try makes a cgroup and takes it away.
func (c *cgroups) try(base string, pid int) error {
	dir := base + "/" + cgroupPrefix + strconv.Itoa(pid) + "-trial-" + newToken()
	err := c.fs.Mkdir(dir)
	if err == nil {
		err = c.fs.Rmdir(dir)
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err // without the name of our trial
	}
	if err != nil {
		return fmt.Errorf("cgroups cannot be made beneath %s: %w", base, err)
	}
	return nil
}

// sweep takes away what others of us left behind when they were killed. A cgroup
// that holds processes stays: the kernel does not remove it.
func (c *cgroups) sweep(base string) {
	for _, name := range c.fs.Names(base) {
		rest, ours := strings.CutPrefix(name, cgroupPrefix)
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if !ours || err != nil || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		c.fs.Rmdir(base + "/" + name)
	}
}

// cgroup is what bounds one session: one folder, or in version 1 one for each
// resource.
type cgroup struct {
	fs      cgroupFS
	version int
	memory  string // its folder; "" if memory is not bounded here
	pids    string // the same for processes
	folders []string
}

// make makes a session's cgroup with its limits. 0 is no limit. processes count
// threads, and those of the init.
func (c *cgroups) make(pid int, session string, memory int64, processes int) (*cgroup, error) {
	g := &cgroup{fs: c.fs, version: c.version}
	name := "/" + cgroupPrefix + strconv.Itoa(pid) + "-" + session
	var err error
	if c.memory != "" && memory > 0 {
		g.memory = c.memory + name
		if err = g.mkdir(g.memory); err == nil {
			err = g.boundMemory(memory)
		}
	}
	if c.pids != "" && processes > 0 && err == nil {
		g.pids = c.pids + name
		if err = g.mkdir(g.pids); err == nil {
			err = c.fs.Write(g.pids+"/pids.max", strconv.Itoa(processes))
		}
	}
	if err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}

func (g *cgroup) mkdir(dir string) error {
	if len(g.folders) > 0 && g.folders[0] == dir {
		return nil
	}
	err := g.fs.Mkdir(dir)
	if err == nil {
		g.folders = append(g.folders, dir)
	}
	return err
}

// boundMemory sets the limit. Swap is part of it where it is counted.
func (g *cgroup) boundMemory(limit int64) error {
	most := strconv.FormatInt(limit, 10)
	main, further := "memory.limit_in_bytes", map[string]string{"memory.memsw.limit_in_bytes": most}
	if g.version == 2 {
		main, further = "memory.max", map[string]string{"memory.swap.max": "0", "memory.oom.group": "1"}
	}
	err := g.fs.Write(g.memory+"/"+main, most)
	for name, text := range further {
		if e := g.fs.Write(g.memory+"/"+name, text); err == nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
		}
	}
	return err
}

// enter moves the init, and so all that it will start, into the cgroup.
func (g *cgroup) enter(pid int) error {
	for _, dir := range g.folders {
		if err := g.fs.Write(dir+"/cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
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
	return 8*g.number("/memory.max_usage_in_bytes") >= 7*g.number("/memory.limit_in_bytes")
}

// number reads a file that holds one number; 0 if there is none.
func (g *cgroup) number(name string) int64 {
	text, _ := g.fs.Read(g.memory + name)
	n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n
}

// remove takes the folders away. All processes must be dead.
func (g *cgroup) remove() error {
	var errs []error
	for _, dir := range g.folders {
		if err := g.fs.Rmdir(dir); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
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

func words(text string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}

// ownCgroups gives our cgroup in each hierarchy, by controller, "" for version 2
// (cgroups(7)).
func ownCgroups(fs cgroupFS) map[string]string {
	own := make(map[string]string)
	text, _ := fs.Read("/proc/self/cgroup")
	for line := range strings.Lines(text) {
		if f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(f) == 3 {
			for _, name := range strings.Split(f[1], ",") {
				own[name] = f[2]
			}
		}
	}
	return own
}

// cgroupMount is where a hierarchy is mounted, and which part of it.
type cgroupMount struct{ root, target string }

// find gives the folder of a cgroup, "" if the mount does not show it.
func (m cgroupMount) find(cgroup string) string {
	rel, shown := strings.CutPrefix(cgroup, strings.TrimSuffix(m.root, "/"))
	if m.target == "" || !shown || !strings.HasPrefix(cgroup, "/") || strings.HasPrefix(cgroup, "/..") || rel != "" && rel[0] != '/' {
		return ""
	}
	return path.Join(m.target, rel)
}

// cgroupMounts gives the mounts by controller, "" for version 2
// (proc_pid_mountinfo(5)).
func cgroupMounts(fs cgroupFS) map[string]cgroupMount {
	mounts := make(map[string]cgroupMount)
	text, _ := fs.Read("/proc/self/mountinfo")
	for line := range strings.Lines(text) {
		left, right, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 {
			continue
		}
		m := cgroupMount{root: l[3], target: l[4]}
		switch r[0] {
		case "cgroup2":
			mounts[""] = m
		case "cgroup":
			for _, option := range strings.Split(r[2], ",") {
				mounts[option] = m
			}
		}
	}
	return mounts
}

// kernelCgroups is the kernel's own tree.
type kernelCgroups struct{}

func (kernelCgroups) Read(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(b), err
}

func (kernelCgroups) Write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (kernelCgroups) Mkdir(path string) error { return os.Mkdir(path, 0o755) }

func (kernelCgroups) Rmdir(path string) error { return syscall.Rmdir(path) }

func (kernelCgroups) Names(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	return names
}

// Delegated reads what systemd leaves at folders it delegates (systemd.exec(5)
// calls it Delegate=).
func (kernelCgroups) Delegated(path string) bool {
	value := make([]byte, 8)
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(path, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}
