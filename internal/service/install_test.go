package service

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
	"nanoclaw/internal/hostproc"
)

// machine plays a machine: its manager's answers, and what it was told to do.
type machine struct {
	Host
	done    []hostproc.Act
	shown   string
	user    bool // the system user exists
	linger  bool
	enabled bool
	fail    hostproc.Act
	owners  map[string]int
}

func newMachine(t *testing.T, system string, uid int) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{owners: map[string]int{}}
	m.Host = Host{
		System: system, UID: uid, UserHome: filepath.Join(dir, "user"), ConfigHome: filepath.Join(dir, "user/.config"), SystemUnits: filepath.Join(dir, "units"),
		Do: m.do, Trusted: func(string) error { return nil },
		Lookup: func(string) (int, int, bool, error) { return os.Getuid() + 1000, 7, m.user, nil },
		Chown: func(dir string, _, to Owner) error {
			m.owners[filepath.Base(dir)] = to.UID
			return nil
		},
	}
	return m
}

func (m *machine) do(_ context.Context, a hostproc.Act, _ io.Writer) (string, error) {
	if _, _, err := a.Command(); err != nil {
		return "", err
	}
	if a == m.fail {
		return "", errors.New("the manager is not in the mood")
	}
	switch a {
	case hostproc.Show, hostproc.UserShow:
		if m.enabled {
			return m.shown + "UnitFileState=enabled\n", nil
		}
		return m.shown, nil
	case hostproc.ShowLinger:
		if m.linger {
			return "Linger=yes\n", nil
		}
		return "Linger=no\n", nil
	case hostproc.AddUser, hostproc.RemoveUser:
		m.user = a == hostproc.AddUser
	case hostproc.Linger, hostproc.NoLinger:
		m.linger = a == hostproc.Linger
	case hostproc.Enable, hostproc.UserEnable:
		m.enabled = true
	case hostproc.Disable, hostproc.UserDisable:
		m.enabled = false
	}
	m.done = append(m.done, a)
	return "", nil
}

func options(t *testing.T) Options {
	t.Helper()
	home := t.TempDir()
	p, err := config.Locate(config.Options{Getenv: func(string) string { return home }})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Paths: p, Home: home, Program: "/usr/local/bin/nanoclaw"}
}

// Installing and removing meet in the middle: what was there before is there again,
// and nothing is done twice.
func TestInstallAndRemove(t *testing.T) {
	const mine = hostproc.UserStop
	for _, tt := range []struct {
		name          string
		system        string
		uid           int
		before        func(*machine)
		install, undo []hostproc.Act
	}{
		{"the machine's", "linux", 0, nil,
			[]hostproc.Act{hostproc.AddUser, hostproc.Reload, hostproc.Enable},
			[]hostproc.Act{hostproc.Stop, hostproc.Disable, hostproc.RemoveUser, hostproc.Reload}},
		{"the machine's, whose user was there", "linux", 0, func(m *machine) { m.user = true },
			[]hostproc.Act{hostproc.Reload, hostproc.Enable},
			[]hostproc.Act{hostproc.Stop, hostproc.Disable, hostproc.Reload}},
		{"a user's", "linux", 1000, nil,
			[]hostproc.Act{hostproc.Linger, hostproc.UserReload, hostproc.UserEnable},
			[]hostproc.Act{mine, hostproc.UserDisable, hostproc.NoLinger, hostproc.UserReload}},
		{"a user's, who lingers", "linux", 1000, func(m *machine) { m.linger = true },
			[]hostproc.Act{hostproc.UserReload, hostproc.UserEnable},
			[]hostproc.Act{mine, hostproc.UserDisable, hostproc.UserReload}},
		{"a user's on macOS", "darwin", 501, nil, nil, []hostproc.Act{hostproc.MacShow, hostproc.MacUnload}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, o := newMachine(t, tt.system, tt.uid), options(t)
			if tt.before != nil {
				tt.before(m)
			}
			user, linger := m.user, m.linger
			if _, err := m.Install(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.install, m.done); d != "" {
				t.Errorf("installed (-want +got):\n%s", d)
			}
			text, ok, err := m.Installed()
			if err != nil || !ok {
				t.Fatalf("Installed = %q, %t, %v", text, ok, err)
			}
			if info, err := os.Stat(m.File()); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("the unit: %v, %v", info, err)
			}
			m.done = nil
			again, err := m.Install(t.Context(), o)
			again = slices.DeleteFunc(again, func(s string) bool { return strings.Contains(s, "belongs to uid") }) // nobody here changes owners
			if err != nil || len(again) > 0 || len(m.done) > 0 {
				t.Errorf("a second time: %q, %v, %v", again, m.done, err)
			}
			m.done = nil
			if _, err := m.Remove(t.Context(), o.Paths); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.undo, m.done); d != "" {
				t.Errorf("removed (-want +got):\n%s", d)
			}
			if _, err := os.Stat(m.File()); !errors.Is(err, os.ErrNotExist) || m.user != user || m.linger != linger || m.enabled {
				t.Errorf("afterwards: unit %v, user %t, linger %t, enabled %t", err, m.user, m.linger, m.enabled)
			}
			if changed, err := m.Remove(t.Context(), o.Paths); err != nil || changed != nil {
				t.Errorf("removed twice: %q, %v", changed, err)
			}
		})
	}
}

