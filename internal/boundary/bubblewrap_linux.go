package boundary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/wire"
)

// Bubblewrap is the boundary whose namespaces and mounts are made by the
// system's bwrap(1), for machines where only that program may make them (Ubuntu
// with AppArmor). All else is as in Native: the same init is process 1, proves
// what bwrap built, confines itself and is spoken to over the same wire.
//
// bwrap takes paths. As an ordinary user it is given those of descriptors that
// the host pinned, and the init proves that it mounted these inodes. A
// privileged host lends it finished mounts in a folder that nobody else sees, so
// that there too no path is looked up twice, and the group's uid need not reach
// the folders. bwrap never runs as root.
type Bubblewrap struct {
	native  *Native // what both engines share: the init, the thread that clones, cgroups
	path    string
	version string
	setuid  bool
	outside []string // the host's namespaces
}

var (
	_ Engine    = (*Bubblewrap)(nil)
	_ Dependent = (*Bubblewrap)(nil)
)

// oldestBubblewrap is the first that has --disable-userns and --size.
var oldestBubblewrap = [2]int{0, 8}

// NewBubblewrap finds the system's bwrap and prepares the rest. See NewNative.
func NewBubblewrap(opts Options) (*Bubblewrap, error) {
	found := hostproc.Locate(context.Background(), hostproc.Bubblewrap)
	switch {
	case found.Problem != "":
		return nil, &StartError{Step: "bubblewrap", Err: errors.New(found.Problem)}
	case found.Path == "":
		return nil, &StartError{Step: "bubblewrap", Err: errors.New("it is not installed"), Hint: "sudo apt-get install bubblewrap"}
	}
	version, err := bubblewrapVersion(found.Version)
	if err != nil {
		return nil, &StartError{Step: "bubblewrap", Err: err, Hint: "Install a newer one of your distribution, or use the native engine."}
	}
	info, err := os.Stat(found.Path)
	if err != nil {
		return nil, err
	}
	native, err := NewNative(opts)
	if err != nil {
		return nil, err
	}
	b := &Bubblewrap{native: native, path: found.Path, version: version, setuid: info.Mode()&os.ModeSetuid != 0}
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return nil, fmt.Errorf("read our namespaces: %w", err)
		}
		b.outside = append(b.outside, link)
	}
	return b, nil
}

// bubblewrapVersion reads what bwrap says of itself, and refuses what is too old.
func bubblewrapVersion(said string) (string, error) {
	version, ok := strings.CutPrefix(said, "bubblewrap ")
	var v [2]int
	if n, _ := fmt.Sscanf(version, "%d.%d", &v[0], &v[1]); !ok || n != 2 {
		return "", fmt.Errorf("its version is not one: %q", said)
	}
	if v[0] < oldestBubblewrap[0] || v[0] == oldestBubblewrap[0] && v[1] < oldestBubblewrap[1] {
		return "", fmt.Errorf("version %s is too old: 0.8 or later is needed", version)
	}
	return version, nil
}

// Name implements Engine.
func (*Bubblewrap) Name() string { return BubblewrapEngine }

// Programs implements Dependent.
func (b *Bubblewrap) Programs() []string { return []string{b.path} }

// Start implements Engine.
func (b *Bubblewrap) Start(ctx context.Context, spec Spec) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the boundary did not stand in time"))
	defer cancel()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	id, err := b.native.identify(spec.UID)
	if err != nil {
		return nil, err
	}
	p, err := b.plan(spec, id)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return b.launch(ctx, spec, id, p)
}

// launch starts what was planned.
func (b *Bubblewrap) launch(ctx context.Context, spec Spec, id identity, p *wrapPlan) (*Session, error) {
	limits := b.native.bound(spec)
	t, err := b.spawn(ctx, id, p, spec.Log)
	if err != nil {
		limits.abandon()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, b.explain(err, nil, p)
	}
	limits.enter(t.PID())
	s, err := establish(ctx, b.Name(), t, t.wire, limits, spec, &p.spec)
	if err != nil && ctx.Err() == nil {
		err = b.explain(err, t.child, p)
	}
	return s, err
}

// wrapPlan is a session of bubblewrap before its start.
type wrapPlan struct {
	spec wire.Spec
	kept []source
	pins []*os.File // one for each mount, for the init
	lent []*os.File // one for each mount, for bwrap; nil where it looks paths up
	lend string     // the folder in which lent ones appear
}

func (p *wrapPlan) close() {
	closeAll(p.pins)
	closeAll(p.lent)
}

