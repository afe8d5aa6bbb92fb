package install

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The pinned hashes are the ones of the tests' own installation, and whole.
func TestPins(t *testing.T) {
	data, err := os.ReadFile("../../tools/claude/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var locked struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal(data, &locked); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for platform, p := range pinned() {
		hash, ok := strings.CutPrefix(p.Integrity, "sha512-")
		if sum, err := base64.StdEncoding.DecodeString(hash); !ok || err != nil || len(sum) != sha512.Size || p.Version != Version {
			t.Errorf("%s: %+v is no pin", platform, p)
		}
		if l, ok := locked.Packages["node_modules/"+p.Name]; ok {
			compared++
			if l.Version != p.Version || l.Integrity != p.Integrity {
				t.Errorf("%s: pinned %s, the tests use %s %s", platform, p.Integrity, l.Version, l.Integrity)
			}
		}
	}
	if compared < 2 {
		t.Errorf("only %d pins compared", compared)
	}
	if p, err := Pinned(); err != nil || !strings.HasSuffix(p.file(), "-"+Version+".tgz") {
		t.Errorf("%v, %v", p, err)
	}
}

func TestRegistry(t *testing.T) {
	for _, tt := range []struct{ name, env, npmrc, want string }{
		{"nothing", "", "", public},
		{"the environment", "https://a.example/npm/", "registry=https://b.example", "https://a.example/npm"},
		{"a file", "", "; registry=https://no.example\n#registry=https://no.example\nfund=false\n registry = \"https://b.example/x/\"\n", "https://b.example/x"},
		{"the scope first", "", "@anthropic-ai:registry=https://c.example\nregistry=https://b.example\n", "https://c.example"},
		{"another scope", "", "@other:registry=https://c.example\n", public},
		{"a variable", "", "registry=https://${PLACE}/", "https://place.example"},
		{"no address", "here", "", ""},
		{"another scheme", "file:///etc", "", ""},
		{"no host", "https://", "", ""},
		{"a broken password", "https://joe:hunter2@b.example:x", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			if err := os.WriteFile(filepath.Join(home, ".npmrc"), []byte(tt.npmrc), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"npm_config_registry", "NPM_CONFIG_REGISTRY"} {
				u, err := Registry(func(n string) string { return map[string]string{name: tt.env, "PLACE": "place.example"}[n] }, home)
				if tt.want == "" {
					if err == nil || strings.Contains(err.Error(), "hunter2") {
						t.Errorf("%v, %v; want an error without the password", u, err)
					}
				} else if err != nil || u.String() != tt.want {
					t.Errorf("%v, %v; want %s", u, err, tt.want)
				}
			}
		})
	}
}

func TestFind(t *testing.T) {
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, text string, mode os.FileMode) string {
		t.Helper()
		name = filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	places := Places{Data: filepath.Join(home, "data"), Home: home,
		Path: "relative:" + filepath.Join(home, "script") + ":" + filepath.Join(home, "bin")}
	check := func(why string, want Program, newEnough bool) {
		t.Helper()
		got := Find(places)
		if (got.Missing == "") == (got.Path == "") || got.NewEnough() != newEnough {
			t.Errorf("%s: %+v, new enough: %v", why, got, got.NewEnough())
		}
		got.Missing = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", why, diff)
		}
	}
	onPath := func(target string) {
		link := filepath.Join(home, "bin", "claude")
		os.MkdirAll(filepath.Dir(link), 0o755)
		os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	put("script/claude", "#!/bin/sh\n", 0o755)
	check("a script only", Program{}, false)
	older := put("share/claude/versions/2.0.1", program, 0o755)
	onPath(older)
	check("on the PATH", Program{Path: older, Source: FromPath, Version: "2.0.1"}, false)
	newer := put("share/claude/versions/99.0.0", program, 0o755)
	onPath(newer)
	check("a newer one", Program{Path: newer, Source: FromPath, Version: "99.0.0"}, true)
	ours := put("data/agents/claude", program, 0o755)
	check("ours, of an unknown version", Program{Path: ours, Source: FromUs}, false)
	put("data/agents/claude.json", fmt.Sprintf(`{"version":%q,"size":%d}`, Version, len(program)), 0o644)
	check("ours", Program{Path: ours, Source: FromUs, Version: Version}, true)
	put("data/agents/claude.json", fmt.Sprintf(`{"version":%q,"size":1}`, Version), 0o644)
	check("ours, with the record of another", Program{Path: ours, Source: FromUs}, false)
	named := put("named", program, 0o755)
	places.Configured = "~/named"
	check("configured", Program{Path: named, Source: FromConfig}, false)
	os.Chmod(named, 0o644)
	check("configured and not executable", Program{}, false)
}
