package boundary

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

func TestIdentityInside(t *testing.T) {
	b := start(t)
	want := "1000\n1000\n1000\nagent\nnanoclaw\nnanoclaw-init\n022\n" + grant.Workspace
	if got := b.sh("id -u; id -g; id -G; id -un; uname -n; cat /proc/1/comm; umask | tail -c 4; pwd"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExitCodes(t *testing.T) { exitCodes(t, start(t)) }

func exitCodes(t *testing.T, b *box) {
	t.Helper()
	for _, c := range []struct {
		name, script string
		code, signal int
	}{
		{"success", "exit 0", 0, 0},
		{"failure", "exit 3", 3, 0},
		{"largest", "exit 255", 255, 0},
		{"killed", "kill -9 $$", -1, 9},
		{"terminated", "kill -TERM $$", -1, 15},
	} {
		r := b.run("", "/bin/sh", "-c", c.script)
		if r.Code != c.code || r.Signal != c.signal {
			t.Errorf("%s: code %d, signal %d; want %d, %d", c.name, r.Code, r.Signal, c.code, c.signal)
		}
		if r.MaxRSS <= 0 {
			t.Errorf("%s: no resources are told: %+v", c.name, r.Exited)
		}
	}
}

func TestProgramsThatDoNotRun(t *testing.T) { programsThatDoNotRun(t, start(t)) }

func programsThatDoNotRun(t *testing.T, b *box) {
	t.Helper()
	b.sh("echo '#!/no/such/interpreter' > script; chmod +x script; echo text > text; mkdir folder")
	for _, c := range []struct {
		name                    string
		argv                    []string
		dir                     string
		notFound, notExecutable bool
	}{
		{"missing by name", []string{"no-such-program"}, "", true, false},
		{"missing by path", []string{"/no/such/program"}, "", true, false},
		{"beneath a file", []string{grant.Workspace + "/text/x"}, "", true, false},
		{"nothing", nil, "", true, false},
		{"not executable", []string{grant.Workspace + "/text"}, "", false, true},
		{"a folder", []string{grant.Workspace + "/folder"}, "", false, true},
		{"interpreter missing", []string{"./script"}, "", false, true},
		{"no folder to be in", []string{"true"}, "/no/such/folder", false, false},
	} {
		dir := grant.Workspace
		if c.dir != "" {
			dir = c.dir
		}
		_, err := b.Exec(t.Context(), wire.Exec{Argv: c.argv, Env: b.env, Dir: dir})
		e, ok := errors.AsType[*ExecError](err)
		if !ok {
			t.Errorf("%s: error %v", c.name, err)
			continue
		}
		if e.NotFound != c.notFound || e.NotExecutable != c.notExecutable {
			t.Errorf("%s: not found %t, not executable %t (%v)", c.name, e.NotFound, e.NotExecutable, e)
		}
	}
	if got := b.sh("echo still here"); got != "still here" {
		t.Errorf("after failures the session answers %q", got)
	}
}

func TestStdioIsCarried(t *testing.T) {
	b := start(t)
	big := strings.Repeat("0123456789abcdef", 1<<17)
	for _, mode := range []wire.StdioMode{wire.Pipes, wire.Socketpair} {
		r := b.finish(b.start(wire.Exec{Argv: []string{"cat"}, Stdio: mode}), big)
		if r.out != big || r.Code != 0 {
			t.Errorf("%s: cat gave %d of %d bytes, code %d", mode, len(r.out), len(big), r.Code)
		}
		r = b.finish(b.start(wire.Exec{Argv: []string{"sh", "-c", "echo out; echo err >&2"}, Stdio: mode}), "")
		if r.out != "out\n" || r.err != "err\n" {
			t.Errorf("%s: stdout %q, stderr %q", mode, r.out, r.err)
		}
	}
}

// A process whose output nobody reads waits, and can still be interrupted.
func TestUnreadOutputHoldsUpNothing(t *testing.T) {
	b := start(t)
	flood := b.start(wire.Exec{Argv: []string{"sh", "-c", "exec yes"}})
	if got := b.sh("echo beside it"); got != "beside it" {
		t.Errorf("beside a flood: %q", got)
	}
	if err := flood.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	end, err := flood.Wait(t.Context())
	if err != nil || end.Signal != int(syscall.SIGKILL) {
		t.Errorf("the flood ended with %+v, %v", end, err)
	}
}

// With pipes a child could open its parent's output anew and forge lines. Of a
// socketpair the kernel makes no second opening.
func TestSocketpairCannotBeReopened(t *testing.T) {
	b := start(t)
	forge := []string{"sh", "-c", "sh -c 'echo forged > /proc/'$$'/fd/1' 2>/dev/null; echo honest"}
	if r := b.finish(b.start(wire.Exec{Argv: forge, Stdio: wire.Pipes}), ""); r.out != "forged\nhonest\n" {
		t.Errorf("pipes: %q; the attack of this test does not work", r.out)
	}
	if r := b.finish(b.start(wire.Exec{Argv: forge, Stdio: wire.Socketpair}), ""); r.out != "honest\n" {
		t.Errorf("socketpair: %q", r.out)
	}
}

func TestTerminal(t *testing.T) { terminal(t, start(t)) }

func terminal(t *testing.T, b *box) {
	t.Helper()
	// The new size and the line go different ways, so either may come first.
	script := `tty; stty size; read line; echo got $line; until test "$(stty size)" = "50 132"; do sleep 0.02; done; stty size; cat; echo end of input`
	p := b.start(wire.Exec{Argv: []string{"sh", "-c", script}, Stdio: wire.PTY, Rows: 24, Cols: 80})
	out := bufio.NewReader(p.Stdout)
	expect := func(want string) {
		t.Helper()
		line, err := out.ReadString('\n')
		if got := strings.TrimRight(line, "\r\n"); got != want || err != nil {
			t.Fatalf("the terminal shows %q, %v; want %q", got, err, want)
		}
	}
	expect("/dev/pts/0")
	expect("24 80")
	if err := p.Resize(50, 132); err != nil {
		t.Fatal(err)
	}
	io.WriteString(p.Stdin, "hello\n")
	expect("hello") // the echo
	expect("got hello")
	expect("50 132")
	p.Stdin.Close()
	expect("end of input")
	if end, err := p.Wait(t.Context()); err != nil || end.Code != 0 {
		t.Errorf("ended with %+v, %v", end, err)
	}
}

func TestSignalReachesTheGroup(t *testing.T) { signals(t, start(t)) }

func signals(t *testing.T, b *box) {
	t.Helper()
	p := b.start(wire.Exec{Argv: []string{"sh", "-c", "trap 'echo caught; exit 7' TERM; sh -c 'echo ready; exec sleep 100' & wait"}})
	out := bufio.NewReader(p.Stdout)
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The end of output says that sleep, which holds it too, is gone.
	rest, err := io.ReadAll(out)
	if string(rest) != "caught\n" || err != nil {
		t.Errorf("read %q, %v", rest, err)
	}
	if end, err := p.Wait(t.Context()); err != nil || end.Code != 7 {
		t.Errorf("ended with %+v, %v", end, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal after the end: %v", err)
	}
}

func TestEnvironmentIsTheList(t *testing.T) {
	t.Setenv("NANOCLAW_TEST_SECRET", "sk-canary")
	b := start(t)
	b.env = []string{"A=1", "B=two words"}
	if r := b.run("", "/usr/bin/env"); r.out != "A=1\nB=two words\n" {
		t.Errorf("env: %q", r.out)
	}
	b.env = nil
	if r := b.run("", "/usr/bin/env"); r.out != "" {
		t.Errorf("env of nothing: %q", r.out)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	b := start(t)
	for range 20 {
		b.sh("(sh -c 'exit 0' & ) ; true")
	}
	// Orphans end at their own time; the last shell asks until none is left.
	got := b.sh("i=0; while grep -qs '^State:.Z' /proc/[0-9]*/status && [ $i -lt 100 ]; do i=$((i+1)); sleep 0.05; done; " +
		"grep -ls '^State:.Z' /proc/[0-9]*/status")
	if got != "" {
		t.Errorf("zombies: %s", got)
	}
}

func TestCloseKillsAll(t *testing.T) {
	b := start(t)
	p := b.start(wire.Exec{Argv: []string{"sh", "-c", "trap '' TERM HUP INT; setsid sleep 1000 & echo ready; wait"}})
	if line, err := bufio.NewReader(p.Stdout).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	inside := members(t, b.PID())
	if len(inside) < 3 {
		t.Fatalf("only %v are inside", inside)
	}
	b.Close()
	if left := alive(inside); len(left) > 0 {
		t.Errorf("%v live on", left)
	}
	if !errors.Is(b.Err(), ErrClosed) {
		t.Errorf("the session's end: %v", b.Err())
	}
	if _, err := p.Wait(t.Context()); err == nil {
		t.Error("Wait of a process in a closed session gives no error")
	}
	if _, err := b.Exec(t.Context(), wire.Exec{Argv: []string{"true"}, Dir: "/"}); err == nil {
		t.Error("Exec in a closed session gives no error")
	}
}

// A start may be given up at any moment, and leaves no process and no cgroup.
func TestStartIsGivenUpAtAnyMoment(t *testing.T) {
	e := newEngine(t, Options{})
	before := warm(t, e)
	for i := range 12 {
		spec, _ := fixture(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*4*time.Millisecond, cancel)
		s, err := e.Start(ctx, spec)
		if err == nil {
			s.Close()
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("after %d ms: %v", 4*i, err)
		}
		cancel()
	}
	if left := alive(newMembers(t, before)); len(left) > 0 {
		t.Errorf("%v live on", left)
	}
	if left := ourCgroups(t, shared(e)); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	spec, _ := fixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := newEngine(t, Options{}).Start(ctx, spec)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Start gave %v, %v", s, err)
	}
}
