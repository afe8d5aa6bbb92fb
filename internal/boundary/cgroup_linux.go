package boundary

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

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
	// memory, pids and cpu are folders; "" if the resource cannot be bounded so.
	// In version 2 they are the same.
	memory, pids, cpu string
	// prefix begins the names of those that are made here. Its end is random: what
	// sweeps after one engine must not take what another has just made, which is as
	// empty as what is left over.
	prefix string
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
	c := cgroups{fs: fs, version: 2, prefix: fmt.Sprintf("%s%d-%s-", cgroupPrefix, pid, newToken()[:8])}
	base, err := c.unified(own, mounts, pid)
	if err == nil {
		c.memory, c.pids = base, base
		if control, _ := fs.Read(base + "/cgroup.subtree_control"); words(control)["cpu"] {
			c.cpu = base
		}
		c.sweep(base)
		return c
	}
	c.version, c.why = 1, err.Error()
	c.pids, _ = c.single("pids", own, mounts, pid)
	c.cpu, _ = c.single("cpu", own, mounts, pid)
	c.memory, err = c.single("memory", own, mounts, pid)
	if err != nil {
		c.why = err.Error()
	}
	if len(c.bases()) == 0 {
		c.version = 0
	}
	return c
}

// bases are the folders beneath which sessions get cgroups, each once.
func (c *cgroups) bases() []string {
	var list []string
	for _, base := range []string{c.memory, c.pids, c.cpu} {
		if base != "" && !slices.Contains(list, base) {
			list = append(list, base)
		}
	}
	return list
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
	if err := c.control(base); err != nil {
		return "", err
	}
	return base, c.try(base, pid)
}

// control lets base bound its children. Processors are bounded where they can
// be: a kernel with real-time processes refuses.
func (c *cgroups) control(base string) error {
	if c.fs.Write(base+"/cgroup.subtree_control", "+cpu +memory +pids") == nil {
		return nil
	}
	return c.fs.Write(base+"/cgroup.subtree_control", "+memory +pids")
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
		err = c.control(base)
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
	cpu     string // the same for processors
	cpus    int    // how many may be busy; 0: not bounded here
	folders []string
}

// cgroupLimits are what a session's cgroup bounds. 0 is no limit.
type cgroupLimits struct {
	memory    int64
	processes int // with threads, and those of the init
	cpus      int
}

// make makes a session's cgroup with its limits.
func (c *cgroups) make(session string, l cgroupLimits) (*cgroup, error) {
	g := &cgroup{fs: c.fs, version: c.version}
	name := "/" + c.prefix + session
	for _, part := range []struct {
		base   string
		wanted bool
		folder *string
		bound  func() error
	}{
		{c.memory, l.memory > 0, &g.memory, func() error { return g.boundMemory(l.memory) }},
		{c.pids, l.processes > 0, &g.pids, func() error { return g.fs.Write(g.pids+"/pids.max", strconv.Itoa(l.processes)) }},
		// In version 1 each further hierarchy delays a start by some milliseconds.
		{c.cpu, l.cpus > 0 || c.version == 2, &g.cpu, func() error { g.boundCPU(l.cpus); return nil }},
	} {
		if part.base == "" || !part.wanted {
			continue
		}
		*part.folder = part.base + name
		err := g.mkdir(*part.folder)
		if err == nil {
			err = part.bound()
		}
		if err != nil {
			g.remove()
			return nil, err
		}
	}
	return g, nil
}

func (g *cgroup) mkdir(dir string) error {
	if slices.Contains(g.folders, dir) {
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

// lost says that no process is in the cgroup after all, so it bounds nothing.
func (g *cgroup) lost() { g.memory, g.pids, g.cpu, g.cpus = "", "", "", 0 }

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

func words(text string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}
