package boundary

import (
	"os"
	"path"
	"slices"
	"strconv"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

// wrapping makes the arguments of bwrap, which it carries out in their order.
type wrapping struct {
	args []string
	made map[string]bool // folders on the root's own tmpfs
}

func (w *wrapping) add(args ...string) { w.args = append(w.args, args...) }

// folder makes a folder and those above it. bwrap would make them as well, but
// with a mode of its own.
func (w *wrapping) folder(p string) {
	if p == "/" || w.made[p] {
		return
	}
	w.folder(path.Dir(p))
	w.made[p] = true
	w.add("--dir", p)
}

// wrap renders spec for bwrap. source names what is mounted for a mount of the
// spec, data the descriptor of a generated file; both by their index.
//
// The root is what confine.BuildRoot makes, as far as bwrap can: confine.ProveRoot
// is the other half of this. skip leaves out layers, for tests.
func wrap(spec *wire.Spec, setuid bool, skip []string, source, data func(int) string) []string {
	w := &wrapping{made: make(map[string]bool)}
	w.namespaces(spec, setuid, skip)
	if slices.Contains(skip, "root") {
		w.add("--dev-bind", "/", "/")
		return w.args
	}
	w.system(spec.TmpBytes)
	for i, f := range spec.Files {
		w.folder(path.Dir(f.Path))
		w.add("--perms", "0644", "--file", data(i), f.Path)
	}
	for _, l := range spec.Links {
		w.folder(path.Dir(l.Path))
		w.add("--symlink", l.Target, l.Path)
	}
	for i, m := range spec.Mounts {
		if !slices.ContainsFunc(spec.Mounts[:i], func(o wire.Mount) bool { return beneath(m.Target, o.Target) }) {
			w.folder(path.Dir(m.Target))
		}
		how := "--ro-bind"
		if m.Write {
			how = "--bind"
		}
		w.add(how, source(i), m.Target)
	}
	w.add("--remount-ro", "/")
	return w.args
}

// namespaces asks for namespaces and for who the init is in them. Each is named:
// with --unshare-all bwrap does without some that it cannot have.
func (w *wrapping) namespaces(spec *wire.Spec, setuid bool, skip []string) {
	for _, kind := range []string{"user", "ipc", "pid", "net", "uts", "cgroup"} {
		if !slices.Contains(skip, kind) {
			w.add("--unshare-" + kind)
		}
	}
	if !setuid { // bwrap refuses the two together
		w.add("--disable-userns")
	}
	if !slices.Contains(skip, "uts") {
		w.add("--hostname", spec.Hostname)
	}
	id := strconv.Itoa(insideUID)
	// As process 1: a reaper of bwrap's would not be ours, and killable by its child.
	w.add("--uid", id, "--gid", id, "--cap-drop", "ALL", "--new-session", "--as-pid-1",
		"--clearenv", "--setenv", "GOMAXPROCS", "1", "--chdir", "/")
}

// system makes what every root has. /tmp and /dev/shm share size bytes; they
// are file systems of their own, so each has its part.
func (w *wrapping) system(size int64) {
	tmpfs := func(at string, part int64) {
		w.add("--perms", "1777")
		if part > 0 {
			w.add("--size", strconv.FormatInt(part, 10))
		}
		w.add("--tmpfs", at)
	}
	w.add("--dev", "/dev")
	tmpfs("/dev/shm", size/4)
	w.add("--remount-ro", "/dev", "--proc", "/proc")
	for _, m := range confine.Masks() {
		if _, err := os.Lstat(m); err == nil { // the kernel inside is the same
			w.add("--dev-bind", "/dev/null", m)
		}
	}
	w.add("--remount-ro", "/proc")
	tmpfs("/tmp", size-size/4)
	for _, d := range []string{"/dev", "/proc", "/tmp"} {
		w.made[d] = true
	}
	w.folder("/etc")
	w.folder("/run")
}
