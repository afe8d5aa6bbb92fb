package doctor

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Kernel versions that matter here.
var (
	// oldest has all that the boundary is built with: openat2 (5.6),
	// close_range (5.9) and mount_setattr (5.12).
	oldest = [2]int{5, 12}
	// withLandlock is the first kernel that has Landlock.
	withLandlock = [2]int{5, 13}
)

// machine looks at what the kernel offers and at what restricts it.
func (in Input) machine() []Check {
	checks := []Check{in.kernel(), in.namespaces(), in.landlock(), in.seccomp(), in.cgroups()}
	if c, inside := in.container(); inside {
		checks = append(checks, c)
	}
	return checks
}

// read gives the trimmed text of a small file of the machine, "" if it cannot
// be read: in /proc and /sys that means the kernel does not have the thing.
func (in Input) read(path string) string {
	data, err := fs.ReadFile(in.Root, strings.TrimPrefix(path, "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// exists says that there is something at a path of the machine.
func (in Input) exists(path string) bool {
	_, err := fs.Stat(in.Root, strings.TrimPrefix(path, "/"))
	return err == nil
}

// blocked is Fail, or Note where the probe showed that it does not matter.
func (in Input) blocked() State {
	if in.held() {
		return Note
	}
	return Fail
}

func (in Input) kernel() Check {
	release := in.read("/proc/sys/kernel/osrelease")
	c := Check{Name: "kernel", State: OK, Detail: "Linux " + release}
	version, ok := parseRelease(release)
	switch {
	case !ok:
		c.State, c.Detail = Warn, "the kernel's version cannot be read"
	case before(version, oldest):
		c.State = in.blocked()
		c.Detail += fmt.Sprintf(" is older than %d.%d", oldest[0], oldest[1])
		c.Fix = "install a newer kernel of your distribution"
	}
	return c
}

// parseRelease reads "6.18.44-cloud" as 6, 18.
func parseRelease(s string) (v [2]int, ok bool) {
	major, rest, _ := strings.Cut(s, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	var err1, err2 error
	v[0], err1 = strconv.Atoi(major)
	v[1], err2 = strconv.Atoi(rest[:end])
	return v, err1 == nil && err2 == nil
}

func before(v, other [2]int) bool {
	return v[0] < other[0] || v[0] == other[0] && v[1] < other[1]
}

// Files that say who may make user namespaces. The second is Debian's, the
// third Ubuntu's.
const (
	maxUserNS      = "/proc/sys/user/max_user_namespaces"
	debianUserNS   = "/proc/sys/kernel/unprivileged_userns_clone"
	apparmorUserNS = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	userNS         = "/proc/self/ns/user"
	orBubblewrap   = "\nor let bubblewrap make them, which has a profile of its own:\n" +
		"sudo apt-get install bubblewrap apparmor-profiles\n" +
		"sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/\n" +
		"sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict"
	orRunAsRoot     = "\nor run nanoclaw as root: it gives each group a uid of its own, and its agents are never root"
	sysctlPermanent = " | sudo tee /etc/sysctl.d/60-nanoclaw.conf && sudo sysctl --system"
)

func (in Input) namespaces() Check {
	const name = "user namespaces"
	switch {
	case !in.exists(userNS):
		return Check{name, in.blocked(), "the kernel was built without them", "use a kernel with CONFIG_USER_NS, as all large distributions have"}
	case in.read(maxUserNS) == "0":
		return Check{name, in.blocked(), "switched off: user.max_user_namespaces is 0", "echo user.max_user_namespaces=15000" + sysctlPermanent}
	case in.UID != 0 && in.read(debianUserNS) == "0":
		return Check{name, in.blocked(), "only root may make them: kernel.unprivileged_userns_clone is 0",
			"echo kernel.unprivileged_userns_clone=1" + sysctlPermanent + orRunAsRoot}
	case in.UID != 0 && in.read(apparmorUserNS) == "1":
		return Check{name, in.blocked(), "AppArmor takes their rights away from programs without a profile: kernel.apparmor_restrict_unprivileged_userns is 1",
			in.apparmorProfile() + orBubblewrap + orRunAsRoot}
	}
	return Check{Name: name, State: OK, Detail: "open to this user"}
}

// apparmorProfile is Ubuntu's own way to exempt one program, in the form that
// it ships for others. We had no such machine to try it on, and it says so. The
// lines can be pasted with spaces before them, which a here-document could not.
func (in Input) apparmorProfile() string {
	profile := `profile nanoclaw "` + in.Program + `" flags=(unconfined) { userns, }`
	return "give nanoclaw a profile (we had no such machine to try it on):\n" +
		`printf '%s\n' 'abi <abi/4.0>,' 'include <tunables/global>' '` + strings.ReplaceAll(profile, "'", `'\''`) + `' | sudo tee /etc/apparmor.d/nanoclaw` +
		"\nsudo apparmor_parser -r /etc/apparmor.d/nanoclaw"
}

// landlockNews says what each version added, for those that lack it.
var landlockNews = []struct {
	abi  int
	what string
}{
	{2, "renaming across folders"}, {3, "truncation"}, {4, "TCP ports"}, {5, "device ioctls"}, {6, "signals and abstract sockets"},
}

func (in Input) landlock() Check {
	const name = "landlock"
	floor := 0
	if in.Config != nil {
		floor = in.Config.Boundary.LandlockFloor
	}
	if in.LandlockABI > 0 {
		var lacks []string
		for _, n := range landlockNews {
			if in.LandlockABI < n.abi {
				lacks = append(lacks, n.what)
			}
		}
		detail := fmt.Sprintf("version %d", in.LandlockABI)
		if len(lacks) > 0 {
			detail += ", which does not cover " + strings.Join(lacks, ", ") + " (the other layers do)"
		}
		if in.LandlockABI < floor {
			return Check{name, Fail, detail + fmt.Sprintf("; boundary.landlockFloor asks for %d", floor), "install a newer kernel, or lower boundary.landlockFloor"}
		}
		return Check{Name: name, State: OK, Detail: detail}
	}
	c := Check{Name: name, State: Warn, Detail: "this kernel has none: a mistake in the mounts would not be caught by a second layer"}
	if floor > 0 {
		c.State = Fail
		c.Detail += fmt.Sprintf("; boundary.landlockFloor asks for %d", floor)
	}
	version, ok := parseRelease(in.read("/proc/sys/kernel/osrelease"))
	if active := in.read("/sys/kernel/security/lsm"); ok && !before(version, withLandlock) && active != "" {
		c.Fix = "add lsm=landlock," + active + " to the kernel's command line and boot again"
	} else {
		c.Fix = "install Linux 5.13 or newer, with Landlock in it"
	}
	return c
}

func (in Input) seccomp() Check {
	const name = "seccomp"
	actions := strings.Fields(in.read("/proc/sys/kernel/seccomp/actions_avail"))
	for _, a := range actions {
		if a == "errno" {
			return Check{Name: name, State: OK, Detail: "filters can be installed"}
		}
	}
	return Check{name, in.blocked(), "the kernel cannot filter system calls", "use a kernel with CONFIG_SECCOMP_FILTER, as all large distributions have"}
}

func (in Input) cgroups() Check {
	c := Check{Name: "cgroups", State: Note, Detail: "none found"}
	switch controllers := in.read("/sys/fs/cgroup/cgroup.controllers"); {
	case controllers != "":
		c.Detail = "version 2 with " + controllers
	case in.exists("/sys/fs/cgroup/memory"):
		c.Detail = "version 1"
	}
	if !in.held() {
		c.Detail += "; what bounds a session is known when a boundary stands"
		return c
	}
	var used []string
	for _, l := range in.Probe.Layers {
		if strings.HasPrefix(l, "memory ") || strings.Contains(l, " processes: ") {
			used = append(used, l)
		}
	}
	if used == nil {
		c.State, c.Fix = Warn, "run nanoclaw as a service with Delegate=yes, or on a kernel with CONFIG_PROC_CHILDREN"
		used = []string{"nothing bounds the memory of a whole session"}
	}
	c.Detail += "; of a session: " + strings.Join(used, ", ")
	return c
}

// container says if this machine is itself a container or alike, where some of
// the kernel is held back by somebody else.
func (in Input) container() (Check, bool) {
	const name = "surroundings"
	switch {
	case strings.Contains(strings.ToLower(in.read("/proc/sys/kernel/osrelease")), "microsoft"):
		return Check{Name: name, State: Note, Detail: "WSL: folders below /mnt do not keep modes and owners; let data and projects lie elsewhere"}, true
	case in.exists("/.dockerenv") || in.exists("/run/.containerenv"):
		c := Check{Name: name, State: Note, Detail: "this seems to be a container"}
		if in.Probe != nil && in.Probe.Err != nil {
			c.State = Warn
			c.Detail += ", whose own filters may forbid the boundary"
			c.Fix = "run nanoclaw on the host itself, or start the container as an ordinary user with\n" +
				"--user 1000:1000 --cap-drop ALL --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined\n" +
				"(podman: unmask=ALL for the last); as root in it, it also takes --cap-add SYS_ADMIN"
		}
		return c, true
	}
	return Check{}, false
}
