package delayed

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// moveAll scans a folder before and after do, and moves what is found.
func moveAll(t *testing.T, dir, to string, do func()) map[string]Moved {
	t.Helper()
	before := scanOf(t, dir, Before)
	do()
	moved, err := Quarantine(to, open(t, dir), Source{Session: "s1", Group: "g", Run: "r1", Folder: dir, At: time.Unix(0, 0)}, moves(Compare(before, scanOf(t, dir, After))))
	must(t, err)
	out := map[string]Moved{}
	for _, m := range moved {
		out[m.Path] = m
	}
	return out
}

// otherFS is a folder on another file system than the test's folders.
func otherFS(t *testing.T, dir string) string {
	t.Helper()
	var here, there syscall.Stat_t
	must(t, syscall.Stat(dir, &here))
	for _, p := range []string{"/dev/shm", "/run/user/" + fmt.Sprint(os.Getuid()), "/var/tmp", "/tmp"} {
		other, err := os.MkdirTemp(p, "nanoclaw-delayed-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(other) })
		if must(t, syscall.Stat(other, &there)); there.Dev != here.Dev {
			return other
		}
	}
	t.Fatal("this machine has one file system alone, and the copy between two cannot be tested")
	return ""
}

// Whatever an agent leaves at a place is moved as what it is, is not followed,
// and holds nobody up: within a file system and across two.
func TestQuarantine(t *testing.T) {
	for _, across := range []bool{false, true} {
		t.Run(fmt.Sprintf("across file systems: %v", across), func(t *testing.T) {
			dir := tree(t, "src/a", "secret", ".git/HEAD")
			to := filepath.Join(t.TempDir(), "quarantine")
			if across {
				to = otherFS(t, dir)
			}
			outside := filepath.Join(t.TempDir(), "outside")
			must(t, os.WriteFile(outside, []byte("the owner's"), 0o644))
			moved := moveAll(t, dir, to, func() {
				grow(t, dir, ".git/hooks/post-checkout", ".vscode -> "+filepath.Dir(outside), ".idea/deep/er/x -> /etc/passwd", "sub/.git/config", ".claude/locked/x")
				must(t, unix.Mkfifo(filepath.Join(dir, ".envrc"), 0o644))
				must(t, unix.Mkfifo(filepath.Join(dir, ".idea/fifo"), 0o644))
				must(t, os.Link(outside, filepath.Join(dir, ".npmrc")))
				listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, ".curlrc"), Net: "unix"})
				must(t, err)
				listener.SetUnlinkOnClose(false)
				must(t, listener.Close())
				if os.Geteuid() == 0 { // nobody else can make a device; this one is /dev/zero's
					must(t, unix.Mknod(filepath.Join(dir, ".mcp.json"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
				}
				must(t, os.WriteFile(filepath.Join(dir, ".mise.\x1b[2J\n\xff.toml"), nil, 0o644))
				must(t, os.Chmod(filepath.Join(dir, ".claude/locked"), 0))
				must(t, os.Chmod(filepath.Join(dir, ".git/hooks"), 0o500))
				must(t, os.Chmod(filepath.Join(dir, ".git"), 0o500))
			})
			places := []string{".git/hooks", ".vscode", ".idea", ".curlrc", "sub/.git/config", ".envrc", ".npmrc", ".claude", ".mise.\x1b[2J\n\xff.toml"}
			if os.Geteuid() == 0 {
				places = append(places, ".mcp.json")
			}
			for _, p := range places {
				m, ok := moved[p]
				if !ok {
					t.Errorf("%q was not found", p)
					continue
				}
				if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
					t.Errorf("%q is still there (%v)", p, m.Err)
				}
				odd := p == ".envrc" || p == ".curlrc" || p == ".mcp.json"
				lost := across && (odd || p == ".idea")
				if (m.Err != nil) != lost {
					t.Errorf("%q: %v", p, m.Err)
				}
				if !strings.HasPrefix(m.To, to+"/") && !(across && odd) || m.To != "" && filepath.Base(m.To) != filepath.Base(p) {
					t.Errorf("%q is at %q", p, m.To)
				}
			}
			if len(moved) != len(places) {
				t.Errorf("moved %v", moved)
			}
			if text, err := os.ReadFile(outside); err != nil || string(text) != "the owner's" {
				t.Errorf("a file outside: %q, %v", text, err)
			}
			if link, err := os.Readlink(filepath.Join(moved[".idea"].To, "deep/er/x")); link != "/etc/passwd" {
				t.Errorf("a link came as %q, %v", link, err)
			}
			if text, err := os.ReadFile(filepath.Join(moved[".git/hooks"].To, "post-checkout")); string(text) != ".git/hooks/post-checkout" {
				t.Errorf("a file came as %q, %v", text, err)
			}
			lists, _ := filepath.Glob(filepath.Join(to, "*/list-*.json"))
			if len(lists) != 1 {
				t.Fatalf("lists: %v", lists)
			}
			list, _ := os.ReadFile(lists[0])
			for _, want := range []string{`"run": "r1"`, `"from": ".git/hooks"`, `"what": "git hooks"`, fmt.Sprintf("%q", dir)} {
				if !strings.Contains(string(list), want) {
					t.Errorf("the list lacks %s:\n%s", want, list)
				}
			}
			must(t, os.Chmod(filepath.Join(dir, ".git"), 0o700)) // for the end of the test
		})
	}
}

