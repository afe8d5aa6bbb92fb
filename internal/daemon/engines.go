package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"nanoclaw/internal/attest"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
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
	home := d.machine.OwnerHome
	return boundary.New(name, boundary.Options{
		Init: program, Check: d.checkMount, Dir: d.opt.Paths.DataDir, Protected: delayed.Names(), Log: d.log,
		SRT: boundary.SRTOptions{Path: grant.ExpandHome(srt.Path, home), Node: grant.ExpandHome(srt.Node, home)},
	})
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
	if m := d.choose(ctx, g); m != nil {
		return m, nil
	}
	return d.engines[0], nil
}

// chosen is the engine that "auto" led to. It stays the one: an engine that held
// and does not any more turns host mode off, and another one takes over only
// after a restart, which the owner sees.
type chosen struct {
	mu sync.Mutex // held while choosing
	m  *mechanism
}

// choose gives the first engine that holds, nil if none does. What can not be
// built here makes room for the next one; what was broken out of does not: the
// next shares its kernel and its init.
func (d *Daemon) choose(ctx context.Context, g grant.Grant) *mechanism {
	d.chosen.mu.Lock()
	defer d.chosen.mu.Unlock()
	for _, m := range d.engines {
		if d.chosen.m != nil || boundary.Weaker(m.name) {
			continue
		}
		f := m.prober.ask(ctx, g)
		if f.Off == "" {
			d.chosen.m = m
		} else if f.err == nil {
			return nil
		}
	}
	return d.chosen.m
}

// proven is what was found about an engine with a grant of main's shape. For ""
// see engine.
func (d *Daemon) proven(ctx context.Context, name string) held {
	g, err := d.probeGrant()
	if err != nil {
		return held{Off: err.Error(), err: err}
	}
	m, err := d.engine(ctx, name)
	if err != nil {
		return held{Off: err.Error(), err: err}
	}
	h := d.attested(ctx, m, g)
	if name == "" || name == autoEngine {
		h.Off = d.whyOff(ctx, h.Off, g)
	}
	return h
}

// inUse says that an engine is the one whose finding turns host mode on or off,
// and not one that was only asked for by its name.
func (d *Daemon) inUse(ctx context.Context, m *mechanism, g grant.Grant) bool {
	if d.config.Boundary.Engine != autoEngine {
		return d.config.Boundary.Engine == m.name
	}
	chosen := d.choose(ctx, g)
	return chosen == m || chosen == nil && m == d.engines[0]
}

// whyOff is why host mode is off after a finding about the engine in use, "" if
// it is not. Where no engine could be chosen, each has its reason.
func (d *Daemon) whyOff(ctx context.Context, off string, g grant.Grant) string {
	if off == "" || d.config.Boundary.Engine != autoEngine || d.choose(ctx, g) != nil {
		return off
	}
	lines := []string{"no engine holds on this machine"}
	for _, m := range d.engines {
		if boundary.Weaker(m.name) {
			continue
		}
		f := m.prober.ask(ctx, g)
		if f.err == nil {
			return off // it was broken out of
		}
		lines = append(lines, m.name+": "+f.Off)
	}
	return strings.Join(lines, "\n")
}

// attested is what was found about an engine with grants of g's shape, told to
// the world once.
func (d *Daemon) attested(ctx context.Context, m *mechanism, g grant.Grant) held {
	f := m.prober.ask(ctx, g)
	if d.outbox != nil { // else this is the first start, which speaks for itself
		f.told.Do(func() {
			off := ""
			if f.Off != "" && d.inUse(ctx, m, g) {
				off = d.whyOff(ctx, f.Off, g)
			}
			d.tellProbe(context.WithoutCancel(ctx), f, off)
		})
	}
	return f.held
}

// probeGrant is a grant of main's shape. Folders that main cannot be lent say nothing
// about the boundary, and are left out; a session's own shape is tried before it starts.
func (d *Daemon) probeGrant() (grant.Grant, error) {
	r := d.probeRequest()
	g, err := grant.Decide(r)
	if no, refused := errors.AsType[*grant.Refusal](err); refused && strings.HasPrefix(no.Rule, "mount.") {
		main := r.Config.Groups[string(chat.Main)]
		main.Mounts = nil
		r.Config.Groups[string(chat.Main)] = main
		g, err = grant.Decide(r)
	}
	if err != nil {
		err = fmt.Errorf("the probe has no grant: %w", err)
	}
	return g, err
}
