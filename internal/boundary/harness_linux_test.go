package boundary

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/boundary/podmantest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

const (
	// groupUID is the kernel uid of the sessions that root's tests start.
	groupUID = 1900000007
	// plainUID is an ordinary user that nothing else uses.
	plainUID = 64999
	// roleVar makes the test binary play another program.
	roleVar = "NANOCLAW_TEST_ROLE"
	// sparesVar makes every start of the tests use a spare.
	sparesVar = "NANOCLAW_TEST_SPARES"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "holder":
		hold()
		return
	case "warden":
		os.Exit(playWarden())
	case "victim":
		os.Exit(playVictim())
	case "asker":
		os.Exit(playAsker())
	case "mounter":
		os.Exit(playMounter())
	case "from a file":
		os.Exit(runFromFile())
	}
	if which := os.Getenv(runVar); which != "" {
		flag.Parse()
		flag.Set("test.run", which)
	}
	os.Exit(m.Run())
}

// engineVar names the engine under test: native, unless another run of this test
// binary says otherwise, see TestOtherEngines.
const engineVar = "NANOCLAW_TEST_ENGINE"

func underTest() string {
	if name := os.Getenv(engineVar); name != "" {
		return name
	}
	return NativeEngine
}

// programVar and programEnvVar say where an engine is that starts containers, and
// what its environment is, in lines.
const (
	programVar    = "NANOCLAW_TEST_CONTAINER"
	programEnvVar = "NANOCLAW_TEST_CONTAINER_ENV"
	// runtimeVar is the OCI runtime, if not the engine's own.
	runtimeVar = "NANOCLAW_TEST_CONTAINER_RUNTIME"
	// runVar names the tests of another run of this test binary.
	runVar = "NANOCLAW_TEST_RUN"
)

// ofNative are tests of the native engine's own parts and of what needs no
// engine. All others are the conformance suite, which every engine passes; srt but for
// notOfSRT.
const ofNative = "^(TestAsOrdinaryUser|TestOtherEngines|TestProgramIsImmutable|TestProgramAsAFile|TestLowerPrivileges|" +
	"TestFindUnifiedCgroups|TestUnifiedCgroup|TestLeftoversAreRemoved|TestLimitInWords|TestUIDRange|TestArrange|" +
	"TestRenderShowsWhatStartBuilds|TestBubblewrap.*|TestThroughASpare|TestLaunch.*|TestSpare.*|TestMountChangesAreNoticed|TestWalk.*|TestDiskVerdicts|" +
	"TestMatch.*|TestPodman.*|TestDocker.*|TestContainer.*|TestKin.*|TestSandboxed|TestUnlooked|TestLookAtEnd|TestNoLastLook|TestHandedOut|TestSeatbelt.*|TestSRT.*|" +
	"TestLiesEndTheSession|TestWordsFromInsideAreMadePlain|TestKindsOutsideTheGrantAreRefused|TestStreamsMayArriveAfterTheEnd)$"

// exception are tests of the suite that an engine is not asked for, and why.
type exception struct{ tests, why string }

// notOfContainers are the tests that no engine which starts containers can pass.
// What holds instead, TestPodman and TestDocker assert.
var notOfContainers = []exception{
	{"TestMemoryLimitEndsTheSession|TestRefusedProcessesAreTold|TestProcessorsAreBounded|TestCgroupsLiveWithTheSession",
		"the cgroups are the engine's own and not ours"},
	{"TestNothingOutlivesAKill", "the engine has processes and files of its own, which end a moment later: see TestNothingOutlivesAKilledDaemon, and orphans in TestPodman"},
	{"TestProbeNoticesEachMissingLayer|TestKeyringIsItsOwn", "they leave out steps that here are the engine's, and plant a key in the thread that clones natively"},
	{"TestMountsOfTheHostStayOutside", "the mounts are made in the engine's mount namespace: the proof of each start judges them"},
	{"TestOwnersFolderIsWrittenAsTheOwner|TestRenderMakesNothing", "no engine maps owners: see the difference \"lent folders\""},
	{"TestSecretsOutsideAreAbsent|TestExhaustionStaysInside", "see the differences \"names in the image\" and \"inotify\"; the catalogue of attacks asks for the rest"},
	{"TestExplainAgreesWithTheBoundary", "it asks about a root of our making, and names in an image are the image's"},
	{"TestLandlockClosesAMountTooMany", "its rules are for a root of our making: a session of TestPodman looks at the canary in the image"},
}

