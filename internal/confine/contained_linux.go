package confine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// A container is built by an engine from an image that nobody here has seen. What
// the grant says of it is proven, and that nothing came along which nobody asked
// for: settings of the engine, files beside them and the image itself may add
// mounts and devices. What the image holds is for the image; Landlock leaves of it
// what the grant names.

// ProveContainer fails unless the container around this process is what spec asks
// for. layers are what holds, lacks what the engine could not do.
func ProveContainer(spec wire.Spec) (layers, lacks []string, err error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	mounts, err := parseMounts(string(text))
	if err != nil {
		return nil, nil, err
	}
	p := &containerProver{prover{spec: spec, mounts: mounts}, spec.Built.Contained, nil}
	for _, step := range []func() error{p.namespaces, p.grant, p.fixed, p.strangers, p.devices, p.names, p.filter} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	layers = []string{
		"container: namespaces, network and root by " + spec.Built.By + ", proven",
		fmt.Sprintf("root: %d mounts of the grant on the image, which is read-only", len(spec.Mounts)),
	}
	return layers, p.lacking, nil
}

// containerProver is a prover of what an engine made.
type containerProver struct {
	prover
	known   *wire.Contained
	lacking []string
}

func (p *containerProver) lacks(format string, args ...any) {
	if words := fmt.Sprintf(format, args...); !slices.Contains(p.lacking, words) {
		p.lacking = append(p.lacking, words)
	}
}

func (p *containerProver) namespaces() error {
	if !p.known.Apart {
		return ProveNamespaces(p.spec)
	}
	p.lacks("a comparison of namespaces with the host's: %s has a kernel of its own", p.spec.Built.By)
	name, err := os.Hostname()
	if name != p.spec.Hostname { // Apple's has no option for it
		p.lacks("the name of the session: it is called %q", name)
	}
	return err
}

