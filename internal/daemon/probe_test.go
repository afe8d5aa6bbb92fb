package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/attest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

// counted makes the probes of a daemon's engines count themselves.
func counted(d *Daemon) *int {
	n := new(int)
	for _, m := range d.engines {
		try := m.prober.try
		m.prober.try = func(ctx context.Context, g grant.Grant) (held, error) {
			*n++
			return try(ctx, g)
		}
	}
	return n
}

// A finding that held is not made again as long as what it depends on is the
// same, and is made again when it is not, or when the record is not ours.
func TestAttestation(t *testing.T) {
	i := newInstall(t, hostConfig)
	ask := func(change func(*Daemon)) (held, int) {
		t.Helper()
		d := i.open()
		defer d.Close()
		n := counted(d)
		if change != nil {
			change(d)
		}
		h := d.proven(t.Context(), "native")
		if h.Off != "" {
			t.Fatal(h.Off)
		}
		return h, *n
	}
	first, n := ask(nil)
	if n != 1 || first.Cached || first.Attestation == "" {
		t.Fatalf("the first start: %d tries, %+v", n, first)
	}
	again, n := ask(nil)
	if n != 0 || !again.Cached || again.Attestation != first.Attestation || len(again.Report.Attempts) != len(first.Report.Attempts) || len(again.Layers) == 0 {
		t.Errorf("the second start: %d tries, attestation %s after %s, layers %v", n, again.Attestation, first.Attestation, again.Layers)
	}
	if h, n := ask(func(d *Daemon) {
		machine := d.attests
		d.attests = func() (attest.Basis, error) { b, err := machine(); b.Kernel += "+1"; return b, err }
	}); n != 1 || h.Cached {
		t.Errorf("with another kernel: %d tries", n)
	}
	// That one is stored now, so this kernel is another.
	if _, n := ask(nil); n != 1 {
		t.Errorf("back on the old kernel: %d tries", n)
	}
	if h, n := ask(func(d *Daemon) {
		b, err := d.basis(d.engines[0], must1(d.probeGrant()))
		must(t, err)
		signed, err := d.store.Meta(t.Context(), attestKey(b))
		must(t, err)
		must(t, d.store.SetMeta(t.Context(), attestKey(b), strings.Replace(signed, `"layers":[`, `"layers":["none",`, 1)))
	}); n != 1 || h.Cached {
		t.Errorf("with a record that was edited: %d tries", n)
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The audit log and each session name the record, and the log holds it.
func TestAttestationIsRecorded(t *testing.T) {
	i := newInstall(t, hostConfig)
	d := i.open()
	h := d.proven(t.Context(), "")
	c, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}})
	must(t, err)
	if e, err := c.Wait(t.Context()); err != nil || e.Code != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	must(t, c.Close())
	for kind, want := range map[audit.Kind]string{audit.ProbeRan: `"signed":"nanoclaw attestation\n`, audit.SessionStarted: `"attestation":"` + h.Attestation + `"`} {
		entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(kind)})
		must(t, err)
		if len(entries) != 1 || !strings.Contains(string(entries[0].Data), want) || !strings.Contains(string(entries[0].Data), h.Attestation) {
			t.Errorf("%s: %+v, want %s", kind, entries, want)
		}
	}
	must(t, d.Close())
}

// A grant of a shape that was not tried is tried before its first session, and a
// boundary that does not hold with it is off for all.
func TestNewShapeIsTried(t *testing.T) {
	i := newInstall(t, hostConfig)
	d := i.open()
	defer d.Close()
	n := counted(d)
	dir := filepath.Join(i.home, "photos")
	must(t, os.MkdirAll(dir, 0o755))
	run := func(mounts ...string) error {
		c, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}, Mounts: mounts})
		if err == nil {
			_, err = c.Wait(t.Context())
			c.Close()
		}
		return err
	}
	for _, step := range []struct {
		mounts []string
		want   int
	}{{nil, 1}, {nil, 1}, {[]string{dir}, 2}, {[]string{dir}, 2}} {
		if err := run(step.mounts...); err != nil || *n != step.want {
			t.Errorf("with %v: %d tries, want %d; %v", step.mounts, *n, step.want, err)
		}
	}
	d.engines[0].prober.try = func(context.Context, grant.Grant) (held, error) {
		return held{}, errors.New("it let something through")
	}
	if err := run(dir + ":rw"); code(err) != control.CodeBoundary || !strings.Contains(err.Error(), "it let something through") {
		t.Errorf("a shape that does not hold: %v", err)
	}
	if err := run(); code(err) != control.CodeRefused {
		t.Errorf("after that, the shape that held: %v", err)
	}
}

// lost is an engine whose program is gone.
type lost struct{ boundary.Engine }

func (lost) Programs() []string { return []string{"/nonexistent/bwrap"} }

