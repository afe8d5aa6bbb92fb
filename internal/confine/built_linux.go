package confine

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// Where another program builds the root (wire.Built), what it built is proven
// here before anything of the agent runs. The program is trusted to be no
// enemy, and not trusted to have understood us: what is not exactly as the Spec
// says is an error.

// kinds are the namespaces of a session, as /proc/self/ns names them.
var kinds = [...]string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}

// ProveNamespaces fails unless this process is in no namespace of the host, is
// process 1 of its own, and sees the name of the Spec.
func ProveNamespaces(spec wire.Spec) error {
	host := make(map[string]string)
	for _, link := range spec.Built.Outside {
		kind, _, _ := strings.Cut(link, ":")
		host[kind] = link
	}
	for _, kind := range kinds {
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return err
		}
		if host[kind] == "" || own == host[kind] {
			return fmt.Errorf("the %s namespace %s is not known to be new (the host's is %q)", kind, own, host[kind])
		}
	}
	if self, err := os.Readlink("/proc/self"); err != nil || self != "1" {
		return errors.Join(fmt.Errorf("/proc shows this process as %q", self), err)
	}
	if name, err := os.Hostname(); err != nil || name != spec.Hostname {
		return errors.Join(fmt.Errorf("the host name is %q", name), err)
	}
	return nil
}

// ProveLoopback fails unless "lo" is the only network interface, and up.
func ProveLoopback() error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0].Name != "lo" || all[0].Flags&(net.FlagUp|net.FlagLoopback) != net.FlagUp|net.FlagLoopback {
		return fmt.Errorf("the network is not a loopback alone: %v", all)
	}
	return nil
}

// ProveRoot fails unless the root of this process is what spec asks for and
// nothing else: every mount at its place, of the inode that the host pinned and
// with its attributes; every generated file and link; no further mount, file or
// folder. It closes the descriptors of all mounts. lacks says what the builder of
// the root could not do.
func ProveRoot(spec wire.Spec) (lacks []string, err error) {
	defer func() {
		for _, m := range spec.Mounts {
			unix.Close(m.FD)
		}
	}()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	mounts, err := parseMounts(string(text))
	if err != nil {
		return nil, err
	}
	p := &prover{spec: spec, mounts: mounts}
	for _, step := range []func() error{p.grant, p.fixed, p.strangers, p.masked, p.names, p.tree} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p.lacks(), nil
}

// prover holds what the steps of ProveRoot share.
type prover struct {
	spec   wire.Spec
	mounts []mount
}

// grant proves the mounts of the grant.
func (p *prover) grant() error {
	for _, m := range p.spec.Mounts {
		if err := p.granted(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	return nil
}

func (p *prover) granted(m wire.Mount) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, m.Target, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := samePinned(fd, m); err != nil {
		return err
	}
	at, err := p.on(fd)
	if err != nil {
		return err
	}
	if at.point != m.Target {
		return fmt.Errorf("it lies in the mount of %s and is none of its own", at.point)
	}
	return p.judge(at, p.attributes(m))
}

// on finds the mount that an open file lies on.
func (p *prover) on(fd int) (*mount, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.mounts, func(m mount) bool { return uint64(m.id) == st.Mnt_id })
	if st.Mask&unix.STATX_MNT_ID == 0 || i < 0 {
		return nil, errors.New("the kernel does not say which mount it lies on")
	}
	return &p.mounts[i], nil
}

// judge fails unless a mount has the options, and passes no mount of ours on.
func (p *prover) judge(m *mount, want []string) error {
	if lacks := m.lacks(want); lacks != nil {
		return fmt.Errorf("it is not %s", strings.Join(lacks, ", "))
	}
	if m.gives() {
		return errors.New("mounts made beneath it would appear elsewhere")
	}
	return nil
}

// attributes are the options that m asks for, as far as the builder can set them.
func (p *prover) attributes(m wire.Mount) []string {
	want := []string{"nosuid", "nodev"}
	if !m.Write {
		want = append(want, "ro")
	}
	if !m.Exec && p.spec.Built.Sealed {
		want = append(want, "noexec")
	}
	return want
}

// place is a mount that every root has.
type place struct {
	point, fstype string
	options       []string
}

// places are the mounts of the root itself. Devices are bound one by one, so
// their file system is the host's.
func places() []place {
	all := []place{
		{"/", "tmpfs", []string{"ro", "nosuid", "nodev"}},
		{"/tmp", "tmpfs", []string{"rw", "nosuid", "nodev"}},
		{"/dev", "tmpfs", []string{"ro", "nosuid"}},
		{"/dev/shm", "tmpfs", []string{"rw", "nosuid", "nodev"}},
		{"/dev/pts", "devpts", []string{"nosuid", "noexec"}},
		{"/proc", "proc", []string{"ro", "nosuid", "nodev", "noexec"}},
	}
	for _, n := range nodes {
		all = append(all, place{"/dev/" + n, "", []string{"nosuid"}})
	}
	return all
}