func (p *containerProver) grant() error {
	if !p.known.Pinned && !p.known.Seen {
		p.lacks("a proof that mounts are the folders that were looked up: %s has a kernel of its own", p.spec.Built.By)
	}
	for _, m := range p.spec.Mounts {
		if err := p.granted(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	return nil
}

func (p *containerProver) granted(m wire.Mount) error {
	i := slices.IndexFunc(p.mounts, func(at mount) bool { return at.point == m.Target })
	if i < 0 {
		return errors.New("it is not there")
	}
	if p.known.Pinned {
		var st unix.Stat_t
		if err := unix.Lstat(m.Target, &st); err != nil {
			return err
		}
		if st.Dev != m.Dev || st.Ino != m.Ino {
			return fmt.Errorf("%s changed while starting", m.Source)
		}
	}
	return p.judge(&p.mounts[i], m.Write, m.Exec)
}

// judge fails if a mount can be written and must not be. What else an engine can
// not set is no breach without privileges and under Landlock, and is told.
func (p *containerProver) judge(m *mount, write, exec bool) error {
	if !write && !m.options["ro"] {
		return errors.New("it can be written")
	}
	if m.gives() {
		return errors.New("mounts made beneath it would appear elsewhere")
	}
	switch {
	case p.known.GVisor && m.options["nosuid"]:
		// It shows no nodev, see onGVisor.
	case m.lacks([]string{"nosuid", "nodev"}) != nil:
		p.lacks("nosuid and nodev on mounts: %s sets none, so no_new_privs and the device rules of the container hold alone", p.spec.Built.By)
	}
	if !exec && !m.options["noexec"] {
		p.lacks("noexec on mounts: %s sets none, so Landlock alone refuses to run what lies there", p.spec.Built.By)
	}
	return nil
}

// own are the mounts of an engine's own: where they may be and of which kinds.
// Beneath a kernel file system it masks some files by others.
var own = []struct {
	at    string
	types []string
}{
	{"/proc", []string{"proc", "tmpfs", "devtmpfs"}},
	{"/sys", []string{"tmpfs"}},
	{"/dev", []string{"tmpfs", "devpts", "mqueue", "devtmpfs"}},
	{"/tmp", []string{"tmpfs"}},
}

// kernelFS are file systems beneath /sys, in which the kernel tells of the machine.
var kernelFS = map[string]bool{"sysfs": true, "cgroup": true, "cgroup2": true}

// engineFiles are the files that engines put into each container; what they hold
// is the container's own, or generated here.
var engineFiles = []string{"/run/.containerenv", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group"}

// fixed proves the mounts that every container has.
func (p *containerProver) fixed() error {
	for _, want := range []place{
		{"/", "", []string{"ro"}}, {"/tmp", "tmpfs", []string{"rw", "nosuid", "nodev"}},
		{"/dev/shm", "tmpfs", []string{"rw", "nosuid", "nodev"}}, {"/proc", "proc", nil},
	} {
		if p.known.GVisor {
			want = onGVisor(want)
		}
		i := slices.IndexFunc(p.mounts, func(m mount) bool { return m.point == want.point })
		if i < 0 {
			return fmt.Errorf("%s is no mount of its own", want.point)
		}
		m := &p.mounts[i]
		if lacks := m.lacks(want.options); lacks != nil || want.fstype != "" && m.fstype != want.fstype {
			return fmt.Errorf("%s, a %s, is not %s", want.point, m.fstype, strings.Join(want.options, ", "))
		}
	}
	return p.temporary()
}

// onGVisor is what gVisor shows of a mount: never nodev, since no device of this
// machine can be reached through its kernel whatever file names it.
func onGVisor(p place) place {
	p.options = slices.DeleteFunc(slices.Clone(p.options), func(o string) bool { return o == "nodev" })
	return p
}

// temporary fails if the agent cannot write to /tmp. Runc gives what it mounts there
// the mode of the image's own folder, whatever it was asked for.
func (p *containerProver) temporary() error {
	err := unix.Access("/tmp", unix.R_OK|unix.W_OK|unix.X_OK)
	if err == nil {
		return nil
	}
	var st unix.Stat_t
	unix.Stat("/tmp", &st)
	return fmt.Errorf("/tmp cannot be written, since the image has it with mode %04o: give it 1777 there (nanoclaw image import does so by itself): %w", st.Mode&0o7777, err)
}

// strangers fails if there is a mount that nobody asked for.
func (p *containerProver) strangers() error {
	for i := range p.mounts {
		m := &p.mounts[i]
		if m.point == "/" || p.asked(m.point) || p.ownMount(m) {
			continue
		}
		above := p.above(m.point)
		if above == nil {
			return fmt.Errorf("%s is mounted, and nobody asked for it: the image, or a setting of %s, adds it", m.point, p.spec.Built.By)
		}
		if err := p.judge(m, above.Write, above.Exec); err != nil {
			return fmt.Errorf("%s, beneath the mount of %s: %w", m.point, above.Target, err)
		}
	}
	return nil
}

// asked says whether the host asked for a mount, or it is a file that every
// container has.
func (p *containerProver) asked(point string) bool {
	return slices.Contains(p.known.Places, point) || slices.Contains(engineFiles, point) ||
		slices.ContainsFunc(p.spec.Files, func(f wire.File) bool { return f.Path == point })
}

func (p *containerProver) ownMount(m *mount) bool {
	for _, o := range own {
		if m.point == o.at || strings.HasPrefix(m.point, o.at+"/") {
			if o.at == "/sys" && kernelFS[m.fstype] {
				p.lacks("a root without /sys: %s mounts it; Landlock alone closes it", p.spec.Built.By)
				return true
			}
			// Nodes of /dev may be bound one by one; devices judges them all.
			return slices.Contains(o.types, m.fstype) || o.at == "/dev" && path.Dir(m.point) == "/dev" ||
				p.known.GVisor && m.point == "/dev" && m.fstype == "dev"
		}
	}
	return false
}

// devices fails if /dev has a device that no session has.
func (p *containerProver) devices() error {
	entries, err := os.ReadDir("/dev")
	if err != nil {
		return err
	}
	for _, e := range entries {
		kind := e.Type()
		known := slices.Contains(nodes[:], e.Name()) || p.known.GVisor && e.Name() == "fuse"
		if kind&os.ModeDevice != 0 && !known && e.Name() != "console" && e.Name() != "ptmx" || kind&(os.ModeSocket|os.ModeNamedPipe) != 0 {
			return fmt.Errorf("/dev/%s is there, and nobody asked for it", e.Name())
		}
	}
	return p.nodes()
}

// names proves the generated files, and notes the links.
func (p *containerProver) names() error {
	for _, f := range p.spec.Files {
		data, err := os.ReadFile(f.Path)
		if err != nil || !bytes.Equal(data, f.Data) {
			return errors.Join(fmt.Errorf("file %s is not the one that was asked for", f.Path), err)
		}
	}
	for _, l := range p.spec.Links {
		if _, err := os.Stat(l.Path); err != nil {
			p.lacks("the link %s: the image has none", l.Path)
		}
	}
	return nil
}

// filter tells where no filter of the engine's was in force before ours.
func (p *containerProver) filter() error {
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	if err != nil || mode != unix.SECCOMP_MODE_FILTER {
		p.lacks("a system call filter of the engine's: ours holds alone")
	}
	return nil
}
