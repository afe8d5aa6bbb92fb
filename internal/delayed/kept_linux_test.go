package delayed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// keptOf is what is in a quarantine, by its ID.
func keptOf(t *testing.T, dir string) map[string]Kept {
	t.Helper()
	list, err := Contents(dir)
	must(t, err)
	out := make(map[string]Kept)
	for _, k := range list {
		out[k.ID] = k
	}
	return out
}

// What was moved away can be looked at, is given back as it was and where it was,
// and the quarantine is as empty afterwards as before: within a file system and
// across two.
func TestRestore(t *testing.T) {
	for _, across := range []bool{false, true} {
		t.Run(fmt.Sprintf("across file systems: %v", across), func(t *testing.T) {
			dir, to := tree(t, "src/a", ".git/HEAD"), filepath.Join(t.TempDir(), "quarantine")
			if across {
				to = otherFS(t, dir)
			}
			moved := moveAll(t, dir, to, func() { grow(t, dir, ".git/hooks/post-checkout", "src/.envrc", ".git/hooks/sub/x -> /etc/passwd") })
			hooks, env := moved[".git/hooks"].ID, moved["src/.envrc"].ID
			kept := keptOf(t, to)
			if k := kept[hooks]; len(kept) != 2 || k.Path != ".git/hooks" || k.Folder != dir || k.What != "git hooks" || k.Group != "g" || k.Files != 4 || k.Bytes == 0 {
				t.Fatalf("kept: %+v", kept)
			}
			files, more, err := Look(kept[hooks])
			must(t, err)
			var lines []string
			for _, f := range files {
				lines = append(lines, f.Path+" "+f.Link+string(f.Text))
			}
			want := []string{"hooks ", "hooks/post-checkout .git/hooks/post-checkout", "hooks/sub ", "hooks/sub/x /etc/passwd"}
			if d := cmp.Diff(want, lines); d != "" || more {
				t.Error(d, more)
			}

			grow(t, dir, "src/.envrc")
			must(t, os.WriteFile(filepath.Join(dir, "src/.envrc"), []byte("new"), 0o644))
			if err := Restore(kept[env]); err == nil || !strings.Contains(err.Error(), "nothing is overwritten") {
				t.Errorf("onto a file: %v", err)
			}
			if text, _ := os.ReadFile(filepath.Join(dir, "src/.envrc")); string(text) != "new" {
				t.Errorf("the file there is %q", text)
			}
			must(t, os.Remove(filepath.Join(dir, "src/.envrc")))
			must(t, Restore(kept[env]))
			must(t, Restore(kept[hooks]))
			if text, err := os.ReadFile(filepath.Join(dir, ".git/hooks/post-checkout")); string(text) != ".git/hooks/post-checkout" {
				t.Errorf("restored: %q, %v", text, err)
			}
			if left, _ := filepath.Glob(filepath.Join(to, "*")); len(left) > 0 {
				t.Errorf("left in the quarantine: %v", left)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*/.nanoclaw*")); len(left) > 0 {
				t.Errorf("left in the folder: %v", left)
			}
		})
	}
}

// A restore goes where the file was, and through no link that has come into the
// way; a link is not put back.
func TestRestoreFollowsNothing(t *testing.T) {
	dir, outside := tree(t, "src/a"), tree(t, "x")
	to := filepath.Join(t.TempDir(), "quarantine")
	moved := moveAll(t, dir, to, func() {
		grow(t, dir, "src/.envrc", ".vscode -> "+outside)
		must(t, unix.Mkfifo(filepath.Join(dir, ".npmrc"), 0o644))
	})
	kept := keptOf(t, to)
	for _, p := range []string{".vscode", ".npmrc"} {
		if err := Restore(kept[moved[p].ID]); err == nil || !strings.Contains(err.Error(), "neither a file nor a folder") {
			t.Errorf("%s: %v", p, err)
		}
	}
	must(t, os.Rename(filepath.Join(dir, "src"), filepath.Join(dir, "away")))
	must(t, os.Symlink(outside, filepath.Join(dir, "src")))
	env := kept[moved["src/.envrc"].ID]
	if err := Restore(env); err == nil {
		t.Error("it was restored through a link")
	}
	must(t, os.Remove(filepath.Join(dir, "src")))
	if err := Restore(env); err == nil || !strings.Contains(err.Error(), "the folder src is no longer there") {
		t.Errorf("without its folder: %v", err)
	}
	must(t, os.Rename(dir, dir+".moved"))
	must(t, os.Symlink(dir+".moved", dir))
	must(t, os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "src")))
	if err := Restore(env); err == nil || !strings.Contains(err.Error(), "a link has come into the path") {
		t.Errorf("with a link as its folder: %v", err)
	}
	if names, _ := os.ReadDir(outside); len(names) != 1 {
		t.Errorf("outside there is %v", names)
	}
	if len(keptOf(t, to)) != 3 {
		t.Error("what was not restored is gone")
	}
}

