package egress

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

// The programs that an agent uses, as they come, inside a real boundary, through
// the gateway to servers on loopback that stand for the world: once through
// tunnels, once inspected. Nothing in them knows of the gateway but what the
// grant's environment says.

var clientHosts = []string{"git.example.com", "npm.example.com", "pypi.example.com", "go.example.com", "www.example.com"}

// clients gives a boundary that reaches the world's hosts.
func clients(t *testing.T, inspect bool) (*inside, *world) {
	w := newWorld(t)
	mux := http.NewServeMux()
	mux.Handle("git.example.com/", gitServer(t))
	npmServer(t, mux)
	pypiServer(t, mux)
	goServer(t, mux)
	mux.HandleFunc("www.example.com/", func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %s%s %s\n", r.Method, r.Host, r.URL.Path, b)
	})
	outside := w.everything(t, clientHosts, mux)
	terms := map[string]config.EgressHost{}
	if inspect {
		terms["*.example.com"] = config.EgressHost{Inspect: true}
	}
	return w.start(t, outside, config1(terms, clientHosts...)), w
}

func TestClientsInside(t *testing.T) {
	for name, inspect := range map[string]bool{"tunnel": false, "inspected": true} {
		t.Run(name, func(t *testing.T) {
			i, w := clients(t, inspect)
			for _, tt := range []struct {
				name, script string
				want         []string
			}{
				{"curl", `curl -sS https://www.example.com/a && curl -sS -d hello https://www.example.com/b && curl -sS --http1.1 https://www.example.com/c`,
					[]string{"GET www.example.com/a", "POST www.example.com/b hello", "GET www.example.com/c"}},
				{"git", `git clone -q https://git.example.com/repo.git r && cd r && cat file && echo more >file &&
					git -c user.name=a -c user.email=a@example.com commit -qam second && git push -q origin HEAD:refs/heads/second && git ls-remote`,
					[]string{"content\n", "refs/heads/second"}},
				{"npm", `mkdir n && cd n && npm install --no-audit --no-fund --loglevel=error --registry=https://npm.example.com tiny && node -p 'require("tiny")'`,
					[]string{"from npm"}},
				{"pip", `/usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --target p --index-url https://pypi.example.com/simple tiny && PYTHONPATH=p /usr/bin/python3 -c 'import tiny; print(tiny.word)'`,
					[]string{"from pip"}},
				{"go", `export GOTOOLCHAIN=local GOFLAGS=-modcacherw GOPROXY=https://go.example.com GOSUMDB=off && go mod download -json example.org/tiny@v1.0.0`,
					[]string{`"Version": "v1.0.0"`, "h1:"}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					out, code := i.sh(tt.script)
					contains(t, out, code, 0, tt.want...)
				})
			}
			_, _, events := w.seen()
			requests := 0
			for _, e := range events {
				if e.Verdict != Allowed {
					t.Errorf("event %+v", e)
				}
				if e.Tunnel != 0 && e.Phase == Close {
					requests++
				}
			}
			if inspect && requests < 10 || !inspect && requests != 0 {
				t.Errorf("%d requests were seen", requests)
			}
		})
	}
}

// gitServer serves one repository by git's own program, for reading and writing.
func gitServer(t *testing.T) http.Handler {
	dir := t.TempDir()
	repo := filepath.Join(dir, "repo.git")
	work := filepath.Join(dir, "work")
	host(t, dir, "git", "init", "-q", "--bare", "-b", "main", repo)
	host(t, dir, "git", "-C", repo, "config", "http.receivepack", "true")
	host(t, dir, "git", "init", "-q", "-b", "main", work)
	write(t, filepath.Join(work, "file"), []byte("content\n"))
	host(t, dir, "git", "-C", work, "add", "file")
	host(t, dir, "git", "-C", work, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "first")
	host(t, dir, "git", "-C", work, "push", "-q", repo, "main")
	path := filepath.Join(strings.TrimSpace(host(t, dir, "git", "--exec-path")), "git-http-backend")
	return &cgi.Handler{Path: path, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}, Stderr: io.Discard}
}

// npmServer is a registry with one package.
func npmServer(t *testing.T, mux *http.ServeMux) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	a := tar.NewWriter(z)
	for name, text := range map[string]string{"package/package.json": `{"name":"tiny","version":"1.0.0"}`, "package/index.js": `module.exports = "from npm"`} {
		must(t, a.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		_, err := io.WriteString(a, text)
		must(t, err)
	}
	must(t, a.Close())
	must(t, z.Close())
	sum := sha512.Sum512(b.Bytes())
	mux.HandleFunc("npm.example.com/tiny", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"name":"tiny","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"tiny","version":"1.0.0","dist":{
			"tarball":"https://npm.example.com/tiny/-/tiny-1.0.0.tgz","integrity":"sha512-%s"}}}}`, base64.StdEncoding.EncodeToString(sum[:]))
	})
	mux.HandleFunc("npm.example.com/tiny/-/tiny-1.0.0.tgz", func(rw http.ResponseWriter, _ *http.Request) { rw.Write(b.Bytes()) })
}

// pypiServer is an index with one package.
func pypiServer(t *testing.T, mux *http.ServeMux) {
	const wheel = "tiny-1.0-py3-none-any.whl"
	b := zipped(t, map[string]string{
		"tiny.py":                     "word = 'from pip'\n",
		"tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
		"tiny-1.0.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"tiny-1.0.dist-info/RECORD":   "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n",
	})
	mux.HandleFunc("pypi.example.com/simple/tiny/", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(rw, `<!DOCTYPE html><html><body><a href="https://pypi.example.com/files/%s">%s</a></body></html>`, wheel, wheel)
	})
	mux.HandleFunc("pypi.example.com/files/"+wheel, func(rw http.ResponseWriter, _ *http.Request) { rw.Write(b) })
}

// goServer is a module proxy with one module.
func goServer(t *testing.T, mux *http.ServeMux) {
	const mod = "module example.org/tiny\n"
	files := map[string][]byte{
		"v1.0.0.info": []byte(`{"Version":"v1.0.0","Time":"2025-01-02T03:04:05Z"}`), "v1.0.0.mod": []byte(mod),
		"v1.0.0.zip": zipped(t, map[string]string{"example.org/tiny@v1.0.0/go.mod": mod, "example.org/tiny@v1.0.0/tiny.go": "package tiny\n"}),
	}
	for name, content := range files {
		mux.HandleFunc("go.example.com/example.org/tiny/@v/"+name, func(rw http.ResponseWriter, _ *http.Request) { rw.Write(content) })
	}
}

func zipped(t *testing.T, files map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		must(t, err)
		_, err = io.WriteString(w, text)
		must(t, err)
	}
	must(t, z.Close())
	return b.Bytes()
}

func write(t *testing.T, path string, b []byte) { t.Helper(); must(t, os.WriteFile(path, b, 0o644)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
