package boundary

import (
	"context"
	"crypto/rand"
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
	return &Native{
		opts: opts, cloner: newCloner(), program: program, path: path, caps: caps,
		cgroups: findCgroups(kernelCgroups{}, os.Getpid()), disks: newDisks(),
	}, nil
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
func Engines() []string { return []string{NativeEngine} }

// New makes an engine by its name.
func New(name string, opts Options) (Engine, error) {
	if name == NativeEngine {
		return NewNative(opts)
	}
	return nil, fmt.Errorf("there is no engine %q on this system", name)
}

var _ Engine = (*Native)(nil)

// Name implements Engine.
func (*Native) Name() string { return NativeEngine }

// Start implements Engine.
func (n *Native) Start(ctx context.Context, spec Spec) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the boundary did not stand in time"))
	defer cancel()
	id, err := n.identify(spec.UID)
	if err != nil {
		return nil, err
	}
	p, err := n.plan(spec, id)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return n.launch(ctx, spec, id, p)
}

// launch starts what was planned.
func (n *Native) launch(ctx context.Context, spec Spec, id identity, p *plan) (*Session, error) {
	limits := n.bound(spec)
	c, err := n.clone(id, p.files, spec.Log)
	if err != nil {
		limits.abandon()
		return nil, n.explainClone(err)
	}
	// Beside the handshake: nothing of the agent runs before that is over.
	limits.enter(c.PID())
	s, err := establish(ctx, n.Name(), c, c.wire, limits, spec, &p.spec)
	if err != nil && ctx.Err() == nil {
		err = n.explain(err, c)
	}
	return s, err
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

// newToken makes a session's secret.
func newToken() string { return rand.Text() }
