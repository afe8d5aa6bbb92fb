package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"aead.dev/minisign"
	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/xeipuuv/gojsonschema"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const testVersion = "v1.2.0-rc.1"

var host = platform{"linux", runtime.GOARCH}

// packed makes what is made of a program. Building one twice from nothing is "make
// reproduce".
func packed(t *testing.T, file string, texts func(*release) (map[string][]byte, error)) *release {
	t.Helper()
	r := &release{tree: "../..", out: t.TempDir(), version: testVersion, epoch: time.Unix(1.7e9, 0).UTC(), platforms: []platform{host}}
	program, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(r.program(host), program, 0o755))
	completions, err := texts(r)
	must(t, err)
	must(t, r.pack(host, completions))
	must(t, writeSums(r.out))
	return r
}

// shared is one for all tests that only read it.
var shared *release

func once(t *testing.T) *release {
	t.Helper()
	if shared == nil {
		kept := packed(t, "../../bin/nanoclaw", (*release).completions)
		dir, err := os.MkdirTemp("", "nanoclaw-release-test-")
		must(t, err)
		must(t, os.RemoveAll(dir))
		must(t, os.Rename(kept.out, dir))
		kept.out = dir
		shared = kept
	}
	return shared
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		os.RemoveAll(shared.out)
	}
	os.Exit(code)
}

// Neither the folder, nor the umask, nor the clock, nor the zone is in what is packed.
func TestPackedTwiceIsTheSame(t *testing.T) {
	small := filepath.Join(t.TempDir(), "program")
	must(t, (&release{tree: "../.."}).buildInit(host, small))
	pack := func() []byte {
		r := packed(t, small, func(*release) (map[string][]byte, error) { return map[string][]byte{"bash": []byte("complete")}, nil })
		sums, err := os.ReadFile(filepath.Join(r.out, sumsName))
		must(t, err)
		return sums
	}
	first := pack()
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TZ", "Pacific/Kiritimati")
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	defer syscall.Umask(syscall.Umask(0o077))
	second := pack()
	if !bytes.Equal(first, second) {
		t.Errorf("packed twice, it differs:\n%s\n%s", first, second)
	}
	if n := strings.Count(string(first), "\n"); n != 5 {
		t.Errorf("%d files are listed, want 5:\n%s", n, first)
	}
}

// A program is the same whatever folder it is built in, and with whichever cache.
func TestBuiltTwiceIsTheSame(t *testing.T) {
	var programs [][]byte
	for _, env := range [][]string{nil, {"GOCACHE=" + t.TempDir()}} {
		dir := t.TempDir()
		for name, text := range map[string]string{"go.mod": "module nanoclaw\n\ngo 1.26.0\n", "cmd/nanoclaw-init/main.go": "package main\n\nfunc main() { panic(\"of a line\") }\n"} {
			must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		}
		r := release{tree: dir, env: env}
		must(t, r.goBuild(host, macInit, filepath.Join(dir, "out"), "./cmd/nanoclaw-init"))
		data, err := os.ReadFile(filepath.Join(dir, "out"))
		must(t, err)
		if bytes.Contains(data, []byte(dir)) {
			t.Error("the folder is in the program")
		}
		programs = append(programs, data)
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Error("built twice, it differs")
	}
}

func TestArchive(t *testing.T) {
	r := once(t)
	f, err := os.Open(filepath.Join(r.out, r.name(host, ".tar.gz")))
	must(t, err)
	defer f.Close()
	gz, err := gzip.NewReader(f)
	must(t, err)
	got := map[string]int64{}
	for in := tar.NewReader(gz); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if h.Uid != 0 || !h.ModTime.Equal(r.epoch) || !strings.HasPrefix(h.Name, r.name(host, "")+"/") {
			t.Errorf("%s is of uid %d and time %v", h.Name, h.Uid, h.ModTime)
		}
		got[strings.TrimPrefix(h.Name, r.name(host, "")+"/")] = h.Mode
	}
	for name, mode := range map[string]int64{"nanoclaw": 0o755, "LICENSE": 0o644, "NOTICE": 0o644, "README.md": 0o644, "docs/releases.md": 0o644,
		"completions/nanoclaw.bash": 0o644, "completions/nanoclaw.zsh": 0o644, "completions/nanoclaw.fish": 0o644, "man/nanoclaw.1": 0o644} {
		if got[name] != mode {
			t.Errorf("%s has mode %o, want %o", name, got[name], mode)
		}
	}
}

