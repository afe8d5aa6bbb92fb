package upgrade

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"aead.dev/minisign"

	"nanoclaw/internal/upgrade/upgradetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var platform = "_" + runtime.GOOS + "_" + runtime.GOARCH

func TestMain(m *testing.M) {
	if step := os.Getenv(killAt); step != "" {
		os.Exit(killedUpgrade(step))
	}
	if dir := os.Getenv(fullDisk); dir != "" {
		os.Exit(onFullDisk(dir))
	}
	os.Exit(m.Run())
}

// built is the good program, of version v1.2.0. It is built once.
var built []byte

func program(t *testing.T) []byte {
	t.Helper()
	if built == nil {
		built = upgradetest.Build(t, upgradetest.Program{Version: "v1.2.0"})
	}
	return built
}

// release writes one with the good program, and gives its folder and key.
func release(t *testing.T) (dir string, public minisign.PublicKey, private minisign.PrivateKey) {
	t.Helper()
	public, private = upgradetest.Key(t)
	p := program(t)
	return upgradetest.Write(t, private, map[string][]byte{
		"nanoclaw_v1.2.0" + platform:             p,
		"nanoclaw_v1.2.0" + platform + ".tar.gz": upgradetest.Archive(t, p),
		"nanoclaw_1.2.0_amd64.deb":               []byte("a package"),
		"nanoclaw_v1.4.0" + platform:             upgradetest.Other(append([]byte("\x7fELF"), p...)),
		"nanoclaw_v1.5.0" + platform:             upgradetest.Other(p),
		"nanoclaw_v1.6.0" + platform + ".tar.gz": upgradetest.Archive(t, nil)[:20],
	}), public, private
}

func TestOpen(t *testing.T) {
	dir, key, _ := release(t)
	// The name of the file says nothing: what was signed under that sum does.
	must(t, os.Rename(filepath.Join(dir, "nanoclaw_v1.2.0"+platform), filepath.Join(dir, "download (3)")))
	for _, name := range []string{"download (3)", "nanoclaw_v1.2.0" + platform + ".tar.gz"} {
		o, err := Open(filepath.Join(dir, name), key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if o.Version != "v1.2.0" || o.System != runtime.GOOS || o.Arch != runtime.GOARCH || !bytes.Equal(o.program, program(t)) {
			t.Errorf("%s: %s for %s/%s, %d bytes", name, o.Version, o.System, o.Arch, len(o.program))
		}
	}
}

// Each is what somebody could do to a download. Nothing of it is taken.
func TestOpenRefuses(t *testing.T) {
	flip := func(name string, at int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			data[(at+len(data))%len(data)] ^= 1
			must(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
		}
	}
	archive := "nanoclaw_v1.2.0" + platform + ".tar.gz"
	_, stranger := upgradetest.Key(t)
	tests := []struct {
		name, file string
		attack     func(t *testing.T, dir string)
		want       string
		unsigned   bool
	}{
		{"a flipped byte of the archive", archive, flip(archive, 5000), "no line of the signed list", true},
		{"a flipped byte at its end", archive, flip(archive, -1), "no line of the signed list", true},
		{"a flipped byte of the list", archive, flip(SumsName, 3), "changed after it was signed", true},
		{"a flipped byte of the signature", archive, flip(SignatureName, -4), "", true},
		{"a truncated file", archive, func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, archive), 9000)) }, "no line of the signed list", true},
		{"an empty file", archive, func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, archive), 0)) }, "no line of the signed list", true},
		{"signed with another key", archive, func(t *testing.T, dir string) {
			other := upgradetest.Write(t, stranger, map[string][]byte{archive: upgradetest.Archive(t, program(t))})
			must(t, os.Rename(other, dir+".other"))
			must(t, os.RemoveAll(dir))
			must(t, os.Rename(dir+".other", dir))
		}, "this program knows", true},
		{"a signature of something else", archive, func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, SumsName), []byte("0  "+archive+"\n"), 0o644))
		}, "changed after it was signed", true},
		{"no signature", archive, func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, SignatureName))) }, "beside the file", false},
		{"no list", archive, func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, SumsName))) }, "beside the file", false},
		{"a folder for a file", archive, func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, archive)))
			must(t, os.Mkdir(filepath.Join(dir, archive), 0o755))
		}, "is not a file", false},
		{"a package", "nanoclaw_1.2.0_amd64.deb", nil, "no program", false},
		{"no program of Go, signed by mistake", "nanoclaw_v1.4.0" + platform, nil, "", false},
		{"a program of another architecture, signed as ours", "nanoclaw_v1.5.0" + platform, nil, "mips9", false},
		{"half an archive, signed", "nanoclaw_v1.6.0" + platform + ".tar.gz", nil, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, key, _ := release(t)
			if tt.attack != nil {
				tt.attack(t, dir)
			}
			o, err := Open(filepath.Join(dir, tt.file), key)
			if err == nil || o != nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrNotSigned) != tt.unsigned {
				t.Errorf("Open = %v, %v; want %q", o, err, tt.want)
			}
		})
	}
}