// plan resolves the mounts and renders the rest, as Native does.
func (b *Bubblewrap) plan(spec Spec, id identity) (*wrapPlan, error) {
	all, err := b.native.resolveAll(spec.Grant.Mounts)
	p := &wrapPlan{}
	keep := func() {
		for _, m := range all {
			p.pins = append(p.pins, m.pin)
		}
	}
	if err != nil {
		keep()
		p.close()
		return nil, err
	}
	kept, links := arrange(all)
	p.kept, p.spec = kept, b.render(spec, kept, links)
	p.spec.Built = &wire.Built{By: "bubblewrap " + b.version, Outside: b.outside, Sealed: b.lends(id)}
	if err = checkNested(kept); err == nil {
		err = b.hand(p, id)
	}
	if err != nil {
		keep()
		p.close()
		return nil, err
	}
	for _, m := range all {
		if !pinned(kept, m) {
			m.pin.Close()
		}
	}
	return p, nil
}

func pinned(kept []source, m source) bool {
	for _, k := range kept {
		if k.pin == m.pin {
			return true
		}
	}
	return false
}

// render is the spec of the init. It has Mounts without descriptors.
func (b *Bubblewrap) render(spec Spec, kept []source, links []wire.Link) wire.Spec {
	w := render(spec, kept, links)
	for _, m := range kept {
		w.Mounts = append(w.Mounts, wire.Mount{Target: m.Target, Source: m.canonical, Write: m.Write, Exec: m.Exec, File: m.File})
	}
	return w
}

// lends says that bwrap gets finished mounts and no paths of the host.
func (b *Bubblewrap) lends(id identity) bool { return id.change && b.native.has(unix.CAP_SYS_ADMIN) }

// hand prepares what bwrap and the init inherit for the mounts.
func (b *Bubblewrap) hand(p *wrapPlan, id identity) error {
	var err error
	if b.lends(id) {
		if p.lend, err = lendFolder(); err != nil {
			return err
		}
	}
	owners := lenders{}
	defer owners.close()
	for i, m := range p.kept {
		if b.lends(id) {
			_, tree, err := b.native.hand(m, id, owners)
			if err != nil {
				return &StartError{Step: "mount " + m.Target, Err: err, Hint: hintFor(err)}
			}
			p.lent = append(p.lent, tree)
		} else if m.Foreign && m.Write && id.change && int(m.uid) != id.uid {
			return &StartError{Step: "mount " + m.Target, Hint: hintLend,
				Err: fmt.Errorf("%s belongs to uid %d, and without CAP_SYS_ADMIN it cannot be lent to uid %d", m.canonical, m.uid, id.uid)}
		}
		p.spec.Mounts[i].FD = firstFD + i
	}
	for _, m := range p.kept {
		p.pins = append(p.pins, m.pin)
	}
	return nil
}

// lendFolder chooses a folder of the machine that bwrap does not need, in whose
// place it finds what it is lent.
func lendFolder() (string, error) {
	for _, dir := range []string{"/run", "/mnt", "/srv", "/media", "/opt", "/home", "/var"} {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", &StartError{Step: "root", Err: errors.New("this machine has no folder to lend mounts in"), Hint: "Make the folder /run."}
}

// checkNested refuses a mount within another one if its place does not exist
// there: bwrap would make it, which leaves litter in the owner's folder, and it
// follows links that an agent left there. What changes between this look and
// bwrap's is found out by the init, which then starts nothing.
func checkNested(kept []source) error {
	for i, m := range kept {
		outer := -1
		for j, o := range kept[:i] {
			if o.Target != m.Target && beneath(m.Target, o.Target) {
				outer = j // the innermost comes last
			}
		}
		if outer < 0 {
			continue
		}
		o := kept[outer]
		rel, err := filepath.Rel(o.Target, m.Target)
		if err == nil {
			err = thereIn(int(o.pin.Fd()), rel, m.File)
		}
		if err != nil {
			return &StartError{Step: "root", Err: fmt.Errorf("mount %s: %w", m.Target, err)}
		}
	}
	return nil
}

// thereIn says whether rel is beneath a folder, by way of no link.
func thereIn(dir int, rel string, file bool) error {
	fd, err := unix.Openat2(dir, rel, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s does not exist in the folder mounted there", rel)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR; isDir == file {
		return fmt.Errorf("%s is of another kind than what is mounted on it", rel)
	}
	return nil
}

// program is what bwrap starts inside: the init, from memory unless this kernel
// forbids that.
func (b *Bubblewrap) program(fd int, given int) []string {
	exec := fmt.Sprintf("/proc/self/fd/%d", fd)
	if b.native.path != "" {
		exec = confine.InitPath
	}
	return append([]string{exec, fmt.Sprint(given)}, b.native.opts.skip...)
}