// The list is as CycloneDX's own schema wants it, names what the program says it
// links, and a licence for each.
func TestPartsList(t *testing.T) {
	r := once(t)
	data, err := os.ReadFile(filepath.Join(r.out, r.name(host, ".cdx.json")))
	must(t, err)
	var raw map[string]any
	must(t, json.Unmarshal(data, &raw))
	if raw["bomFormat"] != "CycloneDX" || raw["specVersion"] != "1.6" || raw["version"] != 1.0 {
		t.Errorf("it is %v %v %v", raw["bomFormat"], raw["specVersion"], raw["version"])
	}
	module, err := output("..", nil, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go")
	must(t, err)
	schemas := gojsonschema.NewSchemaLoader()
	file := func(name string) gojsonschema.JSONLoader {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(module)), "schema", name))
		must(t, err)
		return gojsonschema.NewBytesLoader(text)
	}
	// What the schema refers to is in the same folder; nothing is fetched.
	must(t, schemas.AddSchema("http://cyclonedx.org/schema/jsf-0.82.schema.json", file("jsf-0.82.schemax.json")))
	must(t, schemas.AddSchema("http://cyclonedx.org/schema/spdx.schema.json", file("spdx.schema.json")))
	schema, err := schemas.Compile(file("bom-1.6.schema.json"))
	must(t, err)
	result, err := schema.Validate(gojsonschema.NewBytesLoader(data))
	must(t, err)
	for _, problem := range result.Errors() {
		t.Errorf("against the schema of CycloneDX: %s", problem)
	}
	var bom cdx.BOM
	must(t, cdx.NewBOMDecoder(bytes.NewReader(data), cdx.BOMFileFormatJSON).Decode(&bom))
	names, refs := map[string]bool{}, map[string]bool{}
	for _, c := range *bom.Components {
		if c.Type == "" || c.Name == "" || c.Version == "" || c.Licenses == nil || !strings.HasPrefix(c.PackageURL, "pkg:golang/") || refs[c.BOMRef] {
			t.Errorf("a part lacks something or is there twice: %+v", c)
		}
		names[c.Name], refs[c.BOMRef] = true, true
	}
	for _, want := range []string{"stdlib", "modernc.org/sqlite", "github.com/spf13/cobra", "golang.org/x/sys"} {
		if !names[want] {
			t.Errorf("%s is not in it", want)
		}
	}
	if names["github.com/CycloneDX/cyclonedx-go"] || names["honnef.co/go/tools"] {
		t.Error("the program links what makes the release")
	}
	main := bom.Metadata.Component
	refs[main.BOMRef] = true
	inits := *main.Components
	if len(inits) != 1 || !strings.HasPrefix(inits[0].Name, "nanoclaw-init-linux-") {
		t.Errorf("embedded are %+v", inits)
	}
	refs[inits[0].BOMRef] = true
	for _, d := range *bom.Dependencies {
		for _, on := range append([]string{d.Ref}, values(d.Dependencies)...) {
			if !refs[on] {
				t.Errorf("%s is named and not listed", on)
			}
		}
	}
}

func values(p *[]string) []string {
	if p == nil {
		return nil
	}
	return *p
}

func TestLicencesOf(t *testing.T) {
	got := licencesOf("head\n\na.b/c v1.0.0\n  MIT (text 1)\n  Copyright x\n\na.b/d v0.1.0\n  BSD-3-Clause, Public-Domain (text 2) (text 3)\n")
	if want := map[string]string{"a.b/c v1.0.0": "MIT", "a.b/d v0.1.0": "BSD-3-Clause AND LicenseRef-Public-Domain"}; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestVersions(t *testing.T) {
	for v, ok := range map[string]bool{"v1.2.0": true, "v1.2.0-rc.1": true, "v0.0.0-20261123070000-0123456789ab": true, "v1.2": false, "1.2.0": false, "v1.2.0+x": false, "": false, "v1.2.0/x": false} {
		if err := checkVersion(v); (err == nil) != ok {
			t.Errorf("%q: %v", v, err)
		}
	}
	for v, want := range map[string]string{"v1.2.0": "1.2.0", "v1.2.0-rc.1": "1.2.0~rc.1", "v0.0.0-20261123070000-0123456789ab": "0.0.0~20261123070000-0123456789ab"} {
		if got := debianVersion(v); got != want {
			t.Errorf("%s is %s in Debian, want %s", v, got, want)
		}
	}
}

// A commit with a tag has its version, another one that sorts before all tags.
func TestCommit(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		_, err := output(dir, []string{"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000"},
			"git", append([]string{"-c", "user.name=n", "-c", "user.email=n@example.org"}, args...)...)
		must(t, err)
	}
	run("init", "-q")
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("committed"), 0o644))
	run("add", "file")
	run("commit", "-qm", "first")
	epoch, version, err := commit(dir)
	if err != nil || epoch.Unix() != 1.7e9 || !strings.HasPrefix(version, "v0.0.0-20231114221320-") || checkVersion(version) != nil {
		t.Errorf("%v %q %v", epoch, version, err)
	}
	run("tag", "v1.4.0")
	if _, version, err := commit(dir); err != nil || version != "v1.4.0" {
		t.Errorf("with a tag: %q %v", version, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	if epoch, _, err := commit(dir); err != nil || epoch.Unix() != 86400 {
		t.Errorf("SOURCE_DATE_EPOCH: %v %v", epoch, err)
	}
	// What is not committed is not in a release.
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("changed"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "other"), []byte("secret"), 0o644))
	to := t.TempDir()
	must(t, export(dir, to))
	text, err := os.ReadFile(filepath.Join(to, "file"))
	entries, _ := os.ReadDir(to)
	if err != nil || string(text) != "committed" || len(entries) != 1 {
		t.Errorf("exported are %q and %d files, %v", text, len(entries), err)
	}
}

