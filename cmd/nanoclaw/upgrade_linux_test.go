package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/config"
	"nanoclaw/internal/service"
)

// manager is a systemctl that ends the daemon whose pid it is told, and writes down what
// was asked of it.
const manager = `#!/bin/sh
cd "${0%/*}"
echo "systemctl $*" >>said
case "$*" in
*show*) cat state 2>/dev/null ;;
"start "*) printf 'ActiveState=active\nSubState=running\nMainPID=1\n' >state ;;
*stop*) printf 'ActiveState=inactive\nSubState=dead\nResult=success\n' >state; kill "$(cat pid)" ;;
esac
`

// Root upgrades the installation of the service's user. The program is root's, so the
// key is too: what the service's configuration names is not asked, or an agent that got
// out would choose what root runs. The backup is made by the service's user.
func TestRootUpgradesTheService(t *testing.T) {
	a := newApp()
	if os.Getuid() != 0 {
		dir := t.TempDir()
		a.host = servedHost
		in, err := a.installation(config.Paths{DataDir: dir}, upgradeOptions{})
		if _, own := in.(*ownInstall); err != nil || !own {
			t.Errorf("an ordinary user upgrades %T, %v", in, err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "nc") // short, for the socket's path
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, data []byte, mode os.FileMode, owner int) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(at(name)), 0o755))
		must(t, os.WriteFile(at(name), data, mode))
		must(t, os.Chown(at(name), owner, owner))
	}
	releases := tinyReleases(t)
	former, err := os.ReadFile(filepath.Join(releases, "nanoclaw"))
	must(t, err)
	key, err := os.ReadFile(filepath.Join(releases, "key.pub"))
	must(t, err)
	write("bin/nanoclaw", former, 0o755, 0)
	write("key.pub", key, 0o600, 0)
	write("manager/systemctl", []byte(manager), 0o755, 0)
	copyProgram(t, at("nanoclaw-served"))
	write("nanoclaw-init", boundarytest.Init(t), 0o755, 0)
	write("home/config/theirs.pub", key, 0o600, serviceUID)
	write("home/config/config.jsonc", fmt.Appendf(nil, `{"version": 1, "upgrade": {"key": %q}, "groups": {"main": {"agent": "shell"}}}`, at("home/config/theirs.pub")), 0o600, serviceUID)
	for _, p := range []string{"home", "home/config", "home/data"} {
		must(t, os.MkdirAll(at(p), 0o700))
		must(t, os.Chown(at(p), serviceUID, serviceUID))
	}
	env := []string{
		"HOME=/root", "PATH=/usr/bin:/bin", "NANOCLAW_HOME=" + at("home"), "MANAGER=" + at("manager"), "PROGRAM=" + at("bin/nanoclaw"), "PROGRAM_VERSION=v1.0.0",
		boundarytest.EnvInit + "=" + at("nanoclaw-init"),
	}
	served := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), at("nanoclaw-served"), args...)
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}
	good := filepath.Join(releases, "good", "nanoclaw_v1.1.0_"+runtime.GOOS+"_"+runtime.GOARCH)
	run := func(args ...string) (string, error) {
		out, err := served(append([]string{"upgrade"}, args...)...).CombinedOutput()
		return string(out), err
	}
	program := func() []byte {
		t.Helper()
		b, err := os.ReadFile(at("bin/nanoclaw"))
		must(t, err)
		return b
	}

	if out, err := run(good); err == nil || !strings.Contains(out, "knows no release key") || !strings.Contains(out, "--key") {
		t.Errorf("the key of the service's configuration is believed: %v\n%s", err, out)
	}
	if out, err := run("--key", at("home/config/theirs.pub"), good); err == nil || !strings.Contains(out, "cannot be trusted") {
		t.Errorf("a key that is not root's is believed: %v\n%s", err, out)
	}
	if !bytes.Equal(program(), former) {
		t.Fatal("the program changed")
	}
	left := func() []string {
		names, err := filepath.Glob(at("home/nanoclaw-before-upgrade-*/*"))
		must(t, err)
		if empty, err := filepath.Glob(at("home/nanoclaw-before-upgrade-*")); err != nil || len(empty) != len(names) {
			t.Errorf("folders %q, files %q", empty, names)
		}
		return names
	}
	if withCgo {
		out, err := run("--key", at("key.pub"), good)
		if err == nil || !strings.Contains(out, "built with cgo") || !bytes.Equal(program(), former) {
			t.Errorf("a program that cannot become another user: %v\n%s", err, out)
		}
		if names := left(); len(names) > 0 {
			t.Errorf("left behind: %q", names)
		}
		return
	}

	daemon := served("run")
	daemon.Stdout, daemon.Stderr = t.Output(), t.Output()
	must(t, daemon.Start())
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	t.Cleanup(func() { daemon.Process.Signal(syscall.SIGTERM) })
	for served("status").Run() != nil {
		select {
		case err := <-ended:
			t.Fatalf("the daemon ended: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	// While it is nobody's service, it is nobody's to end.
	if out, err := run("--key", at("key.pub"), good); err == nil || !strings.Contains(out, "not as the service") || !bytes.Equal(program(), former) {
		t.Errorf("a daemon that is not the service: %v\n%s", err, out)
	}
	write("units/nanoclaw.service", []byte("# Made by nanoclaw service install.\n"), 0o644, 0)
	write("manager/state", []byte("ActiveState=active\nSubState=running\nMainPID=1\n"), 0o644, 0)
	write("manager/pid", fmt.Append(nil, daemon.Process.Pid), 0o644, 0)
	out, err := run("--key", at("key.pub"), good)
	if err != nil || !strings.Contains(out, "is now v1.1.0") || !strings.Contains(out, "the service runs again") {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	<-ended
	want, err := os.ReadFile(good)
	must(t, err)
	if info, err := os.Stat(at("bin/nanoclaw")); err != nil || uidOfFile(info) != 0 || info.Mode().Perm() != 0o755 || !bytes.Equal(program(), want) {
		t.Errorf("the program: %v, %v", info, err)
	}
	said, err := os.ReadFile(at("manager/said"))
	must(t, err)
	if stop, start := strings.LastIndex(string(said), "stop nanoclaw"), strings.LastIndex(string(said), "start nanoclaw"); stop < 0 || start < stop {
		t.Errorf("the manager was asked:\n%s", said)
	}
	backups := left()
	if len(backups) != 1 {
		t.Fatalf("backups: %q", backups)
	}
	for _, p := range []string{backups[0], filepath.Dir(backups[0])} {
		if info, err := os.Stat(p); err != nil || uidOfFile(info) != serviceUID || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", p, info, err)
		}
	}
	if out, err := served("restore", "--check", backups[0]).CombinedOutput(); err != nil || !strings.Contains(string(out), "hold") {
		t.Errorf("the backup: %v\n%s", err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Only the empty folder that was made is given away: the service's user, to whom the
// folder around it may belong, has put something else under its name.
func TestGivesNothingElseAway(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"made", "full", "open"} {
		must(t, os.Mkdir(at(name), 0o700))
	}
	must(t, os.Chmod(at("open"), 0o755))
	must(t, os.WriteFile(at("full/secret"), nil, 0o600))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	must(t, os.Symlink(at("made"), at("link")))
	to := service.Owner{UID: os.Getuid(), GID: os.Getgid()}
	if os.Getuid() == 0 {
		to = service.Owner{UID: serviceUID, GID: serviceUID}
	}
	for _, name := range []string{"link", "file", "full", "open", "missing"} {
		if err := give(at(name), to); err == nil {
			t.Errorf("%s is given away", name)
		}
	}
	for _, name := range []string{"made", "full", "open", "file", "full/secret"} {
		info, err := os.Stat(at(name))
		must(t, err)
		if uid := uidOfFile(info); uid != os.Getuid() {
			t.Errorf("%s belongs to uid %d now", name, uid)
		}
	}
	must(t, give(at("made"), to))
	if info, err := os.Stat(at("made")); err != nil || uidOfFile(info) != to.UID {
		t.Errorf("what was made belongs to %v, %v", info, err)
	}
}