// What is beyond the bounds of a copy is removed, and that is said.
func TestCopyIsBounded(t *testing.T) {
	dir := tree(t, "big/1", "big/2", "big/3")
	to := tree(t)
	c := copier{left: 8, entries: 3}
	must(t, c.copy(open(t, dir), "big", open(t, to)))
	if err := c.lost(); err == nil || !strings.Contains(err.Error(), "2 files") {
		t.Errorf("got %v", err)
	}
	must(t, remove(open(t, dir), "big", 0))
	if _, err := os.Lstat(filepath.Join(dir, "big")); err == nil {
		t.Error("it is still there")
	}
}

// While others swap folders for links to elsewhere, and back, neither a scan nor
// a move reaches anything outside.
func TestSwapsWhileMoving(t *testing.T) {
	dir := tree(t, "a/keep", "z/1", "z/2")
	outside := tree(t, ".git/hooks/owner", ".git/config", ".envrc", ".vscode/tasks.json")
	want := scanOf(t, outside, Before)
	root := open(t, dir)
	before := scanOf(t, dir, Before)
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		real, link, at := filepath.Join(dir, "real"), filepath.Join(dir, "link"), filepath.Join(dir, "a")
		os.Symlink(outside, link)
		for {
			select {
			case <-stop:
				return
			default:
			}
			// a is a folder, nothing, a link to outside, nothing, and so on.
			os.Rename(at, real)
			os.Rename(link, at)
			os.Rename(at, link)
			os.Rename(real, at)
		}
	})
	to := filepath.Join(t.TempDir(), "quarantine")
	taken := 0
	for i := range 60 {
		for _, p := range []string{".envrc", ".git/hooks/x", ".vscode/x"} {
			os.MkdirAll(filepath.Join(dir, "real", filepath.Dir(p)), 0o755) // while it is away
			os.WriteFile(filepath.Join(dir, "z", fmt.Sprint(i%3)), nil, 0o644)
			if fd, err := os.OpenRoot(dir); err == nil {
				fd.MkdirAll(filepath.Join("a", filepath.Dir(p)), 0o755)
				fd.WriteFile(filepath.Join("a", p), nil, 0o644)
				fd.Close()
			}
		}
		after, err := Scan(root, dir, After)
		must(t, err)
		found := moves(Compare(before, after))
		moved, err := Quarantine(to, root, Source{Session: fmt.Sprintf("s%d", i), At: time.Unix(0, 0)}, found)
		must(t, err)
		taken += len(moved)
	}
	close(stop)
	swapper.Wait()
	if taken == 0 {
		t.Error("nothing was ever moved: the test shows nothing")
	}
	if got := scanOf(t, outside, Before); len(got.Places) != len(want.Places) || len(Compare(want, got)) > 0 {
		t.Errorf("outside there is %v", got.Places)
	}
}

