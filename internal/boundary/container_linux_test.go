package boundary

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/boundary/dockertest"
	"nanoclaw/internal/boundary/podmantest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// hollow is the image of these tests: the grant mounts this machine's system.
const hollow = "localhost/hollow:latest"

// installed is a real engine of a test's own.
type installed interface {
	Run(args ...string) string
	Containers() []string
	Hollow(image string)
	Storage() string
}

// newContainer makes the engine on a podman or a docker of the test's own.
func newContainer(t testing.TB, on installed, change ...func(*Options)) *Container {
	t.Helper()
	opts := Options{
		Init: bytes.NewReader(boundarytest.Init(t)), Dir: openDir(t),
		Container: ContainerOptions{Image: hollow, Install: "t1"},
	}
	name := PodmanEngine
	switch on := on.(type) {
	case *podmantest.Podman:
		opts.Container.Program, opts.Container.Env = on.Program, on.Env
	case *dockertest.Docker:
		name, opts.Container.Program, opts.Container.Env = DockerEngine, on.Program, on.Env
	}
	for _, f := range change {
		f(&opts)
	}
	c, err := NewContainer(name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// containerBox starts a session with the fixture's grant, changed by f.
func containerBox(t testing.TB, c *Container, f ...func(*Spec)) *box {
	t.Helper()
	spec, dir := fixture(t)
	for _, change := range f {
		change(&spec)
	}
	s, err := c.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &box{Session: s, t: t, outside: dir, workspace: filepath.Join(dir, "workspace"), env: []string{"PATH=/usr/bin:/bin", "HOME=" + grant.Home}}
}

// TestPodman starts real containers. Its parts share one podman, whose start and
// end take longer than most of them.
func TestPodman(t *testing.T) {
	p := podmantest.New(t)
	p.Hollow(hollow)
	c := newContainer(t, p)
	containerTests(t, p, c)
	t.Run("strangers", func(t *testing.T) { podmanStrangers(t, p) })
}

// TestPodmanOnGVisor is the same with gVisor's runsc as podman's OCI runtime, where that
// is installed.
func TestPodmanOnGVisor(t *testing.T) {
	runsc := podmantest.Runsc()
	if runsc == "" {
		return
	}
	p := podmantest.New(t)
	p.Hollow(hollow)
	c := newContainer(t, p, func(o *Options) { o.Container.Runtime = runsc })
	if facts, err := c.facts(t.Context()); err != nil || !facts.unbound {
		containerTests(t, p, c)
		t.Run("a filter that is missing inside", func(t *testing.T) {
			gvisorWithoutFilter(t, newContainer(t, p, func(o *Options) {
				o.Container.Runtime, o.Init, o.skip = runsc, bytes.NewReader(boundarytest.Layers(t)), []string{"seccomp"}
			}))
		})
		return
	}
	spec, _ := fixture(t)
	if s, err := c.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "cannot bound gVisor") {
		if err == nil {
			s.Close()
		}
		t.Errorf("in an ordinary user's podman that can make no cgroup: %v", err)
	}
}

// gvisorWithoutFilter: what the init lacks within gVisor cannot be seen from outside, and
// the probe sees it from within.
func gvisorWithoutFilter(t *testing.T, c *Container) {
	spec, _ := fixture(t)
	report, err := Probe(t.Context(), c, spec, wire.Probe{})
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(report.Attempts, func(a wire.Attempt) bool { return a.Name == wire.ThreadsWithin }); i < 0 || !report.Attempts[i].Broke {
		t.Errorf("an init without a filter is taken for confined: %+v", report.Attempts)
	}
}

// TestDocker is the same with a real daemon, which only root can start.
func TestDocker(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	d := dockertest.New(t)
	d.Hollow(hollow)
	containerTests(t, d, newContainer(t, d))
}

// containerTests are for every engine that starts containers.
func containerTests(t *testing.T, on installed, c *Container) {
	t.Run("session", func(t *testing.T) { containerSession(t, on, c) })
	t.Run("probe", func(t *testing.T) { containerProbe(t, c) })
	t.Run("refused", func(t *testing.T) { containerRefuses(t, on, c) })
	t.Run("swapped", func(t *testing.T) { containerSwapped(t, c) })
	t.Run("orphans", func(t *testing.T) { containerOrphans(t, on, c) })
	t.Run("images", func(t *testing.T) { containerImages(t, on, c) })
	if KernelOf(t.Context(), c) != GVisor { // which gives what it mounts there the mode that was asked for
		t.Run("tmp", func(t *testing.T) { containerWithoutTmp(t, on, c) })
	}
	if os.Geteuid() == 0 { // a rootless podman bounds nothing where cgroups are of version 1
		t.Run("memory", func(t *testing.T) { containerMemory(t, c) })
	}
}

// containerSession asks one session many things: who it is, what it sees and may, and
// what is left when it ends.
func containerSession(t *testing.T, on installed, c *Container) {
	const secret = "a-line-that-passes-through-the-wire"
	b := containerBox(t, c, func(s *Spec) { s.Terminal = true })
	for _, ask := range []struct{ name, script, want string }{
		{"identity", "id -u; id -g; id -un; pwd; hostname; echo $HOME", "1000\n1000\nagent\n/workspace/group\nnanoclaw\n/home/agent"},
		{"files are the group's", "touch mine && stat -c '%u %g' mine", "1000 1000"},
		{"privileges", "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'", "CapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2"},
		{"the root is read-only", "touch /x /usr/x /etc/x 2>&1 | grep -c -E 'Read-only|denied'", "3"},
		{"only loopback", "grep -c : /proc/net/dev", "1"},
		{"no further mounts of the engine", "cat /run/.containerenv /run/secrets/x 2>&1 | grep -c denied || true", "0"},
		{"the init tells nothing", "cat /proc/1/environ 2>&1 | grep -c denied", "1"},
		{"no user namespace", "unshare -U true 2>&1 | grep -c 'not permitted'", "1"},
		{"what only Landlock closes", "cat /.landlock-canary 2>&1 | grep -c denied", landlocked[KernelOf(t.Context(), c) != GVisor]},
	} {
		if got := b.sh(ask.script); got != ask.want {
			t.Errorf("%s: got %q, want %q", ask.name, got, ask.want)
		}
	}
	if r := b.run(strings.Repeat(secret+"\n", 20_000), "cat"); len(r.out) != 20_000*(len(secret)+1) {
		t.Errorf("%d bytes came back", len(r.out))
	}
	fi, err := os.Stat(filepath.Join(b.workspace, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	if want := max(groupUIDOf(), os.Geteuid()); owner(fi) != want {
		t.Errorf("on the host the file belongs to %d, not %d", owner(fi), want)
	}
	checkLayers(t, b.Session, KernelOf(t.Context(), c))
	if got := len(on.Containers()); got != 1 {
		t.Errorf("%d containers while it lives", got)
	}
	b.Close()
	if !errors.Is(b.Err(), ErrClosed) || len(on.Containers()) != 0 {
		t.Errorf("it ended with %v, and left %v", b.Err(), on.Containers())
	}
	if left, _ := filepath.Glob(filepath.Join(c.dir, "session-*")); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
	grepTree(t, on.Storage(), secret)
}

// landlocked is how often a file is refused where Landlock is, and where it is not.
var landlocked = map[bool]string{true: "1", false: "0"}

// groupUIDOf is the group's uid where root gives it one.
func groupUIDOf() int {
	if os.Geteuid() == 0 {
		return groupUID
	}
	return 0
}

// checkLayers says that each layer that matters is told as what it is.
func checkLayers(t *testing.T, s *Session, kernel string) {
	t.Helper()
	all, missing := strings.Join(s.Layers(), "\n"), strings.Join(s.Missing(), "\n")
	words := []string{"container: ", "proven", "seccomp: ", "privileges: no capabilities, no_new_privs", "memory "}
	if kernel == GVisor {
		for _, word := range []string{"landlock: the kernel is older", "a comparison of namespaces with the host's", "the engine's: ours holds alone"} {
			if !strings.Contains(missing, word) {
				t.Errorf("nothing missing says %q:\n%s", word, missing)
			}
		}
		words = append(words, "of the inodes that were looked up, seen at gVisor's gofer")
	} else {
		words = append(words, "landlock ABI")
		if strings.Contains(missing, "system call filter of the engine") {
			t.Errorf("the engine's filter is missing: %s", missing)
		}
	}
	for _, word := range words {
		if !strings.Contains(all, word) {
			t.Errorf("no layer says %q:\n%s", word, all)
		}
	}
	if os.Geteuid() == 0 && !strings.Contains(all, "memory 1 GB: cgroup") {
		t.Errorf("the engine's limit of memory is not told:\n%s", all)
	}
}

// grepTree fails if a text is in a file: with the usual log driver an engine keeps
// all that a container says.
func grepTree(t *testing.T, dir, text string) {
	t.Helper()
	files := 0
	filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			files++
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%s holds what passed through the wire", path)
			}
		}
		return nil
	})
	if files < 5 {
		t.Fatalf("only %d files were looked at", files)
	}
}

