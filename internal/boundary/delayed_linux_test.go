package boundary

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	under "nanoclaw/internal/beneath"
	"nanoclaw/internal/delayed"
	"nanoclaw/internal/grant"
)

// project is a folder of the owner with a repository in it, and everything that
// runs code later.
func project(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(openDir(t), "project")
	files := map[string]string{
		"main.c": "int main(void){return 0;}\n", "sub/deep/x.txt": "x\n", "packages/a/.envrc": "export A=1\n",
		".vscode/tasks.json": "{}\n", ".github/workflows/ci.yml": "on: push\n", ".mcp.json": "{}\n", ".claude/settings.json": "{}\n",
		".husky/pre-commit": "true\n", ".npmrc": "a=b\n", ".bashrc": "true\n", ".gitlab-ci.yml": "x:\n", "lib/.git": "gitdir: ../.git/modules/lib\n",
		"scripts/check": "#!/bin/sh\nexit 0\n",
	}
	for name, text := range files {
		p := filepath.Join(dir, name)
		noError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		noError(t, os.WriteFile(p, []byte(text), 0o755))
	}
	git(t, dir, "init", "-q", "-b", "main", ".")
	noError(t, os.MkdirAll(filepath.Join(dir, ".git/info"), 0o755))
	noError(t, os.WriteFile(filepath.Join(dir, ".git/info/attributes"), []byte("*.x text\n"), 0o644))
	noError(t, os.Symlink("../../scripts/check", filepath.Join(dir, ".git/hooks/pre-commit")))
	git(t, dir, "-c", "user.name=o", "-c", "user.email=o@example.org", "commit", "-q", "--no-verify", "--allow-empty", "-m", "first")
	give(t, dir)
	return dir
}

// ofOwner is the uid of the owner of a folder that is lent. No container engine lends
// a group what is not its own.
func ofOwner() int {
	switch uid := os.Geteuid(); {
	case uid == 0 && InContainers(underTest()):
		return groupUID
	case uid == 0:
		return 64123
	default:
		return uid
	}
}

// give makes a folder with all in it the owner's.
func give(t *testing.T, dir string) {
	t.Helper()
	noError(t, filepath.Walk(dir, func(p string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, ofOwner(), ofOwner())
	}))
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// git runs git of this machine where no agent has been yet.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// search looks for what runs code later.
func search(t *testing.T, dir string, b delayed.Bounds) delayed.Scanned {
	t.Helper()
	root, real, err := under.Root(dir)
	noError(t, err)
	defer root.Close()
	s, err := delayed.Scan(root, real, b)
	if err != nil || s.Short != "" {
		t.Fatalf("%v %s", err, s.Short)
	}
	return s
}

// lend grants a folder for writing, with what has to be held in it.
func lend(t *testing.T, dir, target string) func(*Spec) {
	t.Helper()
	m := grant.Mount{Target: target, Source: dir, Write: true, Exec: true, Foreign: true}
	held := holdIn(t, grant.Grant{Mounts: []grant.Mount{m}}, m)
	return func(spec *Spec) { spec.Grant.Mounts = append(spec.Grant.Mounts, held.Mounts...) }
}

// holdIn holds what has to be in one of a grant's folders.
func holdIn(t *testing.T, g grant.Grant, m grant.Mount) grant.Grant {
	t.Helper()
	s := search(t, m.Source, delayed.Before)
	held, err := s.Holds()
	noError(t, err)
	var parts []grant.Part
	for _, h := range held {
		parts = append(parts, grant.Part{Path: h.Path, File: h.ID.Regular(), What: h.What, Dev: h.ID.Dev, Ino: h.ID.Ino})
	}
	return g.Hold(m.Target, s.Folder.Dev, s.Folder.Ino, parts)
}

// snapshot is what a folder holds: kind, mode, owner and content of everything.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	noError(t, filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		text := ""
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text = string(b)
		case fi.Mode()&os.ModeSymlink != 0:
			text, err = os.Readlink(p)
		}
		rel, _ := filepath.Rel(dir, p)
		out[rel] = fi.Mode().String() + " " + text
		return err
	}))
	return out
}

