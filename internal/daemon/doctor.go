package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/doctor"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/privilege"
)

// Doctor examines this machine. With Probe it runs the probe again, and what it
// finds now counts as much as at start: one success turns host mode off.
func (d *Daemon) Doctor(ctx context.Context, q control.DoctorQuery) (control.DoctorReport, error) {
	if q.Attack {
		attacks, err := d.attack(ctx)
		return control.DoctorReport{Attacks: &attacks}, err
	}
	in := doctor.Input{
		System: runtime.GOOS, Root: os.DirFS("/"), UID: doctorUID(), LandlockABI: doctor.LandlockABI(), Engines: hostproc.Look,
		Paths: d.opt.Paths, Config: d.config, SearchPath: d.opt.Getenv("PATH"), Home: d.machine.OwnerHome,
		Claude: d.machineNow().Claude, TriedClaude: agent.ClaudeVersion,
	}
	in.Program, _ = os.Executable()
	if u := d.models.of(""); u != nil {
		in.Model = inWords(u)
	}
	for _, name := range slices.Sorted(maps.Keys(d.config.Providers)) {
		in.Providers = append(in.Providers, doctor.Provider{Name: name, Model: inWords(d.models.of(name))})
	}
	in.ConfigError = d.policyError()
	h := d.proven(ctx, "")
	g, err := d.probeGrant()
	if err != nil && !isRefusal(err) {
		return control.DoctorReport{}, err
	}
	if err == nil {
		in.Grant = &g
		if m, err := d.engine(ctx, ""); q.Probe && err == nil {
			if h = m.prober.again(ctx, g); h.Off != "" {
				d.endSpares()
			} else {
				d.tryTroubles(ctx, agent.ClassBoundary, agent.ClassStart)
			}
		}
	}
	in.Probe = &doctor.Probe{Report: h.Report, Layers: h.Layers, Missing: h.Missing, Err: h.err}
	if err == nil {
		in.Tried = append(d.tried(ctx, g, q.Probe), d.triedContainers(ctx, q.Probe)...)
	}
	var out control.DoctorReport
	for _, c := range doctor.Examine(ctx, in).Checks {
		out.Checks = append(out.Checks, control.Check{Name: c.Name, State: string(c.State), Detail: c.Detail, Fix: c.Fix})
	}
	servers, err := d.checkServers(ctx)
	if err != nil {
		return control.DoctorReport{}, err
	}
	out.Checks = append(out.Checks, servers...)
	for _, e := range in.Tried {
		if e.Asked && e.Off == "" {
			out.Checks = append(out.Checks, differences(e.Name)...)
			if e.Kernel != "" {
				out.Checks = append(out.Checks, differences(e.Kernel)...)
			}
		}
	}
	return out, nil
}

// doctorUID is root's where this process has what root has of importance to a
// boundary, else our own.
func doctorUID() int {
	if privilege.Held() {
		return 0
	}
	return os.Geteuid()
}

// differences tells where an engine cannot do what the grant says.
func differences(engine string) []control.Check {
	var out []control.Check
	for _, d := range boundary.Differences(engine) {
		if !d.Holds(doctorUID()) {
			continue
		}
		than := "less"
		if d.More {
			than = "more"
		}
		about := "the native engine"
		if d.Name != "" {
			about += " (" + d.Name + ")"
		}
		if len(d.About) > 0 {
			about = "the grant says in " + strings.Join(d.About, ", ")
		}
		out = append(out, control.Check{
			Name: engine + " differs", State: string(doctor.Note),
			Detail: fmt.Sprintf("it permits %s than %s: %s", than, about, d.Why),
		})
	}
	return out
}

// tried says of each engine what its probe found. Without probe, engines that
// nobody has asked for are not tried.
func (d *Daemon) tried(ctx context.Context, g grant.Grant, probe bool) []doctor.Engine {
	var out []doctor.Engine
	for _, m := range d.engines {
		used := d.inUse(ctx, m, g)
		e := doctor.Engine{Name: m.name, Used: used, Weaker: boundary.Weaker(m.name)}
		if used || probe {
			h := m.prober.ask(ctx, g).held
			e.Asked, e.Off, e.Missing, e.Attempts = true, h.Off, h.Missing, len(h.Report.Attempts)
			if start, ok := errors.AsType[*boundary.StartError](h.err); ok {
				e.Off, e.Fix = strings.TrimSuffix(h.Off, "\n"+start.Hint), start.Hint
			}
		}
		out = append(out, e)
	}
	return out
}

// triedContainers says of each container engine what came of it. Where no group is
// in container mode, none is asked but by a probe that the owner wants; then a
// missing one is missed by nobody.
func (d *Daemon) triedContainers(ctx context.Context, probe bool) []doctor.Engine {
	needed := d.needsContainers()
	var out []doctor.Engine
	for _, m := range d.containers {
		name := d.config.Container.Engine
		e := doctor.Engine{Name: m.name, Used: needed && (name == m.name || d.contained.is(m))}
		if needed && (name == m.name || name == autoEngine) || probe {
			e.Asked = true
			e.Off = d.containersOff(ctx, chat.Main, m.name)
			if g, err := d.containerGrant(chat.Main); err == nil && e.Off == "" {
				h := m.prober.ask(ctx, g).held
				e.Missing, e.Attempts = h.Missing, len(h.Report.Attempts)
				e.Used = e.Used || needed && d.contained.is(m)
				e.Kernel = m.kernel(ctx)
			} else if problem, fix, ok := strings.Cut(e.Off, "; "+makeIt); ok {
				e.Off, e.Fix = problem, makeIt+fix
			}
		}
		out = append(out, e)
	}
	inUse := slices.IndexFunc(out, func(e doctor.Engine) bool { return e.Used })
	if needed && len(out) > 0 {
		out[max(inUse, 0)].Needed = true // of several that could be, the first is what is missing
	}
	return out
}

// kernel is that of its sessions, if it is not this machine's.
func (m *mechanism) kernel(ctx context.Context) string {
	e, err := m.open()
	if err != nil {
		return ""
	}
	return boundary.KernelOf(ctx, e)
}

// makeIt begins how an image is made, see boundary.ImageHint.
const makeIt = "make it: "

// inWords says where a model is, and when its credential ends, if that is known.
func inWords(u *egress.Upstream) string {
	if u == nil || u.Until().IsZero() {
		return u.String()
	}
	return u.String() + ", until " + u.Until().Local().Format(time.DateTime)
}