// notOfGVisor are those that no engine can pass whose containers have gVisor's kernel.
// What holds instead, TestPodmanOnGVisor asserts.
var notOfGVisor = []exception{
	{"TestForeignDescriptorsAreClosed|TestEveryThreadIsConfined|TestTwentyInOneWorkspace",
		"they look from the machine at processes that here are gVisor's: the probe judges those"},
	{"TestLandlockIsFelt|TestWritesOutsideFail", "its kernel has no Landlock, by which alone /proc/self/mem is closed in a container"},
	{"TestInitTellsNothing", "process 1 can be killed by the agent, and its descriptors be listed; what they are can not be had: see the probe"},
	{"TestSessionsAreLessUrgent", "what is nice inside is gVisor's matter, which is itself less urgent"},
	{"TestForkBombStaysInside|TestStalledConnectionsHoldUpNothing", "a process takes several of the machine's, so that the limit comes sooner"},
	{"TestManyHeldParts", "gVisor does not start with hundreds of mounts"},
}

// notOfSRT are the tests of the suite that srt cannot pass, since it is what it
// is. What holds instead, the tests called TestSRT... assert.
var notOfSRT = []exception{
	{"TestIdentityInside|TestInitTellsNothing|TestEveryThreadIsConfined",
		"process 1 is srt's helper, in whose last user namespace the bounding set is full, and which no filter holds: see TestSRTInitIsOutOfReach, TestSRTProbe"},
	{"TestProbeNoticesEachMissingLayer|TestLandlockClosesAMountTooMany|TestSwappedMountIsRefused",
		"they leave out or change a step of the one init, and here there are two, with srt between them: see TestSRTAloneIsNoticed"},
	{"TestSecretsOutsideAreAbsent", "srt's /proc is not masked: what the kernel tells everybody can be read, see srtDifferences"},
	{"TestMemoryLimitEndsTheSession|TestRefusedProcessesAreTold|TestTwentyInOneWorkspace",
		"Node.js, bubblewrap and shells of srt count as the session's: see TestSRTSessionsShareAWorkspace"},
	{"TestGitWorksInALentFolder", "each folder that srt lets be written is a mount of its own, and git cannot move files from one to another"},
}

// longForSRT are tests that srt passes too, and that a run leaves out, since each
// start takes half a second: what they show is not the engine's, or
// TestSRTRunsPrograms shows it in one session.
const longForSRT = "TestWorks|TestNothingOutlivesADaemonKilledAtAStart|TestNothingOutlivesAKill|TestManyHeldParts|TestStalled.*|" +
	"TestStartIsGivenUpAtAnyMoment|TestDisk.*|TestForkBomb.*|TestProcessorsAreBounded|TestCPUTimeEndsTheSession|TestSourcesThatAreRefused|" +
	"TestExitCodes|TestProgramsThatDoNotRun|TestStdioIsCarried|TestTerminal|TestSignalReachesTheGroup|TestUnreadOutputHoldsUpNothing|" +
	"TestHalfCloseIsCarried|TestPanicEndsItsSessionAlone|TestStartEndsWithItsContext|TestView|" +
	"TestCheckJudgesTheRealPlace|TestAdoption|TestRenderMakesNothing|TestExplainAgreesWithTheProfile|TestWatchdogCounts|TestCgroupsLiveWithTheSession"