// What runs code later can be neither written, replaced, moved nor covered, by
// any way that reaches it; and the folders above it stay where they are.
func TestDelayedEscapesAreHeld(t *testing.T) {
	dir := project(t)
	const at = grant.Extra + "/project"
	b := start(t, lend(t, dir, at))
	before := snapshot(t, dir)
	places := []string{
		".git/config", ".git/hooks", ".git/hooks/pre-commit", ".git/info/attributes", "scripts/check", ".vscode", ".vscode/tasks.json",
		".github/workflows", ".github/workflows/ci.yml", ".mcp.json", ".claude", ".claude/settings.json", ".husky/pre-commit", ".npmrc", ".bashrc",
		".gitlab-ci.yml", "packages/a/.envrc", "lib/.git",
	}
	attacks := map[string]string{
		"write":             `echo evil > "$p"`,
		"append":            `echo evil >> "$p"`,
		"truncate":          `truncate -s 0 "$p"`,
		"create in":         `echo evil > "$p/post-checkout"`,
		"make a folder in":  `mkdir "$p/new"`,
		"remove":            `rm -rf "$p"`,
		"rename":            `mv -T "$p" "$p.old"`,
		"rename over":       `echo evil > x && mv -fT x "$p"`,
		"rename over a dir": `mkdir x && mv -fT x "$p"`,
		"link over":         `echo evil > x && ln -f x "$p"`,
		"symlink over":      `ln -sfn /tmp "$p"`,
		"exchange":          `echo evil > x && /usr/bin/python3 -c "import ctypes,sys; sys.exit(-ctypes.CDLL(None).renameat2(-100, b'x', -100, sys.argv[1].encode(), 2))" "$p"`,
		"hard link of it":   `ln "$p" x && echo evil >> x`,
		"mount over":        `mkdir x; mount --bind x "$p"`,
		"mount in a new ns": `unshare -rm sh -c 'umount "$0"; mount --bind /tmp "$0"' "$p"`,
		"change its mode":   `chmod 000 "$p"`,
		"change its time":   `touch -d @1 "$p"`,
		"attributes":        `/usr/bin/python3 -c "import os,sys; os.setxattr(sys.argv[1], 'user.x', b'y')" "$p"`,
	}
	// All of them on one place of each sort, the simple ones on every place.
	all := []string{".git/config", ".git/hooks", "scripts/check", ".vscode"}
	script := func(p string) string {
		s := "cd " + at + "\np=" + p + "\n"
		for _, name := range slices.Sorted(maps.Keys(attacks)) {
			if slices.Contains(all, p) || !strings.Contains(attacks[name], "/usr/bin/python3") && !strings.Contains(attacks[name], "mount") {
				s += fmt.Sprintf("( %s ) >/dev/null 2>&1 && echo %q\nrm -rf x \"$p.old\" 2>/dev/null\n", attacks[name], name)
			}
		}
		return s
	}
	for _, p := range places {
		for line := range strings.SplitSeq(b.sh(script(p)), "\n") {
			if line != "" {
				t.Errorf("%s: %s worked", p, line)
			}
		}
		if d := cmp.Diff(before, snapshot(t, dir)); d != "" {
			t.Fatalf("%s: the owner's folder changed:\n%s", p, d)
		}
	}
	for _, p := range []string{".git", ".git/info", ".github", "packages", "packages/a", "scripts", "lib"} {
		got := b.sh(`cd ` + at + `; mv -T ` + p + ` moved; rm -rf ` + p + ` 2>/dev/null; test -d ` + p + ` && echo there`)
		// mv copies where it may not rename: what it copied is new.
		if !strings.Contains(got, "there") || !strings.Contains(got, "busy") && !strings.Contains(got, "inter-device") {
			t.Errorf("the folder above, %s: %q", p, got)
		}
		// What else was in it may be gone; it belongs to the agent.
		before = snapshot(t, dir)
	}
	for _, p := range places {
		if _, ok := before[p]; !ok {
			t.Errorf("%s is gone", p)
		}
	}
}

