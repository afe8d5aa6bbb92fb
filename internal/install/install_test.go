package install

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// program is what stands for Claude Code here.
const program = "\x7fELF and the rest"

// entry is one member of an archive, with its content.
type entry struct {
	tar.Header
	text string
}

// regular is a regular file in an archive.
func regular(name, text string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(text))}, text}
}

// special is anything else in an archive.
func special(kind byte, name, to string) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o777}, ""}
}

func pack(t *testing.T, members ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range members {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func good(t *testing.T) []byte {
	return pack(t, regular("package/package.json", "{}"), regular("package/claude", program), regular("package/LICENSE.md", "its own"))
}

// pin is the package that an archive is.
func pin(data []byte) Package {
	sum := sha512.Sum512(data)
	return Package{"@anthropic-ai/claude-code-test", Version, "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}
}

// registry serves the archive where a registry below /npm/ has it.
func registry(t *testing.T, serve http.HandlerFunc) *url.URL {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /npm/@anthropic-ai/claude-code-test/-/claude-code-test-"+Version+".tgz", serve)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	u, err := parseRegistry(s.URL+"/npm/", "the test")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func serving(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
}

// world is a folder to install to, a registry and the pin of data.
func world(t *testing.T, data []byte, serve http.HandlerFunc) Options {
	t.Helper()
	return Options{
		Package: pin(data), Registry: registry(t, serve), Dir: filepath.Join(t.TempDir(), "agents"),
		Getenv: func(string) string { return "" }, Say: func(string) {},
		limits: limits{archive: 1 << 20, program: 1 << 16, stall: time.Minute},
	}
}

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestInstall(t *testing.T) {
	data := good(t)
	served := 0
	o := world(t, data, func(w http.ResponseWriter, r *http.Request) { served++; w.Write(data) })
	path, fetched, err := Install(t.Context(), o)
	if err != nil || !fetched {
		t.Fatalf("fetched %v, %v", fetched, err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != program {
		t.Errorf("the program is %q, %v", got, err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o755 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if diff := cmp.Diff([]string{"claude", "claude.json", "lock"}, names(t, o.Dir)); diff != "" {
		t.Error(diff)
	}
	if v := VersionOf(os.DirFS("/"), path); v != Version {
		t.Errorf("version %q", v)
	}
	again := func(why string, force, want bool) {
		t.Helper()
		o.Force = force
		before := served
		if _, fetched, err := Install(t.Context(), o); err != nil || fetched != want || (served > before) != want {
			t.Errorf("%s: fetched %v (%d times), %v", why, fetched, served-before, err)
		}
		if got, _ := os.ReadFile(path); string(got) != program {
			t.Errorf("%s: the program is %q", why, got)
		}
	}
	again("it is there", false, false)
	again("by force", true, true)
	os.WriteFile(path, []byte(strings.ToUpper(program)), 0o755) // of the same size
	again("somebody changed it", false, true)
	os.Chmod(path, 0o777)
	again("others may write it", false, true)
	os.Remove(path)
	os.Symlink("/bin/sh", path)
	again("it is a link", false, true)
	os.WriteFile(filepath.Join(o.Dir, ".archive1"), nil, 0o600)
	os.Remove(filepath.Join(o.Dir, recordName))
	again("an attempt was killed before its end", false, true)
	if left := names(t, o.Dir); len(left) != 3 {
		t.Errorf("left behind: %v", left)
	}
}

// offer is what a registry serves, and what is pinned.
type offer func(*testing.T) (pinned []byte, serve http.HandlerFunc)

// pinnedAs is an archive that comes as it was pinned.
func pinnedAs(members ...entry) offer {
	return func(t *testing.T) ([]byte, http.HandlerFunc) {
		data := pack(t, members...)
		return data, serving(data)
	}
}

// answering is a registry that does something else than serve the good archive.
func answering(f http.HandlerFunc) offer {
	return func(t *testing.T) ([]byte, http.HandlerFunc) { return good(t), f }
}

// A failed attempt leaves the program of before, and nothing else.
func TestFailuresLeaveWhatWasThere(t *testing.T) {
	p := regular("package/claude", program)
	tests := []struct {
		name string
		make offer
		want string
	}{
		{"another archive", answering(func(w http.ResponseWriter, _ *http.Request) {
			w.Write(pack(t, regular("package/claude", "\x7fELF of somebody else")))
		}), "the archive is not the one that we know"},
		{"one byte more", answering(func(w http.ResponseWriter, _ *http.Request) { w.Write(append(good(t), 0)) }), "is not the one that we know"},
		{"broken off", answering(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("short"))
		}), "broke off after 5 bytes of 1000"},
		{"broken off without a length", answering(func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("short"))
			w.(http.Flusher).Flush()
		}), "is not the one that we know"},
		{"announced too large", answering(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1048577") }), "larger than 1048576 bytes"},
		{"too large without a word", answering(func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				w.Write(make([]byte, 1<<19))
				w.(http.Flusher).Flush()
			}
		}), "larger than 1048576 bytes"},
		{"not there", answering(http.NotFound), "404 Not Found"},
		{"led in a circle", answering(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }), "redirects"},

		{"no archive at all", func(*testing.T) ([]byte, http.HandlerFunc) { return []byte("text"), serving([]byte("text")) }, "no gzip file"},
		{"half an archive", func(t *testing.T) ([]byte, http.HandlerFunc) { return good(t)[:60], serving(good(t)[:60]) }, "is broken"},
		{"no program", pinnedAs(regular("package/README.md", "x")), "has no package/claude"},
		{"the program twice", pinnedAs(p, p), "twice"},
		{"a symbolic link as the program", pinnedAs(special(tar.TypeSymlink, "package/claude", "/bin/sh")), "not a regular file"},
		{"a hard link as the program", pinnedAs(special(tar.TypeLink, "package/claude", "../../claude")), "not a regular file"},
		{"a link beside it", pinnedAs(p, special(tar.TypeSymlink, "package/x", "/etc")), "not a regular file"},
		{"a folder", pinnedAs(special(tar.TypeDir, "package/bin/", "")), "not a regular file"},
		{"a device", pinnedAs(special(tar.TypeChar, "package/claude", "")), "not a regular file"},
		{"a pipe", pinnedAs(special(tar.TypeFifo, "package/claude", "")), "not a regular file"},
		{"upwards", pinnedAs(regular("package/../claude", program)), "not directly in package/"},
		{"far upwards", pinnedAs(p, regular("../../../../tmp/claude", program)), "not directly in package/"},
		{"absolute", pinnedAs(regular("/package/claude", program)), "not directly in package/"},
		{"deeper", pinnedAs(p, regular("package/bin/claude", program)), "not directly in package/"},
		{"upwards the other way", pinnedAs(p, regular(`package/..\claude`, program)), "not directly in package/"},
		{"another name for it", pinnedAs(regular("package/./claude", program)), "not directly in package/"},
		{"a program too large", pinnedAs(regular("package/claude", strings.Repeat("x", 1<<16+1))), "larger than 65536 bytes"},
		{"much that packs small", pinnedAs(regular("package/zeros", strings.Repeat("\x00", slack+1<<17)), p), "unpacks to more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, serve := tt.make(t)
			o := world(t, data, serve)
			os.MkdirAll(o.Dir, 0o700)
			os.WriteFile(filepath.Join(o.Dir, "claude"), []byte("of before"), 0o755)
			_, fetched, err := Install(t.Context(), o)
			if err == nil || fetched || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("fetched %v, error %v; want %q", fetched, err, tt.want)
			}
			if got, _ := os.ReadFile(filepath.Join(o.Dir, "claude")); string(got) != "of before" {
				t.Errorf("the program of before is now %q", got)
			}
			if diff := cmp.Diff([]string{"claude", "lock"}, names(t, o.Dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTwoAtOnce(t *testing.T) {
	data := good(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	o := world(t, data, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-goOn
		w.Write(data)
	})
	first := make(chan error, 1)
	go func() {
		_, _, err := Install(t.Context(), o)
		first <- err
	}()
	<-asked
	if _, _, err := Install(t.Context(), o); !errors.Is(err, ErrBusy) {
		t.Errorf("the second: %v, want ErrBusy", err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
	if _, fetched, err := Install(t.Context(), o); err != nil || fetched {
		t.Errorf("a third, after them: fetched %v, %v", fetched, err)
	}
}

// limitEnv makes TestDiskError the child that has the limit.
const limitEnv = "INSTALL_TEST_FILE_LIMIT"

// The kernel refuses to let a file grow, as a full disk does, in the middle of
// the archive or of the program. The limit is a process's, so a child has it.
func TestDiskError(t *testing.T) {
	if limit := os.Getenv(limitEnv); limit != "" {
		underLimit(t, limit)
		return
	}
	for name, most := range map[string]string{"in the archive": "64", "in the program": "4096"} {
		t.Run(name, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestDiskError$")
			child.Env = append(os.Environ(), limitEnv+"="+most)
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func underLimit(t *testing.T, limit string) {
	text := "\x7fELF" + strings.Repeat("0123456789abcdef", 1<<11)
	data := pack(t, regular("package/claude", text)) // packs to less than 4096 bytes and more than 64
	o := world(t, data, serving(data))
	most, err := strconv.ParseUint(limit, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Install(t.Context(), o); !errors.Is(err, syscall.EFBIG) || strings.Contains(err.Error(), "registry") {
		t.Errorf("error %v, want the kernel's and no blame on the registry", err)
	}
	if diff := cmp.Diff([]string{"lock"}, names(t, o.Dir)); diff != "" {
		t.Error(diff)
	}
}

func TestSilentRegistry(t *testing.T) {
	o := world(t, good(t), func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("a little"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	o.limits.stall = 50 * time.Millisecond
	if _, _, err := Install(t.Context(), o); err == nil || !strings.Contains(err.Error(), "was silent for 50ms") {
		t.Errorf("error %v", err)
	}
	o.limits.stall = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := Install(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestProxyAndNoPassword(t *testing.T) {
	data := good(t)
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		w.Write(data)
	}))
	t.Cleanup(proxy.Close)
	o := world(t, data, http.NotFound)
	o.Registry, _ = url.Parse("http://joe:hunter2@registry.test")
	o.Getenv = func(name string) string { return map[string]string{"http_proxy": proxy.URL}[name] }
	var said strings.Builder
	o.Say = func(s string) { fmt.Fprintln(&said, s) }
	if _, _, err := Install(t.Context(), o); err != nil || !strings.HasPrefix(asked, "http://registry.test/@anthropic-ai/claude-code-test/-/") {
		t.Errorf("the proxy was asked for %q, %v", asked, err)
	}
	o.Force, o.Getenv = true, func(name string) string { return map[string]string{"HTTP_PROXY": "http://127.0.0.1:1"}[name] }
	_, _, err := Install(t.Context(), o)
	if said := said.String() + fmt.Sprint(err); err == nil || strings.Contains(said, "hunter2") {
		t.Errorf("said %s", said)
	}
}

// FuzzUnpack: whatever an archive holds, what comes out is bounded, and is the
// program or an error.
func FuzzUnpack(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "package/claude", Size: 4, Mode: 0o755})
	w.Write([]byte("text"))
	w.Close()
	f.Add(b.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var packed, out bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(data)
		z.Close()
		const most = 1 << 10
		size, err := unpack(&out, &packed, limits{program: most})
		if out.Len() > most || err == nil && size != int64(out.Len()) {
			t.Errorf("%d bytes came out, size %d, %v", out.Len(), size, err)
		}
	})
}
