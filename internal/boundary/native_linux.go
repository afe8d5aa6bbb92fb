package boundary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// startTimeout bounds a start. One takes some milliseconds.
const startTimeout = 30 * time.Second

// Native is the boundary of the Linux kernel's own means: namespaces, a root of
// its own, Landlock, seccomp, rlimits and no privileges. Its methods may be
// called at the same time.
type Native struct {
	opts    Options
	cloner  *cloner
	program *os.File // the init: sealed in memory, or the file at path
	path    string
	caps    uint64 // our effective capabilities
	cgroups cgroups
	disks   *disks
	sweeper sweeper
	spares  *spares
}

// NewNative prepares a boundary. Nothing is started yet, and whether this
// machine lets it stand is seen by Start or Probe. One lasts as long as the
// program: a thread belongs to it.
func NewNative(opts Options) (*Native, error) {
	if opts.Init == nil {
		return nil, errors.New("nanoclaw-init is missing: this nanoclaw was built without it; build with make")
	}
	program, path, err := prepare(opts)
	if err != nil {
		return nil, fmt.Errorf("prepare nanoclaw-init: %w", err)
	}
	caps, err := effective()
	if err != nil {
		return nil, err
	}
	opts.Init = nil
	n := &Native{
		opts: opts, cloner: newCloner(), program: program, path: path, caps: caps,
		cgroups: findCgroups(kernelCgroups{}, os.Getpid()), disks: newDisks(),
	}
	n.spares = newSpares(n)
	return n, nil
}

// effective gives our effective capabilities as bits.
func effective() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read our capabilities: %w", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

func (n *Native) has(caps ...int) bool {
	for _, c := range caps {
		if n.caps&(1<<c) == 0 {
			return false
		}
	}
	return true
}

// Engines are the names of the engines of this system, the preferred first.
func Engines() []string { return []string{NativeEngine, BubblewrapEngine, SRTEngine} }

// ContainerEngines are the names of the container engines of this system, the
// preferred first.
func ContainerEngines() []string { return []string{PodmanEngine, DockerEngine} }

// New makes an engine by its name.
func New(name string, opts Options) (Engine, error) {
	switch name {
	case NativeEngine:
		return NewNative(opts)
	case BubblewrapEngine:
		return NewBubblewrap(opts)
	case SRTEngine:
		return NewSRT(opts)
	case PodmanEngine, DockerEngine:
		return NewContainer(name, opts)
	}
	return nil, fmt.Errorf("there is no engine %q on this system", name)
}

var (
	_ Engine   = (*Native)(nil)
	_ Preparer = (*Native)(nil)
)

// Name implements Engine.
func (*Native) Name() string { return NativeEngine }

// Start implements Engine.
func (n *Native) Start(ctx context.Context, spec Spec) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the boundary did not stand in time"))
	defer cancel()
	if n.opts.onStart != nil {
		n.opts.onStart(spec)
	}
	id, err := n.identify(spec.UID)
	if err != nil {
		return nil, err
	}
	p, err := n.plan(spec, id)
	if err != nil {
		return nil, err
	}
	defer p.close()
	d := p.divide(spec)
	s := n.spares.start(ctx, spec, d)
	if s == nil {
		if s, err = n.launch(ctx, spec, p); err != nil {
			return nil, err
		}
	}
	go n.spares.used(spec, d.shape) // the caller need not wait for that
	return s, nil
}

// Keep implements Preparer.
func (n *Native) Keep(most int) { n.spares.keep(most) }

// Expect implements Preparer.
func (n *Native) Expect(spec Spec) error {
	id, err := n.identify(spec.UID)
	if err != nil {
		return err
	}
	p, err := n.plan(spec, id)
	if err != nil {
		return err
	}
	defer p.close()
	n.spares.used(spec, p.divide(spec).shape)
	return nil
}

// Spares implements Preparer.
func (n *Native) Spares() int { return n.spares.count() }

// Close implements Preparer.
func (n *Native) Close() { n.spares.close() }

// launch starts what was planned.
func (n *Native) launch(ctx context.Context, spec Spec, p *plan) (*Session, error) {
	if err := n.giveAll(p); err != nil {
		return nil, err
	}
	c, limits, err := n.raise(spec, p)
	if err != nil {
		return nil, err
	}
	s, err := establish(ctx, n.Name(), c, c.wire, limits, spec, &p.spec)
	if err != nil && ctx.Err() == nil {
		err = n.explain(err, c)
	}
	return s, err
}

// raise clones an init that inherits the files of p.
func (n *Native) raise(spec Spec, p *plan) (*child, *limits, error) {
	limits := n.bound(spec)
	c, err := n.clone(p.id, p.files, spec.Log)
	if err != nil {
		limits.abandon()
		return nil, nil, n.explainClone(err)
	}
	// Beside the handshake: nothing of the agent runs before that is over.
	limits.enter(c.PID())
	return c, limits, nil
}

// identify decides who the init is on this machine.
func (n *Native) identify(uid int) (identity, error) {
	id := identity{uid: os.Geteuid(), gid: os.Getegid()}
	if uid != 0 && uid != id.uid {
		id = identity{uid: uid, gid: uid, change: true}
	}
	switch {
	case id.uid == 0:
		return id, &StartError{Step: "identity", Err: errors.New("an agent never runs as root"),
			Hint: "Give the group a uid of its own."}
	case id.change && !n.has(unix.CAP_SETUID, unix.CAP_SETGID):
		return id, &StartError{Step: "identity", Err: fmt.Errorf("we may not run anything as uid %d", id.uid),
			Hint: "Let the service keep CAP_SETUID and CAP_SETGID, or run as the user whose agents these are."}
	}
	return id, nil
}

// namespaces are the clone flags. Tests leave some out.
func (n *Native) namespaces() uintptr {
	flags := uintptr(namespaces)
	for name, flag := range map[string]uintptr{
		"net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS,
	} {
		if slices.Contains(n.opts.skip, name) {
			flags &^= flag
		}
	}
	return flags
}
