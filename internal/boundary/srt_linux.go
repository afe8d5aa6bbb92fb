package boundary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// SRT is the boundary of Anthropic's sandbox-runtime, a program for Node.js that
// builds a sandbox by means of bubblewrap, its own system call filter and its own
// proxy.
//
// By itself it leaves reads open, shares the kernel's keyring and System V shared
// memory, passes on open descriptors, leaves files behind in the working folder,
// and lets what it runs live on when it is killed. So it runs within namespaces
// of ours, as their process 1, in a root that holds nothing but the grant and
// srt's parts, with a network that leads nowhere, on an empty working folder.
// Within its sandbox a second init adds Landlock, our own system call filter,
// limits and a keyring. What it still stops less than Native is in srtDifferences.
//
// Its methods may be called at the same time.
type SRT struct {
	native *Native
	dir    string
	opts   SRTOptions
}

var _ Engine = (*SRT)(nil)

// NewSRT prepares a boundary. Whether srt is installed is seen by Start.
// opts.Dir must be set: the init is kept there, since srt runs it by its path.
func NewSRT(opts Options) (*SRT, error) {
	switch {
	case opts.Init == nil:
		return nil, errors.New("nanoclaw-init is missing: this nanoclaw was built without it; build with make")
	case opts.Dir == "":
		return nil, errors.New("the engine srt needs a folder for nanoclaw-init")
	}
	path := filepath.Join(opts.Dir, "nanoclaw-init")
	if err := replace(path, opts.Init); err != nil {
		return nil, err
	}
	n, err := NewNative(opts)
	if err != nil {
		return nil, err
	}
	n.path = path
	return &SRT{native: n, dir: filepath.Join(opts.Dir, "srt"), opts: opts.SRT}, nil
}

var _ Dependent = (*SRT)(nil)

// Programs implements Dependent. Of srt and its parts it names those that any
// other version replaces. Without them it names none: then Start refuses, and
// says how they are installed.
func (s *SRT) Programs() []string {
	p, err := s.locate()
	if err != nil {
		return nil
	}
	pkg := filepath.Dir(filepath.Dir(filepath.Join(p.modules, p.cli)))
	list := []string{p.node, filepath.Join(p.modules, p.cli), filepath.Join(pkg, "package.json")}
	for _, name := range srtPrograms {
		if path, err := systemProgram(name); err == nil {
			list = append(list, path)
		}
	}
	return list
}

// Name implements Engine.
func (*SRT) Name() string { return SRTEngine }

// Where srt and what belongs to it is inside. No rule of Landlock leads there.
const (
	srtNode     = "/opt/nanoclaw/node"
	srtModules  = "/opt/nanoclaw/node_modules"
	srtConfig   = "/opt/nanoclaw/srt.json"
	srtRelay    = "/opt/nanoclaw/" + confine.RelayName
	srtTmp      = "/dev/shm" // within srt's sandbox another lies over it
	srtWorkDir  = "/run"     // empty, so that srt finds and protects nothing in it
	srtFileMode = 0o004      // what others than the owner need, if the group has a uid of its own
)

// Start implements Engine.
func (s *SRT) Start(ctx context.Context, spec Spec) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the boundary did not stand in time"))
	defer cancel()
	id, err := s.native.identify(spec.UID)
	if err != nil {
		return nil, err
	}
	parts, err := s.find(spec.Grant, id)
	if err != nil {
		return nil, err
	}
	p, err := s.native.plan(spec, id, parts.mounts()...)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return s.launch(ctx, spec, id, p, parts)
}

