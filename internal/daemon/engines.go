package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"nanoclaw/internal/attest"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/control"
	"nanoclaw/internal/delayed"
	"nanoclaw/internal/grant"
)

// autoEngine in the configuration means the first engine that holds.
const autoEngine = "auto"

// mechanism is one engine and what is known of it on this machine.
type mechanism struct {
	name string
	// open gives the engine, or why there is none. The first who asks, usually
	// the probe, prepares it: nothing before needs it.
	open   func() (boundary.Engine, error)
	prober prober
}

// mechanisms are the engines that this version has for this system, in the order
// in which they are preferred.
func (d *Daemon) mechanisms() []*mechanism {
	var out []*mechanism
	for _, name := range boundary.Engines() {
		m := &mechanism{name: name}
		m.open = sync.OnceValues(func() (boundary.Engine, error) { return d.openEngine(name) })
		m.prober.basis = func(g grant.Grant) (attest.Basis, error) { return d.basis(m, g) }
		m.prober.recall, m.prober.keep = d.recall, d.keep
		m.prober.try = func(ctx context.Context, g grant.Grant) (held, error) { return d.probe(ctx, m, g) }
		out = append(out, m)
	}
	return out
}

// openEngine makes an engine. Without one the daemon still answers questions and
// says what is wrong; it starts no agent (I1).
func (d *Daemon) openEngine(name string) (boundary.Engine, error) {
	program, err := d.opt.Init()
	if err != nil {
		return nil, err
	}
	defer program.Close()
	srt := d.config.Boundary.SRT
	return boundary.New(name, boundary.Options{
		Init: program, Check: d.checkMount, Dir: d.opt.Paths.DataDir, Protected: delayed.Names(), Log: d.log,
		SRT: boundary.SRTOptions{Path: d.atHome(srt.Path), Node: d.atHome(srt.Node)},
	})
}

// atHome puts the owner's home in place of a leading "~".
func (d *Daemon) atHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(d.machine.OwnerHome, rest)
	}
	return path
}

// engine gives an engine by name. "" is the one of the configuration, where
// "auto" is the first that holds: what holds is found out by trying, and never
// read off the kernel's settings. An engine that is weaker than the others is
// used only by its name.
func (d *Daemon) engine(ctx context.Context, name string) (*mechanism, error) {
	if name == "" {
		name = d.config.Boundary.Engine
	}
	if name != autoEngine {
		for _, m := range d.engines {
			if m.name == name {
				return m, nil
			}
		}
		return nil, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("there is no engine %q on this system", name),
			Hint: "there are: " + strings.Join(boundary.Engines(), ", ")}
	}
	g, err := d.probeGrant()
	if err != nil {
		return nil, err
	}
	for _, m := range d.engines {
		if !boundary.Weaker(m.name) && m.prober.ask(ctx, g).Off == "" {
			return m, nil
		}
	}
	return d.engines[0], nil
}

// proven is what was found about an engine with a grant of main's shape. For ""
// see engine.
func (d *Daemon) proven(ctx context.Context, name string) held {
	g, err := d.probeGrant()
	if err == nil {
		var m *mechanism
		if m, err = d.engine(ctx, name); err == nil {
			return d.attested(ctx, m, g)
		}
	}
	return held{Off: err.Error(), err: err}
}

// attested is what was found about an engine with grants of g's shape, told to
// the world once.
func (d *Daemon) attested(ctx context.Context, m *mechanism, g grant.Grant) held {
	f := m.prober.ask(ctx, g)
	if d.outbox != nil { // else this is the first start, which speaks for itself
		f.told.Do(func() { d.tellProbe(context.WithoutCancel(ctx), f) })
	}
	return f.held
}

// probeGrant is a grant of main's shape.
func (d *Daemon) probeGrant() (grant.Grant, error) {
	g, err := grant.Decide(d.probeRequest())
	if err != nil {
		err = fmt.Errorf("the probe has no grant: %w", err)
	}
	return g, err
}
