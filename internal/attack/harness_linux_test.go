package attack

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/attack/attacktest"
	"nanoclaw/internal/attack/inside"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/grant"
)

const (
	// groupUID is the kernel uid of the sessions that root's tests start.
	groupUID = 1900000011
	// plainUID is an ordinary user that nothing else uses.
	plainUID = 64999
	// keyringVar says that this process has a session keyring of its own.
	keyringVar = "NANOCLAW_TEST_KEYRING"
	// tableVar names a file for the reports of a run, see TestCatalogue.
	tableVar = "NANOCLAW_ATTACK_TABLE"
)

// TestMain gives the whole process a session keyring that is not the
// developer's. It belongs to threads, so the process starts itself anew from the
// thread that has joined one.
func TestMain(m *testing.M) {
	if os.Getenv(keyringVar) == "" {
		runtime.LockOSThread()
		if _, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); errno == 0 {
			err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), keyringVar+"=1"))
			fmt.Fprintln(os.Stderr, "start anew:", err)
			os.Exit(1)
		}
		runtime.UnlockOSThread()
	}
	os.Exit(m.Run())
}

// TestAsOrdinaryUser runs all tests of this package once more as a user without
// any privilege.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the tests beside this one are run by an ordinary user already
	}
	dir := openDir(t)
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, plainUID, plainUID); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "attack.test")
	cmd := exec.CommandContext(t.Context(), binary, "-test.skip=^(TestAsOrdinaryUser|TestNamedTestsExist|TestCatalogueInContainers)$", "-test.timeout=10m")
	if testing.Verbose() {
		cmd.Args = append(cmd.Args, "-test.v")
	}
	cmd.Dir = dir
	srt := filepath.Join(dir, "srt")
	if err := os.CopyFS(srt, os.DirFS(srtFolder(t))); err != nil {
		t.Fatal(err)
	}
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + tmp, "HOME=" + tmp, srtVar + "=" + srt}
	for name, program := range map[string][]byte{
		"": self, boundarytest.EnvInit: boundarytest.Init(t), attacktest.EnvProgram: attacktest.Program(t),
	} {
		path := binary
		if name != "" {
			path = filepath.Join(dir, name)
			cmd.Env = append(cmd.Env, name+"="+path)
		}
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if table := os.Getenv(tableVar); table != "" {
		theirs := filepath.Join(tmp, "table")
		cmd.Env = append(cmd.Env, tableVar+"="+theirs)
		defer appendFile(t, table, theirs)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: plainUID, Gid: plainUID}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as uid %d: %v", plainUID, err)
	}
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
}

func appendFile(t *testing.T, to, from string) {
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

// openDir makes a folder that every user can enter.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nanoclaw-attack-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// attacker gives the path of the program that plays the attacker.
func attacker(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(attacktest.EnvProgram); path != "" {
		return path
	}
	path := filepath.Join(openDir(t), "attack")
	if err := os.WriteFile(path, attacktest.Program(t), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// srtVar names the folder with srt and its Node.js, which make fetches.
const srtVar = "NANOCLAW_TEST_SRT"

func srtFolder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(srtVar)
	if dir == "" {
		dir = filepath.Join("..", "..", "tools", "srt")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatalf("srt is missing, which make test fetches: %v", err)
	}
	return dir
}

// options are those of a run on an engine with an init.
func options(t testing.TB, engine string, program []byte) Options {
	t.Helper()
	with := boundary.Options{Init: bytes.NewReader(program), Dir: openDir(t)}
	if engine == boundary.SRTEngine {
		modules := filepath.Join(srtFolder(t), "node_modules")
		with.SRT = boundary.SRTOptions{
			Path: filepath.Join(modules, "@anthropic-ai", "sandbox-runtime"),
			Node: filepath.Join(modules, "node-linux-"+strings.Replace(runtime.GOARCH, "amd64", "x64", 1), "bin", "node"),
		}
	}
	e, err := boundary.New(engine, with)
	if err != nil {
		t.Fatal(err)
	}
	return optionsOf(t, e)
}

// optionsOf are those of a run on an engine that was made.
func optionsOf(t testing.TB, e Engine) Options {
	t.Helper()
	g := grant.Grant{Group: "attack", Mode: grant.HostMode, Agent: grant.Shell, Env: []grant.Var{
		{Name: "PATH", Value: "/usr/bin:/bin"}, {Name: "HOME", Value: grant.Home}, {Name: "TMPDIR", Value: "/tmp"},
	}}
	for _, d := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"} {
		g.Mounts = append(g.Mounts, grant.Mount{Target: d, Source: d, Exec: true, Optional: true})
	}
	if e.Name() == boundary.SRTEngine { // srt looks for its programs with Debian's "which", which leads there
		g.Mounts = append(g.Mounts, grant.Mount{Target: "/etc/alternatives", Source: "/etc/alternatives", Optional: true})
	}
	o := Options{Engine: e, Program: attacker(t), Grant: g, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if os.Geteuid() == 0 {
		o.UID = groupUID
	}
	return o
}

// catalogued gives the lines by their names.
func catalogued() map[string]Line {
	all := make(map[string]Line)
	for _, l := range Catalogue() {
		all[l.ID] = l
	}
	return all
}

// controlled runs the control arm and gives what came of it.
func controlled(t *testing.T) []inside.Result {
	t.Helper()
	outside, err := inside.Outside()
	if err != nil {
		t.Fatal(err)
	}
	var task strings.Builder
	task.WriteString(`{"lines":["`)
	for i, l := range Catalogue() {
		if i > 0 {
			task.WriteString(`","`)
		}
		task.WriteString(l.ID)
	}
	task.WriteString(`"]}`)
	cmd := exec.CommandContext(t.Context(), attacker(t), attacktest.StageArg)
	cmd.Env = []string{outside, "PATH=/usr/bin:/bin", inside.WitnessVar + "=canary-of-the-control-arm"}
	cmd.Stdin = strings.NewReader(task.String())
	var said strings.Builder
	cmd.Stderr = &said
	uid, gid := os.Geteuid(), os.Getegid()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if uid == 0 { // never root of the machine
		uid, gid = plainUID, plainUID
		cmd.SysProcAttr.Credential = &syscall.Credential{}
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the control arm: %v\n%s", err, said.String())
	}
	results, err := read(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// controlReport is what came of the control arm, as a report.
func controlReport(results []inside.Result) Report {
	report := Report{Engine: Control, User: "user"}
	if os.Geteuid() == 0 {
		report.User = "root"
	}
	byLine := make(map[string][]inside.Result)
	for _, r := range results {
		byLine[r.Line] = append(byLine[r.Line], r)
	}
	for _, l := range Catalogue() {
		if !l.tried() {
			continue
		}
		o := Outcome{Line: l.ID, State: Left}
		left := make(map[string][]string) // by reason
		for _, r := range byLine[l.ID] {
			switch {
			case r.Left != "":
				left[r.Left] = append(left[r.Left], r.Name)
			case r.Broke && o.State == Left:
				o.State = Worked
			case !r.Broke:
				o.State = Missing
			}
		}
		var texts []string
		for _, why := range slices.Sorted(maps.Keys(left)) {
			texts = append(texts, strings.Join(left[why], ", ")+" ("+why+")")
		}
		o.Detail = strings.Join(texts, "; ")
		report.Outcomes = append(report.Outcomes, o)
	}
	return report
}
