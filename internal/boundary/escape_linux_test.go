package boundary

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// plantAll plants what a probe looks for: canaries in a folder that everybody
// may read and in one of ours, a listener on the loopback, variables.
func plantAll(t testing.TB, dir string) wire.Probe {
	t.Helper()
	secret := filepath.Join(dir, "secret")
	if err := os.Mkdir(secret, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(secret, 0o777); err != nil { // nothing but the boundary stops a write
		t.Fatal(err)
	}
	canaries := NewCanaries(dir, secret)
	if err := PlantCanaries(canaries); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := RemoveCanaries(canaries); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NANOCLAW_TEST_SECRET", "sk-canary")
	return wire.Probe{
		Canaries: canaries, WriteTo: []string{secret}, Dial: []string{l.Addr().String()},
		HostPID: os.Getpid(), Env: []string{"NANOCLAW_TEST_SECRET"},
	}
}

func TestProbeFindsNoWayOut(t *testing.T) {
	spec, dir := fixture(t)
	task := plantAll(t, dir)
	report, err := Probe(t.Context(), newEngine(t, Options{}), spec, task)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verdict(task, report); err != nil {
		t.Error(err)
	}
	for _, a := range report.Attempts {
		t.Logf("%-50s broke %-5t %s", a.Name, a.Broke, a.Detail)
	}
}

// Every layer that is left out is noticed by the probe. Without this the test
// above could pass because an attempt does not work.
func TestProbeNoticesEachMissingLayer(t *testing.T) {
	for _, c := range []struct {
		name string
		skip []string
		want []string // attempts that must break
	}{
		{"root", []string{"root", "landlock", "namespaces"}, []string{"read the canary", "write into", "see other processes"}},
		{"network namespace", []string{"net", "loopback", "namespaces"}, []string{"connect to", "find a network interface"}},
		{"ipc namespace", []string{"ipc", "namespaces"}, []string{"see shared memory"}},
		{"seccomp", []string{"seccomp"}, []string{"make a Unix socket", "ask for the session's kernel keyring", threadsAttempt}},
		{"privileges", []string{"privileges", "seccomp"}, []string{"hold a capability", threadsAttempt}},
		{"keyring", []string{"keyring", "seccomp"}, []string{"find the key nanoclaw-canary"}},
		{"limits", []string{"limits"}, []string{"dump core"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, dir := fixture(t)
			task := plantAll(t, dir)
			sharedMemory(t)
			n := newEngine(t, Options{Init: bytes.NewReader(boundarytest.Layers(t)), skip: c.skip})
			plantKey(t, shared(n))
			report, err := Probe(t.Context(), n, spec, task)
			if err != nil {
				t.Fatal(err)
			}
			broke := make(map[string]bool)
			for _, a := range report.Attempts {
				if a.Broke {
					broke[a.Name] = true
				}
			}
			for _, want := range c.want {
				if underTest() == BubblewrapEngine && closedTwice(want) {
					continue
				}
				if !anyPrefix(broke, want) {
					t.Errorf("%q did not break; these did: %v", want, broke)
				}
			}
			if Verdict(task, report) == nil {
				t.Error("the verdict is that it holds")
			}
		})
	}
}

// closedTwice says that bubblewrap holds against an attempt without the layer too:
// it gives up capabilities before the init does, and as root sees the host
// read-only.
func closedTwice(attempt string) bool {
	return attempt == "hold a capability" || attempt == "write into" && os.Geteuid() == 0
}

func anyPrefix(set map[string]bool, prefix string) bool {
	for name := range set {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// sharedMemory makes a System V segment on the host, gone with the test.
func sharedMemory(t *testing.T) {
	t.Helper()
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
}

// plantKey gives this process a session keyring with a key that inits inherit.
// Keyrings belong to threads, so the inits have to come from this one.
func plantKey(t *testing.T, n *Native) {
	t.Helper()
	var err error
	n.cloner.do(func() {
		if _, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); errno != 0 {
			err = errno
			return
		}
		_, err = unix.AddKey("user", "nanoclaw-canary", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The session's keyring is its own, whatever seccomp says about asking for it.
func TestKeyringIsItsOwn(t *testing.T) {
	spec, dir := fixture(t)
	task := plantAll(t, dir)
	n := newEngine(t, Options{Init: bytes.NewReader(boundarytest.Layers(t)), skip: []string{"seccomp"}})
	plantKey(t, shared(n))
	report, err := Probe(t.Context(), n, spec, task)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range report.Attempts {
		if strings.HasPrefix(a.Name, "find the key") && a.Broke {
			t.Error(a)
		}
	}
}

// Landlock is felt where nothing else refuses.
func TestLandlockIsFelt(t *testing.T) {
	if got := start(t).sh("ls / && cat " + landlockCanary); !strings.Contains(got, "workspace") || !strings.Contains(got, "Permission denied") {
		t.Errorf("with Landlock: %s", got)
	}
	without := startWith(t, Options{Init: bytes.NewReader(boundarytest.Layers(t)), skip: []string{"landlock"}})
	if got := without.sh("cat " + landlockCanary); !strings.Contains(got, "Nothing but Landlock") {
		t.Errorf("without Landlock: %s", got)
	}
}

// Landlock's rules are made from the grant: a mount too many is closed by them.
func TestLandlockClosesAMountTooMany(t *testing.T) {
	spec, dir := fixture(t)
	extra := filepath.Join(dir, "extra")
	if err := os.Mkdir(extra, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(extra, "secret"), []byte("canary"), 0o644); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Options{})
	mistaken := spec
	mistaken.Grant.Mounts = append(mistaken.Grant.Mounts[:len(mistaken.Grant.Mounts):len(mistaken.Grant.Mounts)],
		grant.Mount{Target: "/opt/mistake", Source: extra})
	for _, c := range []struct {
		name  string
		rules Spec
		want  string
	}{
		{"rules of the grant", spec, "Permission denied"},
		{"rules with the mistake", mistaken, "canary"},
	} {
		s, err := startBetween(t.Context(), e, mistaken, func(w *wire.Spec, kept []source) error {
			w.Landlock = landlock(c.rules.Grant.Mounts, seen(kept))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin"}}
		if got := b.sh("cat /opt/mistake/secret"); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
		s.Close()
	}
}

func TestSecretsOutsideAreAbsent(t *testing.T) {
	b := start(t)
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	for _, path := range []string{
		home + "/.ssh", "/root", "/etc/shadow", "/etc/ssh", "/var", "/home/other", "/sys", "/boot", b.outside,
		"/proc/kcore", "/dev/kmsg", "/dev/mem", "/dev/vda", "/run/docker.sock", "/proc/1/root/etc/shadow", "/proc/self/root" + b.outside,
	} {
		if got := b.sh("cat " + path + " 2>&1 || ls -A " + path + " 2>&1"); got != "" && !refused(got) {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := b.sh("ls -A ~; ls -A /tmp /run /dev/shm"); got != "/dev/shm:\n\n/run:\n\n/tmp:" {
		t.Errorf("home and private folders hold %q", got)
	}
	if got := b.sh("cat /proc/kallsyms /proc/keys /proc/config.gz /proc/timer_list 2>/dev/null"); got != "" {
		t.Errorf("files about the kernel hold %.100q", got)
	}
}

// refused says whether every line of a command's output is a refusal.
func refused(out string) bool {
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "No such file") && !strings.Contains(line, "Directory nonexistent") && !strings.Contains(line, "Permission denied") &&
			!strings.Contains(line, "Operation not permitted") && !strings.Contains(line, "Read-only file system") {
			return false
		}
	}
	return out != ""
}

func TestWritesOutsideFail(t *testing.T) {
	b := start(t)
	for _, path := range []string{
		"/x", "/usr/x", "/usr/bin/x", "/bin/x", "/etc/x", "/etc/passwd", "/run/x", "/home/x", "/workspace/x", "/dev/x",
		"/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/proc/1/oom_score_adj", "/proc/self/mem",
	} {
		if got := b.sh("(echo x > " + path + ") 2>&1"); !refused(got) {
			t.Errorf("write to %s: %q", path, got)
		}
	}
	if got := b.sh("chmod 777 /usr /etc 2>&1; mount -o remount,rw /usr 2>&1; rm -rf /usr/bin/env 2>&1; test -x /usr/bin/env && echo there"); !strings.HasSuffix(got, "there") {
		t.Error(got)
	}
	if got := b.sh("echo kept > a && mkdir d && mv a d/b && cat d/b && echo tmp > /tmp/x && cat /tmp/x && echo s > /dev/shm/x && cat /dev/shm/x"); got != "kept\ntmp\ns" {
		t.Errorf("what is granted does not work: %q", got)
	}
	if kept, err := os.ReadFile(filepath.Join(b.workspace, "d", "b")); string(kept) != "kept\n" {
		t.Errorf("in the workspace on the host: %q, %v", kept, err)
	}
}

func TestInitTellsNothing(t *testing.T) {
	b := start(t)
	for _, f := range []string{"environ", "mem", "maps", "exe", "auxv", "stack", "io", "fd/0", "fd/9"} {
		if got := b.sh("cat /proc/1/" + f + " 2>&1"); !refused(got) {
			t.Errorf("/proc/1/%s: %q", f, got)
		}
	}
	for _, d := range []string{"fd", "root", "cwd", "task/1/fd", "map_files"} {
		if got := b.sh("ls /proc/1/" + d + "/ 2>&1"); !refused(got) {
			t.Errorf("/proc/1/%s: %q", d, got)
		}
	}
	if got := b.sh("kill -TERM 1; kill -KILL 1; kill -STOP 1; kill -SEGV 1; kill -INT 1; kill -USR1 1; kill -40 1; sleep 0.1; echo alive"); got != "alive" {
		t.Errorf("after signals to the init: %q", got)
	}
}

func TestForeignDescriptorsAreClosed(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Without close-on-exec, as other people's code in our process might leave it.
	var fds []int
	for range 40 {
		fd, err := unix.Open(secret, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	b := start(t)
	if got := b.sh("ls /proc/self/fd"); got != "0\n1\n2\n3" { // 3 is the folder that ls reads
		t.Errorf("descriptors of a process inside: %q", got)
	}
	if got := b.sh(fmt.Sprintf("cat <&%d", fds[0])); strings.Contains(got, "canary") {
		t.Errorf("read through an inherited descriptor: %q", got)
	}
	if os.Geteuid() != 0 {
		return // only root may look into the init
	}
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(b.PID()) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		link, err := os.Readlink("/proc/" + strconv.Itoa(b.PID()) + "/fd/" + e.Name())
		if err == nil && strings.HasPrefix(link, "/") && link != "/null" && link != "/dev/null" {
			t.Errorf("the init holds descriptor %s of %s", e.Name(), link)
		}
	}
}

// The kernel says of each thread of the init, seen from the host, that it is as
// confined as what it starts.
func TestEveryThreadIsConfined(t *testing.T) {
	b := start(t)
	for range 30 { // more threads may come while it works
		b.sh("true")
	}
	if a := threads([]int{b.PID()}, func(status string) error { return confined(status, NativeEngine) }); a.Broke {
		t.Error(a.Detail)
	}
	status := b.sh("cat /proc/self/status")
	if err := confined(status, NativeEngine); err != nil {
		t.Errorf("a process inside: %v", err)
	}
	groups := "\nGroups:\t \n"
	if InContainers(underTest()) {
		groups = "\nGroups:\t1000 \n" // the engine adds the group that it is in anyway
	}
	if !strings.Contains(status, groups) && os.Geteuid() == 0 {
		t.Errorf("supplementary groups are left: %s", status)
	}
}

// A path of the grant that is swapped for a link between the host's look and
// the init's is found out, and nothing is started.
func TestSwappedMountIsRefused(t *testing.T) {
	spec, dir := fixture(t)
	victim := filepath.Join(dir, "victim")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	swap := func(with func(path string) error) func(grant.Mount, string) error {
		return func(m grant.Mount, canonical string) error {
			if m.Target != grant.Workspace {
				return nil
			}
			if err := os.Rename(canonical, canonical+".old"); err != nil {
				return err
			}
			return with(canonical)
		}
	}
	for name, with := range map[string]func(string) error{
		"a link":         func(path string) error { return os.Symlink(victim, path) },
		"another folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		s, err := newEngine(t, Options{Check: swap(with)}).Start(t.Context(), spec)
		workspace := filepath.Join(dir, "workspace")
		if (os.Geteuid() == 0 || underTest() == BubblewrapEngine) && !InContainers(underTest()) {
			// The mount was made from the descriptor, or by the path that it has now.
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin"}}
			b.sh("echo x > written")
			s.Close()
			if _, err := os.Stat(filepath.Join(workspace+".old", "written")); err != nil {
				t.Errorf("%s: the file is not where the folder went: %v", name, err)
			}
		} else if err == nil {
			s.Close()
			t.Errorf("%s: a swapped mount was started", name)
		} else if !strings.Contains(err.Error(), "changed while starting") && !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(victim); err != nil || len(entries) > 0 {
			t.Errorf("%s: the victim holds %v, %v", name, entries, err)
		}
		if err := os.RemoveAll(workspace); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(workspace+".old", workspace); err != nil {
			t.Fatal(err)
		}
	}
}
