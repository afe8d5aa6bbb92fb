package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
)

// install is an installation in a folder of the test.
type install struct {
	t     testing.TB
	paths config.Paths
	env   map[string]string
	home  string
	log   *slog.Logger
}

// newInstall makes the folders, with an owner's home that holds secrets, and
// writes a configuration; "" leaves it to the first start.
func newInstall(t testing.TB, text string) *install {
	t.Helper()
	dir := t.TempDir()
	i := &install{t: t, log: slog.New(slog.NewTextHandler(testLog{t}, nil)), home: filepath.Join(dir, "owner"), env: map[string]string{
		"PATH": "/usr/bin:/bin", "HOME": filepath.Join(dir, "owner"), "NANOCLAW_HOME": filepath.Join(dir, "nanoclaw"),
	}}
	var err error
	if i.paths, err = config.Locate(config.Options{Getenv: i.getenv, UID: os.Getuid()}); err != nil {
		t.Fatal(err)
	}
	if err := i.paths.EnsureDirs(); err != nil {
		t.Fatal(err)
	}
	must(t, os.MkdirAll(i.home, 0o700))
	if text != "" {
		i.configure(text)
	}
	return i
}

func (i *install) getenv(name string) string { return i.env[name] }

func (i *install) environ() []string {
	var out []string
	for k := range maps.Keys(i.env) {
		out = append(out, k+"="+i.env[k])
	}
	return out
}

func (i *install) configure(text string) {
	i.t.Helper()
	must(i.t, os.WriteFile(i.paths.Config, []byte(text), 0o600))
}

// open opens a daemon that does not run yet.
func (i *install) open() *Daemon {
	i.t.Helper()
	d, err := Open(i.t.Context(), i.options())
	if err != nil {
		i.t.Fatal(err)
	}
	return d
}

// noEngineHere is the tool of container engines where a test has none: what this
// machine has is not for tests.
const noEngineHere = "/nonexistent/podman"

func (i *install) options() Options {
	return Options{
		ContainerProgram: noEngineHere,
		Paths:            i.paths, Version: "test", Getenv: i.getenv, Environ: i.environ, Log: i.log,
		Init: func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(boundarytest.Init(i.t)), io.NopCloser(nil)}, nil
		},
	}
}

// run opens a daemon and runs it until the test ends or stop is called.
func (i *install) run() (d *Daemon, stop func()) {
	i.t.Helper()
	d = i.open()
	return d, i.serve(d)
}

// serve runs a daemon that was opened.
func (i *install) serve(d *Daemon) (stop func()) {
	i.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- d.Run(ctx, func() { close(ready) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			i.t.Errorf("the daemon ended with %v", err)
		}
		must(i.t, d.Close())
	})
	i.t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		i.t.Fatalf("the daemon did not start: %v", err)
	}
	return stop
}

// testLog shows the daemon's log with the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	defer func() { recover() }() // a late line after the test's end is nobody's
	l.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// answer is what a message led to: its fate, and what was said.
type answer struct {
	control.Answer
	said []chat.Outbound
}

// text is all that was said.
func (a answer) text() string {
	var parts []string
	for _, m := range a.said {
		parts = append(parts, m.Text)
	}
	return strings.Join(parts, "\n")
}

// ask says something as the owner in a group's terminal and waits for what
// comes of it.
func ask(t *testing.T, d *Daemon, g chat.Group, text string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	term, err := d.Attach(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	heard := listen(ctx, term)
	id, err := d.Say(ctx, control.SayRequest{Group: g, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Wait(ctx, g, id)
	if err != nil {
		t.Fatalf("waiting for an answer to %q: %v", text, err)
	}
	must(t, term.Close())
	return answer{a, <-heard}
}

// listen collects what a terminal hears until it is closed.
func listen(ctx context.Context, term control.Terminal) <-chan []chat.Outbound {
	out := make(chan []chat.Outbound, 1)
	go func() {
		var said []chat.Outbound
		for {
			m, _, err := term.Next(ctx)
			if err != nil {
				out <- said
				return
			}
			if m != nil {
				said = append(said, *m)
			}
		}
	}()
	return out
}

// runInside runs a command in a group's boundary and gives its output and status.
func runInside(t *testing.T, d *Daemon, g chat.Group, argv ...string) (stdout, stderr string, exit control.Exit) {
	t.Helper()
	p, err := d.Exec(t.Context(), control.ExecRequest{Group: g, Argv: argv})
	if err != nil {
		t.Fatalf("exec %q: %v", argv, err)
	}
	defer p.Close()
	p.Stdin().Close()
	var wg sync.WaitGroup
	var errText []byte
	wg.Go(func() { errText, _ = io.ReadAll(p.Stderr()) })
	outText, _ := io.ReadAll(p.Stdout())
	wg.Wait()
	exit, err = p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(outText), string(errText), exit
}

// kinds are the kinds of audit entries of a run, in order.
func kinds(t *testing.T, d *Daemon, run chat.RunID) []string {
	t.Helper()
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: run})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Kind)
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// code is the code of a control error, "" for another.
func code(err error) control.Code {
	var e *control.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// hostConfig lets main and family run natively, with the shell by name.
const hostConfig = `{
	"version": 1,
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"family": {"mode": "host", "hostModeAllowed": true},
		"work": {},
	},
}`

// guest is a command that goes on in a group's boundary, outside of any run.
type guest struct {
	control.Process
	out *bufio.Reader
}

// startInside starts one. It ends with the test.
func startInside(t *testing.T, d *Daemon, g chat.Group, argv ...string) *guest {
	t.Helper()
	p, err := d.Exec(context.WithoutCancel(t.Context()), control.ExecRequest{Group: g, Argv: argv})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return &guest{p, bufio.NewReader(p.Stdout())}
}

// line is the next line that it wrote.
func (i *guest) line(t *testing.T) string {
	t.Helper()
	s, err := i.out.ReadString('\n')
	if err != nil {
		t.Fatalf("after %q: %v", s, err)
	}
	return strings.TrimSpace(s)
}
