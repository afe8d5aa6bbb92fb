package boundary

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

func newBubblewrap(t testing.TB) *Bubblewrap {
	t.Helper()
	b, err := NewBubblewrap(Options{Init: bytes.NewReader(boundarytest.Init(t))})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What bwrap built is proven by the init: whatever is not as the session's spec
// says refuses the session. Each case tells the init of something that bwrap was
// not told of, as if bwrap had misunderstood.
func TestBubblewrapIsProven(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, p *wrapPlan, dir string)
		want   string
	}{
		{"as it is", func(*testing.T, *wrapPlan, string) {}, ""},
		{"a mount too many", func(_ *testing.T, p *wrapPlan, _ string) {
			p.spec.Mounts = slices.DeleteFunc(p.spec.Mounts, func(m wire.Mount) bool { return m.Target == grant.Home })
		}, "/home/agent is mounted, and nobody asked for it"},
		{"a mount too few", func(_ *testing.T, p *wrapPlan, _ string) {
			p.spec.Mounts = append(p.spec.Mounts, wire.Mount{Target: grant.Global, FD: firstFD})
		}, "mount " + grant.Global},
		{"a folder where a mount should be", func(_ *testing.T, p *wrapPlan, _ string) {
			p.spec.Mounts = append(p.spec.Mounts, wire.Mount{Target: grant.Workspace + "/sub", FD: fdOf(p, grant.Workspace)})
		}, "changed while starting"},
		{"another folder", func(_ *testing.T, p *wrapPlan, _ string) {
			at(p, grant.Workspace).FD, at(p, grant.Home).FD = fdOf(p, grant.Home), fdOf(p, grant.Workspace)
		}, "changed while starting"},
		{"writable, and should not be", func(_ *testing.T, p *wrapPlan, _ string) { at(p, grant.Workspace).Write = false }, "it is not ro"},
		{"another text in a file", func(_ *testing.T, p *wrapPlan, _ string) { p.spec.Files[0].Data = []byte("root:x:0:0") }, "file /etc/passwd"},
		{"a file too many", func(_ *testing.T, p *wrapPlan, _ string) { p.spec.Files = p.spec.Files[1:] }, "/etc/passwd is there, and nobody asked for it"},
		{"a file too few", func(_ *testing.T, p *wrapPlan, _ string) {
			p.spec.Files = append(p.spec.Files, wire.File{Path: "/etc/more"})
		}, "file /etc/more"},
		{"another link", func(_ *testing.T, p *wrapPlan, _ string) { p.spec.Links[0].Target = "/elsewhere" }, "link "},
		{"a namespace that nobody speaks of", func(t *testing.T, p *wrapPlan, _ string) {
			p.spec.Built.Outside = p.spec.Built.Outside[:3] // nobody says which it is
		}, "the net namespace"},
		{"another host name", func(_ *testing.T, p *wrapPlan, _ string) { p.spec.Hostname = "other" }, "the host name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBubblewrap(t)
			spec, dir := fixture(t)
			if err := os.Mkdir(filepath.Join(dir, "workspace", "sub"), 0o755); err != nil {
				t.Fatal(err)
			}
			err := proveChanged(t, b, spec, func(p *wrapPlan) { c.change(t, p, dir) })
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func at(p *wrapPlan, target string) *wire.Mount {
	return &p.spec.Mounts[slices.IndexFunc(p.spec.Mounts, func(m wire.Mount) bool { return m.Target == target })]
}

func fdOf(p *wrapPlan, target string) int { return at(p, target).FD }

// proveChanged lets bwrap build one plan, and the init prove it against a changed
// one.
func proveChanged(t *testing.T, b *Bubblewrap, spec Spec, change func(*wrapPlan)) error {
	t.Helper()
	id, err := b.native.identify(spec.UID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.plan(spec, id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	w, err := b.spawn(t.Context(), id, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.spec.Mounts, p.spec.Files, p.spec.Links = slices.Clone(p.spec.Mounts), slices.Clone(p.spec.Files), slices.Clone(p.spec.Links)
	p.spec.Built.Outside = slices.Clone(p.spec.Built.Outside)
	change(p)
	limits := b.native.bound(spec)
	limits.enter(w.PID())
	s, err := establish(t.Context(), b.Name(), w, w.wire, limits, spec, &p.spec)
	if err == nil {
		s.Close()
	}
	return err
}

// Of a session nothing is in the command line of bwrap, which everybody sees.
func TestBubblewrapTellsNothingInPS(t *testing.T) {
	b := newBubblewrap(t)
	spec, dir := fixture(t)
	s, err := b.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := s.tree.(*wrapped)
	line, err := os.ReadFile("/proc/" + strconv.Itoa(w.child.pid) + "/cmdline")
	if err != nil || !bytes.HasPrefix(line, []byte(b.path+"\x00--args\x00")) {
		t.Fatalf("bwrap's command line is %q, %v", line, err)
	}
	for _, secret := range []string{dir, "/workspace", "nanoclaw-boundary"} {
		if bytes.Contains(line, []byte(secret)) {
			t.Errorf("%q is in %q", secret, line)
		}
	}
}

// Whichever of bwrap and the init is killed, and by whatever, all of the session
// is dead at once, and the host knows.
func TestBubblewrapDiesWhole(t *testing.T) {
	for name, victim := range map[string]func(*wrapped) int{
		"bwrap":    func(w *wrapped) int { return w.child.pid },
		"the init": func(w *wrapped) int { return w.init },
	} {
		b := newBubblewrap(t)
		spec, _ := fixture(t)
		s, err := b.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Exec(t.Context(), wire.Exec{Argv: []string{"/bin/sh", "-c", "trap '' HUP TERM; setsid sleep 1000 & echo ready; wait"}, Dir: "/"})
		if err != nil {
			t.Fatal(err)
		}
		bufio.NewReader(p.Stdout).ReadString('\n')
		w := s.tree.(*wrapped)
		all := members(t, w.child.pid)
		if len(all) < 4 {
			t.Fatalf("only %v are there", all)
		}
		if err := unix.Kill(victim(w), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the session goes on", name)
		}
		if left := alive(all); len(left) > 0 {
			t.Errorf("%s: %v live on", name, left)
		}
		if s.Err() == nil {
			t.Errorf("%s: the session ended without a reason", name)
		}
	}
}

// bwrap may be killed at any moment of a start: the start fails, and leaves
// nothing. A process left would hold the pipe that Start reads to its end.
func TestBubblewrapIsKilledWhileItStarts(t *testing.T) {
	b := newBubblewrap(t)
	before := warm(t, b)
	for i := range 15 {
		spec, _ := fixture(t)
		started := make(chan struct{})
		go func() {
			defer close(started)
			s, err := b.Start(t.Context(), spec)
			if err == nil {
				s.Close()
			}
		}()
		for waiting := true; waiting; {
			if now := newMembers(t, before); len(now) > 0 {
				time.Sleep(time.Duration(i) * time.Millisecond)
				unix.Kill(now[0], unix.SIGKILL)
				break
			}
			select {
			case <-started: // too fast for us
				waiting = false
			default:
			}
		}
		select {
		case <-started:
		case <-time.After(20 * time.Second):
			t.Fatalf("killed after %d ms: a process is left", i)
		}
	}
}

// bwrap is the group's and never root's, in all of its ids and without groups.
func TestBubblewrapIsNeverRoot(t *testing.T) {
	b := newBubblewrap(t)
	spec, _ := fixture(t)
	s, err := b.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := strconv.Itoa(os.Geteuid())
	if spec.UID != 0 {
		want = strconv.Itoa(spec.UID)
	}
	w := s.tree.(*wrapped)
	for _, pid := range []int{w.child.pid, w.init} {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		ids := strings.Repeat("\t"+want, 4) + "\n"
		if !strings.Contains(string(status), "\nUid:"+ids) || !strings.Contains(string(status), "\nGid:"+ids) {
			t.Errorf("process %d is not of %s:\n%s", pid, want, status)
		}
		if os.Geteuid() == 0 && !strings.Contains(string(status), "\nGroups:\t \n") {
			t.Errorf("process %d has groups:\n%s", pid, status)
		}
	}
}

// Without the privilege to lend mounts, root's bubblewrap goes the paths as the
// group's uid: what that cannot reach, and what it could not write, is refused in
// words.
func TestBubblewrapWithoutLending(t *testing.T) {
	if os.Geteuid() != 0 {
		return // an ordinary user is who owns the folders
	}
	b := newBubblewrap(t)
	b.native.caps &^= 1 << unix.CAP_SYS_ADMIN
	spec, dir := fixture(t)
	for _, name := range []string{"workspace", "home"} {
		if err := os.Chown(filepath.Join(dir, name), groupUID, groupUID); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := (&box{Session: s, t: t, env: []string{"PATH=/usr/bin"}}).sh("echo x > made; stat -c %u made"); got != "1000" {
		t.Errorf("inside: %s", got)
	}
	s.Close()
	foreign := filepath.Join(dir, "project")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	lent := spec
	lent.Grant.Mounts = append(slices.Clone(spec.Grant.Mounts), grant.Mount{Target: grant.Extra + "/p", Source: foreign, Write: true, Foreign: true})
	if _, err := b.Start(t.Context(), lent); err == nil || !strings.Contains(err.Error(), "cannot be lent") || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a folder of somebody else: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "cannot reach "+dir) || !strings.Contains(err.Error(), "native") {
		t.Errorf("a folder out of reach: %v", err)
	}
}

// A start whose bwrap does not get far says in bwrap's words why.
func TestBubblewrapSaysWhyItFails(t *testing.T) {
	b := newBubblewrap(t)
	b.native.opts.skip = []string{"pid"} // bwrap refuses --as-pid-1 then
	spec, _ := fixture(t)
	_, err := b.Start(t.Context(), spec)
	if err == nil || !strings.Contains(err.Error(), "bubblewrap: ") || !strings.Contains(err.Error(), "--as-pid-1") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Start(ctx, spec); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("after its context: %v", err)
	}
}

func TestBubblewrapVersion(t *testing.T) {
	for said, want := range map[string]string{
		"bubblewrap 0.8.0": "0.8.0", "bubblewrap 0.11": "0.11", "bubblewrap 1.0.2": "1.0.2",
		"bubblewrap 0.7.0": "", "bubblewrap 0.4.1": "", "bwrap 1": "", "": "", "bubblewrap x.y": "",
	} {
		if got, err := bubblewrapVersion(said); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", said, got, err)
		}
	}
}

// The text of a rendering holds each option, and no descriptor or secret.
func TestBubblewrapRendering(t *testing.T) {
	g, _, dir := asked(t)
	r, err := newBubblewrap(t).Render(Spec{Grant: g, UID: groupUID})
	if err != nil {
		t.Fatal(err)
	}
	text := r.String()
	for _, want := range []string{
		"engine bubblewrap\n", "bwrap --unshare-user\n", "bwrap --unshare-cgroup\n", "bwrap --cap-drop ALL\n", "bwrap --as-pid-1\n",
		"bwrap --bind " + filepath.Join(dir, "groups/family/workspace") + " " + grant.Workspace + "\n",
		"bwrap --ro-bind " + filepath.Join(dir, "extra/ro") + " " + grant.Extra + "/ro\n",
		"bwrap --file (its text) /etc/passwd\n", "bwrap --remount-ro /\n", "file /etc/passwd \"root:", "landlock rw- /dev/shm", "call mount always: EPERM",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "/proc/self/fd") || strings.Contains(text, "--unshare-all") {
		t.Error(text)
	}
}
