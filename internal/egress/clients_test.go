package egress

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/wire"
)

// These tests use the programs that an agent uses, as they come: nothing in them
// knows of the gateway but the proxy's address.

// program runs one with a deadline and gives what it printed.
func program(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}, env...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// trusted writes the certificate of the site to a file.
func trusted(t *testing.T, der []byte) string {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCurl(t *testing.T) {
	w := newWorld(t)
	site := w.site(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		io.WriteString(rw, r.Method+" "+r.Host+r.URL.Path+" "+string(b))
	}))
	w.plainSite(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		io.WriteString(rw, "plain "+r.Host+r.RequestURI+" "+string(b))
	}))
	g := w.gateway(w.options("example.com", "plain.example.com:80"))
	proxy := "http://" + listen(t, g, wire.Proxy)
	ca := trusted(t, site.Certificate().Raw)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("x", 3000)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
		fail bool
	}{
		{"https", []string{"https://example.com/a"}, "GET example.com/a ", false},
		{"https other spelling", []string{"https://EXAMPLE.com/a"}, "GET EXAMPLE.com/a ", false},
		{"https post", []string{"-d", "hello", "https://example.com/a"}, "POST example.com/a hello", false},
		{"http", []string{"http://plain.example.com/a?b=c"}, "plain plain.example.com/a?b=c ", false},
		{"http upload that waits to be asked", []string{"-T", large, "-H", "Expect: 100-continue", "http://plain.example.com/up"}, "plain plain.example.com/up xxx", false},
		{"http upload in chunks", []string{"-T", large, "-H", "Transfer-Encoding: chunked", "http://plain.example.com/up"}, "plain plain.example.com/up xxx", false},
		{"two in a row", []string{"http://plain.example.com/1", "http://plain.example.com/2"}, "plain plain.example.com/1 plain plain.example.com/2 ", false},
		{"HTTP/1.0", []string{"--proxy1.0", strings.TrimPrefix(proxy, "http://"), "https://example.com/a"}, "GET example.com/a ", false},
		{"N-06 lookalike", []string{"https://evilexample.com/"}, "403", true},
		{"N-09 number", []string{"http://2130706433/"}, "IP address", false},
		{"N-12 fronting by name", []string{"--connect-to", "evil.test:443:example.com:443", "https://evil.test/"}, "unrecognized name", true},
		{"N-13 other port", []string{"https://example.com:8443/"}, "403", true},
		{"N-14 no TLS in the tunnel", []string{"-p", "http://example.com:443/"}, "", true},
		{"N-16 plain", []string{"http://evil.test/"}, "nanoclaw group egress add family evil.test:80", false},
		{"N-29 metadata", []string{"-H", "X-aws-ec2-metadata-token: x", "http://169.254.169.254/latest"}, "IP address", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := program(t, []string{"http_proxy=" + proxy, "https_proxy=" + proxy, "CURL_CA_BUNDLE=" + ca}, "curl", append([]string{"-sS", "--max-time", "20"}, tt.args...)...)
			if (err != nil) != tt.fail || !strings.Contains(out, tt.want) {
				t.Errorf("curl printed %q, %v; want %q, failure %v", out, err, tt.want, tt.fail)
			}
		})
	}
}

// TestGit clones over HTTPS, and is refused elsewhere.
func TestGit(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", repo},
		{"-C", repo, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "first"},
		{"-C", repo, "update-server-info"},
	} {
		if out, err := program(t, nil, "git", args...); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	w := newWorld(t)
	site := w.site(http.FileServer(http.Dir(repo)))
	g := w.gateway(w.options("example.com"))
	env := []string{"HTTPS_PROXY=http://" + listen(t, g, wire.Proxy), "GIT_SSL_CAINFO=" + trusted(t, site.Certificate().Raw)}
	if out, err := program(t, env, "git", "clone", "https://example.com/.git", "copy"); err != nil {
		t.Errorf("git clone: %v: %s", err, out)
	}
	if out, err := program(t, env, "git", "clone", "https://evil.test/x.git"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("git clone of a refused host: %v: %s", err, out)
	}
	for _, ev := range w.closes(2) {
		if want := ev.Host == "example.com"; (ev.Verdict == Allowed) != want {
			t.Errorf("event %+v", ev)
		}
	}
}
