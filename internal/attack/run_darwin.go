package attack

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/wire"
)

// patience bounds each attack.
const patience = 20 * time.Second

// lines are those of macOS.
func lines() []Line { return macLines() }

// Run tries the lines of macOS on one engine, by the commands that package
// seatbelt has for them. It was never run, as the engine: there was no Mac.
func Run(ctx context.Context, o Options) (Report, error) {
	report := Report{Engine: o.Engine.Name(), User: "user"}
	dir, err := os.MkdirTemp("", "nanoclaw-attack-")
	if err != nil {
		return report, err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return report, err
	}
	at := seatbelt.Places{WS: filepath.Join(dir, "workspace"), RW: filepath.Join(dir, "project"), Secret: filepath.Join(dir, "home", "id_ed25519")}
	for _, d := range []string{at.WS, at.RW, filepath.Dir(at.Secret), filepath.Join(dir, "own")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return report, err
		}
	}
	if err := os.WriteFile(at.Secret, []byte(rand.Text()), 0o600); err != nil {
		return report, err
	}
	s, err := o.Engine.Start(ctx, boundary.Spec{
		Grant: macShape(o.Grant, at, dir), LandlockFloor: o.LandlockFloor, Log: o.Log, Serve: func(_ wire.Kind, c net.Conn) { c.Close() },
	})
	if err != nil {
		return report, err
	}
	defer s.Close()
	report.Missing = s.Missing()
	came := make(map[string]Outcome)
	for _, a := range seatbelt.Attacks(at) {
		one := attackMac(ctx, s, o.Grant, a)
		if old, ok := came[one.Line]; ok && (old.State == Broke || old.State == Missing || one.State == Elsewhere) {
			continue
		}
		came[one.Line] = one
	}
	for _, l := range lines() {
		if len(o.Lines) == 0 || slices.Contains(o.Lines, l.ID) {
			report.Outcomes = append(report.Outcomes, came[l.ID])
		}
	}
	return report, nil
}

// macShape makes the grant of the session: the given one, with folders made for
// it in place of those of the owner.
func macShape(g grant.Grant, at seatbelt.Places, dir string) grant.Grant {
	g.Mounts = slices.DeleteFunc(slices.Clone(g.Mounts), func(m grant.Mount) bool {
		return m.Target == grant.Workspace || m.Target == grant.Home || m.Target == grant.Global || strings.HasPrefix(m.Target, grant.Extra+"/")
	})
	const reason = "for the attacks"
	g.Mounts = append(g.Mounts,
		grant.Mount{Target: grant.Workspace, Source: at.WS, Write: true, Exec: true, Reason: reason},
		grant.Mount{Target: grant.Home, Source: filepath.Join(dir, "own"), Write: true, Exec: true, Reason: reason},
		grant.Mount{Target: grant.Extra + "/project", Source: at.RW, Write: true, Exec: true, Foreign: true, Reason: reason},
	)
	g.Egress = nil
	return g
}

// attackMac makes one attempt. Its command ends with 0 only if it succeeded.
func attackMac(ctx context.Context, s *boundary.Session, g grant.Grant, a seatbelt.Attack) Outcome {
	out := Outcome{Line: a.ID[:4], State: Missing}
	if a.Command == "" {
		out.State, out.Detail = Elsewhere, a.What
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	e := wire.Exec{Argv: []string{"/bin/sh", "-c", a.Command}, Dir: grant.Workspace}
	for _, v := range g.Env {
		e.Env = append(e.Env, v.Name+"="+v.Value)
	}
	p, err := s.Exec(ctx, e)
	if err != nil {
		out.Detail = fmt.Sprintf("%s: %v", a.What, err)
		return out
	}
	p.Stdin.Close()
	go io.Copy(io.Discard, p.Stdout)
	go io.Copy(io.Discard, p.Stderr)
	end, err := p.Wait(ctx)
	switch {
	case err != nil:
		out.Detail = fmt.Sprintf("%s: %v", a.What, err)
	case end.Code == 0:
		out.State, out.Detail = Broke, a.What
	default:
		out.State, out.Detail = Held, fmt.Sprintf("%s: code %d, signal %d", a.What, end.Code, end.Signal)
	}
	return out
}
