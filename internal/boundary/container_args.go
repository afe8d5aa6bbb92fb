//go:build linux || darwin

package boundary

import (
	"fmt"
	"strconv"
	"strings"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// Labels of our containers.
const (
	installLabel = "nanoclaw.install"
	groupLabel   = "nanoclaw.group"
)

// containerID is who process 1 of a container is, as the container counts.
type containerID struct{ uid, gid int }

// bind is a folder or file of the host that is mounted.
type bind struct {
	source, target string
	write, exec    bool
}

// containerRun is all that an engine is asked for. Each engine has its own words
// for it, and no engine gets anything else.
type containerRun struct {
	name, image string
	labels      [][2]string
	runtime     string // "": the engine's own
	gvisor      bool   // it is gVisor's runsc
	id          containerID
	keepID      bool // the engine's user namespace shall keep our own uid
	binds       []bind
	seccomp     string // a profile's path, "" for the engine's own
	pidFile     string
	limits      grant.Limits
	rlimits     []wire.Rlimit
	program     []string // arguments of the init
}

// arguments gives what comes after the tool's name and the owner's own arguments.
func (r *containerRun) arguments(engine string) []string {
	a := &arguments{}
	switch engine {
	case PodmanEngine:
		r.podman(a)
	case DockerEngine:
		r.docker(a)
	default:
		r.apple(a)
	}
	return append(append(a.list, r.image), r.program...)
}

type arguments struct{ list []string }

func (a *arguments) add(list ...string) { a.list = append(a.list, list...) }

// shared are the options that podman and docker have in common.
func (r *containerRun) shared(a *arguments) {
	a.add("run", "--interactive", "--rm", "--sig-proxy=false", "--pull", "never", "--name", r.name)
	for _, l := range r.labels {
		a.add("--label", l[0]+"="+l[1])
	}
	a.add("--hostname", hostname, "--workdir", "/",
		"--network", "none", "--ipc", "private", "--cgroupns", "private",
		"--user", fmt.Sprintf("%d:%d", r.id.uid, r.id.gid),
		"--cap-drop", "all", "--security-opt", "no-new-privileges",
		// Folders are not marked for SELinux, which would change the owner's files.
		"--security-opt", "label=disable",
		// What passes here is the wire, and the driver of the engine's choice writes
		// it to disk.
		"--log-driver", "none", "--no-healthcheck", "--read-only")
	if r.seccomp != "" {
		a.add("--security-opt", "seccomp="+r.seccomp)
	}
	r.sizes(a)
	a.add("--entrypoint", confine.InitPath)
}

// sizes are the limits. /tmp and /dev/shm are file systems of their own, as with
// bubblewrap.
func (r *containerRun) sizes(a *arguments) {
	l := r.limits
	tmpfs := "/tmp:rw,exec,nosuid,nodev,mode=1777"
	if l.TmpSize > 0 {
		tmpfs += ",size=" + strconv.FormatInt(l.TmpSize-l.TmpSize/4, 10)
		if !r.gvisor {
			a.add("--shm-size", strconv.FormatInt(l.TmpSize/4, 10))
		}
	}
	if r.gvisor { // whose kernel has the memory of its processes; the engine's would be files of the machine
		shm := "/dev/shm:rw,nosuid,nodev,noexec,mode=1777"
		if l.TmpSize > 0 {
			shm += ",size=" + strconv.FormatInt(l.TmpSize/4, 10)
		}
		a.add("--tmpfs", shm)
	}
	a.add("--tmpfs", tmpfs)
	// In place of the kernel's: no session has /sys, and cgroups of version 1 can
	// name a program that the kernel runs.
	for _, dir := range []string{"/sys", "/sys/fs/cgroup"} {
		a.add("--tmpfs", dir+":ro,noexec,nosuid,nodev,size=4k")
	}
	if l.Memory > 0 {
		bytes := strconv.FormatInt(l.Memory, 10)
		a.add("--memory", bytes, "--memory-swap", bytes)
	}
	if l.Processes > 0 {
		a.add("--pids-limit", strconv.Itoa(l.Processes+confine.Spare))
	}
	if l.CPUs > 0 {
		a.add("--cpus", strconv.Itoa(l.CPUs))
	}
	// Both are named, since what is named replaces the engine's whole list, which
	// may ask for more than the machine permits. The init lowers them.
	for _, limit := range r.rlimits {
		n := limit.Value
		switch limit.Resource {
		case rlimitNProc:
			n += confine.Spare
			a.add("--ulimit", fmt.Sprintf("nproc=%d:%d", n, n))
		case rlimitNoFile:
			a.add("--ulimit", fmt.Sprintf("nofile=%d:%d", n, n))
		}
	}
}

func (r *containerRun) podman(a *arguments) {
	if r.runtime != "" {
		a.add("--runtime", r.runtime)
	}
	if r.gvisor { // it copies what is up in the container's network, where podman leaves "lo" down
		a.add("--runtime-flag", "network=none")
	}
	r.shared(a)
	// Each of these turns off something that podman would add by itself.
	a.add("--read-only-tmpfs=false", "--image-volume", "ignore", "--http-proxy=false", "--systemd=false", "--no-hosts", "--pidfile", r.pidFile,
		"--security-opt", "mask="+strings.Join(confine.Masks(), ":"))
	if r.keepID {
		a.add("--userns", "keep-id")
	}
	for _, b := range r.binds {
		options := []string{"rbind", "rprivate", "nosuid", "nodev", "ro"}
		if b.write {
			options[4] = "rw"
		}
		if !b.exec {
			options = append(options, "noexec")
		}
		a.add("--volume", b.source+":"+b.target+":"+strings.Join(options, ","))
	}
}

func (r *containerRun) docker(a *arguments) {
	r.shared(a)
	if r.runtime != "" {
		a.add("--runtime", r.runtime)
	}
	for _, b := range r.binds {
		mount := "type=bind,src=" + b.source + ",dst=" + b.target + ",bind-propagation=rprivate"
		if !b.write {
			mount += ",readonly"
		}
		a.add("--mount", mount)
	}
}

// apple renders for Apple's container, whose containers are machines of their own:
// there is one kernel for each, and limits are those of the machine.
func (r *containerRun) apple(a *arguments) {
	a.add("run", "--interactive", "--rm", "--progress", "none", "--name", r.name)
	for _, l := range r.labels {
		a.add("--label", l[0]+"="+l[1])
	}
	a.add("--network", "none", "--no-dns", "--user", fmt.Sprintf("%d:%d", r.id.uid, r.id.gid),
		"--cap-drop", "ALL", "--read-only", "--workdir", "/", "--tmpfs", "/tmp")
	if r.limits.Memory > 0 {
		a.add("--memory", strconv.FormatInt(max(r.limits.Memory>>20, 1), 10)+"M")
	}
	if r.limits.CPUs > 0 {
		a.add("--cpus", strconv.Itoa(r.limits.CPUs))
	}
	a.add("--entrypoint", confine.InitPath)
	for _, b := range r.binds {
		mount := "type=bind,source=" + b.source + ",target=" + b.target
		if !b.write {
			mount += ",readonly"
		}
		a.add("--mount", mount)
	}
}
