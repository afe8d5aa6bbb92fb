package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// groupUID is the kernel uid of sessions that root's tests start.
const groupUID = 1900000011

// engine prepares a boundary.
func engine(t testing.TB) *boundary.Native {
	t.Helper()
	native, err := boundary.NewNative(boundary.Options{Init: bytes.NewReader(boundarytest.Init(t))})
	if err != nil {
		t.Fatal(err)
	}
	return native
}

// inside is a real boundary whose way out is a gateway in a made-up world.
type inside struct {
	t   testing.TB
	g   *Gateway
	box *boundary.Session
	env []string
	// workspace is the group's folder on the host, roots the world's authority.
	workspace, roots string
}

// start makes what a daemon makes of a configuration: grant, gateway, boundary.
// outside is the authority that signed the world's servers: for this world, one of
// the system's.
func (w *world) start(t testing.TB, outside *authority, c config.Config) *inside {
	t.Helper()
	dir, err := os.MkdirTemp("", "nanoclaw-egress-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := grant.Machine{OwnerHome: filepath.Join(dir, "owner"), GroupsDir: filepath.Join(dir, "groups"), GlobalDir: filepath.Join(dir, "global")}
	for _, p := range []string{filepath.Join(m.GroupDir("main"), "workspace"), filepath.Join(m.GroupDir("main"), "home"), m.GlobalDir} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	uid := 0
	if os.Geteuid() == 0 {
		uid = groupUID
		for _, p := range []string{filepath.Join(m.GroupDir("main"), "workspace"), filepath.Join(m.GroupDir("main"), "home"), m.GlobalDir} {
			if err := os.Chown(p, uid, uid); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.HostMode.Enabled, c.ExecutionMode, c.Agent.Kind = true, "host", "shell"
	goroot := strings.TrimSpace(host(t, dir, "go", "env", "GOROOT"))
	c.Tools = append(c.Tools, goroot, filepath.Join(goroot, "bin")) // the second for PATH
	main := c.Groups["main"]
	main.HostModeAllowed = true
	c.Groups = map[string]config.Group{"main": main}
	g, err := grant.Decide(grant.Request{Config: &c, Group: chat.Main, Machine: m, Trigger: grant.Trigger{Kind: "exec", Owner: true, Terminal: true}})
	if err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Group, o.Hosts, o.Denied, o.Budget, o.RunTime = g.Group, g.Egress, g.Denied, g.Budget, time.Hour
	o.RootFiles = []string{filepath.Join(dir, "roots.pem")}
	if err := os.WriteFile(o.RootFiles[0], outside.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Trust = x509.NewCertPool()
	o.Trust.AddCert(outside.cert)
	i := &inside{t: t, g: New(o), workspace: filepath.Join(m.GroupDir("main"), "workspace"), roots: o.RootFiles[0]}
	files := i.g.Files()
	if files == nil {
		// Nothing is inspected: the world's authority takes the place of the system's.
		files = []wire.File{{Path: grant.Roots, Data: outside.pem()}}
		for _, name := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "npm_config_cafile"} {
			i.env = append(i.env, name+"="+grant.Roots)
		}
	}
	for _, v := range g.Env {
		i.env = append(i.env, v.Name+"="+v.Value)
	}
	i.box, err = engine(t).Start(t.Context(), boundary.Spec{Grant: g, Session: "s1", UID: uid, Files: files, Serve: i.g.Serve})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.box.Close(); i.g.Close() })
	return i
}

// sh runs a script inside and gives what it printed, errors after it.
func (i *inside) sh(script string) (out string, code int) {
	i.t.Helper()
	return i.run("bash", "-c", script)
}

func (i *inside) run(argv ...string) (out string, code int) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	p, err := i.box.Exec(ctx, wire.Exec{Argv: argv, Env: i.env, Dir: grant.Workspace})
	if err != nil {
		i.t.Fatalf("%q: %v", argv, err)
	}
	p.Stdin.Close()
	var b, e bytes.Buffer
	var both sync.WaitGroup
	both.Go(func() { io.Copy(&b, p.Stdout) })
	both.Go(func() { io.Copy(&e, p.Stderr) })
	exit, err := p.Wait(ctx)
	if err != nil {
		i.box.Close() // so that its output ends
	}
	both.Wait()
	if err != nil {
		i.t.Fatalf("%q: %v\n%s%s", argv, err, &b, &e)
	}
	return b.String() + e.String(), exit.Code
}

// host runs one of the programs with which the tests build what is served.
func host(t testing.TB, dir string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// everything serves h by TLS for every name below example.com, and gives the
// authority that says so.
func (w *world) everything(t testing.TB, names []string, h http.Handler) *authority {
	outside, err := newAuthority([]grant.Host{{Pattern: "*.example.com", Terms: grant.Terms{Inspect: true}}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewUnstartedServer(h)
	site.EnableHTTP2, site.Config.ErrorLog = true, quiet()
	site.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return outside.leaf(h.ServerName) }}
	site.StartTLS()
	t.Cleanup(site.Close)
	for _, n := range names {
		w.names[n+"."] = []string{"93.184.216.34"}
	}
	w.servers["93.184.216.34:443"] = site.Listener.Addr().String()
	return outside
}

// tcpServer runs f for each connection to a port of loopback.
func tcpServer(t testing.TB, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
	return l.Addr().String()
}

// config1 is a configuration whose main group reaches hosts.
func config1(hosts map[string]config.EgressHost, egress ...string) config.Config {
	c := config.Default()
	c.Egress.Hosts = hosts
	c.Groups = map[string]config.Group{"main": {Egress: egress}}
	return c
}

// contains fails the test if a program's output misses a word.
func contains(t testing.TB, out string, code, wantCode int, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in:\n%s", w, out)
		}
	}
	if (code == 0) != (wantCode == 0) {
		t.Errorf("ended with %d:\n%s", code, out)
	}
}