// An engine that disappears turns host mode off, in words.
func TestEngineThatDisappears(t *testing.T) {
	d := newInstall(t, hostConfig).open()
	defer d.Close()
	m := d.engines[0]
	if h := d.proven(t.Context(), m.name); h.Off != "" {
		t.Fatal(h.Off)
	}
	open := m.open
	m.open = func() (boundary.Engine, error) { e, err := open(); return lost{e}, err }
	_, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}, Boundary: m.name})
	if code(err) != control.CodeRefused || !strings.Contains(err.Error(), "/nonexistent/bwrap") {
		t.Errorf("%v", err)
	}
	m.open = open // and it comes back
	if h := d.proven(t.Context(), m.name); h.Off != "" {
		t.Errorf("when it is there again: %s", h.Off)
	}
}

// BenchmarkAttestation is the whole question "does the boundary hold" at a start,
// from the record of an earlier one.
func BenchmarkAttestation(b *testing.B) {
	i := newInstall(b, hostConfig)
	d := i.open()
	defer d.Close()
	if h := d.proven(b.Context(), ""); h.Off != "" {
		b.Fatal(h.Off)
	}
	m := d.engines[0]
	for b.Loop() {
		m.prober.found = nil
		if h := d.proven(b.Context(), ""); !h.Cached {
			b.Fatal("it was tried again")
		}
	}
}

// With "auto" the first engine that can be built is used, and goes on to be: what
// it does later turns host mode off and no other engine on. Where none can be
// built, the reason of each is told.
func TestEngineIsChosen(t *testing.T) {
	cannot := func(why string) func(context.Context, grant.Grant) (held, error) {
		return func(context.Context, grant.Grant) (held, error) {
			return held{}, &boundary.StartError{Step: "namespaces", Err: errors.New(why), Hint: "mend " + why}
		}
	}
	holds := func(context.Context, grant.Grant) (held, error) { return held{}, nil }
	broken := func(context.Context, grant.Grant) (held, error) { return held{Off: "it got out"}, nil }
	for _, c := range []struct {
		name          string
		first, second func(context.Context, grant.Grant) (held, error)
		want          string   // the engine
		off           []string // in the reasons
	}{
		{"both hold", holds, holds, boundary.NativeEngine, nil},
		{"the second holds", cannot("one"), holds, boundary.BubblewrapEngine, nil},
		{"none can be built", cannot("one"), cannot("two"), boundary.NativeEngine,
			[]string{"no engine holds", "native: the boundary does not stand: namespaces: one\nmend one", "bubblewrap: the boundary does not stand: namespaces: two\nmend two"}},
		{"the first lets something out", broken, holds, boundary.NativeEngine, []string{"it got out"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newInstall(t, hostConfig).open()
			defer d.Close()
			d.engines[0].prober.try, d.engines[1].prober.try = c.first, c.second
			h := d.proven(t.Context(), "")
			m, err := d.engine(t.Context(), "")
			must(t, err)
			if m.name != c.want || (h.Off == "") != (c.off == nil) {
				t.Errorf("%s, off: %q", m.name, h.Off)
			}
			_, err = d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}})
			for _, why := range c.off {
				if !strings.Contains(h.Off, why) || !strings.Contains(err.Error(), why) {
					t.Errorf("%q is not in %q, or not in %v", why, h.Off, err)
				}
			}
			if c.off != nil && code(err) != control.CodeRefused {
				t.Errorf("exec: %v", err)
			}
		})
	}
	d := newInstall(t, hostConfig).open()
	defer d.Close()
	d.engines[0].prober.try, d.engines[1].prober.try = holds, holds
	if h := d.proven(t.Context(), ""); h.Off != "" {
		t.Fatal(h.Off)
	}
	d.engines[0].prober.broken = &finding{held: held{Off: "it went away", err: os.ErrNotExist}}
	if h := d.proven(t.Context(), ""); h.Off != "it went away" {
		t.Errorf("the engine in use went away: %q", h.Off)
	}
}

// The doctor says what came of each engine.
func TestDoctorTellsOfEngines(t *testing.T) {
	d := newInstall(t, hostConfig).open()
	defer d.Close()
	d.engines[1].prober.try = func(context.Context, grant.Grant) (held, error) {
		return held{}, &boundary.StartError{Step: "bubblewrap", Err: errors.New("setting up uid map: Permission denied"), Hint: "Give it its profile."}
	}
	for _, probe := range []bool{false, true} {
		r, err := d.Doctor(t.Context(), control.DoctorQuery{Probe: probe})
		must(t, err)
		want := map[string]control.Check{
			"engine native":     {State: "ok", Detail: "in use; holds against"},
			"engine bubblewrap": {State: "note", Detail: "not tried now"},
		}
		if probe {
			want["engine bubblewrap"] = control.Check{State: "note", Detail: "does not hold: the boundary does not stand: bubblewrap: setting up uid map: Permission denied", Fix: "Give it its profile."}
		}
		for _, c := range r.Checks {
			if w, ok := want[c.Name]; ok && c.State == w.State && strings.HasPrefix(c.Detail, w.Detail) && c.Fix == w.Fix {
				delete(want, c.Name)
			}
		}
		if len(want) > 0 {
			t.Errorf("probe %t: %v is not in %+v", probe, want, r.Checks)
		}
	}
}
