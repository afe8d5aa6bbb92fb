package boundary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// TestThroughASpare runs the tests of what a session is, can and cannot do once
// more, each start from an init that stood ready: it must be confined as any
// other, and do the same.
func TestThroughASpare(t *testing.T) {
	if os.Getenv(sparesVar) != "" {
		return
	}
	tests := []string{
		"Probe.*", "KeyringIsItsOwn", "LandlockIsFelt", "SecretsOutsideAreAbsent", "WritesOutsideFail", "InitTellsNothing",
		"ForeignDescriptorsAreClosed", "EveryThreadIsConfined", "IdentityInside", "EnvironmentIsTheList", "Attack.*",
		"ReadOnlyMounts", "MountsWithinMounts", "OwnersFolderIsWrittenAsTheOwner", "Adoption",
		"Limits", "MemoryLimitEndsTheSession", "RefusedProcessesAreTold", "DiskLimitEndsTheSession", "ProcessorsAreBounded",
		"ExitCodes", "StdioIsCarried", "Terminal", "SocketpairCannotBeReopened", "SignalReachesTheGroup", "OrphansAreReaped",
		"ConnectionsBecomeStreams", "HalfCloseIsCarried", "CloseKillsAll",
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^Test("+strings.Join(tests, "|")+")$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), sparesVar+"=1")
	text, err := cmd.CombinedOutput()
	if ran := strings.Count(string(text), "\n--- PASS"); err != nil || ran < len(tests)-1 {
		t.Errorf("%d tests passed, %v\n%s", ran, err, text)
	}
}

// prepared is a boundary with one spare for the fixture's sessions.
func prepared(t *testing.T, opts Options) (n *Native, spec Spec, dir string) {
	t.Helper()
	spec, dir = fixture(t)
	spec.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	opts.Log = spec.Log
	n = newNative(t, opts)
	keep(t, n, 2)
	makeSpare(t, n, spec)
	return n, spec, dir
}

// begin starts a session and says whether it came from a spare.
func begin(t *testing.T, n *Native, spec Spec) (*box, bool) {
	t.Helper()
	s, err := n.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin"}}, s.prepared
}

// A spare serves one session, of equal shape, and no other.
func TestSpareIsKeptForItsShape(t *testing.T) {
	n, spec, dir := prepared(t, Options{})
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Spec)) Spec {
		s := spec
		s.Grant.Mounts = append([]grant.Mount(nil), spec.Grant.Mounts...)
		change(&s)
		return s
	}
	differs := map[string]Spec{
		"a read-only mount more": with(func(s *Spec) {
			s.Grant.Mounts = append(s.Grant.Mounts, grant.Mount{Target: "/opt/tools", Source: other, Exec: true})
		}),
		"a mount less":         with(func(s *Spec) { s.Grant.Mounts = s.Grant.Mounts[1:] }),
		"no programs in /usr":  with(func(s *Spec) { s.Grant.Mounts[0].Exec = false }),
		"another endpoint":     with(func(s *Spec) { s.Grant.Endpoints = []grant.Endpoint{{Name: "proxy", Port: 3128}} }),
		"fewer processes":      with(func(s *Spec) { s.Grant.Limits.Processes-- }),
		"fewer open files":     with(func(s *Spec) { s.Grant.Limits.OpenFiles-- }),
		"less memory":          with(func(s *Spec) { s.Grant.Limits.Memory-- }),
		"a smaller /tmp":       with(func(s *Spec) { s.Grant.Limits.TmpSize -= 4096 }),
		"a floor for Landlock": with(func(s *Spec) { s.LandlockFloor = 1 }),
	}
	if os.Geteuid() == 0 {
		differs["another uid"] = with(func(s *Spec) {
			s.UID++
			s.Grant.Mounts = s.Grant.Mounts[:6] // its folders are another's
		})
	}
	for name, s := range differs {
		if _, used := begin(t, n, s); used {
			t.Errorf("%s: the spare was used", name)
		}
	}
	if n.Spares() != 1 {
		t.Fatalf("%d spares are left", n.Spares())
	}
	// Another group with the same rights but for its own folders is served.
	same := with(func(s *Spec) {
		s.Grant.Group = "work"
		s.Grant.Mounts = append(s.Grant.Mounts, grant.Mount{Target: grant.Extra + "/other", Source: other, Foreign: true})
	})
	b, used := begin(t, n, same)
	if !used || n.Spares() != 0 {
		t.Errorf("an equal shape was started from a spare: %t, and %d are left", used, n.Spares())
	}
	if got := b.sh("ls " + grant.Extra + "; touch " + grant.Extra + "/other/x 2>&1"); !strings.HasPrefix(got, "other\n") || !strings.Contains(got, "Read-only") {
		t.Errorf("the mount that came later: %q", got)
	}
	if _, used := begin(t, n, spec); used {
		t.Error("a spare was used twice")
	}
}

