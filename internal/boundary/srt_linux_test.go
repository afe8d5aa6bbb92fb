package boundary

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// srtVar names the folder that tools/srt/install fills.
const srtVar = "NANOCLAW_TEST_SRT"

// srtFolder is that folder.
func srtFolder(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(cmp.Or(os.Getenv(srtVar), "../../tools/srt"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// openSRT is that folder, or where other users cannot enter it a copy.
func openSRT(t testing.TB) string {
	t.Helper()
	at := srtFolder(t)
	for dir := at; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o001 == 0 {
			copied := openDir(t)
			if err := os.CopyFS(copied, os.DirFS(at)); err != nil {
				t.Fatal(err)
			}
			return copied
		}
	}
	return at
}

func srtOptions(folder string) SRTOptions {
	modules := filepath.Join(folder, "node_modules")
	return SRTOptions{
		Path: filepath.Join(modules, "@anthropic-ai", "sandbox-runtime"),
		Node: filepath.Join(modules, "node-linux-"+nodeArch(runtime.GOARCH), "bin", "node"),
	}
}

// newSRT makes the engine of the srt that is pinned for the tests.
func newSRT(t testing.TB, opts Options) *SRT {
	t.Helper()
	if opts.Init == nil {
		opts.Init = bytes.NewReader(boundarytest.Init(t))
	}
	opts.Dir, opts.SRT = openDir(t), srtOptions(srtFolder(t))
	s, err := NewSRT(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// alternatives are where Debian's "which" leads.
var alternatives = grant.Mount{Target: "/etc/alternatives", Source: "/etc/alternatives", Optional: true}

// fixtureSRT is fixture with what srt needs beside /usr.
func fixtureSRT(t testing.TB) (Spec, string) {
	spec, dir := fixture(t)
	spec.Grant.Mounts = append(spec.Grant.Mounts, alternatives)
	return spec, dir
}

// startSRT is start for the engine srt.
func startSRT(t testing.TB, e *SRT, f ...func(*Spec)) *box {
	t.Helper()
	spec, dir := fixtureSRT(t)
	spec.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	for _, change := range f {
		change(&spec)
	}
	s, err := e.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &box{
		Session: s, t: t, outside: dir, workspace: filepath.Join(dir, "workspace"),
		env: []string{"PATH=/usr/bin:/bin", "HOME=" + grant.Home},
	}
}

// One session answers for what every engine owes: programs run as natively, with
// their bytes, signals, codes and terminals.
func TestSRTRunsPrograms(t *testing.T) {
	t.Setenv("NANOCLAW_TEST_SECRET", "sk-canary")
	b := startSRT(t, newSRT(t, Options{}), endpoints(func(kind wire.Kind, conn net.Conn) {
		got := make([]byte, 5)
		io.ReadFull(conn, got)
		io.WriteString(conn, string(kind)+" got "+string(got))
	}))
	for _, test := range []struct {
		name string
		run  func(*testing.T, *box)
	}{
		{"identity", func(t *testing.T, b *box) {
			want := "1000\n1000\n1000\nagent\nnanoclaw\n" + grant.Workspace
			if got := b.sh("id -u; id -g; id -G; id -un; uname -n; pwd"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}},
		{"exit codes", exitCodes},
		{"programs that do not run", programsThatDoNotRun},
		{"standard streams", func(t *testing.T, b *box) {
			big := strings.Repeat("0123456789abcdef", 1<<16)
			if r := b.run(big, "sh", "-c", "cat; echo words >&2; exit 5"); r.out != big || r.err != "words\n" || r.Code != 5 {
				t.Errorf("cat gave %d of %d bytes, %q and code %d", len(r.out), len(big), r.err, r.Code)
			}
		}},
		{"terminal", terminal},
		{"signals", signals},
		{"environment", func(t *testing.T, b *box) {
			own := *b
			own.env = []string{"A=1", "B=two words"}
			if r := own.run("", "/usr/bin/env"); r.out != "A=1\nB=two words\n" {
				t.Errorf("env: %q", r.out)
			}
		}},
		{"endpoints", func(t *testing.T, b *box) {
			// 3128 is also the port of the relay that srt would start.
			for port, want := range map[string]string{"3128": "proxy got hello", "8480": "model got hello"} {
				if r := b.run("", "bash", "-c", ask, port); r.out != want || r.Code != 0 {
					t.Errorf("port %s: %+v, want %q", port, r, want)
				}
			}
			if r := b.run("", "bash", "-c", ask, "1080"); !strings.Contains(r.err, "refused") {
				t.Errorf("a port that is no endpoint: %+v", r)
			}
		}},
		{"a folder for Claude Code in /tmp", func(t *testing.T, b *box) {
			if got := b.sh("mkdir /tmp/claude /tmp/claude-1000 && echo made"); got != "made" {
				t.Error(got)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &box{Session: b.Session, t: t, env: b.env}) })
	}
	if got := names(t, b.workspace); !slices.Equal(got, []string{"folder", "script", "text"}) {
		t.Errorf("the workspace holds %q", got)
	}
}

// names lists a folder.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// The probe succeeds with what is documented, and with nothing else.
func TestSRTProbe(t *testing.T) {
	spec, dir := fixtureSRT(t)
	task := plantAll(t, dir)
	sharedMemory(t)
	e := newSRT(t, Options{})
	plantKey(t, e.native)
	report, err := Probe(t.Context(), e, spec, task)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verdict(task, report); err != nil {
		t.Error(err)
	}
	var broke []string
	for _, a := range report.Attempts {
		t.Logf("%-50s broke %-5t %s", a.Name, a.Broke, a.Detail)
		if a.Broke {
			broke = append(broke, a.Name)
		}
	}
	if !slices.Equal(broke, []string{boundingAttempt}) {
		t.Errorf("these succeed: %q", broke)
	}
	for _, want := range srtWords() {
		if !slices.Contains(report.Missing, want) {
			t.Errorf("the session does not say %q", want)
		}
	}
}

// What the second init adds is felt: without it the probe gets out.
func TestSRTAloneIsNoticed(t *testing.T) {
	spec, dir := fixtureSRT(t)
	task := plantAll(t, dir)
	e := newSRT(t, Options{Init: bytes.NewReader(boundarytest.Layers(t)), skip: []string{"keyring", "landlock", "seccomp"}})
	plantKey(t, e.native)
	report, err := Probe(t.Context(), e, spec, task)
	if err != nil {
		t.Fatal(err)
	}
	broken, ok := errors.AsType[*ProbeError](Verdict(task, report))
	if !ok {
		t.Fatal("the verdict is that it holds")
	}
	broke := make(map[string]bool)
	for _, a := range broken.Broke {
		broke[a.Name] = true
	}
	for _, want := range []string{"find the key nanoclaw-canary of the host", "ask for the session's kernel keyring"} {
		if !broke[want] {
			t.Errorf("%q did not break; these did: %v", want, broke)
		}
	}
}

// What srt alone leaves open is closed; how it was open is in the comments.
func TestSRTEscapes(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	inherited, err := unix.Open(secret, unix.O_RDONLY, 0) // without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	sharedMemory(t)
	b := startSRT(t, newSRT(t, Options{}), func(s *Spec) { s.Grant.Limits.Memory = 256 << 20 })
	for _, c := range []struct{ name, script, want string }{
		{"descriptors of the caller stayed open", "ls /proc/self/fd", "0\n1\n2\n3"}, // 3 is the folder that ls reads
		{"a descriptor read what is hidden", fmt.Sprintf("(cat <&%d) 2>/dev/null", inherited), ""},
		{"the host's shared memory was there", "grep -c -v key /proc/sysvipc/shm", "0"},
		{"the kernel's settings could be written", "(echo '|/tmp/x' > /proc/sys/kernel/core_pattern) 2>/dev/null; echo $?", "2"},
		{"the processes outside were in /proc", "for p in /proc/[0-9]*; do read n < $p/comm; [ $n = sh ] || echo $n; done", "apply-seccomp\nnanoclaw-init"},
		{"srt's parts could be read", "cat " + srtConfig + " " + srtModules + "/*/*/package.json 2>/dev/null | wc -c", "0"},
		{"the socket of srt's proxy was there", "find / -name 'claude-http*' 2>/dev/null; env | grep -c srt", "0"},
		{"the workspace was read-only in places", "mkdir .vscode && echo x > .mcp.json && echo written", "written"},
	} {
		if got := b.sh(c.script); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got, want := names(t, b.workspace), []string{".mcp.json", ".vscode"}; !slices.Equal(got, want) {
		t.Errorf("the workspace holds %q, want %q", got, want)
	}
	// srt knows no limits.
	p := b.start(wire.Exec{Argv: []string{"sh", "-c", "(" + hungry + ") & (" + hungry + ") & " + hungry}})
	if _, err := p.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 256 MB of memory") {
		t.Errorf("a session that used too much ended with %v", err)
	}
}

// The init is an ordinary process here, and what it starts cannot reach it.
func TestSRTInitIsOutOfReach(t *testing.T) {
	b := startSRT(t, newSRT(t, Options{}))
	other := b.start(wire.Exec{Argv: []string{"sh", "-c", "echo $$; exec sleep 1000"}})
	pid, err := bufio.NewReader(other.Stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	script := "exec 2>/dev/null; for s in 0 TERM KILL STOP SEGV; do for p in $PPID 1 " + strings.TrimSpace(pid) + "; do kill -$s $p && echo reached $p; done; done; " +
		"sleep 1000 & kill $! && echo its own"
	if got := b.sh(script); got != "its own" {
		t.Errorf("signals: %q", got)
	}
	if err := b.Err(); err != nil {
		t.Fatalf("the session ended: %v", err)
	}
	if err := other.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if end, err := other.Wait(t.Context()); err != nil || end.Signal != 9 {
		t.Errorf("the other process ended with %+v, %v", end, err)
	}
}

// Whichever part of it is killed, all of it is dead within a second, and the
// workspace is as it was.
func TestSRTEndsWithEachPart(t *testing.T) {
	e := newSRT(t, Options{})
	for _, victim := range []string{"node", "bwrap", "nanoclaw-init"} {
		t.Run(victim, func(t *testing.T) {
			b := startSRT(t, e)
			p := b.start(wire.Exec{Argv: []string{"sh", "-c", "trap '' TERM HUP INT; setsid sleep 1000 & echo ready; wait"}})
			if line, err := bufio.NewReader(p.Stdout).ReadString('\n'); line != "ready\n" {
				t.Fatal(line, err)
			}
			inside := members(t, b.PID())
			pids := watch(t, inside)
			if err := unix.Kill(named(t, inside, victim), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			allEnd(t, pids, time.Now().Add(time.Second))
			<-b.Done()
			if err := b.Err(); err == nil {
				t.Error("the session does not say that it ended")
			}
			if got := names(t, b.workspace); len(got) > 0 {
				t.Errorf("the workspace holds %q", got)
			}
		})
	}
}

// A part that is missing, or that a group could change, refuses the session and
// says what to do.
func TestSRTRefusals(t *testing.T) {
	real := srtOptions(srtFolder(t))
	pkg, node := real.Path, real.Node
	own := openDir(t)
	copied := func(name, manifest string) string {
		dir := filepath.Join(own, name, "node_modules", "@anthropic-ai", "sandbox-runtime")
		if err := os.MkdirAll(filepath.Join(dir, "dist"), 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"package.json": manifest, "dist/cli.js": ""} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	good := copied("good", `{"name": "@anthropic-ai/sandbox-runtime", "version": "`+srtVersion+`"}`)
	open := copied("open", `{"name": "@anthropic-ai/sandbox-runtime", "version": "`+srtVersion+`"}`)
	if err := os.Chmod(filepath.Dir(filepath.Dir(open)), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		opts   SRTOptions
		change func(*Spec)
		want   string
	}{
		{"nothing is installed", SRTOptions{}, nil, "npm install --ignore-scripts --prefix "},
		{"no Node.js", SRTOptions{Path: pkg}, nil, "node-linux-"},
		{"no srt", SRTOptions{Node: node}, nil, "@anthropic-ai/sandbox-runtime@" + srtVersion},
		{"another package", SRTOptions{Node: node, Path: copied("other", `{"name": "other"}`)}, nil, `is the package "other"`},
		{"everybody can change it", SRTOptions{Node: node, Path: open}, nil, "everybody can change"},
		{"the group can change it", SRTOptions{Node: node, Path: good}, func(s *Spec) {
			s.Grant.Mounts = append(s.Grant.Mounts, grant.Mount{Target: "/workspace/extra", Source: own, Write: true})
		}, "the group can change"},
		{"the system's programs are not granted", SRTOptions{Node: node, Path: good}, func(s *Spec) {
			s.Grant.Mounts = nil
		}, "the grant does not show /usr/bin/bwrap"},
	} {
		spec, _ := fixtureSRT(t)
		if c.change != nil {
			c.change(&spec)
		}
		e, err := NewSRT(Options{Init: bytes.NewReader(boundarytest.Init(t)), Dir: openDir(t), SRT: c.opts})
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Start(t.Context(), spec)
		if refusal, ok := errors.AsType[*StartError](err); !ok || refusal.Hint == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := NewSRT(Options{Init: bytes.NewReader(boundarytest.Init(t))}); err == nil {
		t.Error("an engine without a folder for its init is made")
	}
}

// A rendering says all that srt is told, and starts nothing.
func TestSRTRendering(t *testing.T) {
	spec, _ := fixtureSRT(t)
	e := newSRT(t, Options{})
	r, err := e.Render(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"engine srt", `"allowedDomains":[]`, `{"path":"/workspace/group","literal":true}`, "/dist/cli.js --settings ", " nested",
	} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the rendering lacks %q:\n%s", want, r)
		}
	}
	if strings.Contains(r.String(), `"path":"/usr`) {
		t.Error("srt may write what the grant does not let be written")
	}
	if programs := e.Programs(); len(programs) != 3+len(srtPrograms) {
		t.Errorf("it depends on %q", programs)
	}
}

// named finds the first process of a name that is not the agent's own.
func named(t testing.TB, pids []int, name string) int {
	t.Helper()
	for _, pid := range pids {
		if got := nameOf(pid); got == name || name == "node" && got == "MainThread" /* as Node.js calls its own */ {
			return pid
		}
	}
	t.Fatalf("no process is called %q", name)
	return 0
}

// Sessions that run at the same time in one workspace end one by one.
func TestSRTSessionsShareAWorkspace(t *testing.T) {
	e := newSRT(t, Options{})
	spec, dir := fixtureSRT(t)
	var all [3]*box
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			s, err := e.Start(t.Context(), spec)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = &box{Session: s, t: t, env: []string{"PATH=/usr/bin:/bin"}}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	var want []string
	for i, b := range all {
		name := fmt.Sprint(".bashrc", i) // of a kind that srt would guard
		if got := b.sh("echo x > " + name + "; ls -A"); !strings.HasSuffix(got, name) {
			t.Errorf("session %d: %q", i, got)
		}
		want = append(want, name)
		b.Close()
		if got := names(t, filepath.Join(dir, "workspace")); !slices.Equal(got, want) {
			t.Errorf("after session %d the workspace holds %q, want %q", i, got, want)
		}
	}
}
