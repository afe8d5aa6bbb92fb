//go:build linux || darwin

package boundary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// Container is the boundary that a container engine builds: podman, docker, or
// Apple's container, each through its command line. The engine makes namespaces,
// limits and a root from an image and the grant's mounts. Process 1 is the same
// init as everywhere: it proves what the engine made, gives itself a user
// namespace in which the agent is uid 1000, adds Landlock, our system call filter
// and limits, and is spoken to over the same wire, which is the standard input and
// output of "run -i".
//
// The engine and the image are trusted like other programs that the owner
// installed. What an engine adds by itself, settings of the machine included, is
// not trusted: what nobody asked for is an error. Its methods may be called at the
// same time.
type Container struct {
	name string
	opts Options
	dir  string // ours, for what sessions are given as files
	cli  tool
	host containerHost

	learn sync.Mutex // held while asking the engine about itself
	known *engineFacts

	mu   sync.Mutex
	live map[string]bool // names of containers that sessions of ours have
}

var (
	_ Engine    = (*Container)(nil)
	_ Dependent = (*Container)(nil)
)

// NewContainer prepares an engine that starts containers. Whether it works here
// is seen by Start.
func NewContainer(name string, opts Options) (*Container, error) {
	if opts.Init == nil {
		return nil, errors.New("nanoclaw-init is missing: this nanoclaw was built without it; build with make")
	}
	if opts.Dir == "" {
		return nil, fmt.Errorf("the engine %s needs a folder for nanoclaw-init", name)
	}
	c := &Container{name: name, opts: opts, dir: filepath.Join(opts.Dir, "containers"), live: make(map[string]bool)}
	var err error
	if c.cli, err = newTool(name, opts.Container); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	if err := replace(c.initPath(), opts.Init); err != nil {
		return nil, err
	}
	if c.host, err = newContainerHost(c); err != nil {
		return nil, err
	}
	c.opts.Init = nil
	return c, nil
}

func (c *Container) initPath() string { return filepath.Join(c.dir, "nanoclaw-init") }

// Name implements Engine.
func (c *Container) Name() string { return c.name }

// Programs implements Dependent.
func (c *Container) Programs() []string {
	list := []string{c.cli.path}
	if runtime, err := exec.LookPath(c.opts.Container.Runtime); err == nil {
		list = append(list, runtime)
	}
	return list
}

// Start implements Engine.
func (c *Container) Start(ctx context.Context, spec Spec) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, containerTimeout, errors.New("the container did not stand in time"))
	defer cancel()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	facts, err := c.facts(ctx)
	if err != nil {
		return nil, err
	}
	p, err := c.plan(spec, facts)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return c.launch(ctx, spec, p)
}

// launch starts what was planned.
func (c *Container) launch(ctx context.Context, spec Spec, p *containerPlan) (*Session, error) {
	c.keep(p.run.name) // before there is anything that Reap could take for left over
	err := p.write()
	var t *contained
	if err == nil {
		t, err = c.spawn(p, spec)
	}
	if err != nil {
		p.remove()
		c.forget(p.run.name)
		return nil, &StartError{Step: c.name, Err: err}
	}
	s, err := establish(ctx, c.name, t, t.wire, c.host.bound(spec, t), spec, &p.spec)
	if err == nil && p.spec.Built.Contained.Seen {
		err = c.prove(s, t, p)
	}
	if err == nil {
		return s, nil
	}
	if ctx.Err() == nil {
		err = c.explain(ctx, err, t, p)
	}
	return nil, err
}

// prove looks from the machine at mounts whose inodes the init cannot compare, before
// anything of the agent runs. It ends the session where they are not the right ones.
func (c *Container) prove(s *Session, t *contained, p *containerPlan) error {
	layer, err := c.host.proveMounts(t, p.spec.Mounts)
	if err != nil {
		s.Close()
		return err
	}
	s.ready.Layers = append(s.ready.Layers, layer)
	return nil
}

