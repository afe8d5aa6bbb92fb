package boundary

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// What is listed as a difference of an engine is one, and what is not is none.
func TestDifferences(t *testing.T) {
	seen := map[string]func(*testing.T) bool{
		"sizes": tmpIsSmaller, "loader": loaderRunsWhatIsNotToRun, "late link": lateLinkIsFollowed,
		"inotify": watchesAreUnbounded, "names in the image": imageIsListed, "kernel file systems": procIsWritable, "lent folders": strangersFolderIsRefused,
	}
	all := Differences(underTest())
	if InContainers(underTest()) {
		maps.Copy(seen, onGVisor)
		if KernelOf(t.Context(), newEngine(t, Options{})) == GVisor {
			all = append(all, Differences(GVisor)...)
		}
	}
	listed := make(map[string]bool)
	for _, d := range all {
		if d.Name == "" {
			continue
		}
		if seen[d.Name] == nil {
			t.Errorf("nothing shows the difference %q", d.Name)
		}
		listed[d.Name] = d.Holds(os.Geteuid())
	}
	for name, see := range seen {
		t.Run(name, func(t *testing.T) {
			if got := see(t); got != listed[name] {
				t.Errorf("seen %t, listed %t", got, listed[name])
			}
		})
	}
}

// watchesAreUnbounded says whether a session may watch more than its part.
func watchesAreUnbounded(t *testing.T) bool {
	b := start(t)
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Fatal(err)
	}
	got := b.sh(`python3 -c '
import ctypes
c = ctypes.CDLL(None)
n = 0
while n < 200 and c.inotify_init1(0) >= 0: n += 1
print(n)'`)
	said := false
	for _, m := range b.Missing() {
		said = said || strings.HasPrefix(m, "a limit on inotify")
	}
	var inside, outside int
	fmt.Sscan(got, &inside)
	fmt.Sscan(string(text), &outside)
	unbounded := inside > outside/8
	if inside == 0 || outside == 0 || unbounded != said {
		t.Errorf("%q inside, %q outside, missing %q", got, text, b.Missing())
	}
	return unbounded
}

// tmpIsSmaller says whether /tmp holds less than the size of the grant.
func tmpIsSmaller(t *testing.T) bool {
	b := start(t, func(s *Spec) { s.Grant.Limits.TmpSize = 8 << 20 })
	if got := b.sh("head -c 5000000 /dev/zero > /tmp/x && stat -c %s /tmp/x"); got != "5000000" {
		t.Fatalf("five of eight megabytes: %s", got)
	}
	got := b.sh("head -c 7500000 /dev/zero > /tmp/x; stat -c %s /tmp/x")
	return !strings.HasSuffix(got, "7500000")
}

// loaderRunsWhatIsNotToRun says whether the dynamic loader loads a program that
// lies in a folder which the grant lets nothing run from.
func loaderRunsWhatIsNotToRun(t *testing.T) bool {
	folder := filepath.Join(openDir(t), "docs")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, "/usr/bin/env", filepath.Join(folder, "env"))
	b := start(t, withMount(grant.Mount{Target: grant.Extra + "/docs", Source: folder}))
	b.env = append(b.env, "LOADED=yes")
	if got := b.sh(grant.Extra + "/docs/env"); strings.Contains(got, "LOADED") {
		t.Errorf("it runs without the loader: %s", got)
	}
	got := b.sh("for l in /lib64/ld-linux*.so.* /lib/ld-linux*.so.*; do test -e $l && exec $l " + grant.Extra + "/docs/env; done; echo no loader")
	if strings.Contains(got, "no loader") {
		t.Fatal(got)
	}
	return strings.Contains(got, "LOADED=yes")
}

