package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/attest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hostproc"
)

// Container engines are tried and asked when a group in container mode wants
// something, and not before: without one a machine whose groups all run natively is
// as well as one where it is the other way round.

// containerMechanisms are the engines that this version has for containers here.
func (d *Daemon) containerMechanisms() []*mechanism {
	var out []*mechanism
	for _, name := range boundary.ContainerEngines() {
		m := d.mechanism(name)
		// What an engine lacks is mended while we run: a daemon is started, an image is
		// built. Only what was broken out of stays off.
		m.prober.mendable = true
		out = append(out, m)
	}
	return out
}

// containerOptions are the engine's own, for this installation.
func (d *Daemon) containerOptions() boundary.ContainerOptions {
	o := containerOptions(d.config, d.machine.OwnerHome, d.opt.Getenv)
	o.Install = strings.ToLower(d.install)
	if o.Program == "" {
		o.Program = d.opt.ContainerProgram
	}
	return o
}

// containerVars are the variables of ours that say where an engine has its
// settings, its storage and its daemon. It gets no other.
var containerVars = []string{
	"HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS",
	"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
	"CONTAINER_HOST", "CONTAINER_SSHKEY", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF", "STORAGE_DRIVER",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
}

func containerEnv(getenv func(string) string) []string {
	out := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	for _, name := range containerVars {
		if v := getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// engineFor gives the engine for a mode: the one of that name, or for "" the one of
// the configuration.
func (d *Daemon) engineFor(ctx context.Context, name string, mode grant.Mode) (*mechanism, error) {
	contained := mode == grant.ContainerMode
	if name == "" && contained {
		return d.containerEngine(ctx, d.config.Container.Image)
	}
	m, err := d.engine(ctx, name)
	if err == nil && boundary.InContainers(m.name) != contained {
		return nil, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("the engine %s is not for %s mode", m.name, cmp.Or(mode, grant.HostMode)),
			Hint: "--mode says the mode for one command"}
	}
	return m, err
}

// containerEngine is the engine of the configuration, where "auto" is the first that
// holds. What it led to stays.
func (d *Daemon) containerEngine(ctx context.Context, image string) (*mechanism, error) {
	name := d.config.Container.Engine
	d.contained.mu.Lock()
	defer d.contained.mu.Unlock()
	if d.contained.m != nil {
		return d.contained.m, nil
	}
	var reasons []string
	for _, m := range d.containers {
		if name != autoEngine && m.name != name {
			continue
		}
		if name == m.name {
			return m, nil
		}
		err := d.usable(ctx, m, image)
		if err == nil {
			d.contained.m = m
			return m, nil
		}
		reasons = append(reasons, err.Error())
	}
	if name != autoEngine {
		return nil, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("there is no container engine %q on this system", name),
			Hint: "there are: " + strings.Join(boundary.ContainerEngines(), ", ")}
	}
	return nil, &noEngine{"no container engine can be used here: " + strings.Join(reasons, "; ")}
}

// noEngine says why there is no engine at all.
type noEngine struct{ text string }

func (e *noEngine) Error() string { return e.text }

// usable says whether an engine answers and has an image: cheap questions, asked
// before a probe, and again until they are answered with yes.
func (d *Daemon) usable(ctx context.Context, m *mechanism, image string) error {
	e, err := m.open()
	if err != nil {
		return plainStart(m.name, err)
	}
	c, ok := e.(*boundary.Container)
	if !ok {
		return fmt.Errorf("%s starts no containers", m.name)
	}
	has, err := c.HasImage(ctx, image)
	switch {
	case err != nil:
		return plainStart(m.name, err)
	case !has:
		return fmt.Errorf("%s has no image %s; %s", m.name, image, boundary.ImageHint(image))
	}
	return nil
}

// plainStart is an error of an engine without the words that every one begins with.
func plainStart(engine string, err error) error {
	if s, ok := errors.AsType[*boundary.StartError](err); ok {
		return fmt.Errorf("%s: %w", engine, s.Err)
	}
	return err
}

// containersOff says why a group cannot have a container, "" if it can. The engine
// is asked for the image, and tried, before the first use of each.
func (d *Daemon) containersOff(ctx context.Context, group chat.Group, engine string) string {
	g, err := d.containerGrant(group)
	if err != nil {
		return err.Error()
	}
	m, err := d.engineFor(ctx, engine, grant.ContainerMode)
	if err != nil {
		return err.Error()
	}
	if !m.prober.knows(g) {
		if err := d.usable(ctx, m, g.Image); err != nil {
			return err.Error()
		}
	}
	return d.attested(ctx, m, g).Off
}