func TestReplaces(t *testing.T) {
	tests := []struct {
		name string
		have Have
		want string // "" for yes
	}{
		{"a newer one", Have{Version: "v1.1.9", System: "linux", Arch: "amd64"}, ""},
		{"a release after its candidates", Have{Version: "v1.2.0-rc.3", System: "linux", Arch: "amd64"}, ""},
		{"one after what no tag was given", Have{Version: "v0.0.0-20261123070000-0123456789ab", System: "linux", Arch: "amd64"}, ""},
		{"an older one", Have{Version: "v1.10.0", System: "linux", Arch: "amd64"}, "is older than v1.10.0"},
		{"the same", Have{Version: "v1.2.0", System: "linux", Arch: "amd64"}, ErrSame.Error()},
		{"another system", Have{Version: "v1.0.0", System: "darwin", Arch: "amd64"}, "this machine is darwin/amd64\nfix: take the file for darwin_amd64"},
		{"another architecture", Have{Version: "v1.0.0", System: "linux", Arch: "arm64"}, "this machine is linux/arm64"},
		{"an own build", Have{Version: "4b6ebab-dirty", System: "linux", Arch: "amd64"}, "--from-own-build"},
		{"an own build, said so", Have{Version: "4b6ebab", System: "linux", Arch: "amd64", OwnBuild: true}, ""},
		{"a release, said to be an own build", Have{Version: "v2.0.0", System: "linux", Arch: "amd64", OwnBuild: true}, "is older"},
		{"an own build for another machine", Have{Version: "unknown", System: "linux", Arch: "arm64", OwnBuild: true}, "this machine is"},
	}
	o := &Offer{Name: "nanoclaw_v1.2.0_linux_amd64", Version: "v1.2.0", System: "linux", Arch: "amd64"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := o.Replaces(tt.have)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Replaces = %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzFind(f *testing.F) {
	content := []byte("content")
	const sum = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
	f.Add(sum + "  nanoclaw_v1.2.0_linux_amd64\n")
	f.Add(sum + " *nanoclaw_v1.2.0_linux_amd64.tar.gz\r\n")
	f.Add(sum + "  ../../nanoclaw_v1.2.0_linux_amd64\n")
	f.Add(sum + "  nanoclaw_v1_linux_amd64\n" + sum + "  nanoclaw_v2_linux_amd64\n")
	f.Fuzz(func(t *testing.T, sums string) {
		o, err := find([]byte(sums), content)
		if (o == nil) == (err == nil) {
			t.Fatal("neither an offer nor an error, or both")
		}
		if err == nil && (strings.ContainsAny(o.Name, "/\\\n ") || o.Version == "" || o.System == "" || o.Arch == "" || strings.Count(sums, sum) < 1) {
			t.Errorf("%q gives %+v", sums, o)
		}
	})
}
