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

	"nanoclaw/internal/attest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/privilege"
	"nanoclaw/internal/wire"
)

// prober knows whether one engine of this machine holds (I1). It finds out when
// first asked about a shape of grant, or reads what an earlier process found out
// on the same basis (package attest).
type prober struct {
	basis  func(grant.Grant) (attest.Basis, error)
	recall func(context.Context, attest.Basis) (held, bool)
	keep   func(context.Context, attest.Basis, *held)
	try    func(context.Context, grant.Grant) (held, error)

	mu    sync.Mutex // held while trying: everybody waits for the one finding
	found []*finding
	// broken is a boundary that did not hold. It stays off until a restart,
	// whatever is found later.
	broken *finding
	// mendable says that an engine which could not be tried is tried again.
	mendable bool
}

// finding is what was found for one basis.
type finding struct {
	held
	basis attest.Basis
	told  sync.Once
}

// held is what a probe found.
type held struct {
	// Off is why host mode is off, "" if the boundary holds.
	Off             string
	Layers, Missing []string
	Report          wire.ProbeReport
	Took            time.Duration
	// Attestation is the signed record's name, At when it was made, and Cached
	// whether by an earlier process. Signed is the record itself.
	Attestation, Signed string
	At                  time.Time
	Cached              bool
	err                 error // why there was no probe
}

// ask gives the finding for a grant, trying first if nobody did.
func (p *prober) ask(ctx context.Context, g grant.Grant) *finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	basis, err := p.basis(g)
	if err != nil { // a program of the engine went away
		return &finding{held: held{Off: err.Error(), err: err}}
	}
	for _, f := range p.found {
		if f.basis.Equal(basis) {
			return f
		}
	}
	h, ok := p.recall(ctx, basis)
	if !ok {
		h = p.once(ctx, basis, g)
	}
	return p.add(basis, h)
}

// again tries once more and gives what it found.
func (p *prober) again(ctx context.Context, g grant.Grant) held {
	p.mu.Lock()
	defer p.mu.Unlock()
	basis, err := p.basis(g)
	if err != nil {
		return held{Off: err.Error(), err: err}
	}
	h := p.once(ctx, basis, g)
	if p.broken == nil {
		p.found = slices.DeleteFunc(p.found, func(f *finding) bool { return f.basis.Equal(basis) })
		p.add(basis, h)
	}
	return h
}

// add keeps a finding. The caller holds mu.
func (p *prober) add(basis attest.Basis, h held) *finding {
	f := &finding{held: h, basis: basis}
	if h.err != nil && p.mendable {
		return f
	}
	p.found = append(p.found, f)
	if h.Off != "" {
		p.broken = f
	}
	return f
}

// probeTimeout bounds a probe. Most take some milliseconds; a container engine may
// have to unpack an image first.
const probeTimeout = 2 * time.Minute

// once tries. A probe that could not be made is one that failed.
func (p *prober) once(ctx context.Context, basis attest.Basis, g grant.Grant) held {
	// The one who asks may go away; the finding is for all.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	began := time.Now()
	h, err := p.try(ctx, g)
	if err != nil {
		h.Off, h.err = err.Error(), err
	}
	h.Took, h.At = time.Since(began), began
	if h.Off == "" {
		p.keep(ctx, basis, &h)
	}
	return h
}

// basis is what a finding about an engine and a grant depends on.
func (d *Daemon) basis(m *mechanism, g grant.Grant) (attest.Basis, error) {
	b, err := d.attests()
	if err != nil {
		return b, err
	}
	b.Engine, b.Shape = m.name, attest.Shape(g, privilege.Held(), d.config.Boundary.LandlockFloor)
	e, err := m.open()
	if err != nil {
		return b, err
	}
	if e, ok := e.(boundary.Dependent); ok {
		for _, path := range e.Programs() {
			id, err := attest.File(path)
			if err != nil {
				return b, fmt.Errorf("the engine %s has lost a program it needs: %w", m.name, err)
			}
			b.Tools = append(b.Tools, id)
		}
	}
	return b, nil
}

// attestKey is where the record of an engine and a shape lies in the store.
func attestKey(b attest.Basis) string { return "attest." + b.Engine + "." + b.Shape }