// containerPlan is a session of a container before its start.
type containerPlan struct {
	run  containerRun
	spec wire.Spec
	// dir holds what is made for this session alone. It lives as long as the
	// container.
	dir   string
	files []wire.File // generated ones, in dir
	links []wire.Link // in a folder that is mounted for them
	held  func()      // lets go of what holds the mounts' sources
}

func (p *containerPlan) close() {
	if p.held != nil {
		p.held()
	}
}

func (p *containerPlan) remove() { os.RemoveAll(p.dir) }

// skeleton is the folder inside whose folders are all mounts. It is given whole, so
// that links of ours can be in it, and what is listed there is the same everywhere.
const skeleton = "/workspace"

// plan looks every mount up and renders the rest.
func (c *Container) plan(spec Spec, facts *engineFacts) (*containerPlan, error) {
	id, err := c.host.identify(spec.UID, facts)
	if err != nil {
		return nil, err
	}
	if err := c.refuseSockets(spec.Grant); err != nil {
		return nil, err
	}
	if facts.gvisor && facts.unbound {
		return nil, &StartError{Step: c.name, Err: errors.New("a rootless podman cannot bound gVisor where cgroups are of version 1, and what gVisor uses cannot be watched by its user"),
			Hint: "Boot this machine with cgroups of version 2, run nanoclaw as root, or leave container.ociRuntime out."}
	}
	held, links, release, err := c.host.lookUp(spec, id)
	if err != nil {
		return nil, err
	}
	p := &containerPlan{held: release, dir: filepath.Join(c.dir, "session-"+newToken())}
	var all []visible
	for _, m := range held {
		all = append(all, m.visible)
	}
	for _, m := range spec.Grant.Mounts { // what the image has is there as well
		if m.Image {
			all = append(all, visible{m, m.Target})
		}
	}
	p.spec = renderVisible(spec, all, links)
	p.spec.Landlock = append(p.spec.Landlock, wire.PathRule{Path: confine.InitPath, Read: true, Exec: true})
	for _, m := range held {
		p.spec.Mounts = append(p.spec.Mounts, wire.Mount{
			Target: m.Target, Source: m.canonical, Write: m.Write, Exec: m.Exec, File: m.File, Dev: m.dev, Ino: m.ino,
		})
		if err := plainPath(m.canonical, m.Target); err != nil {
			p.close()
			return nil, &StartError{Step: "mount " + m.Target, Err: err, Hint: "Rename the folder."}
		}
		p.run.binds = append(p.run.binds, bind{source: m.canonical, target: m.Target, write: m.Write, exec: m.Exec})
	}
	c.furnish(p, spec, id, facts)
	return p, nil
}

// furnish adds what is not of the grant: the init, generated files and limits.
func (c *Container) furnish(p *containerPlan, spec Spec, id containerID, facts *engineFacts) {
	p.files = p.spec.Files
	for _, l := range p.spec.Links {
		if filepath.Dir(l.Path) == skeleton {
			p.links = append(p.links, l)
		}
	}
	places := []string{confine.InitPath, skeleton}
	p.spec.Built = &wire.Built{
		By: facts.words, Outside: facts.outside,
		Contained: &wire.Contained{Pinned: facts.local && !facts.apart, Apart: !facts.local || facts.apart, GVisor: facts.gvisor, Seen: facts.gvisor && facts.local, Places: places},
	}
	if facts.gvisor {
		p.forGVisor()
	}
	own := []bind{
		{source: c.initPath(), target: confine.InitPath, exec: true},
		{source: filepath.Join(p.dir, "skeleton"), target: skeleton, exec: true},
	}
	for i, f := range p.files {
		own = append(own, bind{source: filepath.Join(p.dir, fmt.Sprint(i)), target: f.Path})
	}
	p.run.binds = append(own, p.run.binds...)
	slices.SortStableFunc(p.run.binds, func(a, b bind) int { return strings.Count(a.target, "/") - strings.Count(b.target, "/") })
	p.run.name = c.containerName(spec.Session)
	p.run.image = spec.Grant.Image
	if p.run.image == "" {
		p.run.image = c.opts.Container.Image
	}
	p.run.labels = [][2]string{{installLabel, c.opts.Container.Install}, {groupLabel, string(spec.Grant.Group)}}
	p.run.runtime = c.opts.Container.Runtime
	p.run.id, p.run.keepID = id, facts.rootless
	p.run.seccomp = c.host.seccomp()
	p.run.pidFile = filepath.Join(p.dir, "pid")
	p.run.limits = spec.Grant.Limits
	p.run.rlimits = p.spec.Rlimits
	p.run.program = []string{"@contained", fmt.Sprint(id.uid), fmt.Sprint(id.gid)}
	if !facts.local { // there it is the agent already, and may make no namespace
		p.run.program = []string{"contained"}
	}
	p.run.program = append(p.run.program, c.opts.skip...)
}