// skippedWithSRT is what the run with srt leaves out.
func skippedWithSRT() string {
	return skipping(skipping(ofNative, notOfSRT), []exception{{longForSRT, ""}})
}

// skipping adds exceptions to a pattern of tests.
func skipping(pattern string, but []exception) string {
	skip := []string{strings.TrimSuffix(strings.TrimPrefix(pattern, "^("), ")$")}
	for _, n := range but {
		skip = append(skip, n.tests)
	}
	return "^(" + strings.Join(skip, "|") + ")$"
}

// TestAsOrdinaryUser runs all tests of this package once more as a user without
// any privilege.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the tests beside this one are run by an ordinary user already
	}
	// A rootless podman wants a user of this machine, with further ids (subuid(5)).
	again(t, NativeEngine, plainUID, "^(TestAsOrdinaryUser|TestOtherEngines|TestPodman|TestPodmanConforms)$")
}

// TestOtherEngines runs the conformance suite with every engine but the native
// one, as this user and, if that is root, as an ordinary one.
func TestOtherEngines(t *testing.T) {
	for _, name := range Engines() {
		switch name {
		case NativeEngine:
			continue
		case SRTEngine: // the second run of this package, as an ordinary user, is the other half
			t.Run(name, func(t *testing.T) { again(t, name, os.Geteuid(), skippedWithSRT()) })
			continue
		}
		t.Run(name, func(t *testing.T) { again(t, name, os.Geteuid(), ofNative) })
		if os.Geteuid() == 0 {
			t.Run(name+" as a user", func(t *testing.T) { again(t, name, plainUID, ofNative) })
		}
	}
}

// longVar asks for what takes minutes.
const longVar = "NANOCLAW_TEST_LONG"

// oftenInContainers are those of the suite that every run asks podman for, since each
// start takes half a second. With longVar it is asked for all.
const oftenInContainers = "^(TestNothingOutlivesAKilledDaemon|TestForeignDescriptorsAreClosed|TestSwappedMountIsRefused|TestEveryThreadIsConfined|TestDifferences)$"

// TestPodmanConforms runs the conformance suite in containers of one podman.
func TestPodmanConforms(t *testing.T) {
	p := podmantest.New(t)
	p.Hollow(hollow)
	which := "."
	if os.Getenv(longVar) == "" {
		which = oftenInContainers
	}
	again(t, PodmanEngine, os.Geteuid(), skipping(ofNative, notOfContainers),
		runVar+"="+which, programVar+"="+p.Program, programEnvVar+"="+strings.Join(p.Env, "\n"))
}

// TestPodmanConformsOnGVisor runs it in containers with gVisor's kernel, where its runsc
// is installed.
func TestPodmanConformsOnGVisor(t *testing.T) {
	runsc := podmantest.Runsc()
	if runsc == "" || os.Geteuid() != 0 { // see TestPodmanOnGVisor
		return
	}
	p := podmantest.New(t)
	p.Hollow(hollow)
	which := "."
	if os.Getenv(longVar) == "" {
		which = "^(TestWorks|TestSwappedMountIsRefused|TestDifferences)$"
	}
	again(t, PodmanEngine, os.Geteuid(), skipping(skipping(ofNative, notOfContainers), notOfGVisor),
		runVar+"="+which, programVar+"="+p.Program, programEnvVar+"="+strings.Join(p.Env, "\n"), runtimeVar+"="+runsc)
}

// again runs this test binary once more.
func again(t *testing.T, engine string, uid int, skip string, env ...string) {
	t.Helper()
	dir := openDir(t)
	self := filepath.Join(dir, "boundary.test")
	copyFile(t, "/proc/self/exe", self)
	goroot := boundarytest.GoRoot(t)
	inits := map[string][]byte{boundarytest.EnvInit: boundarytest.Init(t), boundarytest.EnvLayers: boundarytest.Layers(t), boundarytest.EnvGoCache: boundarytest.GoCache(t)}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, uid, uid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.skip="+skip, "-test.timeout=10m")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + tmp, "HOME=" + tmp, engineVar + "=" + engine, boundarytest.EnvGoRoot + "=" + goroot, srtVar + "=" + openSRT(t)}
	cmd.Env = append(cmd.Env, env...)
	for name, program := range inits {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, program, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, name+"="+path)
	}
	if uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s as uid %d: %v\n%s", engine, uid, err, out)
	}
}

