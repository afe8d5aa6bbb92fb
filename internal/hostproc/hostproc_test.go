package hostproc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// program writes a shell script and makes it a program.
func program(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunGivesAProgramNothingOfOurs(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "planted-secret")
	path := program(t, t.TempDir(), "show", `echo "args:$0 $*"; pwd; cat; env | sort`)
	out, err := run(t.Context(), path, "show", []string{"--version"})
	if err != nil {
		t.Fatal(err)
	}
	got := string(out)
	if strings.Contains(got, "planted-secret") {
		t.Errorf("a variable of ours reached the program:\n%s", got)
	}
	var names []string
	for line := range strings.Lines(got) {
		if name, _, ok := strings.Cut(line, "="); ok {
			names = append(names, name)
		}
	}
	want := []string{"HOME", "LANG", "PATH", "PWD"} // PWD is the shell's own
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("environment (-want +got):\n%s", d)
	}
	if !strings.HasPrefix(got, "args:"+path+" --version\n/\n") {
		t.Errorf("arguments or folder are not as written down:\n%s", got)
	}
}

func TestRunIsBounded(t *testing.T) {
	t.Run("output", func(t *testing.T) {
		path := program(t, t.TempDir(), "flood", `i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done`)
		out, err := run(t.Context(), path, "flood", nil)
		if err != nil || len(out) != maxOutput {
			t.Errorf("run = %d bytes, %v; want %d bytes", len(out), err, maxOutput)
		}
	})
	t.Run("time, with its children", func(t *testing.T) {
		dir := t.TempDir()
		pidFile := filepath.Join(dir, "pid")
		path := program(t, dir, "hang", fmt.Sprintf("sleep 600 & echo $! >%s.new; mv %s.new %s; wait", pidFile, pidFile, pidFile))
		ctx, cancel := context.WithCancel(t.Context())
		var child int
		go func() {
			child = waitForPID(t, pidFile)
			cancel()
		}()
		if _, err := run(ctx, path, "hang", nil); err == nil {
			t.Error("a program that hangs gave no error")
		}
		for alive(child) {
			time.Sleep(time.Millisecond) // the kernel is about to reap it; the test's own time limit ends a wait in vain
		}
	})
}

// waitForPID reads a process id as soon as the file is there.
func waitForPID(t *testing.T, file string) int {
	for {
		data, err := os.ReadFile(file)
		if err == nil {
			var pid int
			if _, err := fmt.Sscan(string(data), &pid); err != nil {
				t.Error(err)
			}
			return pid
		}
		time.Sleep(time.Millisecond)
	}
}

// alive says that a process runs; one that is dead and not yet reaped does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestAsk(t *testing.T) {
	empty := t.TempDir()
	if got := ask(t.Context(), Podman, []string{empty}); got != (Found{Program: Podman}) {
		t.Errorf("a program that is not installed: %+v", got)
	}
	if got := ask(t.Context(), "rm", []string{empty}); !strings.Contains(got.Problem, "not a program that may be started") {
		t.Errorf("a program that is not on the list: %+v", got)
	}
	// The temporary folder is not root's alone, so what lies in it is not started.
	mark := filepath.Join(empty, "ran")
	program(t, empty, "podman", "touch "+mark)
	got := ask(t.Context(), Podman, []string{empty})
	if got.Version != "" || !strings.Contains(got.Problem, "is not started") {
		t.Errorf("a program in a folder of others: %+v", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the program was started")
	}
}

// The shell of the system stands for an engine: it is a real program of root's.
func TestFindFollowsLinksToTrustedPrograms(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/bin/sh", filepath.Join(dir, "engine")); err != nil {
		t.Fatal(err)
	}
	want, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := find("engine", []string{filepath.Join(dir, "none"), dir}); got != want || err != nil {
		t.Errorf("find = %q, %v; want %q", got, err, want)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if got, err := find("loop", []string{dir}); err == nil {
		t.Errorf("find followed a loop to %q", got)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := find("folder", []string{dir}); err == nil {
		t.Error("find takes a folder for a program")
	}
}

func TestFirstLine(t *testing.T) {
	tests := []struct{ name, out, want string }{
		{"plain", "bubblewrap 0.8.0\nmore\n", "bubblewrap 0.8.0"},
		{"empty lines first", "\n \n podman version 4.3.1\n", "podman version 4.3.1"},
		{"terminal escapes", "\x1b[31mred\x1b[0m\a\n", "[31mred[0m"},
		{"nothing", "", ""},
		{"long", strings.Repeat("x", 500), strings.Repeat("x", maxVersion)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := firstLine([]byte(tt.out)); got != tt.want {
				t.Errorf("firstLine(%q) = %q; want %q", tt.out, got, tt.want)
			}
		})
	}
}

func TestLookReportsEveryKnownProgram(t *testing.T) {
	found := Look(t.Context())
	var got []Program
	for _, f := range found {
		got = append(got, f.Program)
		if f.Path == "" && f.Version != "" {
			t.Errorf("%+v has a version and is nowhere", f)
		}
	}
	if d := cmp.Diff(Known(), got); d != "" {
		t.Errorf("programs (-want +got):\n%s", d)
	}
	// bubblewrap is among the packages that "make deps" installs.
	if bwrap := found[0]; bwrap.Problem != "" || !strings.HasPrefix(bwrap.Version, "bubblewrap ") {
		t.Errorf("bubblewrap is installed, and this was found: %+v", bwrap)
	}
}
