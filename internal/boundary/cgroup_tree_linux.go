package boundary

import (
	"errors"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownCgroups gives our cgroup in each hierarchy, by controller, "" for version 2
// (cgroups(7)).
func ownCgroups(fs cgroupFS) map[string]string { return cgroupsOf(fs, "self") }

// cgroupsOf gives those of a process, by its number.
func cgroupsOf(fs cgroupFS, process string) map[string]string {
	own := make(map[string]string)
	text, _ := fs.Read("/proc/" + process + "/cgroup")
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
