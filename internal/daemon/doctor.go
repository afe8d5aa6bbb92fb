package daemon

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/control"
	"nanoclaw/internal/doctor"
	"nanoclaw/internal/hostproc"
)

// Doctor examines this machine. With Probe it runs the probe again, and what it
// finds now counts as much as at start: one success turns host mode off.
func (d *Daemon) Doctor(ctx context.Context, q control.DoctorQuery) (control.DoctorReport, error) {
	if q.Attack {
		attacks, err := d.attack(ctx)
		return control.DoctorReport{Attacks: &attacks}, err
	}
	in := doctor.Input{
		System: runtime.GOOS, Root: os.DirFS("/"), UID: os.Geteuid(), LandlockABI: doctor.LandlockABI(), Engines: hostproc.Look,
		Paths: d.opt.Paths, Config: d.config, SearchPath: d.opt.Getenv("PATH"), Home: d.machine.OwnerHome,
		Claude: d.machine.Claude, TriedClaude: agent.ClaudeVersion,
	}
	in.Program, _ = os.Executable()
	if d.upstream != nil {
		in.Model = d.upstream.String()
	}
	if err := d.fingerprint.Check(d.opt.Paths.Config); err != nil {
		in.ConfigError = err
	}
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
			}
		}
	}
	in.Probe = &doctor.Probe{Report: h.Report, Layers: h.Layers, Missing: h.Missing, Err: h.err}
	var out control.DoctorReport
	for _, c := range doctor.Examine(ctx, in).Checks {
		out.Checks = append(out.Checks, control.Check{Name: c.Name, State: string(c.State), Detail: c.Detail, Fix: c.Fix})
	}
	if m, err := d.engine(ctx, ""); err == nil {
		out.Checks = append(out.Checks, differences(m.name)...)
	}
	return out, nil
}

// differences tells where an engine cannot do what the grant says.
func differences(engine string) []control.Check {
	var out []control.Check
	for _, d := range boundary.Differences(engine) {
		than := "less"
		if d.More {
			than = "more"
		}
		about := "the native engine"
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
