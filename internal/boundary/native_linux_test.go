package boundary

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// groupUID is the kernel uid of the sessions that root's tests start.
const groupUID = 1900000007

// box is a started session with its folders.
type box struct {
	*Session
	t         *testing.T
	workspace string
	env       []string
}

// fixture makes the grant of a group with a workspace and a home.
func fixture(t *testing.T) (Spec, string) {
	t.Helper()
	dir := t.TempDir()
	workspace, home := filepath.Join(dir, "workspace"), filepath.Join(dir, "home")
	for _, d := range []string{workspace, home} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g := grant.Grant{Group: "family", Mode: grant.HostMode, Agent: "shell"}
	for _, d := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"} {
		g.Mounts = append(g.Mounts, grant.Mount{Target: d, Source: d, Exec: true, Optional: true})
	}
	g.Mounts = append(g.Mounts,
		grant.Mount{Target: grant.Workspace, Source: workspace, Write: true, Exec: true},
		grant.Mount{Target: grant.Home, Source: home, Write: true, Exec: true})
	g.Limits = grant.Limits{Processes: 200, OpenFiles: 1024, FileSize: 64 << 20, TmpSize: 64 << 20}
	spec := Spec{Grant: g, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if os.Geteuid() == 0 {
		spec.UID = groupUID
		for _, d := range []string{workspace, home} {
			if err := os.Chown(d, groupUID, groupUID); err != nil {
				t.Fatal(err)
			}
		}
	}
	return spec, workspace
}

func newNative(t testing.TB, opts Options) *Native {
	t.Helper()
	if opts.Init == nil {
		opts.Init = boundarytest.Init(t)
	}
	n, err := NewNative(opts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func start(t *testing.T) *box {
	t.Helper()
	spec, workspace := fixture(t)
	s, err := newNative(t, Options{}).Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &box{Session: s, t: t, workspace: workspace, env: []string{"PATH=/usr/bin:/bin", "HOME=" + grant.Home}}
}

// result is what a process did.
type result struct {
	out, err string
	exited   wire.Exited
}

// run runs a command to its end.
func (b *box) run(stdin string, argv ...string) result {
	b.t.Helper()
	p, err := b.Exec(b.t.Context(), wire.Exec{Argv: argv, Env: b.env, Dir: grant.Workspace})
	if err != nil {
		b.t.Fatalf("exec %q: %v", argv, err)
	}
	return b.finish(p, stdin)
}

func (b *box) finish(p *Process, stdin string) result {
	b.t.Helper()
	go func() {
		io.WriteString(p.Stdin, stdin)
		p.Stdin.Close()
	}()
	errors := make(chan []byte)
	go func() {
		e, _ := io.ReadAll(p.Stderr)
		errors <- e
	}()
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		b.t.Fatalf("read stdout: %v", err)
	}
	r := result{out: string(out), err: string(<-errors)}
	if r.exited, err = p.Wait(context.Background()); err != nil {
		b.t.Fatalf("wait: %v", err)
	}
	return r
}

// sh runs a shell command and gives its output, errors included.
func (b *box) sh(script string) string {
	b.t.Helper()
	r := b.run("", "/bin/sh", "-c", script)
	return strings.TrimRight(r.out+r.err, "\n")
}

func TestRun(t *testing.T) {
	b := start(t)
	t.Log(b.Layers(), b.Missing(), b.ready.Took)
	if got := b.sh("id -u; id -g; id -G; echo $$"); !strings.HasPrefix(got, "1000\n1000\n1000\n") {
		t.Errorf("id: %s", got)
	}
	t.Log(b.sh("ls -la / ; ls -la /dev /workspace; cat /proc/self/mountinfo"))
	r := b.run("hello", "cat")
	if r.out != "hello" || r.exited.Code != 0 {
		t.Errorf("cat: %+v", r)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	if r := b.run(big, "cat"); r.out != big {
		t.Errorf("cat of %d bytes gave %d", len(big), len(r.out))
	}
	_ = bytes.NewReader
}
