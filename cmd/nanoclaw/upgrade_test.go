package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"nanoclaw/internal/upgrade/upgradetest"
)

// tinyReleases writes what the script about upgrades needs, and gives the folder: a
// program to replace, a public key, and a folder for each release.
func tinyReleases(t *testing.T) string {
	t.Helper()
	public, private := upgradetest.Key(t)
	_, stranger := upgradetest.Key(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key, err := public.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	former := upgradetest.Build(t, upgradetest.Program{Version: "v1.0.0"})
	for name, data := range map[string][]byte{"nanoclaw": former, "key.pub": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	name := func(version, arch string) string { return "nanoclaw_" + version + "_" + runtime.GOOS + "_" + arch }
	next := upgradetest.Build(t, upgradetest.Program{Version: "v1.1.0"})
	archive := upgradetest.Archive(t, next)
	for release, of := range map[string]struct {
		key   bool
		files map[string][]byte
	}{
		"good":     {true, map[string][]byte{name("v1.1.0", runtime.GOARCH): next, name("v1.1.0", runtime.GOARCH) + ".tar.gz": archive}},
		"stranger": {false, map[string][]byte{name("v1.1.0", runtime.GOARCH) + ".tar.gz": archive}},
		"old":      {true, map[string][]byte{name("v0.9.0", runtime.GOARCH): upgradetest.Build(t, upgradetest.Program{Version: "v0.9.0"})}},
		"other":    {true, map[string][]byte{name("v1.1.0", "mips9"): upgradetest.Other(next)}},
		"liar":     {true, map[string][]byte{name("v1.4.0", runtime.GOARCH): next}},
		"sick":     {true, map[string][]byte{name("v1.2.0", runtime.GOARCH): upgradetest.Build(t, upgradetest.Program{Version: "v1.2.0", Fails: "landlock"})}},
		"broken":   {true, map[string][]byte{name("v1.3.0", runtime.GOARCH): upgradetest.Build(t, upgradetest.Program{Version: "v1.3.0", Broken: true})}},
	} {
		signer := private
		if !of.key {
			signer = stranger
		}
		if err := os.Rename(upgradetest.Write(t, signer, of.files), filepath.Join(dir, release)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
