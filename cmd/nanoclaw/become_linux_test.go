package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nanoclaw/internal/boundary/boundarytest"
)

// Root at a terminal is the service's user before it touches what is that user's:
// what it writes is theirs, and agents are confined as the service's are. An ordinary
// user becomes nobody, and neither does root in an installation of its own.
func TestRootActsAsTheService(t *testing.T) {
	dir, err := os.MkdirTemp("", "nc") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program, init, home := filepath.Join(dir, "nanoclaw-served"), filepath.Join(dir, "nanoclaw-init"), filepath.Join(dir, "home")
	copyProgram(t, program)
	if err := os.WriteFile(init, boundarytest.Init(t), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(home, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		cmd.Env = []string{"HOME=/root", "PATH=/usr/bin:/bin", "NANOCLAW_HOME=" + home, boundarytest.EnvInit + "=" + init}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	want := os.Getuid()
	if want == 0 {
		want = serviceUID
		for _, p := range []string{home, filepath.Join(home, "data")} {
			if err := os.Chown(p, want, want); err != nil {
				t.Fatal(err)
			}
		}
		if withCgo {
			if out, err := run("exec", "--", "id", "-u"); err == nil || !strings.Contains(out, "CGO_ENABLED=0") {
				t.Errorf("a program that cannot become another user went on: %v, %s", err, out)
			}
			return
		}
	}
	out, err := run("exec", "--", "sh", "-c", "id -u; cut -d' ' -f1-9 /proc/self/status | grep -E '^(CapBnd|Groups)'")
	if err != nil || !strings.Contains(out, "1000\n") || !strings.Contains(out, fmt.Sprintf("CapBnd:\t%016x\n", 0)) {
		t.Errorf("exec: %v\n%s", err, out)
	}
	if out, err := run("group", "add", "family"); err != nil {
		t.Errorf("group add: %v\n%s", err, out)
	}
	// Set-up stays root, for the service's sake, and still writes as the user.
	out, err = run("setup", "--yes", "--no-login", "--no-claude", "--no-service", "--undo", "main")
	if err != nil || !strings.Contains(out, "main is undone") {
		t.Errorf("setup: %v\n%s", err, out)
	}
	for _, p := range []string{"config", "config/config.jsonc", "data/groups", "key", "run"} {
		info, err := os.Stat(filepath.Join(home, p))
		if os.IsNotExist(err) && p == "key" {
			continue // there from the first credential on
		}
		if err != nil {
			t.Error(err)
		} else if uid := uidOfFile(info); uid != want {
			t.Errorf("%s belongs to uid %d, want %d", p, uid, want)
		}
	}
	if os.Getuid() == 0 {
		info, err := os.Stat(filepath.Join(home, "data/groups/main/workspace"))
		if err != nil {
			t.Fatal(err)
		}
		if uid := uidOfFile(info); uid == 0 || uid == want {
			t.Errorf("main's workspace belongs to uid %d, which is not its own", uid)
		}
	}
}

func uidOfFile(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