// A change of the mounts is noticed by who asks, once, and told to who waits. It
// is made in a mount namespace of its own.
func TestMountChangesAreNoticed(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{roleVar + "=mounter"}
	uid, gid := os.Getuid(), os.Getgid()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "before false, after true, again false, told\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// playMounter is the program of the test above.
func playMounter() int {
	told := make(chan struct{}, 10)
	table, err := watchMounts(func() { told <- struct{}{} })
	before := err == nil && table.changed()
	if err == nil {
		err = unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "") // these are copies, and private to us
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	after, again := table.changed(), table.changed()
	<-told
	fmt.Printf("before %t, after %t, again %t, told\n", before, after, again)
	return 0
}

// A folder of the system that was replaced since is another one.
func TestSpareNoticesAReplacedFolder(t *testing.T) {
	spec, dir := fixture(t)
	tools := filepath.Join(dir, "tools")
	if err := os.Mkdir(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	spec.Grant.Mounts = append(spec.Grant.Mounts, grant.Mount{Target: "/opt/tools", Source: tools})
	n := newNative(t, Options{})
	keep(t, n, 1)
	makeSpare(t, n, spec)
	if err := os.Rename(tools, tools+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tools, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b, used := begin(t, n, spec)
	if got := b.sh("ls /opt/tools"); used || got != "new" {
		t.Errorf("from a spare: %t, it shows %q", used, got)
	}
}

// A path that is swapped while a spare is used is found out as in a cold start.
func TestSpareRefusesASwappedMount(t *testing.T) {
	if os.Geteuid() == 0 {
		return // the mount is made from the descriptor: there is nothing to swap
	}
	var swap func(path string)
	check := func(m grant.Mount, canonical string) error {
		if m.Target == grant.Workspace && swap != nil {
			swap(canonical)
		}
		return nil
	}
	n, spec, dir := prepared(t, Options{Check: check})
	victim := filepath.Join(dir, "victim")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	swap = func(path string) {
		os.Rename(path, path+".old")
		os.Mkdir(path, 0o700)
		swap = nil
	}
	id, err := n.identify(spec.UID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.plan(spec, id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	d := p.divide(spec)
	sp := n.spares.take(d)
	if sp == nil {
		t.Fatal("the spare does not fit")
	}
	s, err := n.use(t.Context(), spec, d, sp)
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "changed while starting") {
		t.Errorf("a swapped mount: %v", err)
	}
	if got := alive([]int{sp.child.PID()}); len(got) > 0 {
		t.Error("the init lives on")
	}
}

// While it waits, and after it was used, a spare holds no descriptor of the host
// but its own pipes; the socket is closed before anything of an agent runs.
func TestSpareClosesItsSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root may look into the init
	}
	n, spec, _ := prepared(t, Options{})
	links := func(pid int) string {
		var all []string
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
			all = append(all, link)
		}
		return strings.Join(all, " ")
	}
	if got := links(n.spares.first().child.PID()); strings.Count(got, "socket:") != 1 {
		t.Errorf("a spare has %s", got)
	}
	b, used := begin(t, n, spec)
	if got := links(b.PID()); !used || strings.Contains(got, "socket:") {
		t.Errorf("after its use it has %s", got)
	}
}

// A spare that died is forgotten, and the next start is a cold one.
func TestSpareThatDiesIsForgotten(t *testing.T) {
	n, spec, _ := prepared(t, Options{})
	changed := n.spares.waiter()
	n.spares.first().child.Kill()
	<-changed
	if n.Spares() != 0 {
		t.Errorf("%d spares are left", n.Spares())
	}
	if b, used := begin(t, n, spec); used || b.sh("echo fine") != "fine" {
		t.Error("the start after it")
	}
}

// Spares are made in the background for what was started last, as many as there
// may be, and end when nobody is expected to want them.
func TestSparesFollowWhatIsStarted(t *testing.T) {
	spec, _ := fixture(t)
	n := newNative(t, Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	n.spares.quiet = 0
	n.Keep(2)
	t.Cleanup(n.Close)
	kinds := make([]Spec, 3)
	for i := range kinds {
		kinds[i] = spec
		kinds[i].Grant.Limits.OpenFiles += i
	}
	await := func(want ...int) {
		t.Helper()
		for {
			changed := n.spares.waiter()
			got := make([]int, len(kinds))
			for i, s := range kinds {
				got[i] = n.spares.countOf(t, s)
			}
			if reflect.DeepEqual(got, want) {
				return
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatalf("there are %v, want %v", got, want)
			}
		}
	}
	begin(t, n, kinds[0])
	await(2, 0, 0)
	begin(t, n, kinds[1])
	await(1, 1, 0)
	begin(t, n, kinds[2])
	await(0, 1, 1)
	if _, used := begin(t, n, kinds[1]); !used {
		t.Error("a spare that stood ready was not used")
	}
	await(0, 1, 1)
	n.Close()
	await(0, 0, 0)
	if _, used := begin(t, n, kinds[1]); used {
		t.Error("a spare is there after Close")
	}
}

// first is the oldest one that stands ready.
func (s *spares) first() *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready[0]
}

// waiter gives a channel that is closed when spares come or go.
func (s *spares) waiter() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// countOf counts the spares for sessions like spec.
func (s *spares) countOf(t *testing.T, spec Spec) (n int) {
	t.Helper()
	id, err := s.native.identify(spec.UID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.native.plan(spec, id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	shape := p.divide(spec).shape
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range s.ready {
		if reflect.DeepEqual(sp.shape, shape) {
			n++
		}
	}
	return n
}

// Many at once take each its own spare, and those for whom none is left start
// cold.
func TestSparesServeManyAtOnce(t *testing.T) {
	n, spec, _ := prepared(t, Options{})
	makeSpare(t, n, spec)
	var used, done sync.WaitGroup
	results := make(chan string, 6)
	used.Add(6)
	for range 6 {
		done.Go(func() {
			s, err := n.Start(context.Background(), spec)
			used.Done()
			if err != nil {
				results <- err.Error()
				return
			}
			defer s.Close()
			used.Wait()
			p, err := s.Exec(context.Background(), wire.Exec{Argv: []string{"/bin/echo", "fine"}, Dir: "/"})
			if err != nil {
				results <- err.Error()
				return
			}
			out, err := io.ReadAll(p.Stdout)
			results <- fmt.Sprintf("%t %s %v", s.prepared, out, err)
		})
	}
	done.Wait()
	close(results)
	count := map[string]int{}
	for r := range results {
		count[r]++
	}
	if want := map[string]int{"true fine\n <nil>": 2, "false fine\n <nil>": 4}; !reflect.DeepEqual(count, want) {
		t.Errorf("got %v, want %v", count, want)
	}
}

// A start whose context ends takes the spare down with it.
func TestSpareEndsWithTheContext(t *testing.T) {
	n, spec, _ := prepared(t, Options{})
	pid := n.spares.first().child.PID()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := n.Start(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("Start gave %v, %v", s, err)
	}
	if left := alive([]int{pid}); n.Spares() != 0 || len(left) > 0 {
		t.Errorf("%d spares are left; %v live", n.Spares(), left)
	}
}
