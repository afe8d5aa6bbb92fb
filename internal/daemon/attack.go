package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"nanoclaw/internal/attack"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

// attack tries the catalogue of attacks on every engine that stands here, with a
// grant of main's shape, in folders made for it. A line that broke turns the
// engine off until a restart, as a probe that broke out does (I1).
func (d *Daemon) attack(ctx context.Context) (control.Attacks, error) {
	var out control.Attacks
	g, err := d.probeGrant()
	if err != nil {
		return out, err
	}
	uid, err := d.uid(ctx, chat.Main)
	if err != nil {
		return out, err
	}
	var reports []attack.Report
	for _, m := range d.engines {
		report, err := d.attackOne(ctx, m, g, uid)
		if err != nil {
			out.Untried = append(out.Untried, fmt.Sprintf("%s: %v", m.name, err))
			continue
		}
		reports = append(reports, report)
		out.Engines = append(out.Engines, attacked(report))
		d.acted(ctx, "attack", fmt.Sprintf("%s: %d lines, %d not as they should be", m.name, len(report.Outcomes), len(report.Bad())))
	}
	var text strings.Builder
	err = attack.WriteTable(&text, reports)
	out.Text = text.String()
	return out, err
}

// attackOne tries the catalogue on one engine.
func (d *Daemon) attackOne(ctx context.Context, m *mechanism, g grant.Grant, uid int) (attack.Report, error) {
	if d.opt.Attacker == "" {
		return attack.Report{}, errors.New("this nanoclaw does not know the path of its own program")
	}
	e, err := m.open()
	if err != nil {
		return attack.Report{}, err
	}
	if f := m.prober.ask(ctx, g); f.Off != "" {
		return attack.Report{}, fmt.Errorf("it does not stand here: %s", f.Off)
	}
	report, err := attack.Run(ctx, attack.Options{
		Engine: e, Program: d.opt.Attacker, Grant: g, UID: uid,
		LandlockFloor: d.config.Boundary.LandlockFloor, Log: d.log,
	})
	if start, ok := errors.AsType[*boundary.StartError](err); ok {
		err = fmt.Errorf("a session of the attacks: %w", start)
	}
	for _, o := range report.Outcomes {
		if o.State == attack.Broke {
			m.prober.distrust(fmt.Sprintf("the attack %s succeeded: %s", o.Line, o.Detail))
		}
	}
	return report, err
}

// attacked is a report as the control socket has it.
func attacked(r attack.Report) control.Attacked {
	out := control.Attacked{Engine: r.Engine, User: r.User, Missing: r.Missing}
	for _, o := range r.Outcomes {
		out.Lines = append(out.Lines, control.AttackLine{Line: o.Line, State: string(o.State), Good: o.State.Good(), Detail: o.Detail})
	}
	return out
}

// distrust turns an engine off until a restart, whatever a probe finds.
func (p *prober) distrust(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = &finding{held: held{Off: why, err: errors.New(why)}}
	}
}
