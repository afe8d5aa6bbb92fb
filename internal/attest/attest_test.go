package attest_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/attest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// sealer marks instead of signing.
type sealer struct{}

func (sealer) Seal(kind, text string) ([]byte, error) { return []byte(kind + ":" + text), nil }

func (sealer) Unseal(kind string, signed []byte) (string, error) {
	text, ok := string(signed), len(signed) > len(kind)+1
	if !ok || text[:len(kind)+1] != kind+":" {
		return "", errors.New("not sealed")
	}
	return text[len(kind)+1:], nil
}

func record(t *testing.T) attest.Record {
	t.Helper()
	b, err := attest.Machine()
	if err != nil {
		t.Fatal(err)
	}
	b.Engine, b.Shape, b.Tools = "native", "abc", []string{"/usr/bin/bwrap 1 2 3"}
	return attest.Record{Basis: b, At: time.Unix(1, 0).UTC(), Attempts: []wire.Attempt{{Name: "read"}}, Layers: []string{"seccomp"}}
}

func TestOpen(t *testing.T) {
	r := record(t)
	if r.Kernel == "" || r.Boot == "" || r.Program == "" {
		t.Fatalf("the machine says %+v", r.Basis)
	}
	signed, id, err := attest.Seal(sealer{}, r)
	if err != nil {
		t.Fatal(err)
	}
	got, gotID, err := attest.Open(sealer{}, signed, r.Basis)
	if err != nil || gotID != id || id == "" {
		t.Errorf("id %q and %q, %v", id, gotID, err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
	for name, change := range map[string]func(*attest.Basis){
		"engine": func(b *attest.Basis) { b.Engine = "x" }, "kernel": func(b *attest.Basis) { b.Kernel = "x" },
		"boot": func(b *attest.Basis) { b.Boot = "x" }, "program": func(b *attest.Basis) { b.Program = "x" },
		"tools": func(b *attest.Basis) { b.Tools = nil }, "shape": func(b *attest.Basis) { b.Shape = "x" },
	} {
		other := r.Basis
		change(&other)
		if _, _, err := attest.Open(sealer{}, signed, other); !errors.Is(err, attest.ErrOther) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// A record that does not say that something held is none.
func TestOpenRefuses(t *testing.T) {
	for name, change := range map[string]func(*attest.Record){
		"nothing tried": func(r *attest.Record) { r.Attempts = nil },
		"a break":       func(r *attest.Record) { r.Attempts = append(r.Attempts, wire.Attempt{Name: "x", Broke: true}) },
	} {
		r := record(t)
		change(&r)
		signed, _, err := attest.Seal(sealer{}, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := attest.Open(sealer{}, signed, r.Basis); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, _, err := attest.Open(sealer{}, "attestation:{", record(t).Basis); err == nil {
		t.Error("garbage is taken")
	}
}

// Whatever is done to a file shows in its name.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	seen := map[string]string{}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"made", func() error { return os.WriteFile(path, []byte("one"), 0o700) }},
		{"edited", func() error { return os.WriteFile(path, []byte("two, with the old times"), 0o700) }},
		{"replaced", func() error {
			old := path + ".new"
			if err := os.WriteFile(old, []byte("two, with the old times"), 0o700); err != nil {
				return err
			}
			return os.Rename(old, path)
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		name, err := attest.File(path)
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[name]; ok {
			t.Errorf("%s and %s look alike: %s", before, step.name, name)
		}
		seen[name] = step.name
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := attest.File(path); err == nil {
		t.Error("a file that is gone has a name")
	}
	if _, err := attest.File(filepath.Dir(path)); err == nil {
		t.Error("a folder is taken for a file")
	}
}

// The shape is about the way through an engine, and not about names and amounts.
func TestShape(t *testing.T) {
	base := grant.Grant{
		Group: "family", Mounts: []grant.Mount{{Target: grant.Workspace, Source: "/a", Write: true}, {Target: grant.Extra + "/photos", Source: "/p", Foreign: true}},
		Endpoints: []grant.Endpoint{{Name: "proxy", Port: 1}},
	}
	shape := attest.Shape(base, true, 0)
	same := base
	same.Group, same.Limits.Memory = "work", 1
	same.Mounts = []grant.Mount{{Target: grant.Extra + "/a", Source: "/b", Foreign: true}, {Target: grant.Extra + "/b", Source: "/c", Foreign: true}, {Target: grant.Workspace, Source: "/z", Write: true}}
	if attest.Shape(same, true, 0) != shape {
		t.Error("names, amounts and order change the shape")
	}
	for name, change := range map[string]func(*grant.Grant){
		"rights": func(g *grant.Grant) { g.Mounts[1].Write = true },
		"a kind": func(g *grant.Grant) { g.Mounts = append(g.Mounts, grant.Mount{Target: "/opt/x", File: true}) },
		"less":   func(g *grant.Grant) { g.Mounts = g.Mounts[:1] },
		"a way":  func(g *grant.Grant) { g.Endpoints = nil },
	} {
		g := base
		g.Mounts = append([]grant.Mount{}, base.Mounts...)
		change(&g)
		if attest.Shape(g, true, 0) == shape {
			t.Errorf("%s does not change the shape", name)
		}
	}
	if attest.Shape(base, false, 0) == shape || attest.Shape(base, true, 1) == shape {
		t.Error("uid or floor do not change the shape")
	}
}