// A flood of files costs a bounded scan, and hides nothing above it.
func TestFlood(t *testing.T) {
	const folders, files = 20, 5000
	// In memory where there is such a place: making the files is most of the work.
	top, err := os.MkdirTemp("/dev/shm", "nanoclaw-delayed-")
	if err != nil {
		top = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	dir := filepath.Join(top, "project")
	grow(t, dir, ".git/HEAD", "flood/")
	bounds := After
	bounds.Time = time.Hour // this machine may be busy
	before := scanOf(t, dir, bounds)
	for d := range folders {
		sub := filepath.Join(dir, "flood", fmt.Sprint(d))
		must(t, os.Mkdir(sub, 0o755))
		at := open(t, sub)
		for i := range files {
			must(t, unix.Mknodat(int(at.Fd()), fmt.Sprint(i), unix.S_IFREG|0o644, 0))
		}
	}
	grow(t, dir, ".git/hooks/x", ".envrc", "flood/19/.vscode/x")
	after := scanOf(t, dir, bounds)
	if after.Short != "" || after.Entries < folders*files || len(moves(Compare(before, after))) != 3 {
		t.Errorf("%d entries, short %q, found %v", after.Entries, after.Short, Compare(before, after))
	}
	bounds.Entries = folders * files / 2
	short := scanOf(t, dir, bounds)
	found := fmt.Sprint(moves(Compare(before, short)))
	if short.Short == "" || !strings.Contains(found, ".git/hooks") || !strings.Contains(found, ".envrc") {
		t.Errorf("bounded: short %q, found %s", short.Short, found)
	}
}

// As root, files are moved with the rights of the folder's owner and no more,
// as a daemon does that gave up its power over the files of others.
func TestQuarantineAsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		return // an ordinary user has one set of rights, which the tests above use
	}
	const owner = 64123
	dir := tree(t, ".git/HEAD")
	must(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	other := filepath.Join(dir, "roots")
	to := filepath.Join(t.TempDir(), "quarantine")
	moved := moveAll(t, dir, to, func() {
		grow(t, dir, ".git/hooks/x", "roots/.envrc")
		must(t, filepath.Walk(dir, func(p string, _ os.FileInfo, err error) error { return os.Lchown(p, owner, owner) }))
		must(t, os.Lchown(other, 0, 0)) // nothing that an agent could have made
	})
	if m := moved[".git/hooks"]; m.Err != nil || m.To == "" {
		t.Errorf("the owner's: %v", m.Err)
	}
	if m := moved["roots/.envrc"]; m.Err == nil || m.To != "" {
		t.Errorf("root's was moved with root's rights to %q", m.To)
	}
	var st syscall.Stat_t
	must(t, syscall.Stat(filepath.Dir(moved[".git/hooks"].To), &st))
	if st.Uid != 0 || st.Mode&0o777 != 0o700 {
		t.Errorf("the box belongs to %d, mode %o", st.Uid, st.Mode)
	}
	kept, err := Named(to, moved[".git/hooks"].ID)
	must(t, err)
	must(t, Restore(kept[0]))
	if must(t, syscall.Stat(filepath.Join(dir, ".git/hooks/x"), &st)); st.Uid != owner {
		t.Errorf("what was restored belongs to %d", st.Uid)
	}
	if now, _ := unix.SetfsuidRetUid(-1); now != 0 {
		t.Errorf("a thread still acts as %d", now)
	}
}