// secret writes a new key of minisign, and gives its file and its public half.
func secret(t *testing.T) (file string, public minisign.PublicKey) {
	t.Helper()
	public, key, err := minisign.GenerateKey(nil)
	must(t, err)
	text, err := key.MarshalText()
	must(t, err)
	file = filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(file, text, 0o600))
	return file, public
}

// The signature holds for minisign itself, and for sha256sum each file, until a byte is
// another one.
func TestSumsAreSigned(t *testing.T) {
	r := once(t)
	file, public := secret(t)
	t.Setenv("NANOCLAW_RELEASE_KEY", file)
	half, sign, err := signer("../..", r.out, testVersion)
	if err != nil || half != public.String() {
		t.Fatalf("%s, %v", half, err)
	}
	sums, err := os.ReadFile(filepath.Join(r.out, sumsName))
	must(t, err)
	must(t, sign(sums))
	check := func(args ...string) error {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = r.out
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %v\n%s", args[0], err, out)
		if err == nil && args[0] == "minisign" && !strings.Contains(string(out), "nanoclaw "+testVersion) {
			t.Error("the signed comment does not name the version")
		}
		return err
	}
	verify := []string{"minisign", "-V", "-P", half, "-m", sumsName}
	must(t, check(verify...))
	must(t, check("sha256sum", "--check", "--strict", "--quiet", sumsName))
	defer os.WriteFile(filepath.Join(r.out, sumsName), sums, 0o644)
	changed := bytes.Clone(sums)
	changed[7] ^= 1
	must(t, os.WriteFile(filepath.Join(r.out, sumsName), changed, 0o644))
	if check(verify...) == nil || check("sha256sum", "--check", "--strict", "--quiet", sumsName) == nil {
		t.Error("a changed list is taken")
	}
}

// A key that could be published by mistake is not used, and one that minisign made is.
func TestKeys(t *testing.T) {
	file, public := secret(t)
	source, out := t.TempDir(), t.TempDir()
	inside := filepath.Join(source, "deep", "key")
	must(t, os.MkdirAll(filepath.Dir(inside), 0o700))
	data, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(inside, data, 0o600))
	open := filepath.Join(t.TempDir(), "open")
	must(t, os.WriteFile(open, data, 0o644))
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(inside, link))
	theirs := filepath.Join(t.TempDir(), "theirs")
	if text, err := exec.Command("minisign", "-G", "-W", "-p", theirs+".pub", "-s", theirs).CombinedOutput(); err != nil {
		t.Fatalf("minisign -G: %v\n%s", err, text)
	}
	must(t, os.Chmod(theirs, 0o600))
	// To try a password takes seconds, by intention. One that asks for more than is
	// sensible is refused at once.
	_, line, _ := strings.Cut(string(data), "\n")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	must(t, err)
	copy(raw[2:], "Sc")
	copy(raw[38:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	locked := filepath.Join(t.TempDir(), "locked")
	must(t, os.WriteFile(locked, []byte("untrusted comment: locked\n"+base64.StdEncoding.EncodeToString(raw)+"\n"), 0o600))
	tests := []struct{ name, file, password, public, want string }{
		{"a key", file, "", "", ""},
		{"none", "", "", "", "NANOCLAW_RELEASE_KEY"},
		{"one that others can read", open, "", "", "chmod 600"},
		{"one in the repository", inside, "", "", "keep the key elsewhere"},
		{"one in the repository by a link", link, "", "", "keep the key elsewhere"},
		{"another than the one that is known", file, "", "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", "is another"},
		{"the one that is known", file, "", public.String(), ""},
		{"one of minisign", theirs, "", "", ""},
		{"one whose password is another", locked, "x", "", "is not its password"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NANOCLAW_RELEASE_KEY", tt.file)
			t.Setenv("NANOCLAW_RELEASE_PASSWORD", tt.password)
			t.Setenv("NANOCLAW_RELEASE_PUBLIC", tt.public)
			_, _, err := signer(source, out, testVersion)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestInsideOf(t *testing.T) {
	if got := insideOf(platform{"darwin", "arm64"}); !slices.Equal(got, []platform{{"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}}) {
		t.Errorf("in a program for a Mac are %v", got)
	}
}
