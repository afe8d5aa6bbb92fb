package boundary

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeCgroups is a tree of cgroups of version 2 in a folder, with the rules of
// the kernel that matter to us, for machines whose kernel has none.
type fakeCgroups struct {
	t         *testing.T
	root      string
	delegated string
	readOnly  bool
	realTime  bool // a real-time process keeps processors from being bounded
}

const fakeMount = "/sys/fs/cgroup"

func newFakeCgroups(t *testing.T, own string) *fakeCgroups {
	f := &fakeCgroups{t: t, root: t.TempDir()}
	f.put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/a rw\n30 22 0:27 / "+fakeMount+" rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
	f.put("/proc/self/cgroup", "0::"+own+"\n")
	f.put(fakeMount+"/cgroup.controllers", "cpu memory pids\n")
	f.put(fakeMount+"/cgroup.subtree_control", "cpu memory pids\n")
	f.put(fakeMount+"/cgroup.procs", "")
	dir := fakeMount
	for name := range strings.SplitSeq(strings.Trim(own, "/"), "/") {
		if name == "" {
			break
		}
		if dir != fakeDir { // what lies below that is ours to say
			f.put(dir+"/cgroup.subtree_control", "cpu memory pids\n")
		}
		dir += "/" + name
		if err := f.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	f.put(dir+"/cgroup.procs", "77\n")
	return f
}

func (f *fakeCgroups) put(path, text string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.root+path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.root+path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeCgroups) get(path string) string {
	b, _ := os.ReadFile(f.root + path)
	return strings.TrimSpace(string(b))
}

func (f *fakeCgroups) Read(path string) (string, error) {
	b, err := os.ReadFile(f.root + path)
	return string(b), err
}

func (f *fakeCgroups) Write(path, text string) error {
	if f.readOnly {
		return unix.EROFS
	}
	if _, err := os.Stat(f.root + path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	switch filepath.Base(path) {
	case "cgroup.procs":
		if f.get(dir+"/cgroup.subtree_control") != "" && dir != fakeMount {
			return unix.EBUSY // no processes in the middle of the tree
		}
		filepath.WalkDir(f.root+fakeMount, func(p string, d fs.DirEntry, err error) error {
			if d.Name() == "cgroup.procs" {
				p = strings.TrimPrefix(p, f.root)
				rest := slices.DeleteFunc(strings.Fields(f.get(p)), func(pid string) bool { return pid == text })
				f.put(p, strings.Join(rest, "\n"))
			}
			return err
		})
		text = f.get(path) + "\n" + text
	case "cgroup.subtree_control":
		if f.get(dir+"/cgroup.procs") != "" && f.get(dir+"/cgroup.type") != "" {
			return unix.EBUSY
		}
		if text = strings.ReplaceAll(text, "+", ""); f.realTime && words(text)["cpu"] {
			return unix.EINVAL
		}
		for _, c := range strings.Fields(text) {
			if !words(f.get(dir + "/cgroup.controllers"))[c] {
				return unix.ENOENT
			}
		}
	}
	f.put(path, text)
	return nil
}

func (f *fakeCgroups) Mkdir(path string) error {
	if f.readOnly {
		return &fs.PathError{Op: "mkdir", Path: path, Err: unix.EROFS}
	}
	if err := os.Mkdir(f.root+path, 0o755); err != nil {
		return err
	}
	controllers := f.get(filepath.Dir(path) + "/cgroup.subtree_control")
	for name, text := range map[string]string{
		"cgroup.type": "domain", "cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.controllers": controllers,
	} {
		f.put(path+"/"+name, text)
	}
	if words(controllers)["memory"] {
		for name, text := range map[string]string{
			"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
		} {
			f.put(path+"/"+name, text)
		}
	}
	if words(controllers)["pids"] {
		f.put(path+"/pids.max", "max")
		f.put(path+"/pids.events", "max 0\n")
		f.put(path+"/pids.current", "0\n")
	}
	if words(controllers)["cpu"] {
		f.put(path+"/cpu.max", "max 100000")
		f.put(path+"/cpu.weight", "100")
	}
	f.put(path+"/cpu.stat", "usage_usec 0\nuser_usec 0\nsystem_usec 0\n") // without the controller too
	return nil
}

func (f *fakeCgroups) Rmdir(path string) error {
	if f.get(path+"/cgroup.procs") != "" || slices.ContainsFunc(f.Names(path), func(n string) bool { return !strings.Contains(n, ".") }) {
		return unix.EBUSY
	}
	if _, err := os.Stat(f.root + path); err != nil {
		return err
	}
	return os.RemoveAll(f.root + path)
}

func (f *fakeCgroups) Names(path string) []string {
	var names []string
	entries, _ := os.ReadDir(f.root + path)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (f *fakeCgroups) Delegated(path string) bool { return path == f.delegated }

const (
	fakeOwn = "/system.slice/nanoclaw.service"
	fakeDir = fakeMount + fakeOwn
)

// Where version 2 can be had it is found, and made so that the kernel's rules
// hold; where not, the words say why and nothing has changed.
func TestFindUnifiedCgroups(t *testing.T) {
	for _, c := range []struct {
		name, own string
		machine   func(*fakeCgroups)
		base, why string
		procs     string // where we are afterwards
	}{
		{"no systemd", fakeOwn, func(*fakeCgroups) {}, fakeDir, "", fakeDir + "/nanoclaw-daemon"},
		{"delegated by systemd", fakeOwn, func(f *fakeCgroups) {
			f.put("/run/systemd/system/x", "")
			f.delegated = fakeDir
		}, fakeDir, "", fakeDir + "/nanoclaw-daemon"},
		{"delegated with a subgroup", fakeOwn + "/nanoclaw-daemon", func(f *fakeCgroups) {
			f.put("/run/systemd/system/x", "")
			f.delegated = fakeDir
		}, fakeDir, "", fakeDir + "/nanoclaw-daemon"},
		{"a restart in the same cgroup", fakeOwn, func(f *fakeCgroups) { f.Mkdir(fakeDir + "/nanoclaw-daemon") }, fakeDir, "", fakeDir + "/nanoclaw-daemon"},
		{"with real-time processes", fakeOwn, func(f *fakeCgroups) { f.realTime = true }, fakeDir, "", fakeDir + "/nanoclaw-daemon"},
		{"the root of all", "/", func(*fakeCgroups) {}, fakeMount, "", fakeMount},
		{"not delegated", fakeOwn, func(f *fakeCgroups) { f.put("/run/systemd/system/x", "") }, "", "Delegate=yes", fakeDir},
		{"with other programs", fakeOwn, func(f *fakeCgroups) { f.put(fakeDir+"/cgroup.procs", "77\n78\n") }, "", "other programs share", fakeDir},
		{"without the controller", fakeOwn, func(f *fakeCgroups) { f.put(fakeDir+"/cgroup.controllers", "hugetlb\n") }, "", "no cgroups that bound memory", fakeDir},
		{"not ours", fakeOwn, func(f *fakeCgroups) { f.readOnly = true }, "", "read-only file system", fakeDir},
		{"not to be seen", fakeOwn, func(f *fakeCgroups) { f.put("/proc/self/cgroup", "0::/../other\n") }, "", "no cgroups", fakeDir},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeCgroups(t, c.own)
			c.machine(f)
			got := findCgroups(f, 77)
			if got.memory != c.base || got.pids != c.base || !strings.Contains(got.why, c.why) || (got.why == "") != (c.why == "") {
				t.Errorf("memory %q, pids %q, why %q; want %q, %q", got.memory, got.pids, got.why, c.base, c.why)
			}
			if got.version == 2 != (c.base != "") {
				t.Errorf("version %d", got.version)
			}
			if !words(f.get(c.procs + "/cgroup.procs"))["77"] {
				t.Errorf("we are not in %s", c.procs)
			}
			if wantCPU := map[bool]string{true: c.base}[!strings.Contains(c.name, "real-time")]; got.cpu != wantCPU {
				t.Errorf("cpu %q, want %q", got.cpu, wantCPU)
			}
			if c.base == "" && slices.ContainsFunc(f.Names(fakeDir), func(n string) bool { return strings.HasPrefix(n, cgroupPrefix) }) {
				t.Errorf("something is left: %v", f.Names(fakeDir))
			}
		})
	}
}

// A session's cgroup of version 2, from its making to its end.
func TestUnifiedCgroup(t *testing.T) {
	f := newFakeCgroups(t, fakeOwn)
	c := findCgroups(f, 77)
	g, err := c.make("S1", cgroupLimits{memory: 64 << 20, processes: 100, cpus: 2})
	if err != nil {
		t.Fatal(err)
	}
	dir := fakeDir + "/" + c.prefix + "S1"
	if !strings.HasPrefix(c.prefix, "nanoclaw-77-") {
		t.Errorf("the name %q does not tell whose it is", c.prefix)
	}
	if err := g.enter(1234); err != nil {
		t.Fatal(err)
	}
	if !g.yield() {
		t.Error("it keeps its full weight")
	}
	for name, want := range map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "100", "cpu.max": "200000 100000", "cpu.weight": "50", "cgroup.procs": "1234",
	} {
		if got := f.get(dir + "/" + name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	for _, e := range []struct {
		name, events string
		want         bool
	}{
		{"nothing", "oom 0\noom_kill 0\n", false},
		{"the machine had no memory", "oom 0\noom_kill 1\n", false},
		{"near the limit", "max 12\noom 0\noom_kill 0\n", false},
		{"over the limit", "max 12\noom 1\noom_kill 4\noom_group_kill 1\n", true},
	} {
		f.put(dir+"/memory.events", e.events)
		if got := g.exceeded(); got != e.want {
			t.Errorf("%s: exceeded %t", e.name, got)
		}
	}
	f.put(dir+"/cpu.stat", "usage_usec 2500000\nuser_usec 2000000\n")
	if used := g.cpuTime(); !g.counts() || used != 2500*time.Millisecond || g.cpus != 2 {
		t.Errorf("used %v, bound to %d processors", used, g.cpus)
	}
	for _, e := range []struct {
		name, file, text string
		want             bool
	}{
		{"few processes", "pids.current", "10\n", false},
		{"as many as may be", "pids.current", "36\n", true},
		{"fewer again", "pids.current", "10\n", false},
		{"as many as may be, once", "pids.peak", "36\n", true},
		{"fewer at all times", "pids.peak", "35\n", false},
		{"one was refused", "pids.events", "max 1\n", true},
	} {
		f.put(dir+"/"+e.file, e.text)
		if got := g.crowded(36); got != e.want {
			t.Errorf("%s: crowded %t", e.name, got)
		}
	}
	if err := g.remove(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("removed with a process in it: %v", err)
	}
	f.put(dir+"/cgroup.procs", "")
	if err := g.remove(); err != nil {
		t.Error(err)
	}
	if err := g.remove(); err != nil {
		t.Errorf("removed once more: %v", err)
	}
}

// What a killed daemon left is removed at the next start, what lives is not.
func TestLeftoversAreRemoved(t *testing.T) {
	f := newFakeCgroups(t, fakeOwn)
	for _, name := range []string{"nanoclaw-999999999-dead", "nanoclaw-999999998-full", "nanoclaw-1-lives", "other"} {
		if err := f.Mkdir(fakeDir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	f.put(fakeDir+"/nanoclaw-999999998-full/cgroup.procs", "5\n")
	findCgroups(f, 77)
	var left []string
	for _, name := range f.Names(fakeDir) {
		if !strings.Contains(name, ".") {
			left = append(left, name)
		}
	}
	if want := []string{"nanoclaw-1-lives", "nanoclaw-999999998-full", "nanoclaw-daemon", "other"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}
