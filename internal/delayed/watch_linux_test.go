package delayed

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Whatever takes a held name away on this machine is noticed; what happens beside
// it is not, and neither is a flood of it.
func TestWatch(t *testing.T) {
	const config = ".git/config"
	tests := map[string]func(t *testing.T, dir string){
		"replaced": func(t *testing.T, dir string) {
			grow(t, dir, ".git/config.lock")
			must(t, os.Rename(filepath.Join(dir, ".git/config.lock"), filepath.Join(dir, config)))
		},
		"removed": func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, config))) },
		"moved": func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, config), filepath.Join(dir, "x")))
		},
		"moved with the folder above": func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, ".git"), filepath.Join(dir, "x")))
		},
		"replaced after a flood": func(t *testing.T, dir string) {
			for i := range 20_000 { // more than the kernel's queue holds
				must(t, os.WriteFile(filepath.Join(dir, ".git", fmt.Sprint(i)), nil, 0o644))
			}
			must(t, os.Remove(filepath.Join(dir, config)))
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, ".git/HEAD", config)
			holds, err := scanOf(t, dir, Before).Holds()
			must(t, err)
			lost := make(chan Held, 1)
			stop, err := Watch(open(t, dir), holds, func(h Held) { lost <- h })
			must(t, err)
			defer stop()
			grow(t, dir, ".git/index", "src/a", "sub/config")
			must(t, os.WriteFile(filepath.Join(dir, config), []byte("in place"), 0o644))
			select {
			case h := <-lost:
				t.Fatalf("%s counts as lost before anything was", h.Path)
			default:
			}
			do(t, dir)
			if h := <-lost; h.Path != config && h.Path != ".git" {
				t.Errorf("lost is %s", h.Path)
			}
		})
	}
	t.Run("before the watch", func(t *testing.T) {
		dir := tree(t, config)
		holds, err := scanOf(t, dir, Before).Holds()
		must(t, err)
		tests["replaced"](t, dir)
		if _, err := Watch(open(t, dir), holds, func(Held) {}); err == nil {
			t.Error("it was not noticed")
		}
	})
	t.Run("stopped", func(t *testing.T) {
		dir := tree(t, config)
		holds, err := scanOf(t, dir, Before).Holds()
		must(t, err)
		stop, err := Watch(open(t, dir), holds, func(h Held) { t.Errorf("%s after the stop", h.Path) })
		must(t, err)
		stop()
		tests["removed"](t, dir)
	})
}