// openDir makes a folder that every user can enter.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nanoclaw-boundary-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// box is a started session with its folders.
type box struct {
	*Session
	t testing.TB
	// outside is a folder of the host that is not in the grant; workspace is.
	outside, workspace string
	env                []string
}

// systemGrant grants the system's programs, and nothing else.
func systemGrant() grant.Grant {
	g := grant.Grant{Group: "family", Mode: grant.HostMode, Agent: "shell"}
	for _, d := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"} {
		g.Mounts = append(g.Mounts, grant.Mount{Target: d, Source: d, Exec: true, Optional: true})
	}
	return g
}

// fixture makes the grant of a group with a workspace and a home, both in
// folder dir.
func fixture(t testing.TB) (spec Spec, dir string) {
	t.Helper()
	dir = openDir(t)
	g := systemGrant()
	for target, name := range map[string]string{grant.Workspace: "workspace", grant.Home: "home"} {
		own := filepath.Join(dir, name)
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		g.Mounts = append(g.Mounts, grant.Mount{Target: target, Source: own, Write: true, Exec: true})
	}
	g.Limits = grant.Limits{Memory: 1 << 30, Processes: 200, OpenFiles: 1024, FileSize: 64 << 20, TmpSize: 64 << 20}
	if underTest() == SRTEngine {
		g.Mounts = append(g.Mounts, alternatives)
	}
	spec = Spec{Grant: g}
	if os.Geteuid() == 0 {
		spec.UID = groupUID
	}
	return spec, dir
}