// An installation that fails half-way is taken up by the next one, and a removal
// too: the record is in the unit, which goes last.
func TestInstallIsTakenUp(t *testing.T) {
	m, o := newMachine(t, "linux", 0), options(t)
	m.fail = hostproc.Enable
	if _, err := m.Install(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	m.fail = ""
	if _, err := m.Install(t.Context(), o); err != nil || !m.enabled {
		t.Fatalf("enabled %t, %v", m.enabled, err)
	}
	m.fail = hostproc.RemoveUser
	if _, err := m.Remove(t.Context(), o.Paths); err == nil || !m.user {
		t.Fatalf("user %t, %v", m.user, err)
	}
	m.fail = ""
	if _, err := m.Remove(t.Context(), o.Paths); err != nil || m.user {
		t.Errorf("user %t, %v", m.user, err)
	}
}

func TestForeignUnitsAreLeftAlone(t *testing.T) {
	m, o := newMachine(t, "linux", 1000), options(t)
	if err := os.MkdirAll(filepath.Dir(m.File()), 0o755); err != nil {
		t.Fatal(err)
	}
	const theirs = "[Service]\nExecStart=/bin/true\n"
	if err := os.WriteFile(m.File(), []byte(theirs), 0o644); err != nil {
		t.Fatal(err)
	}
	_, installing := m.Install(t.Context(), o)
	_, removing := m.Remove(t.Context(), o.Paths)
	starting := m.Start(t.Context())
	if installing == nil || removing == nil || starting == nil || len(m.done) > 0 {
		t.Errorf("install %v, remove %v, start %v, done %v", installing, removing, starting, m.done)
	}
	if text, _, _ := m.Installed(); text != theirs {
		t.Errorf("it is now\n%s", text)
	}
}

func TestRefusals(t *testing.T) {
	o := options(t)
	m := newMachine(t, "linux", 0)
	m.Host.Trusted = func(string) error { return errors.New("others can change it") }
	if _, err := m.Install(t.Context(), o); err == nil || !strings.Contains(err.Error(), "sudo install") || m.user {
		t.Errorf("a program of others: %v", err)
	}
	if _, err := newMachine(t, "darwin", 0).Install(t.Context(), o); err == nil {
		t.Error("root's on macOS was installed")
	}
	asRoot := o
	asRoot.AsRoot = true
	if _, err := newMachine(t, "linux", 1000).Install(t.Context(), asRoot); err == nil {
		t.Error("a user installed a service of root")
	}
}

func TestWhyItDoesNotRun(t *testing.T) {
	for _, tt := range []struct{ shown, why string }{
		{"ActiveState=active\nSubState=running\nMainPID=7\n", ""},
		{"ActiveState=inactive\nResult=success\n", "stopped, or not started"},
		{"ActiveState=failed\nResult=start-limit-hit\n", "five times within ten minutes"},
		{"ActiveState=failed\nResult=watchdog\n", "no sign of life for 1m0s"},
		{"ActiveState=failed\nResult=exit-code\nExecMainStatus=3\n", "exit code 3"},
		{"ActiveState=failed\nResult=oom-kill\n", "out of memory"},
		{"ActiveState=activating\nSubState=auto-restart\nResult=signal\nExecMainStatus=9\n", "it is starting; before: it was ended by signal 9"},
		{"ActiveState=activating\nSubState=start\nResult=success\n", "it is starting"},
	} {
		m := newMachine(t, "linux", 1000)
		if _, err := m.Install(t.Context(), options(t)); err != nil {
			t.Fatal(err)
		}
		m.shown = tt.shown
		s, err := m.Status(t.Context())
		if err != nil || !strings.Contains(s.Why, tt.why) || (s.Why == "") != (tt.why == "") || s.Running != (tt.why == "") || !s.Enabled {
			t.Errorf("%q: %+v, %v", tt.shown, s, err)
		}
		if (s.Fix == "") != s.Running {
			t.Errorf("%q: to mend it: %q", tt.shown, s.Fix)
		}
	}
	if s, err := newMachine(t, "linux", 1000).Status(t.Context()); err != nil || s.Installed || s.Fix == "" {
		t.Errorf("none: %+v, %v", s, err)
	}
}

// Only what is the first owner's changes hands, and nothing behind a link does.
func TestChown(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	from, to := Owner{os.Getuid(), os.Getgid()}, Owner{os.Getuid(), os.Getgid()}
	if from.UID == 0 {
		to = Owner{4711, 4712}
	}
	write := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "groups/main/workspace/file"))
	write(filepath.Join(dir, "store"))
	write(filepath.Join(elsewhere, "secret"))
	if err := os.Symlink(elsewhere, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "groups/main/workspace")
	if from.UID == 0 {
		if err := os.Lchown(theirs, 1900000001, 1900000001); err != nil {
			t.Fatal(err)
		}
	}
	if err := chown(dir, from, to); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		dir: to.UID, filepath.Join(dir, "store"): to.UID, filepath.Join(dir, "groups/main"): to.UID, filepath.Join(dir, "link"): to.UID,
		elsewhere: from.UID, filepath.Join(elsewhere, "secret"): from.UID,
	} {
		if got, err := ownerOf(path); err != nil || got != want {
			t.Errorf("%s belongs to %d (%v), want %d", path, got, err, want)
		}
	}
	if from.UID == 0 {
		for path, want := range map[string]int{theirs: 1900000001, filepath.Join(theirs, "file"): 0} {
			if got, err := ownerOf(path); err != nil || got != want {
				t.Errorf("%s belongs to %d (%v), want %d", path, got, err, want)
			}
		}
	}
	if err := os.Link(filepath.Join(elsewhere, "secret"), filepath.Join(dir, "second")); err != nil {
		t.Fatal(err)
	}
	if err := chown(dir, from, to); err == nil {
		t.Error("a file with a second name was given away")
	}
}

func TestNotify(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "notify"), "@nanoclaw-test-" + filepath.Base(t.TempDir()) + t.Name()} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := Notify(func(string) string { return path }, Ready, "STATUS=x"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := l.Read(b)
		if got := string(b[:n]); err != nil || got != "READY=1\nSTATUS=x" {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if err := Notify(func(string) string { return "" }, Ready); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	if err := Notify(func(string) string { return "/nonexistent/socket" }, Ready); err == nil {
		t.Error("a manager that is not there was told")
	}
}

func TestWatchdogEvery(t *testing.T) {
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"60000000", "7", 20 * time.Second}, {"60000000", "", 20 * time.Second}, {"60000000", "8", 0},
		{"", "", 0}, {"x", "", 0}, {"-1", "", 0}, {"0", "", 0}, {"9223372036854775807", "", 0},
	} {
		env := map[string]string{"WATCHDOG_USEC": tt.usec, "WATCHDOG_PID": tt.pid}
		if got := WatchdogEvery(func(n string) string { return env[n] }, 7); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}
