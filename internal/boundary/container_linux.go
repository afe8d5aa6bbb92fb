package boundary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// localKernel says that containers here can share our kernel.
const localKernel = true

// apartFromUs puts a program into a session of its own. It outlives us on purpose:
// it is by its end of the wire that a container ends when we are killed.
func apartFromUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// containerHost is what container engines need of this system.
type containerHost struct {
	native  *Native // looks mounts up, and watches what a session uses
	profile string
}

// initCalls are what the init needs before its own filter: a user namespace, paths
// without links, and the limit on cores, which is pretended to be set afterwards.
var initCalls = []string{"unshare", "openat2", "setrlimit", "prlimit64"}

func newContainerHost(c *Container) (containerHost, error) {
	caps, err := effective()
	if err != nil {
		return containerHost{}, err
	}
	n := &Native{opts: c.opts, caps: caps, cgroups: cgroups{fs: kernelCgroups{}}, disks: newDisks()}
	profile, _, err := confine.OCIProfile(initCalls...)
	if err != nil {
		return containerHost{}, err
	}
	h := containerHost{native: n, profile: filepath.Join(c.dir, "seccomp.json")}
	return h, replaceFile(h.profile, profile)
}

// replaceFile writes a file beside path and renames it: another one of us may be
// reading it.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (h *containerHost) seccomp() string { return h.profile }

// outside names our own namespaces.
func (h *containerHost) outside() ([]string, error) {
	var list []string
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return nil, fmt.Errorf("read our namespaces: %w", err)
		}
		list = append(list, link)
	}
	return list, nil
}

// identify decides who process 1 of a container is. Files of the group are its own
// on the host; the user namespace that the init makes turns that uid into the
// agent's.
func (h *containerHost) identify(uid int, facts *engineFacts) (containerID, error) {
	if !facts.local {
		return containerID{insideUID, insideUID}, nil // the engine's machine shows files as whoever asks
	}
	id, err := h.native.identify(uid)
	if err != nil {
		return containerID{}, err
	}
	if facts.remap {
		return containerID{}, &StartError{Step: "identity", Err: errors.New("this docker runs rootless or with userns-remap, where no user of a container is the owner of the group's files but its root"),
			Hint: "Use podman, which is rootless as well, or a docker without userns-remap."}
	}
	if id.change && facts.rootless {
		return containerID{}, &StartError{Step: "identity", Err: fmt.Errorf("a rootless engine cannot run anything as uid %d", id.uid)}
	}
	return containerID{id.uid, id.gid}, nil
}

// heldMount is a mount whose source was looked up and is held.
type heldMount struct {
	visible
	dev, ino uint64
}

// lookUp resolves the mounts of a grant, and refuses what an engine cannot mount
// with the owner that it needs.
func (h *containerHost) lookUp(spec Spec, id containerID) (held []heldMount, links []wire.Link, release func(), err error) {
	all, err := h.native.resolveAll(ofHost(spec.Grant.Mounts))
	release = func() {
		for _, m := range all {
			m.pin.Close()
		}
	}
	if err != nil {
		release()
		return nil, nil, nil, err
	}
	kept, links := arrange(all)
	if err := checkNested(kept); err != nil {
		release()
		return nil, nil, nil, err
	}
	for _, m := range kept {
		if err := h.own(m, id); err != nil {
			release()
			return nil, nil, nil, err
		}
		held = append(held, heldMount{visible{m.Mount, m.canonical}, m.stat.Dev, m.stat.Ino})
	}
	return held, links, release, nil
}

// own gives the group's folders to the group, once. A writable folder of somebody
// else is refused: no engine here lets one uid act as another on some mounts.
func (h *containerHost) own(m source, id containerID) error {
	change := id.uid != os.Geteuid()
	switch {
	case !m.Write || !change:
		return nil
	case m.Foreign && int(m.uid) != id.uid:
		return &StartError{Step: "mount " + m.Target, Hint: hintLendContainer,
			Err: fmt.Errorf("%s belongs to uid %d, and no container engine can lend it to uid %d", m.canonical, m.uid, id.uid)}
	case m.Foreign:
		return nil
	}
	if err := adopt(m, identity{uid: id.uid, gid: id.gid, change: true}); err != nil {
		return &StartError{Step: "mount " + m.Target, Err: err}
	}
	return nil
}

const hintLendContainer = "Mount it read-only, run this group in host mode, or run nanoclaw as the user whose folders these are."

// containerBounds are the bounds of a session in a container: those that the engine
// made in the kernel, where they are found to hold, and a watch in place of others.
type containerBounds struct {
	*limits
	host *containerHost
	tree *contained
	last atomic.Pointer[lastLook]
}

// over implements bounds.
func (b *containerBounds) over() *LimitError {
	if l := b.last.Load(); l != nil && l.ended() {
		if <-l.done; l.passed != nil {
			return l.passed
		}
	}
	return b.limits.over()
}

// lastLook is at the limits when process 1 has just died: a moment later the engine
// removes the cgroup, which alone says why. The kernel kills gVisor whole for memory.
type lastLook struct {
	process *os.File // a pidfd
	done    chan struct{}
	passed  *LimitError // read it after done
}

// lookAtEnd looks when a process ends. It gives nil if that is not to be known.
func lookAtEnd(pid int, look func() *LimitError) *lastLook {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil
	}
	l := &lastLook{process: nonblocking(fd), done: make(chan struct{})}
	conn, err := l.process.SyscallConn()
	if err != nil {
		l.process.Close()
		return nil
	}
	go func() {
		defer close(l.done)
		if conn.Read(hasEnded) == nil { // else the session has ended, and this with it
			l.passed = look()
		}
	}()
	return l
}

// hasEnded says whether the process of a pidfd has ended (pidfd_open(2)).
func hasEnded(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n == 1
		}
	}
}