// containerGrant is a grant of a group's shape, as if it could have a container.
func (d *Daemon) containerGrant(group chat.Group) (grant.Grant, error) {
	r := d.probeRequest()
	r.Mode = grant.ContainerMode
	main := r.Config.Groups[string(chat.Main)]
	main.Image = d.config.Groups[string(group)].Image
	r.Config.Groups = map[string]configGroup{string(chat.Main): main}
	g, err := grant.Decide(r)
	if err != nil {
		err = fmt.Errorf("the probe has no grant: %w", err)
	}
	return g, err
}

// fit fills in what a decision about a mode must know of this machine. Only the
// mode that is asked for is looked at.
func (d *Daemon) fit(ctx context.Context, r *grant.Request, engine string) {
	mode := r.Mode
	if mode == "" {
		mode = grant.Mode(d.modeOf(r.Group))
	}
	if mode == grant.ContainerMode {
		r.ContainersOff = d.containersOff(ctx, r.Group, engine)
		return
	}
	r.HostModeOff = d.proven(ctx, engine).Off
}

// needsContainers says whether any group is in container mode.
func (d *Daemon) needsContainers() bool {
	for _, g := range d.groupNames() {
		if d.modeOf(g) == string(grant.ContainerMode) {
			return true
		}
	}
	return false
}

// StartsContainers says whether this daemon may have to start podman: it is there,
// and the configuration names no other engine. It is asked before anything else,
// since a daemon of root's then leaves to the programs that it starts what
// containers are built with.
func StartsContainers(paths config.Paths, getenv func(string) string) bool {
	c, _, err := config.Load(paths.Config, config.Options{Getenv: getenv})
	if err == nil {
		if c.Container.Engine == boundary.DockerEngine {
			return false
		}
		if c.Container.Program != "" {
			return true
		}
	}
	return hostproc.Installed(hostproc.Podman)
}

// reapInterval is how often containers are looked for that belong to no session.
const reapInterval = 10 * time.Minute

// reap removes what a daemon that was killed may have left: at the start, and now
// and then. Only containers of this installation are ever removed.
func (d *Daemon) reap(ctx context.Context) {
	for {
		if d.needsContainers() {
			for _, m := range d.containers {
				if name := d.config.Container.Engine; name == autoEngine || name == m.name {
					d.reapOf(ctx, m)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reapInterval):
		}
	}
}

func (d *Daemon) reapOf(ctx context.Context, m *mechanism) {
	e, err := m.open()
	if err != nil {
		return // it is not installed
	}
	c, ok := e.(*boundary.Container)
	if !ok {
		return
	}
	removed, err := c.Reap(ctx)
	if err != nil && ctx.Err() == nil {
		d.log.Debug("containers that belong to no session could not be looked for", "engine", m.name, "why", err)
	}
	if len(removed) > 0 {
		d.log.Info("removed containers that an earlier process left behind", "engine", m.name, "containers", removed)
		d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.OwnerActed, Data: audit.OwnerActedData{Act: "reap", Target: m.name + " " + strings.Join(removed, " ")}})
	}
}

// knows says whether something was found out already for grants of g's shape.
func (p *prober) knows(g grant.Grant) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return true
	}
	basis, err := p.basis(g)
	if err != nil {
		return false
	}
	for _, f := range p.found {
		if f.basis.Equal(basis) {
			return true
		}
	}
	return false
}

// mechanism makes what is known of one engine.
func (d *Daemon) mechanism(name string) *mechanism {
	m := &mechanism{name: name}
	if boundary.InContainers(name) {
		m.open = onceItWorks(func() (boundary.Engine, error) { return d.openEngine(name) })
	} else {
		m.open = sync.OnceValues(func() (boundary.Engine, error) { return d.openEngine(name) })
	}
	m.prober.basis = func(g grant.Grant) (attest.Basis, error) { return d.basis(m, g) }
	m.prober.recall, m.prober.keep = d.recall, d.keep
	m.prober.try = func(ctx context.Context, g grant.Grant) (held, error) { return d.probe(ctx, m, g) }
	return m
}

// onceItWorks calls f until it gives no error.
func onceItWorks(f func() (boundary.Engine, error)) func() (boundary.Engine, error) {
	var mu sync.Mutex
	var e boundary.Engine
	return func() (boundary.Engine, error) {
		mu.Lock()
		defer mu.Unlock()
		if e != nil {
			return e, nil
		}
		got, err := f()
		if err == nil {
			e = got
		}
		return got, err
	}
}
