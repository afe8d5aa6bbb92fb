package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLocate(t *testing.T) {
	tests := []struct {
		name string
		uid  int
		env  map[string]string
		want Paths
		err  string
	}{
		{"user", 1000, map[string]string{"HOME": "/home/a"},
			pathsAt("/home/a/.config/nanoclaw", "/home/a/.local/share/nanoclaw", "/home/a/.local/share/nanoclaw/run", "/home/a/.local/state/nanoclaw"), ""},
		{"user with XDG", 1000, map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "/s"},
			pathsAt("/c/nanoclaw", "/d/nanoclaw", "/run/user/1000/nanoclaw", "/s/nanoclaw"), ""},
		{"relative XDG does not count", 1000, map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "c", "XDG_DATA_HOME": "./d", "XDG_RUNTIME_DIR": "r"},
			pathsAt("/home/a/.config/nanoclaw", "/home/a/.local/share/nanoclaw", "/home/a/.local/share/nanoclaw/run", "/home/a/.local/state/nanoclaw"), ""},
		{"XDG without home", 1000, map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"},
			pathsAt("/c/nanoclaw", "/d/nanoclaw", "/d/nanoclaw/run", "/d/nanoclaw-key"), ""},
		{"no home", 1000, nil, Paths{}, "HOME is not set"},
		{"relative home", 1000, map[string]string{"HOME": "a"}, Paths{}, "HOME is not set to an absolute path"},
		{"root", 0, map[string]string{"HOME": "/root", "XDG_CONFIG_HOME": "/c"},
			pathsAt("/etc/nanoclaw", "/var/lib/nanoclaw", "/run/nanoclaw", "/var/lib/nanoclaw-key"), ""},
		{"one folder", 0, map[string]string{"NANOCLAW_HOME": "/n/../m"}, pathsAt("/m/config", "/m/data", "/m/run", "/m/key"), ""},
		{"one folder for a user", 1000, map[string]string{"NANOCLAW_HOME": "/n", "HOME": "/home/a"}, pathsAt("/n/config", "/n/data", "/n/run", "/n/key"), ""},
		{"relative folder", 0, map[string]string{"NANOCLAW_HOME": "my n"}, Paths{},
			"NANOCLAW_HOME is \"my n\", which is not an absolute path\nfix: export NANOCLAW_HOME=\"$(realpath 'my n')\""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Locate(Options{Getenv: fakeEnv(test.env), UID: test.uid})
			wantError(t, err, test.err)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			if err == nil && got.Config != got.ConfigDir+"/config.jsonc" {
				t.Errorf("file %s", got.Config)
			}
		})
	}
}

func TestEnsureDirs(t *testing.T) {
	base := filepath.Dir(newFile(t))
	p := pathsAt(filepath.Join(base, "a", "b"), filepath.Join(base, "d"), filepath.Join(base, "d", "run"), filepath.Join(base, "k"))
	must(t, os.Mkdir(p.DataDir, 0o755))
	must(t, os.Chmod(p.DataDir, 0o755))
	for range 2 {
		must(t, p.EnsureDirs())
		for _, dir := range []string{p.ConfigDir, filepath.Dir(p.ConfigDir), p.DataDir, p.RuntimeDir} {
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", dir, info.Mode(), err)
			}
		}
	}

	must(t, os.Remove(p.RuntimeDir))
	must(t, os.WriteFile(p.RuntimeDir, nil, 0o600))
	wantError(t, p.EnsureDirs(), p.RuntimeDir+" is not a folder")
	must(t, os.Chmod(filepath.Dir(p.ConfigDir), 0o777))
	wantError(t, p.EnsureDirs(), "fix: chmod o-w "+filepath.Dir(p.ConfigDir))
}

// A folder of somebody else is refused even where we could write to it.
func TestEnsureDirsOfStrangers(t *testing.T) {
	base := filepath.Dir(newFile(t))
	err := pathsAt(base, base, base, base).ensure(stranger)
	wantError(t, err, "belongs to uid")
}