// fixed proves the mounts that every root has.
func (p *prover) fixed() error {
	for _, want := range places() {
		fd, err := unix.Openat2(unix.AT_FDCWD, want.point, &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", want.point, err)
		}
		m, err := p.on(fd)
		unix.Close(fd)
		switch {
		case err != nil:
		case m.point != want.point || want.fstype != "" && m.fstype != want.fstype:
			err = fmt.Errorf("it lies in the mount of %s, a %s", m.point, m.fstype)
		default:
			err = p.judge(m, want.options)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", want.point, err)
		}
	}
	return p.nodes()
}

// numbers are the devices behind nodes (null(4), full(4), random(4), tty(4)).
var numbers = map[string][2]uint32{
	"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0},
}

func (p *prover) nodes() error {
	for _, n := range nodes {
		if err := device("/dev/"+n, numbers[n]); err != nil {
			return err
		}
	}
	return nil
}

// device fails unless there is that device at a path.
func device(at string, number [2]uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(at, &st); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(number[0], number[1]) {
		return fmt.Errorf("%s is not the device %d:%d", at, number[0], number[1])
	}
	return nil
}

// masked proves that what tells about the whole machine is hidden in /proc.
func (p *prover) masked() error {
	for _, m := range masks {
		if err := device("/proc/"+m, numbers["null"]); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// strangers fails if there is a mount that nobody asked for. What the host has
// mounted beneath a granted folder comes with it, with the same attributes.
func (p *prover) strangers() error {
	known := make(map[string]bool)
	for _, f := range places() {
		known[f.point] = true
	}
	for _, m := range masks {
		known["/proc/"+m] = true
	}
	seen := make(map[string]bool)
	for i := range p.mounts {
		m := &p.mounts[i]
		if seen[m.point] {
			return fmt.Errorf("two mounts are at %s", m.point)
		}
		seen[m.point] = true
		if known[m.point] {
			continue
		}
		above := p.above(m.point)
		if above == nil {
			return fmt.Errorf("%s is mounted, and nobody asked for it", m.point)
		}
		if err := p.judge(m, p.attributes(*above)); err != nil {
			return fmt.Errorf("%s, beneath the mount of %s: %w", m.point, above.Target, err)
		}
	}
	return nil
}

// above finds the innermost mount of the grant that a path is at or beneath.
func (p *prover) above(point string) *wire.Mount {
	var found *wire.Mount
	for i, m := range p.spec.Mounts {
		if (point == m.Target || strings.HasPrefix(point, m.Target+"/")) && (found == nil || len(m.Target) > len(found.Target)) {
			found = &p.spec.Mounts[i]
		}
	}
	return found
}

// names proves the generated files and links.
func (p *prover) names() error {
	for _, f := range p.spec.Files {
		var st unix.Stat_t
		if err := unix.Lstat(f.Path, &st); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
		data, err := os.ReadFile(f.Path)
		if err != nil || st.Mode != unix.S_IFREG|0o644 || !bytes.Equal(data, f.Data) {
			return errors.Join(fmt.Errorf("file %s, of mode %o, is not the one that was asked for", f.Path, st.Mode), err)
		}
	}
	for _, l := range p.spec.Links {
		if to, err := os.Readlink(l.Path); err != nil || to != l.Target {
			return errors.Join(fmt.Errorf("link %s leads to %q", l.Path, to), err)
		}
	}
	return nil
}

// tree proves that nothing lies on the root's own file system but what was
// asked for and the folders that lead there.
func (p *prover) tree() error {
	wanted := map[string]bool{"/run": true, "/etc": true}
	add := func(name string) {
		for ; !wanted[name] && name != "/"; name = path.Dir(name) {
			wanted[name] = true
		}
	}
	for _, f := range places() {
		add(f.point)
	}
	for _, m := range p.spec.Mounts {
		add(m.Target)
	}
	for _, f := range p.spec.Files {
		add(f.Path)
	}
	for _, l := range p.spec.Links {
		add(l.Path)
	}
	return p.walk("/", wanted)
}

func (p *prover) walk(dir string, wanted map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		if !wanted[at] {
			return fmt.Errorf("%s is there, and nobody asked for it", at)
		}
		mounted := slices.ContainsFunc(p.mounts, func(m mount) bool { return m.point == at })
		if e.IsDir() && !mounted {
			if err := p.walk(at, wanted); err != nil {
				return err
			}
		}
	}
	return nil
}

// lacks says what the builder could not do.
func (p *prover) lacks() []string {
	if p.spec.Built.Sealed {
		return nil
	}
	out := []string{"noexec on mounts: " + p.spec.Built.By + " sets none, so Landlock alone refuses to run what lies there"}
	if slices.ContainsFunc(p.mounts, func(m mount) bool { return m.receives() }) {
		out = append(out, "private mounts: what the host mounts beneath a granted folder appears inside")
	}
	return out
}