// All that is in the quarantine can be removed, whatever it is; by its ID or with
// all of its session. Files that nobody wrote down are there too.
func TestDiscard(t *testing.T) {
	dir := tree(t, "src/a")
	to := filepath.Join(t.TempDir(), "quarantine")
	moveAll(t, dir, to, func() {
		grow(t, dir, ".idea/deep/er/x -> /etc/passwd", "src/.envrc")
		must(t, unix.Mkfifo(filepath.Join(dir, ".npmrc"), 0o644))
		must(t, os.Chmod(filepath.Join(dir, ".idea/deep/er"), 0o500))
	})
	grow(t, to, "s1/9/.curlrc")
	if os.Geteuid() == 0 { // we were killed while the box was lent
		must(t, os.Lchown(filepath.Join(to, "s1/9"), 64123, 64123))
		must(t, os.Lchown(filepath.Join(to, "s1/9/.curlrc"), 64123, 64123))
	}
	kept, err := Named(to, "s1-9")
	must(t, err)
	if len(kept) != 1 || kept[0].Path != "" || Restore(kept[0]) == nil {
		t.Errorf("a thing of unknown origin: %+v", kept)
	}
	for _, id := range []string{"s1-10", "s2", "", "../s1", "s1-0", "s1/1", "s1-x", "-1"} {
		if kept, err := Named(to, id); err != nil || len(kept) != 0 {
			t.Errorf("%q is %v, %v", id, kept, err)
		}
	}
	if kept, err = Named(to, "s1"); err != nil || len(kept) != 4 {
		t.Fatalf("%v, %v", kept, err)
	}
	for _, k := range kept {
		must(t, Discard(k))
	}
	if left, _ := filepath.Glob(filepath.Join(to, "*")); len(left) > 0 {
		t.Errorf("left in the quarantine: %v", left)
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Error("a link was followed")
	}
}

func TestExpired(t *testing.T) {
	now := time.Unix(1e9, 0)
	kept := func(id, group string, days int, bytes int64) Kept {
		return Kept{Source: Source{Group: group, At: now.Add(-time.Duration(days) * 24 * time.Hour)}, ID: id, Bytes: bytes}
	}
	all := []Kept{kept("old", "a", 100, 1), kept("a1", "a", 50, 10), kept("b1", "b", 40, 50), kept("b2", "b", 30, 50), kept("a2", "a", 20, 10), kept("b3", "b", 0, 70)}
	for _, tt := range []struct {
		name string
		days int
		size int64
		want []string
	}{
		{"no bound", 0, 0, nil},
		{"by age", 90, 0, []string{"old"}},
		{"age alone frees enough", 45, 180, []string{"old", "a1"}},
		{"the one who left most loses the oldest", 90, 100, []string{"old", "b1", "b2"}},
		{"others lose nothing while one left more", 0, 95, []string{"b1", "b2"}},
		{"what is fresh stays", 0, 1, []string{"b1", "b2", "old", "a1", "a2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, k := range Expired(all, now, time.Duration(tt.days)*24*time.Hour, tt.size) {
				got = append(got, k.ID)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