// recall reads what an earlier process found out on the same basis. A record
// that is missing, of another basis or not ours is no record.
func (d *Daemon) recall(ctx context.Context, b attest.Basis) (held, bool) {
	signed, err := d.store.Meta(ctx, attestKey(b))
	if err != nil || signed == "" {
		return held{}, false
	}
	r, id, err := attest.Open(d.key, signed, b)
	if err != nil {
		d.log.Info("the boundary is tried anew", "engine", b.Engine, "why", err)
		return held{}, false
	}
	return held{
		Report: wire.ProbeReport{Attempts: r.Attempts}, Layers: r.Layers, Missing: r.Missing,
		Attestation: id, Signed: signed, At: r.At, Cached: true,
	}, true
}

// keep signs what was found and stores it for later starts.
func (d *Daemon) keep(ctx context.Context, b attest.Basis, h *held) {
	signed, id, err := attest.Seal(d.key, attest.Record{
		Basis: b, At: h.At, Attempts: h.Report.Attempts, Layers: h.Layers, Missing: h.Missing,
	})
	if err == nil {
		err = d.store.SetMeta(ctx, attestKey(b), signed)
	}
	if err != nil {
		d.log.Warn("the probe's finding cannot be kept; the next start tries again", "err", err)
		return
	}
	h.Attestation, h.Signed = id, signed
}

// probe tries to break out of a boundary made of a grant.
func (d *Daemon) probe(ctx context.Context, m *mechanism, g grant.Grant) (held, error) {
	e, err := m.open()
	if err != nil {
		return held{}, err
	}
	uid, err := d.uid(ctx, g.Group)
	if err != nil {
		return held{}, err
	}
	if err := d.prepare(ctx, g.Group); err != nil {
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
	canaries, clear, err := d.plantIn(append(dirs[:3:3], os.TempDir())...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("planting canaries for the probe: %w", err)
	}
	atHome, clearHome, err := d.plantIn(d.machine.OwnerHome)
	if err != nil {
		d.log.Info("the probe plants nothing in the owner's home", "why", err)
		return canaries, dirs, clear, nil
	}
	if !slices.Contains(sessionsOwn, filepath.Clean(d.machine.OwnerHome)) {
		dirs = append(dirs, d.machine.OwnerHome)
	}
	return append(canaries, atHome...), dirs, func() { clear(); clearHome() }, nil
}

// sessionsOwn are folders that each session has of its own. Somebody whose home is one
// of them, as that of some services is, does not share it: what may be written there
// inside is another folder, and the canary is what must not be found in it.
var sessionsOwn = []string{"/tmp", "/dev/shm"}

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
	c.Groups = map[string]configGroup{string(chat.Main): main}
	r := grant.Request{
		Config: &c, Group: chat.Main, Machine: d.machineNow(),
		Trigger: grant.Trigger{Kind: "exec", Owner: true, Terminal: true},
	}
	r.Machine.Real = d.real(lentPaths(main, r.Trigger))
	return r
}

// tellProbe tells the world what was found, and the owner why host mode is off,
// unless off is "".
func (d *Daemon) tellProbe(ctx context.Context, f *finding, off string) {
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ProbeRan, Data: audit.ProbeData{
		Engine: f.basis.Engine, Held: f.Off == "", Finding: f.Off, Attempts: f.Report.Attempts,
		Attestation: f.Attestation, Cached: f.Cached, Signed: f.Signed,
	}})
	if f.Off == "" {
		d.log.Info("the boundary holds", "engine", f.basis.Engine, "attempts", len(f.Report.Attempts), "took", f.Took, "cached", f.Cached)
		return
	}
	if off == "" { // another engine is used, or the one who asks hears it
		d.log.Warn("the boundary does not hold", "engine", f.basis.Engine, "why", f.Off)
		return
	}
	d.log.Error("the boundary does not hold", "engine", f.basis.Engine, "why", f.Off)
	what := "Host mode is off on this machine, so no agent runs natively."
	if boundary.InContainers(f.basis.Engine) {
		what = "Containers are off on this machine, so no agent runs in one."
	}
	d.tellOwner(ctx, "probe", what+"\n"+off+"\nnanoclaw doctor says what is missing and how to mend it.")
}