func containerProbe(t *testing.T, c *Container) {
	spec, dir := fixture(t)
	canary := filepath.Join(dir, "canary")
	if err := os.WriteFile(canary, []byte("canary-data"), 0o644); err != nil {
		t.Fatal(err)
	}
	task := wire.Probe{Canaries: []wire.Canary{{Path: canary, Data: "canary-data"}}, HostPID: os.Getpid(), WriteTo: []string{dir}, Env: []string{"GOFLAGS"}}
	report, err := Probe(t.Context(), c, spec, task)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verdict(task, report); err != nil {
		t.Error(err)
	}
}

// containerRefuses: grants that no engine is asked for.
func containerRefuses(t *testing.T, on installed, c *Container) {
	socket := filepath.Join(openDir(t), "engine.sock")
	others := map[string]string{PodmanEngine: "DOCKER_HOST", DockerEngine: "CONTAINER_HOST"} // which it does not read itself
	listening := newContainer(t, on, func(o *Options) {
		o.Container.Env = append(slices.Clone(o.Container.Env), others[c.name]+"=unix://"+socket)
	})
	comma := filepath.Join(openDir(t), "a,b")
	if err := os.Mkdir(comma, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(path string) func(*Spec) {
		return func(s *Spec) {
			s.Grant.Mounts = append(s.Grant.Mounts, grant.Mount{Target: grant.Extra + "/x", Source: path, Foreign: true})
		}
	}
	for _, tt := range []struct {
		name   string
		engine *Container
		change func(*Spec)
		want   string
	}{
		{"a folder with the engine's socket", listening, mount(filepath.Dir(socket)), "holds the socket of a container engine"},
		{"a comma in a path", c, mount(comma), "read as the end of it"},
		{"no image", c, func(s *Spec) { s.Grant.Image = "localhost/none:latest" }, "nanoclaw image build"},
	} {
		spec, _ := fixture(t)
		tt.change(&spec)
		s, err := tt.engine.Start(t.Context(), spec)
		var e *StartError
		if err == nil {
			s.Close()
		}
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if left := on.Containers(); len(left) > 0 {
		t.Errorf("containers are left: %v", left)
	}
}

// podmanStrangers: what a setting of the engine adds is noticed, and nothing of the
// agent runs.
func podmanStrangers(t *testing.T, p *podmantest.Podman) {
	more := openDir(t)
	conf := filepath.Join(filepath.Dir(p.Program), "containers.conf")
	was, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(conf, was, 0o644) })
	for what, line := range map[string]string{"mounted": "volumes = [\"" + more + ":/srv/more:ro\"]\n"} {
		if err := os.WriteFile(conf, append([]byte("[containers]\n"+line), was...), 0o644); err != nil {
			t.Fatal(err)
		}
		spec, _ := fixture(t)
		s, err := newContainer(t, p).Start(t.Context(), spec)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "nobody asked for it") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// containerSwapped: a folder that is replaced after it was looked up is another one.
func containerSwapped(t *testing.T, c *Container) {
	spec, dir := fixture(t)
	facts, err := c.facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := c.plan(spec, facts)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.close()
	work := filepath.Join(dir, "workspace")
	for _, err := range []error{os.Rename(work, work+".was"), os.Mkdir(work, 0o777)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s, err := c.launch(t.Context(), spec, plan); err == nil || !strings.Contains(err.Error(), "changed while starting") {
		if err == nil {
			s.Close()
		}
		t.Errorf("the session of a swapped folder: %v", err)
	}
}

// containerOrphans: what is left of an installation is removed, and nothing of another.
func containerOrphans(t *testing.T, on installed, c *Container) {
	for _, install := range []string{"t1", "t2"} {
		on.Run("create", "--name", "nanoclaw-"+install+"-old", "--label", installLabel+"="+install, "--network", "none", hollow, "/bin/true")
	}
	b := containerBox(t, c)
	removed, err := c.Reap(t.Context())
	if err != nil || !slices.Equal(removed, []string{"nanoclaw-t1-old"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	if got := b.sh("echo alive"); got != "alive" {
		t.Errorf("the session that lives: %q", got)
	}
	b.Close()
	if left := on.Containers(); !slices.Equal(left, []string{"nanoclaw-t2-old"}) {
		t.Errorf("left are %v", left)
	}
	on.Run("rm", "nanoclaw-t2-old")
}

// containerMemory: the engine's limit ends the session as every other one does, and
// nobody asks the engine why.
func containerMemory(t *testing.T, c *Container) {
	b := containerBox(t, c, func(s *Spec) { s.Grant.Limits.Memory = 96 << 20 })
	b.start(wire.Exec{Argv: []string{"/bin/sh", "-c", "head -c 300m /dev/zero | tail -c 290m >/dev/null; sleep 60"}})
	select {
	case <-b.Done():
	case <-time.After(time.Minute):
		t.Fatal("the session lives with more memory than it may have")
	}
	var limit *LimitError
	if !errors.As(b.Err(), &limit) || limit.Resource != Memory {
		t.Errorf("it ended with %v", b.Err())
	}
}

func owner(fi os.FileInfo) int { return int(fi.Sys().(*syscall.Stat_t).Uid) }