// lateLinkIsFollowed says whether a link, put in the place of a mount between
// the host's look and the engine's work, makes something outside the grant. In
// no case is there a session.
func lateLinkIsFollowed(t *testing.T) bool {
	spec, dir := fixture(t)
	victim, inner := filepath.Join(dir, "victim"), filepath.Join(dir, "inner")
	repo := filepath.Join(dir, "workspace", "repo")
	for _, d := range []string{victim, inner, repo, filepath.Join(repo, "hooks")} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(victim, 0o777); err != nil { // nothing but the boundary stops a write
		t.Fatal(err)
	}
	spec.Grant.Mounts = append(spec.Grant.Mounts, grant.Mount{Target: grant.Workspace + "/repo/hooks", Source: inner})
	spec.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := startBetween(t.Context(), newEngine(t, Options{}), spec, func(*wire.Spec, []source) error {
		if err := os.RemoveAll(repo); err != nil {
			return err
		}
		up := strings.Repeat("../", 12) // of bwrap's interim root, where the host's is "oldroot"
		return os.Symlink(up+"oldroot"+victim, repo)
	})
	if err == nil {
		s.Close()
		t.Error("the session stands")
	}
	t.Log(err)
	entries, err := os.ReadDir(victim)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) > 0
}

// imageIsListed says whether names in the root can be listed that no grant has.
func imageIsListed(t *testing.T) bool {
	return strings.Contains("\n"+start(t).sh("ls /")+"\n", "\nsys\n")
}

// procIsWritable says whether a part of /proc is mounted so that it could be
// written. In no case can it be.
func procIsWritable(t *testing.T) bool {
	b := start(t)
	if got := b.sh("echo x 2>&1 >/proc/self/comm; cat /proc/self/comm"); strings.HasPrefix(got, "x") {
		t.Errorf("it is: %q", got)
	}
	return b.sh(`grep -c '^[0-9]* [0-9]* [^ ]* [^ ]* /proc[^ ]* rw.* - proc ' /proc/self/mountinfo`) != "0"
}

// strangersFolderIsRefused says whether a writable folder of a uid that is not the
// group's is refused. An ordinary user's groups have the user's own uid.
func strangersFolderIsRefused(t *testing.T) bool {
	spec, _ := fixture(t)
	folder := filepath.Join(openDir(t), "theirs")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	spec.Grant.Mounts = append(spec.Grant.Mounts, grant.Mount{Target: grant.Extra + "/theirs", Source: folder, Write: true, Foreign: true})
	s, err := newEngine(t, Options{}).Start(t.Context(), spec)
	if err == nil {
		s.Close()
		return false
	}
	if !strings.Contains(err.Error(), "can lend it to uid") {
		t.Error(err)
	}
	return true
}

// onGVisor see what is so where containers have gVisor's kernel.
var onGVisor = map[string]func(*testing.T) bool{
	"no Landlock": func(t *testing.T) bool {
		return !strings.Contains(start(t).sh("(exec 3<>/proc/self/mem) 2>&1"), "denied")
	},
	"process 1": func(t *testing.T) bool {
		b := start(t)
		p, err := b.Exec(t.Context(), wire.Exec{Argv: []string{"/bin/sh", "-c", "kill -9 1; sleep 0.2"}, Env: b.env, Dir: "/"})
		noError(t, err)
		if _, err = p.Wait(t.Context()); err != nil {
			<-b.Done()
		}
		return err != nil
	},
	"devices": func(t *testing.T) bool { return start(t).sh("ls /dev/fuse 2>&1") == "/dev/fuse" },
	"uid": func(t *testing.T) bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", start(t).PID()))
		noError(t, err)
		return strings.Contains(string(status), "\nUid:\t0\t")
	},
	"processes": func(t *testing.T) bool {
		b := start(t, func(s *Spec) { s.Grant.Limits.Processes = 100 })
		p, err := b.Exec(t.Context(), wire.Exec{Argv: []string{"/bin/sh", "-c", "n=0; while [ $n -lt 80 ]; do sleep 60 >/dev/null 2>&1 & n=$((n+1)); done"}, Env: b.env, Dir: "/"})
		noError(t, err)
		end, err := p.Wait(t.Context())
		return err != nil || end.Code != 0 // the session may end with it
	},
	"held parts": func(t *testing.T) bool {
		dir := openDir(t)
		spec, _ := fixture(t)
		for n := range 280 {
			at := fmt.Sprintf("%s/%d", dir, n)
			noError(t, os.Mkdir(at, 0o755))
			spec.Grant.Mounts = append(spec.Grant.Mounts, grant.Mount{Target: fmt.Sprintf("%s/%d", grant.Extra, n), Source: at, Foreign: true})
		}
		s, err := newEngine(t, Options{}).Start(t.Context(), spec)
		if err == nil {
			s.Close()
		}
		return err != nil
	},
}
