package boundary

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

func withMount(m grant.Mount) func(*Spec) {
	return func(s *Spec) { s.Grant.Mounts = append(s.Grant.Mounts, m) }
}

// A folder of the owner that is mounted read-write is written as the owner: the
// files are the owner's, and nobody else's are.
func TestOwnersFolderIsWrittenAsTheOwner(t *testing.T) {
	owner := os.Geteuid()
	if owner == 0 {
		owner = 64123
	}
	folder := filepath.Join(openDir(t), "project")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(folder, "owned")
	if err := os.WriteFile(secret, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, secret} {
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	target := grant.Extra + "/project"
	b := start(t, withMount(grant.Mount{Target: target, Source: folder, Write: true, Exec: true, Foreign: true}))
	if got := b.sh("cd " + target + " && cat owned && echo new > made && stat -c %u:%g made owned"); got != "mine1000:1000\n1000:1000" {
		t.Errorf("inside: %q", got)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(folder, "made"), &st); err != nil || int(st.Uid) != owner || int(st.Gid) != owner {
		t.Errorf("on the host the new file belongs to %d:%d (%v), want %d", st.Uid, st.Gid, err, owner)
	}
}

func TestReadOnlyMounts(t *testing.T) {
	folder := filepath.Join(openDir(t), "docs")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "run"), []byte("#!/bin/sh\necho ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []bool{true, false} {
		target := grant.Extra + "/docs"
		b := start(t, withMount(grant.Mount{Target: target, Source: folder, Foreign: foreign}))
		if got := b.sh("cat " + target + "/run | tail -1"); got != "echo ran" {
			t.Errorf("read: %q", got)
		}
		for _, script := range []string{"echo x > run", "touch new", "rm run", "chmod 777 run", "mv run /tmp/x", "ln run /tmp/x", "./run", ": >> run"} {
			if got := b.sh("cd " + target + "; " + script + " 2>&1; test $? -eq 0 && echo worked"); strings.Contains(got, "worked") {
				t.Errorf("%s: %q", script, got)
			}
		}
	}
}

// A mount within a writable one is reached through no link that the agent left
// in there, and cannot be moved away with its parent.
func TestMountsWithinMounts(t *testing.T) {
	spec, dir := fixture(t)
	workspace := filepath.Join(dir, "workspace")
	hooks := filepath.Join(dir, "hooks")
	for _, d := range []string{hooks, filepath.Join(workspace, "repo"), filepath.Join(workspace, "repo", "hooks")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	spec.Grant.Mounts = append([]grant.Mount{{Target: grant.Workspace + "/repo/hooks", Source: hooks}}, spec.Grant.Mounts...)
	n := newEngine(t, Options{})
	s, err := n.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin"}}
	if got := b.sh("echo x 2>&1 > repo/hooks/post-checkout; rmdir repo/hooks; mv repo/hooks repo/h; ls repo"); !strings.HasSuffix(got, "busy") && !strings.Contains(got, "hooks") {
		t.Errorf("%q", got)
	}
	s.Close()
	if entries, _ := os.ReadDir(hooks); len(entries) > 0 {
		t.Errorf("the hooks hold %v", entries)
	}
	// Now the agent's link lies where the mount goes.
	if err := os.Rename(filepath.Join(workspace, "repo"), filepath.Join(workspace, "other")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr", filepath.Join(workspace, "repo")); err != nil {
		t.Fatal(err)
	}
	s, err = n.Start(t.Context(), spec)
	e, ok := errors.AsType[*StartError](err)
	if !ok || e.Step != "root" || !strings.Contains(err.Error(), "symbolic links") {
		t.Errorf("through a link: %v, %v", s, err)
	}
	// And where it goes, there is nothing: making it would leave litter.
	if err := os.Remove(filepath.Join(workspace, "repo")); err != nil {
		t.Fatal(err)
	}
	if _, err = n.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("onto nothing: %v", err)
	}
}

