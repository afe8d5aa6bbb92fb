package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/attack/attacktest"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/control"
)

// An owner can have all attacks tried on every engine that stands, and hears
// what came of each.
func TestAttack(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	i := newInstall(t, "")
	program := filepath.Join(i.paths.DataDir, "attack")
	must(t, os.WriteFile(program, attacktest.Program(t), 0o755))
	d := i.open()
	t.Cleanup(func() { must(t, d.Close()) })
	d.opt.Attacker = program
	r, err := d.Doctor(t.Context(), control.DoctorQuery{Attack: true})
	if err != nil {
		t.Fatal(err)
	}
	// srt is not installed here. That is said, and is no reason not to try the others.
	untried := r.Attacks.Untried
	if len(r.Attacks.Engines) != len(d.engines)-1 || len(untried) != 1 || !strings.HasPrefix(untried[0], boundary.SRTEngine+":") || len(r.Checks) > 0 {
		t.Fatalf("attacked %d engines, not %v; %d checks", len(r.Attacks.Engines), untried, len(r.Checks))
	}
	for _, e := range r.Attacks.Engines {
		if len(e.Lines) < 120 || !strings.Contains(r.Attacks.Text, e.Engine+"/"+e.User) {
			t.Errorf("%s: %d lines", e.Engine, len(e.Lines))
		}
		for _, l := range e.Lines {
			if !l.Good {
				t.Errorf("%s on %s: %s: %s", l.Line, e.Engine, l.State, l.Detail)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "nanoclaw-attack-*")); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	acts, err := d.AuditList(t.Context(), control.AuditQuery{Kind: "owner.acted"})
	if err != nil || len(acts) == 0 || !strings.Contains(string(acts[len(acts)-1].Data), "attack") {
		t.Errorf("the audit has %v, %v", acts, err)
	}
}

// An engine that does not stand is not attacked, and that is said.
func TestAttackNeedsABoundary(t *testing.T) {
	d := newInstall(t, "").open()
	t.Cleanup(func() { must(t, d.Close()) })
	d.opt.Attacker = "/proc/self/exe"
	for _, m := range d.engines {
		m.prober.distrust("the attack F-01 succeeded")
	}
	r, err := d.Doctor(t.Context(), control.DoctorQuery{Attack: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Attacks.Engines) > 0 || len(r.Attacks.Untried) != len(d.engines) || !strings.Contains(r.Attacks.Untried[0], "F-01 succeeded") {
		t.Errorf("%+v", r.Attacks)
	}
	if h := d.proven(context.Background(), ""); !strings.Contains(h.Off, "F-01 succeeded") {
		t.Errorf("host mode is on after an attack succeeded: %q", h.Off)
	}
}