// newEngine makes the engine under test.
func newEngine(t testing.TB, opts Options) Engine {
	t.Helper()
	switch underTest() {
	case NativeEngine:
		return newNative(t, opts)
	case SRTEngine:
		return newSRT(t, opts)
	}
	if opts.Init == nil {
		opts.Init = bytes.NewReader(boundarytest.Init(t))
	}
	if InContainers(underTest()) {
		opts.Dir, opts.Container = cmp.Or(opts.Dir, openDir(t)), suiteContainers()
	}
	e, err := New(underTest(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// suiteContainers are the options of an engine under test that starts containers.
func suiteContainers() ContainerOptions {
	return ContainerOptions{Program: os.Getenv(programVar), Env: strings.Split(os.Getenv(programEnvVar), "\n"), Image: hollow, Install: "suite", Runtime: os.Getenv(runtimeVar)}
}

func newNative(t testing.TB, opts Options) *Native {
	t.Helper()
	if opts.Init == nil {
		opts.Init = bytes.NewReader(boundarytest.Init(t))
	}
	var n *Native
	if os.Getenv(sparesVar) != "" {
		opts.onStart = func(spec Spec) { makeSpare(t, n, spec) }
	}
	var err error
	n, err = NewNative(opts)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(sparesVar) != "" {
		keep(t, n, 1)
	}
	return n
}

// keep lets a boundary keep spares, which only the test makes.
func keep(t testing.TB, n *Native, most int) {
	n.spares.quiet = time.Hour
	n.Keep(most)
	t.Cleanup(n.Close)
}

// makeSpare makes one spare for sessions like spec.
func makeSpare(t testing.TB, n *Native, spec Spec) {
	t.Helper()
	id, err := n.identify(spec.UID)
	if err != nil {
		return // the start says so
	}
	p, err := n.plan(spec, id)
	if err != nil {
		return
	}
	defer p.close()
	before := n.Spares()
	n.spares.add(&recipe{p.divide(spec).shape, spec})
	if n.Spares() != before+1 {
		t.Fatal("no spare could be made")
	}
}

// shared is what every engine of Linux has in common with the native one.
func shared(e Engine) *Native {
	switch e := e.(type) {
	case *Bubblewrap:
		return e.native
	case *SRT:
		return e.native
	case *Container:
		return e.host.native
	default:
		return e.(*Native)
	}
}

// start starts a session with the fixture's grant, changed by f.
func start(t testing.TB, f ...func(*Spec)) *box {
	t.Helper()
	return startWith(t, Options{}, f...)
}

func startWith(t testing.TB, opts Options, f ...func(*Spec)) *box {
	t.Helper()
	spec, dir := fixture(t)
	spec.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	for _, change := range f {
		change(&spec)
	}
	s, err := newEngine(t, opts).Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if s.prepared != (os.Getenv(sparesVar) != "") {
		t.Fatalf("a boundary that stood ready was used: %t", s.prepared)
	}
	return &box{
		Session: s, t: t, outside: dir, workspace: filepath.Join(dir, "workspace"),
		env: []string{"PATH=/usr/bin:/bin", "HOME=" + grant.Home},
	}
}

// result is what a process did.
type result struct {
	out, err string
	wire.Exited
}

// run runs a command to its end.
func (b *box) run(stdin string, argv ...string) result {
	b.t.Helper()
	return b.finish(b.start(wire.Exec{Argv: argv}), stdin)
}

// start starts a process in the workspace.
func (b *box) start(e wire.Exec) *Process {
	b.t.Helper()
	e.Env, e.Dir = b.env, grant.Workspace
	p, err := b.Exec(b.t.Context(), e)
	if err != nil {
		b.t.Fatalf("exec %q: %v", e.Argv, err)
	}
	return p
}

func (b *box) finish(p *Process, stdin string) result {
	b.t.Helper()
	go func() {
		io.WriteString(p.Stdin, stdin)
		p.Stdin.Close()
	}()
	errs := make(chan []byte, 1)
	go func() {
		e, _ := io.ReadAll(p.Stderr)
		errs <- e
	}()
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		b.t.Fatalf("read stdout: %v", err)
	}
	r := result{out: string(out), err: string(<-errs)}
	if r.Exited, err = p.Wait(context.Background()); err != nil {
		b.t.Fatalf("wait: %v", err)
	}
	return r
}

// sh runs a shell command and gives its output, errors after it.
func (b *box) sh(script string) string {
	b.t.Helper()
	r := b.run("", "/bin/sh", "-c", script)
	return strings.TrimRight(r.out+r.err, "\n")
}

func newInit(t testing.TB) []byte { return boundarytest.Init(t) }

// startBetween starts a session with something done between the host's own look
// at the mounts and the building: to the machine, or to what is built.
func startBetween(ctx context.Context, e Engine, spec Spec, between func(w *wire.Spec, kept []source) error) (*Session, error) {
	id, err := shared(e).identify(spec.UID)
	if err != nil {
		return nil, err
	}
	switch e := e.(type) {
	case *Native:
		p, err := e.plan(spec, id)
		if err != nil {
			return nil, err
		}
		defer p.close()
		if err := between(&p.spec, p.kept); err != nil {
			return nil, err
		}
		return e.launch(ctx, spec, p)
	case *Bubblewrap:
		p, err := e.plan(spec, id)
		if err != nil {
			return nil, err
		}
		defer p.close()
		if err := between(&p.spec, p.kept); err != nil {
			return nil, err
		}
		return e.launch(ctx, spec, id, p)
	}
	c, ok := e.(*Container)
	if !ok {
		return nil, errors.New("this engine has no part between")
	}
	facts, err := c.facts(ctx)
	if err != nil {
		return nil, err
	}
	p, err := c.plan(spec, facts)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := between(&p.spec, nil); err != nil {
		return nil, err
	}
	return c.launch(ctx, spec, p)
}
