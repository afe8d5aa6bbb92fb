package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// prober knows whether one engine of this machine holds (I1). It finds out
// when first asked; the binary, the kernel and the shape of a grant do not
// change while the daemon runs.
type prober struct {
	try func(context.Context) (held, error)

	mu   sync.Mutex // held while trying: everybody waits for the one finding
	done bool
	held held
}

// held is what a probe found.
type held struct {
	// Off is why host mode is off, "" if the boundary holds.
	Off             string
	Layers, Missing []string
	Report          wire.ProbeReport
	Took            time.Duration
	err             error // why there was no probe
}

// ask gives the finding, trying first if nobody did.
func (p *prober) ask(ctx context.Context) held {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.done {
		p.held, p.done = p.once(ctx), true
	}
	return p.held
}

// again tries once more and gives what it found. A boundary that once did not
// hold stays off until a restart.
func (p *prober) again(ctx context.Context) held {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.once(ctx)
	if !p.done || p.held.Off == "" {
		p.held, p.done = now, true
	}
	return now
}

// once tries. A probe that could not be made is one that failed.
func (p *prober) once(ctx context.Context) held {
	// The one who asks may go away; the finding is for all.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	began := time.Now()
	h, err := p.try(ctx)
	if err != nil {
		h.Off, h.err = err.Error(), err
	}
	h.Took = time.Since(began)
	return h
}

// probe tries to break out of a boundary made of the same grant as main's.
func (d *Daemon) probe(ctx context.Context, m *mechanism) (held, error) {
	e, err := m.open()
	if err != nil {
		return held{}, err
	}
	g, err := grant.Decide(d.probeRequest())
	if err != nil {
		return held{}, fmt.Errorf("the probe has no grant: %w", err)
	}
	uid, err := d.uid(ctx, chat.Main)
	if err != nil {
		return held{}, err
	}
	if err := d.prepare(ctx, chat.Main); err != nil {
		return held{}, err
	}
	canaries, dirs, remove, err := d.plant()
	if err != nil {
		return held{}, err
	}
	defer remove()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return held{}, err
	}
	defer listener.Close()
	task := wire.Probe{
		Canaries: canaries, Dial: []string{listener.Addr().String()}, HostPID: os.Getpid(), WriteTo: dirs,
		Env: d.foreignNames(g),
	}
	report, err := boundary.Probe(ctx, e, boundary.Spec{
		Grant: g, Session: chat.NewSessionID(), UID: uid, LandlockFloor: d.config.Boundary.LandlockFloor,
		Serve: func(_ wire.Kind, c net.Conn) { c.Close() }, Log: d.log,
	}, task)
	if err != nil {
		return held{}, err
	}
	h := held{Report: report, Layers: report.Layers, Missing: report.Missing}
	if err := boundary.Verdict(task, report); err != nil {
		h.Off = err.Error()
	}
	return h, nil
}

// plant puts canaries into every place that a grant must keep out:
// configuration, data, another group, the common temporary folder, and the
// owner's home if there is one to write to. dirs are those of them that do not
// exist inside at all, so that nothing can be written there.
func (d *Daemon) plant() (canaries []wire.Canary, dirs []string, remove func(), err error) {
	stranger := filepath.Join(d.machine.GroupsDir, ".probe")
	if err := os.MkdirAll(stranger, 0o700); err != nil {
		return nil, nil, nil, err
	}
	dirs = []string{d.opt.Paths.ConfigDir, d.opt.Paths.DataDir, stranger}
	canaries, clear, err := boundary.PlantCanaries(append(dirs[:3:3], os.TempDir())...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("planting canaries for the probe: %w", err)
	}
	remove = func() { clear() }
	atHome, clearHome, err := boundary.PlantCanaries(d.machine.OwnerHome)
	if err != nil {
		d.log.Info("the probe plants nothing in the owner's home", "why", err)
		return canaries, dirs, remove, nil
	}
	return append(canaries, atHome...), append(dirs, d.machine.OwnerHome), func() { clear(); clearHome() }, nil
}

// foreignNames are the names of our own variables that the grant does not have.
func (d *Daemon) foreignNames(g grant.Grant) []string {
	return slices.DeleteFunc(d.opt.EnvNames(), func(name string) bool {
		return slices.ContainsFunc(g.Env, func(v grant.Var) bool { return v.Name == name })
	})
}

// probeRequest is main's own request in host mode, as if all of I7 were given:
// the probe asks whether the machine could, not whether the owner wants.
func (d *Daemon) probeRequest() grant.Request {
	c := *d.config
	c.HostMode.Enabled = true
	main := c.Groups[string(chat.Main)]
	main.Mode, main.HostModeAllowed = "host", true
	groups := map[string]configGroup{string(chat.Main): main}
	c.Groups = groups
	return grant.Request{
		Config: &c, Group: chat.Main, Machine: d.machine,
		Trigger: grant.Trigger{Kind: "exec", Owner: true, Terminal: true},
	}
}

func (d *Daemon) tellProbe(ctx context.Context, engine string, h held) {
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ProbeRan, Data: audit.ProbeData{
		Engine: engine, Held: h.Off == "", Finding: h.Off, Attempts: h.Report.Attempts,
	}})
	if h.Off == "" {
		d.log.Info("the boundary holds", "engine", engine, "attempts", len(h.Report.Attempts), "took", h.Took)
		return
	}
	d.log.Error("host mode is off", "engine", engine, "why", h.Off)
	d.tellOwner(ctx, "probe", "Host mode is off on this machine, so no agent runs natively.\n"+h.Off+"\nnanoclaw doctor says what is missing and how to mend it.")
}