// The folder stays of use: git works in it, and files can be made anywhere.
func TestGitWorksInALentFolder(t *testing.T) {
	dir := project(t)
	const at = grant.Extra + "/project"
	b := start(t, lend(t, dir, at))
	got := b.sh(`cd ` + at + ` && export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
		set -e
		git status --short >/dev/null
		echo new > sub/new && echo more >> main.c && echo ignored > packages/a/code.js
		git add main.c sub packages && git commit -q -m second && git log --format=%s
		git checkout -q -b topic && git mv main.c sub/main.c && git commit -q -m third && git checkout -q main && git merge -q topic
		git stash list && git tag v1 && git gc -q && git fsck && git rev-parse --abbrev-ref HEAD
		git config user.name x && echo config was written`)
	want := "second\nfirst\nmain\nerror: could not write config file .git/config: Device or resource busy"
	if got != want {
		t.Errorf("inside:\n%s\nwant:\n%s", got, want)
	}
	if out := git(t, dir, "log", "--format=%s", "-1"); out != "third\n" {
		t.Errorf("on the host: %q", out)
	}
	git(t, dir, "fsck")
}

// A part of a folder that is another one by the time it is mounted ends the
// start, as do a folder swapped for another and one for a link.
func TestHeldPartsAreTheOnesLookedAt(t *testing.T) {
	const at = grant.Extra + "/project"
	tests := map[string]func(t *testing.T, dir string){
		"a file replaced": func(t *testing.T, dir string) {
			noError(t, os.WriteFile(filepath.Join(dir, "new"), nil, 0o644))
			noError(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, ".mcp.json")))
		},
		"a folder above swapped for a link": func(t *testing.T, dir string) {
			noError(t, os.Rename(filepath.Join(dir, ".github"), filepath.Join(dir, "away")))
			noError(t, os.Symlink("away", filepath.Join(dir, ".github")))
		},
		"the whole folder replaced": func(t *testing.T, dir string) {
			noError(t, os.Rename(dir, dir+".old"))
			noError(t, os.Mkdir(dir, 0o755))
		},
		"a file gone": func(t *testing.T, dir string) { noError(t, os.Remove(filepath.Join(dir, ".npmrc"))) },
	}
	for name, swap := range tests {
		t.Run(name, func(t *testing.T) {
			dir := project(t)
			spec, _ := fixture(t)
			lend(t, dir, at)(&spec)
			swap(t, dir)
			s, err := newEngine(t, Options{}).Start(t.Context(), spec)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "changed while starting") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What no mount can stop: if the owner's own program replaces a held file while
// an agent works, the mount goes with the old one. It is found and told.
func TestHeldFileReplacedOnTheHost(t *testing.T) {
	dir := project(t)
	const at = grant.Extra + "/project"
	before := search(t, dir, delayed.Before)
	b := start(t, lend(t, dir, at))
	if got := b.sh("echo evil >> " + at + "/.git/config"); !strings.Contains(got, "Read-only") {
		t.Fatalf("before: %q", got)
	}
	git(t, dir, "config", "user.name", "owner")
	if os.Geteuid() == 0 {
		noError(t, os.Chown(filepath.Join(dir, ".git/config"), ofOwner(), ofOwner()))
	}
	if got := b.sh("echo evil >> " + at + "/.git/config"); got != "" {
		t.Errorf("this kernel keeps the mount (%q): the documents say otherwise", got)
	}
	b.Close()
	findings := delayed.Compare(before, search(t, dir, delayed.After))
	if len(findings) != 1 || findings[0].Move || !strings.Contains(findings[0].String(), ".git/config (git settings): it was replaced") {
		t.Errorf("found %v", findings)
	}
}

// A folder may hold hundreds of such places, and all are held.
func TestManyHeldParts(t *testing.T) {
	dir := filepath.Join(openDir(t), "project")
	for i := range 280 {
		noError(t, os.MkdirAll(filepath.Join(dir, fmt.Sprintf("package%d", i)), 0o755))
		noError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("package%d/.envrc", i)), []byte("x"), 0o666))
	}
	give(t, dir)
	const at = grant.Extra + "/project"
	b := start(t, lend(t, dir, at))
	if got := b.sh(`cd ` + at + `; n=0; for d in */; do echo evil > $d/.envrc; test $? -eq 0 || n=$((n+1)); done 2>/dev/null; echo $n`); got != "280" {
		t.Errorf("held: %s of 280", got)
	}
}