func TestSourcesThatAreRefused(t *testing.T) {
	dir := openDir(t)
	fifo, socket, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket"), filepath.Join(dir, "file")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(socket, link); err != nil {
		t.Fatal(err)
	}
	for _, m := range []grant.Mount{
		{Source: fifo, File: true}, {Source: fifo}, {Source: socket, File: true}, {Source: link, File: true},
		{Source: "/dev/null", File: true}, {Source: "/dev/tty", File: true},
		{Source: file}, {Source: dir, File: true}, {Source: "/"}, {Source: filepath.Join(dir, "absent")},
		{Source: "/proc/self/fd/0"},
	} {
		m.Target = grant.Extra + "/x"
		spec, _ := fixture(t)
		withMount(m)(&spec)
		_, err := newEngine(t, Options{}).Start(t.Context(), spec)
		if e, ok := errors.AsType[*StartError](err); !ok || !strings.HasPrefix(e.Step, "mount") {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

// The check sees where a link really leads.
func TestCheckJudgesTheRealPlace(t *testing.T) {
	dir := openDir(t)
	private, link := filepath.Join(dir, "private"), filepath.Join(dir, "harmless")
	if err := os.Mkdir(private, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(private, link); err != nil {
		t.Fatal(err)
	}
	refuse := errors.New("private")
	spec, _ := fixture(t)
	withMount(grant.Mount{Target: grant.Extra + "/x", Source: link, Foreign: true})(&spec)
	n := newEngine(t, Options{Check: func(_ grant.Mount, canonical string) error {
		if beneath(canonical, private) {
			return refuse
		}
		return nil
	}})
	if _, err := n.Start(t.Context(), spec); !errors.Is(err, refuse) {
		t.Errorf("Start gave %v", err)
	}
}

func TestArrange(t *testing.T) {
	at := func(target, canonical string, exec bool) source {
		return source{Mount: grant.Mount{Target: target, Source: target, Exec: exec}, canonical: canonical}
	}
	workspace := source{Mount: grant.Mount{Target: "/workspace/group", Source: "/data/g", Write: true}, canonical: "/data/g"}
	inner := source{Mount: grant.Mount{Target: "/workspace/group/.git", Source: "/data/g/.git"}, canonical: "/data/g/.git"}
	kept, links := arrange([]source{
		inner, workspace, at("/bin", "/usr/bin", true), at("/usr", "/usr", true), at("/lib64", "/usr/lib64", true),
		at("/usr/local/go", "/usr/local/go", true), // shown by /usr
		at("/usr/local/bin", "/opt/bin", true),     // a link out of /usr, which has to be mounted
		at("/opt/node", "/opt/node-22", true),
		at("/usr/share/doc", "/usr/share/doc", false),
	})
	var targets []string
	for _, m := range kept {
		targets = append(targets, m.Target)
	}
	want := "/usr /workspace/group /opt/node /workspace/group/.git /usr/local/bin"
	if got := strings.Join(targets, " "); got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	if len(links) != 2 || links[0] != (wire.Link{Path: "/bin", Target: "/usr/bin"}) || links[1].Path != "/lib64" {
		t.Errorf("links %v", links)
	}
}

// A folder that we made for a group becomes the group's before its first start,
// with all that is in it.
func TestAdoption(t *testing.T) {
	if os.Geteuid() != 0 {
		return // an ordinary user's groups share its uid
	}
	spec, dir := fixture(t)
	workspace := filepath.Join(dir, "workspace")
	deep := filepath.Join(workspace, "notes", "deep")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "CLAUDE.md"), []byte("memory"), 0o600); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(workspace, "link")); err != nil {
		t.Fatal(err)
	}
	n := newEngine(t, Options{})
	s, err := n.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{Session: s, t: t, env: []string{"PATH=/usr/bin"}}
	if got := b.sh("cat notes/deep/CLAUDE.md; echo more >> notes/deep/CLAUDE.md && echo written"); got != "memorywritten" {
		t.Errorf("inside: %q", got)
	}
	s.Close()
	var st syscall.Stat_t
	if err := syscall.Stat(victim, &st); err != nil || st.Uid != 0 {
		t.Errorf("what a link names belongs to %d, %v", st.Uid, err)
	}
	if err := os.Remove(filepath.Join(workspace, "link")); err != nil {
		t.Fatal(err)
	}
	// A file with a second name elsewhere is not given away.
	if err := os.Chown(workspace, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(victim, filepath.Join(workspace, "second")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "second name") {
		t.Errorf("with a hard link: %v", err)
	}
	// Nor is a folder that is somebody else's.
	if err := os.Chown(workspace, 64123, 64123); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "64123") {
		t.Errorf("somebody else's: %v", err)
	}
}