func (l *lastLook) ended() (yes bool) {
	select {
	case <-l.done:
		return true
	default:
	}
	if conn, err := l.process.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { yes = hasEnded(fd) })
	}
	return yes
}

func (h *containerHost) bound(spec Spec, t *contained) bounds {
	l := &limits{Limits: spec.Grant.Limits, log: t.log, why: t.engine.name + " set none", entered: make(chan struct{})}
	l.disk = h.native.disks.watch(spec.Grant, l.log)
	return &containerBounds{limits: l, host: h, tree: t}
}

// words implements bounds. It is asked when the init has answered, so that there is
// a process to look at.
func (b *containerBounds) words() (layers, missing []string) {
	b.tree.look.Do(func() { b.tree.pid = b.tree.findPID() })
	if b.tree.pid == 0 {
		b.why = "the engine does not say which process it is"
		b.leave()
		return b.limits.words()
	}
	b.group = engineCgroup(b.host.native.cgroups.fs, b.tree.pid, b.Limits)
	b.enter(b.tree.pid)
	layers, missing = b.limits.words()
	if l := lookAtEnd(b.tree.pid, b.limits.over); l != nil {
		b.last.Store(l)
	}
	return layers, missing
}

// free implements bounds.
func (b *containerBounds) free() {
	b.tree.look.Do(b.leave)
	b.limits.free()
	if l := b.last.Load(); l != nil {
		l.process.Close()
	}
}

// leave is for a session whose processes are not known: only its disk is watched.
func (b *containerBounds) leave() {
	if b.disk != nil {
		b.disk.start(0)
	}
	close(b.entered)
}

// findPID asks for the number of the init on this machine: podman wrote it into a
// file before the init began, docker has to be asked.
func (t *contained) findPID() int {
	text, err := os.ReadFile(t.plan.run.pidFile)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
		defer cancel()
		text, err = t.engine.cli.run(ctx, "inspect", "--format", "{{.State.Pid}}", t.plan.run.name)
	}
	pid, e := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || e != nil || unix.Kill(pid, 0) == unix.ESRCH {
		return 0
	}
	return pid
}

// engineCgroup is the cgroup that an engine made for a container, as far as it is
// found to bound what it was asked to bound: an engine may ignore what it cannot
// do.
func engineCgroup(fs cgroupFS, pid int, l grant.Limits) *cgroup {
	own, mounts := cgroupsOf(fs, strconv.Itoa(pid)), cgroupMounts(fs)
	g := &cgroup{fs: fs, version: 1}
	if dir := mounts[""].find(own[""]); dir != "" {
		if controllers, _ := fs.Read(dir + "/cgroup.controllers"); words(controllers)["memory"] {
			g.version = 2
			g.memory, g.pids, g.cpu = dir, dir, dir
		}
	}
	memory, cpu := "memory.max", "cpu.max"
	if g.version == 1 {
		g.memory, g.pids, g.cpu = mounts["memory"].find(own["memory"]), mounts["pids"].find(own["pids"]), mounts["cpu"].find(own["cpu"])
		memory, cpu = "memory.limit_in_bytes", "cpu.cfs_quota_us"
	}
	if got := g.number(g.memory + "/" + memory); l.Memory <= 0 || got <= 0 || got > l.Memory {
		g.memory = ""
	}
	if got := g.number(g.pids + "/pids.max"); l.Processes <= 0 || got <= 0 || got > int64(pidsMax(l)) {
		g.pids = ""
	}
	quota, _ := fs.Read(g.cpu + "/" + cpu)
	if first, _, _ := strings.Cut(strings.TrimSpace(quota), " "); l.CPUs > 0 && first == strconv.Itoa(l.CPUs*cpuPeriod) {
		g.cpus = l.CPUs
	} else {
		g.cpu = ""
	}
	if g.memory == "" && g.pids == "" && g.cpu == "" {
		return nil
	}
	return g
}

// explain says why the container did not stand. The tool has ended by now, or is
// about to.
func (c *Container) explain(ctx context.Context, err error, t *contained, p *containerPlan) error {
	if e, ok := errors.AsType[*StartError](err); ok {
		return e
	}
	if in, ok := errors.AsType[*initError](err); ok {
		return &StartError{Step: plain(in.Step), Err: err, Hint: insideHint(in)}
	}
	select {
	case <-t.done:
	case <-time.After(removeAfter):
	}
	words := t.lastWords()
	if missing := c.missingImage(ctx, p.run.image); missing != nil {
		return missing
	}
	if words != "" {
		err = errors.New(words)
	} else if state := t.cmd.ProcessState; state != nil {
		err = fmt.Errorf("%w (%s: %s)", err, c.name, state)
	}
	return &StartError{Step: c.name, Err: err}
}

// insideHint says what to do about a step of the init that failed.
func insideHint(e *initError) string {
	if e.Step == "container" && strings.Contains(e.Err, "nobody asked for it") {
		return "Take it out of the image, or of the engine's settings (containers.conf, mounts.conf, registries of devices)."
	}
	return ""
}

// calls adds the filter of system calls to what is shown.
func (h *containerHost) calls(r *NativeRendering) { r.calls() }

// unmade takes those folders of the group out of a spec that the first start makes,
// and gives them.
func (h *containerHost) unmade(spec *Spec) []grant.Mount {
	var there, missing []grant.Mount
	for _, m := range spec.Grant.Mounts {
		_, err := os.Lstat(m.Source)
		if errors.Is(err, os.ErrNotExist) && !m.Image && !m.Optional && !m.Foreign && !m.File {
			missing = append(missing, m)
			continue
		}
		there = append(there, m)
	}
	spec.Grant.Mounts = there
	return missing
}