// launch starts what was planned.
func (s *SRT) launch(ctx context.Context, spec Spec, id identity, p *plan, parts srtParts) (*Session, error) {
	if err := s.native.giveAll(p); err != nil {
		return nil, err
	}
	parts.skip = s.native.opts.skip
	stage, inside, err := parts.split(spec.Grant, p)
	if err != nil {
		return nil, &StartError{Step: "srt", Err: err}
	}
	limits := s.native.bound(spec)
	task, err := newTask()
	if err != nil {
		limits.abandon()
		return nil, &StartError{Step: "srt", Err: err}
	}
	c, err := s.native.clone(id, slices.Concat(p.files, []*os.File{task.read}), spec.Log, "stage")
	task.read.Close()
	if err != nil {
		task.write.Close()
		limits.abandon()
		return nil, s.native.explainClone(err)
	}
	limits.enter(c.PID())
	// Only inside its bounds it learns what to do, and starts other processes.
	go task.send(stage, limits, spec.Log)
	session, err := establish(ctx, s.Name(), c, c.wire, limits, spec, inside)
	if err != nil && ctx.Err() == nil {
		return nil, s.native.explain(err, c)
	}
	if err != nil {
		return nil, err
	}
	if err := nested(c.PID(), session.initPID()); err != nil {
		session.Close()
		return nil, &StartError{Step: "srt", Err: err}
	}
	session.ready.Layers = yieldWithin(session.initPID(), session.ready.Layers)
	session.ready.Layers = append([]string{
		"namespaces: user, mount, pid, network, ipc, uts, cgroup, with srt's own user, mount, pid and network within",
		"root: the grant's mounts and srt's parts on an empty read-only root, writable as srt's policy says",
	}, session.ready.Layers...)
	session.ready.Missing = append(session.ready.Missing, srtWords()...)
	session.ready.Missing = append(session.ready.Missing, parts.untried...)
	return session, nil
}

// nested fails unless the second init is in namespaces of srt's making, and not
// merely in ours: then srt did not do what it is there for.
func nested(outer, inner int) error {
	for _, kind := range []string{"user", "mnt", "pid", "net"} {
		ours, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", outer, kind))
		if err != nil {
			return err
		}
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", inner, kind))
		if err != nil {
			return err
		}
		if its == ours {
			return fmt.Errorf("srt ran its command without a %s namespace of its own", kind)
		}
	}
	return nil
}

// task is the pipe on which a stage is told what to do.
type task struct{ read, write *os.File }

func newTask() (task, error) {
	r, w, err := os.Pipe()
	return task{r, w}, err
}

// send tells it when the bounds hold it. If it is gone, its end tells more.
func (t task) send(stage wire.Stage, l *limits, log *slog.Logger) {
	defer t.write.Close()
	<-l.entered
	if err := json.NewEncoder(t.write).Encode(stage); err != nil && log != nil {
		log.Debug("a first init did not take its task", "err", err)
	}
}

// split makes the tasks of both inits from a plan.
func (parts srtParts) split(g grant.Grant, p *plan) (wire.Stage, *wire.Spec, error) {
	settings, err := json.Marshal(parts.settings(g))
	if err != nil {
		return wire.Stage{}, nil, err
	}
	outer := wire.Spec{
		Version: wire.Version, Hostname: p.spec.Hostname, Nesting: true,
		Mounts: p.spec.Mounts, TmpBytes: p.spec.TmpBytes,
		Links: append(p.spec.Links, wire.Link{Path: srtRelay, Target: filepath.Base(confine.InitPath)}),
		Files: append(p.spec.Files, wire.File{Path: srtConfig, Data: settings}),
		// Of the limits, what node and srt's own programs need too.
		Rlimits: slices.DeleteFunc(slices.Clone(p.spec.Rlimits), func(r wire.Rlimit) bool { return r.Resource != unix.RLIMIT_CORE }),
	}
	inner := p.spec
	inner.Prepared = true
	inner.Mounts, inner.Links, inner.Files = nil, nil, nil
	stage := wire.Stage{
		Spec: outer, Argv: parts.command(), Dir: srtWorkDir,
		// Nothing of ours: srt hands its environment on.
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + srtWorkDir, "TMPDIR=" + srtTmp},
	}
	return stage, &inner, nil
}

// Render implements Engine.
func (s *SRT) Render(spec Spec) (Rendering, error) {
	parts, err := s.find(spec.Grant, identity{uid: os.Geteuid(), gid: os.Getegid()})
	if err != nil {
		return nil, err
	}
	r, err := s.native.Render(spec)
	if err != nil {
		return nil, err
	}
	settings, err := json.Marshal(parts.settings(spec.Grant))
	if err != nil {
		return nil, err
	}
	n := r.(NativeRendering)
	n.Engine = s.Name()
	return SRTRendering{NativeRendering: n, Settings: settings, Command: parts.command()}, nil
}