func TestRootIsNeverTheAgent(t *testing.T) {
	spec, _ := fixture(t)
	spec.UID = 0
	if os.Geteuid() != 0 {
		spec.UID = 1900000009 // nor may an ordinary user take another's
	}
	_, err := newEngine(t, Options{}).Start(t.Context(), spec)
	if e, ok := errors.AsType[*StartError](err); !ok || e.Step != "identity" || e.Hint == "" {
		t.Errorf("Start gave %v", err)
	}
}

func narrow(s *Spec) {
	s.Grant.Limits = grant.Limits{Processes: 60, OpenFiles: 100, FileSize: 1 << 20, TmpSize: 8 << 20}
}

func TestLimits(t *testing.T) {
	b := start(t, narrow)
	if got := b.sh("ulimit -n; ulimit -u 2>/dev/null || bash -c 'ulimit -u'; ulimit -c; bash -c 'ulimit -Hn; ulimit -Hu'"); got != "100\n60\n0\n100\n60" {
		t.Errorf("limits: %q", got)
	}
	if got := b.sh("head -c 2000000 /dev/zero > big; stat -c %s big"); !strings.Contains(got, "1048576") {
		t.Errorf("a large file: %q", got)
	}
	if got := b.sh("for i in $(seq 20); do head -c 1000000 /dev/zero > /tmp/$i 2>&1 || echo full; done | tail -1; rm /tmp/*"); got != "full" {
		t.Errorf("a full /tmp: %q", got)
	}
}

// A bomb that forks all it can takes neither the init nor the session down.
// Whether there is room for one process more is the bomb's choice; if there is
// none, that is said.
func TestForkBomb(t *testing.T) {
	for name, bomb := range map[string][]string{
		"that gives up": {"sh", "-c", "for i in $(seq 200); do sleep 1000 </dev/null >/dev/null 2>&1 & done"},
		"that goes on":  {"bash", "-c", "while :; do sleep 1000 & done"},
	} {
		b := start(t, narrow)
		b.start(wire.Exec{Argv: bomb})
		waitFor(t, func() bool { return len(members(t, b.PID())) > 40 })
		if n := len(members(t, b.PID())); n > 61 {
			t.Errorf("%s: %d processes", name, n)
		}
		p, err := b.Exec(t.Context(), wire.Exec{Argv: []string{"true"}, Env: b.env, Dir: grant.Workspace})
		if err == nil {
			_, err = p.Wait(t.Context())
		} else if e, ok := errors.AsType[*ExecError](err); ok && strings.Contains(e.Text, "limit on processes") {
			err = nil
		}
		if err != nil {
			t.Errorf("%s: one process more: %v", name, err)
		}
		if b.Err() != nil {
			t.Errorf("%s: the session ended: %v", name, b.Err())
		}
		inside := members(t, b.PID())
		b.Close()
		if left := alive(inside); len(left) > 0 {
			t.Errorf("%s: %v live on", name, left)
		}
	}
}

// waitFor waits until ok, for ten seconds.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}
