package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nanoclaw/internal/wire"
)

// What a daemon planted that was killed while it probed is gone after the next
// start. A file that is not the one it wrote stays.
func TestCanariesOfAKilledDaemon(t *testing.T) {
	i := newInstall(t, hostConfig)
	d := i.open()
	dir := t.TempDir()
	other, half := filepath.Join(dir, "other"), filepath.Join(dir, "half")
	for _, p := range []string{other, half} {
		must(t, os.Mkdir(p, 0o755))
	}
	planted, _, err := d.plantIn(dir, other, half)
	must(t, err)
	must(t, os.WriteFile(planted[1].Path, []byte("the owner's own words"), 0o644))
	must(t, os.Truncate(planted[2].Path, 3)) // killed while it wrote
	stranger := filepath.Join(dir, "precious")
	must(t, os.WriteFile(stranger, []byte("x\n"), 0o644))
	link := wire.Canary{Path: filepath.Join(dir, ".nanoclaw-canary-LINK"), Data: "x"}
	must(t, os.Symlink(stranger, link.Path))
	must(t, writeList(filepath.Join(d.canariesDir(), "a.json"), []wire.Canary{{Path: stranger, Data: "x"}, link}))
	must(t, writeList(filepath.Join(d.canariesDir(), "b.json"), []wire.Canary{{Path: filepath.Join(dir, ".nanoclaw-canary-NEVER"), Data: "x"}}))
	must(t, os.WriteFile(filepath.Join(d.canariesDir(), "c.json"), []byte(`[{"pa`), 0o600))
	must(t, d.Close()) // it is gone, and nothing was removed

	d = i.open()
	defer d.Close()
	for p, want := range map[string]bool{planted[0].Path: false, planted[1].Path: true, planted[2].Path: false, stranger: true, link.Path: true} {
		if _, err := os.Lstat(p); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", p, err, want)
		}
	}
	lists, err := filepath.Glob(filepath.Join(d.canariesDir(), "*"))
	must(t, err)
	if len(lists) != 2 { // of those that hold something else
		t.Errorf("lists: %v", lists)
	}
	// A probe that is over leaves neither.
	if h := d.proven(t.Context(), ""); h.Off != "" {
		t.Fatal(h.Off)
	}
	if now, _ := filepath.Glob(filepath.Join(d.canariesDir(), "*")); len(now) != len(lists) {
		t.Errorf("after a probe: %v", now)
	}
}

// A home that each session has of its own, as /tmp, is not written to by the probe: it
// would find its own folder and take it for the owner's. The canary stays.
func TestProbeOfAHomeInTmp(t *testing.T) {
	d := newInstall(t, hostConfig).open()
	defer d.Close()
	d.machine.OwnerHome = t.TempDir()
	_, dirs, remove, err := d.plant()
	must(t, err)
	remove()
	if !slices.Contains(dirs, d.machine.OwnerHome) {
		t.Errorf("nobody tries to write into the home: %q", dirs)
	}
	d.machine.OwnerHome = "/tmp"
	canaries, dirs, remove, err := d.plant()
	must(t, err)
	defer remove()
	if slices.Contains(dirs, "/tmp") {
		t.Errorf("the probe is to write into %q", dirs)
	}
	if !slices.ContainsFunc(canaries, func(c wire.Canary) bool { return filepath.Dir(c.Path) == "/tmp" }) {
		t.Errorf("no canary is in the home: %v", canaries)
	}
}