// forGVisor asks for nothing that gVisor's kernel does not have. That kernel is the
// wall then: one that the owner chose, and that lies before this machine's.
func (p *containerPlan) forGVisor() {
	p.run.gvisor = true
	p.spec.Built.By += " on " + GVisor
	p.spec.LandlockFloor = 0
	// Its queues of messages are its own memory, which is bounded.
	p.spec.Rlimits = slices.DeleteFunc(p.spec.Rlimits, func(l wire.Rlimit) bool { return l.Resource == rlimitMsgQueue })
}

// write makes what the session is given as files. Everybody may read it, since the
// group's uid has to; nobody else comes as far as the folder.
func (p *containerPlan) write() error {
	base := filepath.Join(p.dir, "skeleton")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	for _, m := range p.run.binds {
		if rel, ok := strings.CutPrefix(m.target, skeleton+"/"); ok && !slices.ContainsFunc(p.run.binds, func(o bind) bool {
			return o.target != skeleton && o.target != m.target && beneath(m.target, o.target)
		}) {
			if err := os.MkdirAll(filepath.Join(base, rel), 0o755); err != nil {
				return err
			}
		}
	}
	for _, l := range p.links {
		if err := os.Symlink(l.Target, filepath.Join(base, filepath.Base(l.Path))); err != nil {
			return err
		}
	}
	for i, f := range p.files {
		if err := os.WriteFile(filepath.Join(p.dir, fmt.Sprint(i)), f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// containerName is the name of a session's container. It is told to the engine, and
// so to everybody who may ask it.
func (c *Container) containerName(s chat.SessionID) string {
	name := string(s)
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		name = newToken()
	}
	return "nanoclaw-" + c.opts.Container.Install + "-" + name
}

// plainPath refuses what the options of an engine would read as more than a path.
func plainPath(paths ...string) error {
	for _, p := range paths {
		if i := strings.IndexFunc(p, func(r rune) bool { return r < 0x20 || r == 0x7f || r == ':' || r == ',' || r == '"' || r == '\\' }); i >= 0 {
			return fmt.Errorf("the path %q has a character that container engines read as the end of it", p)
		}
	}
	return nil
}

// refuseSockets refuses a grant with a folder in which the engine listens: who can
// speak to it can start what they like, as whoever the engine runs as.
func (c *Container) refuseSockets(g grant.Grant) error {
	for _, m := range g.Mounts {
		for _, socket := range c.cli.sockets() {
			if m.Source != "" && (beneath(socket, m.Source) || beneath(socket, resolvedPath(m.Source))) {
				return &StartError{Step: "mount " + m.Target, Hint: "Mount a folder without it.",
					Err: fmt.Errorf("%s holds the socket of a container engine, %s", m.Source, socket)}
			}
		}
	}
	return nil
}

func resolvedPath(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	return p
}
